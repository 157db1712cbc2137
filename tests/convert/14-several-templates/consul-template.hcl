template {
  source = "a.ctmpl"
  destination = "/etc/a.conf"
  command = "service a reload"
}
template {
  source = "b.ctmpl"
  destination = "/etc/b.conf"
  command = "service b reload"
}
template {
  source = "a.ctmpl"
  destination = "/etc/a2.conf"
}
