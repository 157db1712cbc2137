template {
  source = "pipelines.ctmpl"
  destination = "/etc/pipelines"
}
