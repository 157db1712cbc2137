//! Plain processes: each the leader of a session, with a folder of its own.
//!
//! Everything by which a task is found again is in its environment, from the moment in which it is there: whoever kills the
//! scheduler, and whenever, the next one finds every task. A process is known by its pid and the time of its start; signals
//! go out by descriptors, or to a group whose number cannot be another's, so a pid that is used again is never hit.
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`command`] | the words that start a task, and its environment |
//! | [`sandbox`], [`rotate`] | its folder; its outputs, when they become long |
//! | [`user`] | the user that it runs as |
//! | [`fetch`], [`download`] | the files that it is given; one of them from a server |
//! | [`start`], [`follow`] | its start; its end |
//! | [`table`], [`grip`], [`sweep`] | the kernel's table of processes; one that is held; signals to all of a task |
//! | [`groups`], [`hierarchies`] | what a task may use; where the kernel is told so |
//! | [`find`] | the tasks that are there when a scheduler starts |
//! | [`check`] | a health check's command |

mod check;
mod command;
mod download;
mod fetch;
mod find;
mod follow;
mod grip;
mod groups;
mod hierarchies;
mod rotate;
mod sandbox;
mod start;
mod sweep;
mod table;
mod user;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::kept::{Kept, OUTPUTS};
use super::tail::tail;
use super::{Gate, Settings, Stop, TaskId, Told};
use fetch::Fetcher;
use grip::Grip;
use groups::Groups;
use sandbox::Sandboxes;
use sweep::{Reach, Sweeper};

/// The variables of a task's environment by which it is found again: its name, its folder, and its leader's pid.
const TASK: &str = "KEYWAY_TASK";
const FOLDER: &str = "KEYWAY_TASK_DIR";
const PID: &str = "KEYWAY_TASK_PID";

/// Under this name a program of ours makes itself a leader and becomes another program.
const LAUNCHER: &str = "keyway-launch";

/// The first argument of one that leads and stays the program that it is.
const STAY: &str = "--stay";

/// How many are being started at once. It is work for a core each.
const STARTS: usize = 4;

/// A task's first process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Leader {
    task: TaskId,
    pid: i32,
    started: u64,
}

/// See the module. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Processes(Arc<Inner>);

/// What goes on as long as somebody has the driver, or follows a task of it.
#[derive(Debug)]
struct Rotating(JoinHandle<()>);

impl Drop for Rotating {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    sandboxes: Sandboxes,
    kept: Kept,
    groups: Groups,
    fetcher: Fetcher,
    sweeper: Sweeper,
    starts: Semaphore,
    gate: Gate,
    _rotating: Rotating,
    /// Those that we started ourselves and have not collected: their numbers are theirs as long as they are in here.
    children: Mutex<HashMap<i32, Child>>,
    told: mpsc::UnboundedSender<Told>,
}

impl Processes {
    pub(super) fn new(
        gate: Gate,
        settings: Settings,
        kept: Kept,
        told: mpsc::UnboundedSender<Told>,
    ) -> anyhow::Result<Self> {
        let folder = settings.folder.join("tasks");
        let sandboxes = Sandboxes::new(&folder)?;
        Ok(Self(Arc::new(Inner {
            _rotating: Rotating(tokio::spawn(rotate::keep_short(sandboxes.clone()))),
            sandboxes,
            kept,
            groups: Groups::of(&folder)?,
            fetcher: Fetcher::new(&settings.folder)?,
            sweeper: Sweeper::start(),
            starts: Semaphore::new(STARTS),
            gate,
            children: Mutex::default(),
            settings,
            told,
        })))
    }

    pub(super) fn stop(&self, task: &TaskId, pid: i32, started: u64, stop: Stop) {
        let (reach, signal) = match stop {
            Stop::Ask => (Reach::Group, Signal::TERM),
            Stop::Force => (Reach::Session, Signal::KILL),
        };
        if stop == Stop::Ask && self.0.signal_child(pid, signal) {
            return;
        }
        let leader = Leader {
            task: task.clone(),
            pid,
            started,
        };
        let processes = self.clone();
        tokio::spawn(async move { processes.0.sweeper.send(leader, reach, signal).await });
    }

    pub(super) fn forget(&self, task: &TaskId) {
        let (processes, task) = (self.clone(), task.clone());
        let coming = processes.0.kept.coming(&task);
        tokio::task::spawn_blocking(move || {
            let _coming = coming;
            let Inner { sandboxes, kept, .. } = &*processes.0;
            if let Err(error) = kept.keep(&task, &sandboxes.of(&task)) {
                tracing::warn!(task = %task.0, "what it wrote cannot be kept: {error}");
            }
            // It may hold secrets.
            if let Err(error) = sandboxes.remove(&task) {
                tracing::warn!(task = %task.0, "what it left cannot be removed: {error}");
            }
        });
    }

    pub(super) async fn logs(
        &self,
        task: &TaskId,
        running: Option<(i32, u64)>,
        lines: usize,
        follow: bool,
    ) -> anyhow::Result<mpsc::Receiver<Bytes>> {
        if let Some(folder) = self.0.kept.of(task) {
            let none: Option<std::future::Ready<()>> = None;
            return Ok(tail(OUTPUTS.map(|name| folder.join(name)).into(), lines, none).await?);
        }
        let grip = match running.filter(|_| follow) {
            Some((pid, started)) => Grip::of(pid, started)?,
            None => None,
        };
        let until = grip.map(|grip| async {
            // What cannot be waited for is not followed.
            let _ = grip.ended().await;
        });
        Ok(tail(self.0.sandboxes.outputs(task), lines, until).await?)
    }
}

impl Inner {
    /// Signals the process group of one that we started; false if it is not, or has been collected.
    fn signal_child(&self, pid: i32, signal: Signal) -> bool {
        // The lock is held while the signal goes out, and while one is collected.
        let children = self.children();
        if !children.contains_key(&pid) {
            return false;
        }
        Pid::from_raw(pid).is_some_and(|pid| kill_process_group(pid, signal).is_ok())
    }

    fn children(&self) -> MutexGuard<'_, HashMap<i32, Child>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, told: Told) {
        // Whoever does not listen any more does not want to know.
        let _ = self.told.send(told);
    }

    fn folder(&self, task: &TaskId) -> PathBuf {
        self.sandboxes.of(task)
    }
}
