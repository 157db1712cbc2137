template {
  source = "frames.ctmpl"
  destination = "/etc/frames"
}
