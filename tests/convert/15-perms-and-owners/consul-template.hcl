template { source = "a.ctmpl" destination = "/etc/a1" perms = 0600 }
template { source = "a.ctmpl" destination = "/etc/a2" perms = "640" }
template {
  source = "a.ctmpl"
  destination = "/etc/a3"
  perms = 600
  user = "app"
  group = 1000
  backup = true
  create_dest_dirs = false
}
