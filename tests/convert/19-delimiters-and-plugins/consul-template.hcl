template {
  source = "app.tmpl"
  destination = "conf/app.conf"
  left_delimiter = "<<"
  right_delimiter = ">>"
  wait { min = "1s" }
  exec { command = "app reload" timeout = "5s" }
}
syslog { enabled = true }
unknown_thing = 1
