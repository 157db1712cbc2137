err_on_failed_lookup = true
template {
  source = "defaults.ctmpl"
  destination = "/etc/defaults"
}
