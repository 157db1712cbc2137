//! A command on a terminal, as a person runs it: questions are asked, and Ctrl-C is a signal.

use std::fs::File;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Exit;

/// See the module.
pub(crate) struct Terminal {
    child: Child,
    screen: File,
    /// What was shown.
    pub(crate) shown: String,
}

impl Terminal {
    pub(super) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let pty = nix::pty::openpty(None, None)?;
        let end = || pty.slave.try_clone().map(Stdio::from);
        let child = command.stdin(end()?).stdout(end()?).stderr(end()?).spawn()?;
        // Or its end of the terminal stays open here, and reading never ends.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self {
            child,
            screen: File::from(pty.master),
            shown: String::new(),
        })
    }

    /// Reads until the text is shown; fails if the program ends before.
    pub(crate) fn until(&mut self, text: &str) -> anyhow::Result<()> {
        let mut piece = [0; 4096];
        while !self.shown.contains(text) {
            let length = self.screen.read(&mut piece).unwrap_or(0);
            anyhow::ensure!(length > 0, "`{text}` was not shown: {}", self.shown);
            self.shown.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        Ok(())
    }

    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?)
    }

    /// Its exit, and what it has shown by then.
    pub(crate) fn exit(mut self) -> anyhow::Result<(Exit, String)> {
        let mut piece = [0; 4096];
        // An error is the end: nobody has the other side any more.
        while let Ok(length @ 1..) = self.screen.read(&mut piece) {
            self.shown.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        Ok((self.child.wait()?.into(), self.shown))
    }
}
