//! The one owner of all waits for processes.
//!
//! Whoever starts a process does so here and gets its exit from here. A second `waitpid(-1)`
//! beside another waiter steals exit codes, so there is one table under one lock: it is held
//! while a process is spawned and registered, while exits are collected, and while a signal is
//! sent, so a pid in the table is never somebody else's. With [`Reaper::adopting`] orphans that
//! fall to us are collected too, as the first process of a container has to.
//!
//! The number of a process group is nobody else's as long as anybody is in the group. So what a
//! process leaves behind in its own is looked for in the moment when the process is collected, and
//! forgotten in the moment when it is found empty.

use std::collections::{HashMap, HashSet};
use std::io;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::signals::without_terminal;

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

#[derive(Debug, Default)]
struct Table {
    running: HashMap<Pid, Running>,
    /// Groups whose first process has ended, and others have not.
    left: HashSet<Pid>,
}

#[derive(Debug)]
struct Running {
    exit: oneshot::Sender<Exit>,
    /// Whether its group is looked after when it has ended.
    keeps_group: bool,
    stops: mpsc::UnboundedSender<Signal>,
}

impl Table {
    /// Whether a number is that of a group of ours.
    fn knows(&self, group: Pid) -> bool {
        self.running.contains_key(&group) || self.left.contains(&group)
    }
}

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
    /// The signals that stop it, if its group is looked after.
    pub stops: mpsc::UnboundedReceiver<Signal>,
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
        let table = Arc::new(Mutex::new(Table::default()));
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
        self.register(command, false)
    }

    /// Starts a process whose group is looked after beyond its end: [`Self::group_left`].
    pub fn spawn_group(&self, command: &mut Command) -> io::Result<Started> {
        self.register(command, true)
    }

    fn register(&self, command: &mut Command, keeps_group: bool) -> io::Result<Started> {
        let mut table = lock(&self.table);
        let child = without_terminal(|| command.spawn())?;
        let pid = Pid::from_raw(child.id().cast_signed());
        let (sender, exit) = oneshot::channel();
        let (stopping, stops) = mpsc::unbounded_channel();
        let running = Running {
            exit: sender,
            keeps_group,
            stops: stopping,
        };
        table.running.insert(pid, running);
        Ok(Started {
            pid,
            exit,
            stops,
            child,
        })
    }

    /// Signals a process, if it has not ended.
    pub fn signal(&self, pid: Pid, signal: Signal) -> Result<(), Errno> {
        // The lock is held while the signal goes out.
        let table = lock(&self.table);
        if table.running.contains_key(&pid) {
            kill(pid, signal)
        } else {
            Err(Errno::ESRCH)
        }
    }

    /// Signals a process and all of its group, if the process has not ended or the group is looked after.
    pub fn signal_group(&self, pid: Pid, signal: Signal) -> Result<(), Errno> {
        // The lock is held while the signal goes out.
        let table = lock(&self.table);
        if table.knows(pid) {
            killpg(pid, signal)
        } else {
            Err(Errno::ESRCH)
        }
    }

    /// Whether somebody is left in the group of a process that has ended.
    #[must_use]
    pub fn group_left(&self, pid: Pid) -> bool {
        let mut table = lock(&self.table);
        if table.left.contains(&pid) && is_empty(pid) {
            table.left.remove(&pid);
        }
        table.left.contains(&pid)
    }
}

/// Whether nobody is in a group, not even a zombie.
fn is_empty(group: Pid) -> bool {
    killpg(group, None) == Err(Errno::ESRCH)
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Collects every exit there is, and tells what was stopped.
fn collect(table: &Mutex<Table>, adopting: bool) {
    let mut table = lock(table);
    for (pid, running) in table.running.iter().filter(|(_, running)| running.keeps_group) {
        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG;
        while let Ok(WaitStatus::Stopped(_, signal)) = waitid(Id::Pid(*pid), flags) {
            // Whoever does not wait any more does not want to know.
            let _ = running.stops.send(signal);
        }
    }
    if adopting {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while let Ok(Some(pid)) = waitid(Id::All, flags).map(|status| status.pid()) {
            if !route(&mut table, pid) {
                return;
            }
        }
    } else {
        for pid in table.running.keys().copied().collect::<Vec<_>>() {
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
    match table.running.remove(&pid) {
        Some(running) => {
            if running.keeps_group && !is_empty(pid) {
                table.left.insert(pid);
            }
            // Whoever does not wait any more does not want to know.
            let _ = running.exit.send(exit);
        }
        None => tracing::debug!(pid = pid.as_raw(), "collected an orphan"),
    }
    true
}
