template {
  source = "services.ctmpl"
  destination = "/etc/services.yaml"
}
