template {
  source = "nodes.ctmpl"
  destination = "/etc/nodes"
}
