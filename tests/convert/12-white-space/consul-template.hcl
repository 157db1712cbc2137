template {
  source = "space.ctmpl"
  destination = "/etc/space"
}
