//! The command that runs while a lock is held.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::timeout;

use crate::consul::go::errno;

/// How long it has between TERM and KILL.
const GRACE: Duration = Duration::from_secs(5);

/// What a script learns that runs under a lock.
const HELD: &str = "CONSUL_LOCK_HELD";

/// See the module. Dropped, it is killed.
pub(super) struct Child {
    child: tokio::process::Child,
    /// Whether it leads a group of processes.
    leads: bool,
}

/// A command line as it is: by a shell, all words as one text, or by itself.
pub(in crate::consul) fn command(words: &[Vec<u8>], by_shell: bool) -> Option<Command> {
    if by_shell {
        let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
        let mut command = Command::new(shell.unwrap_or_else(|| "/bin/sh".into()));
        command.arg("-c").arg(OsStr::from_bytes(&words.join(&b' ')));
        return Some(command);
    }
    let (program, arguments) = words.split_first()?;
    let mut command = Command::new(OsStr::from_bytes(program));
    command.args(arguments.iter().map(|word| OsStr::from_bytes(word)));
    Some(command)
}

impl Child {
    pub(super) fn start(words: &[Vec<u8>], by_shell: bool, passes_stdin: bool) -> Result<Self, String> {
        let mut command = command(words, by_shell).ok_or("there is no command")?;
        command.env(HELD, "true").kill_on_drop(true);
        // What reads from a terminal has to stay in the group that the terminal belongs to.
        if passes_stdin {
            command.stdin(Stdio::inherit());
        } else {
            command.stdin(Stdio::null()).process_group(0);
        }
        let child = command.spawn();
        let child = child.map_err(|e| format!("Failed starting the command: {}", errno(&e)))?;
        Ok(Self {
            child,
            leads: !passes_stdin,
        })
    }

    /// Waits for its end. Whether it succeeded. Cancel-safe.
    pub(super) async fn end(&mut self) -> bool {
        self.child.wait().await.is_ok_and(|status| status.success())
    }

    /// TERM, and KILL to what has not ended after the grace; what it has started, too.
    pub(super) async fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        if timeout(GRACE, self.child.wait()).await.is_err() {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait().await;
        }
    }

    fn signal(&self, signal: Signal) {
        // It has not been waited for, so nobody else can have its number; it may have ended just now.
        let pid = self
            .child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .map(Pid::from_raw);
        let _ = match pid {
            Some(pid) if self.leads => killpg(pid, signal),
            Some(pid) => kill(pid, signal),
            None => Ok(()),
        };
    }
}
