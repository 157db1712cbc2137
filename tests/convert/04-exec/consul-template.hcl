exec {
  command       = "/usr/local/bin/app --config /etc/app.conf"
  reload_signal = "SIGHUP"
  kill_signal   = "SIGTERM"
  kill_timeout  = "15s"
}

template {
  source      = "app.conf.tmpl"
  destination = "/etc/app.conf"
}
