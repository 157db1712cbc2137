//! Which driver a task belongs to.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::process::Processes;
use super::{Answer, Found, Handle, Launch, Refusal, Settings, Stop, TaskId, Told};

/// What starts and stops tasks on this machine. What comes of it is told by the channel that it was given.
#[derive(Debug)]
pub struct Driver {
    processes: Processes,
    told: mpsc::UnboundedSender<Told>,
}

impl Driver {
    /// To be called where tasks of tokio can be started.
    pub fn new(settings: Settings, told: mpsc::UnboundedSender<Told>) -> anyhow::Result<Self> {
        Ok(Self {
            processes: Processes::new(settings, told.clone())?,
            told,
        })
    }

    /// Everything of ours that is there, running or ended. To be asked once, before anything is started.
    pub async fn find(&self) -> anyhow::Result<Vec<Found>> {
        self.processes.find().await
    }

    /// Begins to follow a task that was found running: its end will be told.
    pub fn adopt(&self, task: TaskId, handle: &Handle) {
        match handle {
            Handle::Process { pid, started } => self.processes.adopt(task, *pid, *started),
            Handle::Container { .. } => self.ended_unseen(task),
        }
    }

    /// Starts a task, some time after this has returned: [`Told::Running`] or [`Told::Refused`] will be told, and its end.
    pub fn start(&self, launch: Launch) {
        if launch.image.is_some() {
            let refusal = Refusal::Other("there is no Docker Engine here to start an image".to_owned());
            let task = launch.task;
            let _ = self.told.send(Told::Refused { task, refusal });
            return;
        }
        self.processes.start(launch);
    }

    /// Asks a task to stop, or ends it. One that has ended already is none the worse.
    pub fn stop(&self, task: &TaskId, handle: &Handle, stop: Stop) {
        match handle {
            Handle::Process { pid, started } => self.processes.stop(task, *pid, *started, stop),
            Handle::Container { .. } => {}
        }
    }

    /// Removes what an ended task has left. Its logs are kept as long as it is among the last few of its app.
    pub fn forget(&self, task: &TaskId, handle: &Handle) {
        match handle {
            Handle::Process { .. } => self.processes.forget(task),
            Handle::Container { .. } => {}
        }
    }

    /// The last `tail` lines that a task wrote, on either of its outputs; with `follow` also what it writes from now on,
    /// until it has ended or nobody receives any more. Without a handle, of one that has ended.
    pub async fn logs(
        &self,
        task: &TaskId,
        handle: Option<&Handle>,
        tail: usize,
        follow: bool,
    ) -> anyhow::Result<mpsc::Receiver<Bytes>> {
        let running = match handle {
            Some(Handle::Process { pid, started }) => Some((*pid, *started)),
            None => None,
            Some(Handle::Container { .. }) => anyhow::bail!("there is no Docker Engine here"),
        };
        self.processes.logs(task, running, tail, follow).await
    }

    /// Runs a line of a shell beside a task that runs: with its environment and its user, in its folder.
    pub async fn run_check(
        &self,
        task: &TaskId,
        handle: &Handle,
        line: &str,
        limit: Duration,
    ) -> anyhow::Result<Answer> {
        match handle {
            Handle::Process { pid, started } => self.processes.run_check(task, *pid, *started, line, limit).await,
            Handle::Container { .. } => anyhow::bail!("there is no Docker Engine here"),
        }
    }

    fn ended_unseen(&self, task: TaskId) {
        let (end, at) = (super::End::Gone, super::now());
        let _ = self.told.send(Told::Ended { task, end, at });
    }
}
