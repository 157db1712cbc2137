template {
  source = "list.ini.ctmpl"
  destination = "/etc/list.ini"
}
