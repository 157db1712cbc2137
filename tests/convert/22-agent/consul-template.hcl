reload_signal = "SIGUSR2"
kill_signal = "SIGQUIT"
max_stale = "10m"
consul {
  retry {
    enabled = true
    attempts = 0
    backoff = "250ms"
  }
}
exec {
  command = ["/bin/app", "-f", "/etc/app.conf"]
  reload_signal = "SIGHUP"
  splay = "5s"
  env {
    pristine = false
    custom = ["MODE=a b=\"c\"", "LEVEL=1", "not-a-name=1"]
    allowlist = ["PATH", "LC_*", "AWS_[A-Z]*"]
    denylist = ["*_SECRET"]
  }
}
template {
  source = "app.ctmpl"
  destination = "/etc/app.conf"
  command = "app check"
}
