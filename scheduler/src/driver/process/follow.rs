//! A task's end.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

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
            processes.0.tell(Told::Ended {
                end: processes.0.collect(leader.pid),
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

    /// How a process ended that we started; of one that was found nobody knows.
    fn collect(&self, pid: i32) -> End {
        let child = self.children().remove(&pid);
        let status = child.and_then(|mut child| child.wait().ok());
        status.map_or(End::Gone, meaning)
    }
}

fn meaning(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(signal)) => End::Signalled(signal),
        (None, None) => End::Gone,
    }
}
