template {
  source      = "nginx.conf.ctmpl"
  destination = "/etc/nginx/conf.d/app.conf"
  perms       = 0644
  command     = "nginx -s reload"
}
