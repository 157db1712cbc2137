pid_file = "/run/app/agent.pid"
template {
  source = "app.ctmpl"
  destination = "/etc/app.conf"
  sandbox_path = "/etc/app.d"
  function_denylist = ["plugin", "env"]
}
