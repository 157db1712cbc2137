vault {
  address = "https://vault.example:8200"
  token = "x"
}
template {
  source = "db.ctmpl"
  destination = "/etc/db.conf"
}
