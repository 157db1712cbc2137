template {
  contents = <<EOT
{{ range tree "app/env/" }}
{{- .Key | trimPrefix "x_" | replaceAll "/" "_" | toUpper }}={{ .Value }}
{{ end -}}
HOME_DIR={{ env "APP_HOME" }}
MODE={{ envOrDefault "APP_MODE" "plain" }}
EOT
  destination = "/run/app.env"
  perms = "0600"
}
