//! Looking at processes through /proc.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process that is or was there. The start time tells it from a later one with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    started: u64,
    zombie: bool,
}

impl Process {
    /// What has this number now.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything; the fields that count follow it.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        Some(Self {
            pid,
            zombie: *fields.first()? == "Z",
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    /// Whether it still runs.
    pub(crate) fn runs(&self) -> bool {
        Self::of(self.pid).is_some_and(|now| now.started == self.started && !now.zombie)
    }

    /// Signals it, if it is still the same.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        anyhow::ensure!(self.runs(), "process {} has ended", self.pid);
        Ok(kill(Pid::from_raw(self.pid), signal)?)
    }

    /// Kills it, if it is still the same.
    pub(crate) fn kill(&self) {
        if self.runs() {
            // It may have ended since.
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
        }
    }
}

/// All processes.
fn all() -> Vec<Process> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Process::of)
        .collect()
}

/// The children of a process, and theirs.
pub(crate) fn descendants(pid: i32) -> Vec<Process> {
    let all = all();
    let mut found: Vec<Process> = all.iter().filter(|process| process.parent == pid).copied().collect();
    let mut next = 0;
    while let Some(process) = found.get(next).copied() {
        found.extend(all.iter().filter(|child| child.parent == process.pid));
        next += 1;
    }
    found
}

/// Processes that were started with `name=value` in their environment.
pub(crate) fn by_environment(name: &str, value: &str) -> Vec<Process> {
    let wanted = format!("{name}={value}");
    all()
        .into_iter()
        .filter(|process| {
            fs::read(format!("/proc/{}/environ", process.pid)).is_ok_and(|environment| {
                environment
                    .split(|&byte| byte == 0)
                    .any(|pair| pair == wanted.as_bytes())
            })
        })
        .collect()
}
