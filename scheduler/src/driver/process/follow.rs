//! A task's end.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;

use rustix::process::Signal;

use super::super::{End, TaskId, Told, now};
use super::grip::Grip;
use super::sweep::Reach;
use super::{Inner, Leader, Processes};

impl Processes {
    /// Begins to wait for the end of one that was found.
    pub(in super::super) fn adopt(&self, task: TaskId, pid: i32, started: u64) {
        self.follow(Leader::new(task, pid, started));
    }

    /// Waits for the end of a task, takes away what it has left running, and tells it.
    pub(super) fn follow(&self, leader: Leader) {
        let processes = self.clone();
        tokio::spawn(async move {
            if let Err(error) = processes.0.ended(&leader).await {
                tracing::error!(task = %leader.task.0, "its end cannot be waited for: {error}");
            }
            // As long as a child is not collected, its session's number is its own.
            processes
                .0
                .sweeper
                .send(leader.clone(), Reach::Session, Signal::KILL)
                .await;
            let end = processes.0.collect(&leader);
            processes.0.tell(Told::Ended {
                end: Inner::cleared(&processes.0, leader.task.clone(), end).await,
                task: leader.task,
                at: now(),
            });
        });
    }
}

impl Inner {
    async fn ended(&self, leader: &Leader) -> std::io::Result<()> {
        match Grip::of(leader.pid, leader.started)? {
            Some(grip) => grip.ended().await,
            None => Ok(()),
        }
    }

    /// Takes away a task's control groups, with whoever is left in them. They know whether it had used up its memory.
    pub(super) async fn cleared(inner: &Arc<Self>, task: TaskId, end: End) -> End {
        let killed = matches!(end, End::Signalled(9) | End::Exited(137) | End::Gone);
        let (inner, seen) = (Arc::clone(inner), end.clone());
        let clear = move || {
            let out_of_memory = killed && inner.groups.out_of_memory(&task);
            inner.groups.clear(&task);
            if out_of_memory { End::OutOfMemory } else { seen }
        };
        tokio::task::spawn_blocking(clear).await.unwrap_or(end)
    }

    /// How a task ended: as its parent sees it, if that is us. Its agent has seen the same of its program, and has written
    /// it down; where it says a signal, the parent sees a code.
    fn collect(&self, leader: &Leader) -> End {
        let child = self.children().remove(&leader.pid);
        let status = child.and_then(|mut child| child.wait().ok());
        let told = || self.sandboxes.told(&leader.task);
        match status.map_or(End::Gone, meaning) {
            End::Gone => told().unwrap_or(End::Gone),
            End::Exited(code) => match told() {
                Some(End::Signalled(signal)) if code == 128 + signal => End::Signalled(signal),
                _ => End::Exited(code),
            },
            end => end,
        }
    }
}

fn meaning(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(signal)) => End::Signalled(signal),
        (None, None) => End::Gone,
    }
}
