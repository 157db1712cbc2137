template {
  source = "documents.ctmpl"
  destination = "/etc/documents"
}
