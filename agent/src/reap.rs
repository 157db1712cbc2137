//! The one owner of all waits for processes.
//!
//! Whoever starts a process does so here and gets its exit from here. A second `waitpid(-1)`
//! beside another waiter steals exit codes, so there is one table under one lock: it is held
//! while a process is spawned and registered, while exits are collected, and while a signal is
//! sent, so a pid in the table is never somebody else's. With [`Reaper::adopting`] orphans that
//! fall to us are collected too, as the first process of a container has to.

use std::collections::HashMap;
use std::io;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With a code.
    Code(i32),
    /// By a signal.
    Signal(Signal),
}

impl Exit {
    /// As a shell tells it: the code, or 128 + the signal's number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => (code & 0xff) as u8,
            Self::Signal(signal) => (128 + signal as i32) as u8,
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with {code}"),
            Self::Signal(signal) => write!(f, "was ended by {signal}"),
        }
    }
}

type Table = HashMap<Pid, oneshot::Sender<Exit>>;

/// See the module. Clones share the table.
#[derive(Debug, Clone)]
pub struct Reaper {
    table: Arc<Mutex<Table>>,
    _task: Arc<AbortOnDropHandle<()>>,
}

/// A process that was started.
#[derive(Debug)]
pub struct Started {
    /// Its pid, which is its process group's too if it was given one.
    pub pid: Pid,
    /// Comes when it has ended.
    pub exit: oneshot::Receiver<Exit>,
    /// The pipes, if any were asked for. Not to be waited for.
    pub child: Child,
}

impl Reaper {
    /// Collects the exits of what it starts, and of nothing else.
    pub fn start() -> anyhow::Result<Self> {
        Self::new(false)
    }

    /// Collects orphans as well. Only for a program that starts no process in any other way.
    pub fn adopting() -> anyhow::Result<Self> {
        if getpid().as_raw() != 1 {
            nix::sys::prctl::set_child_subreaper(true).context("become the reaper of orphans")?;
        }
        Self::new(true)
    }

    fn new(adopting: bool) -> anyhow::Result<Self> {
        let table = Arc::new(Mutex::new(Table::new()));
        let mut ended = signal(SignalKind::child()).context("listen for SIGCHLD")?;
        let task = tokio::spawn({
            let table = Arc::clone(&table);
            async move {
                // One signal may stand for several exits.
                while ended.recv().await.is_some() {
                    collect(&table, adopting);
                }
            }
        });
        Ok(Self {
            table,
            _task: Arc::new(AbortOnDropHandle::new(task)),
        })
    }

    /// Starts a process.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Started> {
        let mut table = lock(&self.table);
        let child = command.spawn()?;
        let pid = Pid::from_raw(child.id().cast_signed());
        let (sender, exit) = oneshot::channel();
        table.insert(pid, sender);
        Ok(Started { pid, exit, child })
    }

    /// Signals a process, if it has not ended.
    pub fn signal(&self, pid: Pid, signal: Signal) -> Result<(), Errno> {
        if lock(&self.table).contains_key(&pid) {
            kill(pid, signal)
        } else {
            Err(Errno::ESRCH)
        }
    }

    /// Signals a process and all of its group, if the process has not ended.
    pub fn signal_group(&self, pid: Pid, signal: Signal) -> Result<(), Errno> {
        if lock(&self.table).contains_key(&pid) {
            killpg(pid, signal)
        } else {
            Err(Errno::ESRCH)
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Collects every exit there is.
fn collect(table: &Mutex<Table>, adopting: bool) {
    let mut table = lock(table);
    if adopting {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while let Ok(Some(pid)) = waitid(Id::All, flags).map(|status| status.pid()) {
            if !route(&mut table, pid) {
                return;
            }
        }
    } else {
        for pid in table.keys().copied().collect::<Vec<_>>() {
            route(&mut table, pid);
        }
    }
}

/// Collects one exit and tells whoever waits for it; false if there was nothing to collect.
fn route(table: &mut Table, pid: Pid) -> bool {
    let exit = match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(_, code)) => Exit::Code(code),
        Ok(WaitStatus::Signaled(_, signal, _)) => Exit::Signal(signal),
        Ok(_) | Err(_) => return false,
    };
    match table.remove(&pid) {
        // Whoever does not wait any more does not want to know.
        Some(waiting) => drop(waiting.send(exit)),
        None => tracing::debug!(pid = pid.as_raw(), "collected an orphan"),
    }
    true
}
