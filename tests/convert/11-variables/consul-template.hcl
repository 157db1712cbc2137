template {
  source = "variables.ctmpl"
  destination = "/etc/variables"
}
