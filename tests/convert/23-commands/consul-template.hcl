kill_signal = "SIGINT"
wait { min = "1s" max = "10s" }
exec {
  command = ["/bin/app"]
  reload_signal = ""
  splay = "0s"
  env { pristine = true }
}
template {
  source = "a.ctmpl"
  destination = "/etc/a"
  user = ""
  gid = -1
  exec {
    command = ["app", "read", "/etc/a b"]
    timeout = "1m"
  }
  command_timeout = "5s"
}
template {
  source = "a.ctmpl"
  destination = "/etc/b"
  command = "app read /etc/b"
  wait { min = "2s" }
}
template {
  source = "a.ctmpl"
  destination = "/etc/c"
}
