wait {
  min = "2s"
  max = "10s"
}

template {
  source = "haproxy.cfg.ctmpl"
  destination = "/etc/haproxy/haproxy.cfg"
  command = ["systemctl", "reload", "haproxy"]
}
