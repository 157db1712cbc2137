template {
  source = "conditions.ctmpl"
  destination = "/etc/conditions"
}
