//! Which driver a task belongs to.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::docker::Containers;
use super::kept::Kept;
use super::process::Processes;
use super::starting::Starting;
use super::{Answer, End, Found, Gate, Handle, Launch, Refusal, Settings, Stop, TaskId, Told, now};

/// Why there are no containers.
const NONE: &str = "there is no Docker Engine here";

/// What starts and stops tasks on this machine. What comes of it is told by the channel that it was given.
#[derive(Debug)]
pub struct Driver {
    processes: Processes,
    containers: Option<Containers>,
    starting: Starting,
    kept: Kept,
    told: mpsc::UnboundedSender<Told>,
}

impl Driver {
    /// To be called where tasks of tokio can be started.
    pub fn new(settings: Settings, told: mpsc::UnboundedSender<Told>) -> anyhow::Result<Self> {
        Self::behind(&Gate::default(), settings, told)
    }

    /// One that starts something only as long as its gate is open.
    pub fn behind(gate: &Gate, settings: Settings, told: mpsc::UnboundedSender<Told>) -> anyhow::Result<Self> {
        let kept = Kept::new(settings.folder.join("ended"))?;
        let docker = settings.docker.clone();
        let containers = |docker| Containers::new(gate.clone(), settings.clone(), docker, kept.clone(), told.clone());
        let containers = docker.map(containers);
        Ok(Self {
            containers,
            processes: Processes::new(gate.clone(), settings, kept.clone(), told.clone())?,
            starting: Starting::default(),
            kept,
            told,
        })
    }

    /// Everything of ours that is there, running or ended. To be asked once, before anything is started.
    pub async fn find(&self) -> anyhow::Result<Vec<Found>> {
        let mut found = self.processes.find().await?;
        if let Some(containers) = &self.containers {
            found.extend(containers.find().await?);
        }
        Ok(found)
    }

    /// The same, without containers if the Engine does not answer. For whoever knows of none.
    pub async fn find_reachable(&self) -> anyhow::Result<Vec<Found>> {
        let mut found = self.processes.find().await?;
        if let Some(containers) = &self.containers {
            match containers.find().await {
                Ok(all) => found.extend(all),
                Err(error) => tracing::warn!("apps with an image have to wait: {error:#}"),
            }
        }
        Ok(found)
    }

    /// Begins to follow a task that was found running: its end will be told.
    pub fn adopt(&self, task: TaskId, handle: &Handle) {
        match (handle, &self.containers) {
            (Handle::Process { pid, started }, _) => self.processes.adopt(task, *pid, *started),
            (Handle::Container { id }, Some(containers)) => containers.adopt(task, id),
            (Handle::Container { .. }, None) => self.tell(Told::Ended {
                task,
                end: End::Gone,
                at: now(),
            }),
        }
    }

    /// Starts a task, some time after this has returned: [`Told::Running`] or [`Told::Refused`] will be told, and its end.
    pub fn start(&self, launch: Launch) {
        let (task, again) = (launch.task.clone(), launch.again);
        self.start_when(task, again, std::future::ready(Ok(launch)));
    }

    /// The same, as soon as all that the task is given has been gathered. `again` is the launch's.
    pub fn start_when(
        &self,
        task: TaskId,
        again: bool,
        gathering: impl Future<Output = Result<Launch, Refusal>> + Send + 'static,
    ) {
        let start = self.starting.begin(&task);
        let (processes, told) = (self.processes.clone(), self.told.clone());
        let containers = self.containers.as_ref().map(Containers::starter);
        tokio::spawn(async move {
            let gathered = start.unless_called_off(gathering).await;
            let refusal = match (gathered.flatten(), containers) {
                (Ok(mut launch), containers) => match (launch.image.take(), containers) {
                    (None, _) => return processes.start(launch, start).await,
                    (Some(image), Some(containers)) => return containers.start(launch, image, start).await,
                    (Some(_), None) => Refusal::Other(NONE.to_owned()),
                },
                (Err(refusal), Some(containers)) if again => {
                    containers.clear(&task).await;
                    refusal
                }
                (Err(refusal), _) => refusal,
            };
            // Whoever does not listen any more does not want to know.
            let _ = told.send(Told::Refused { task, refusal });
        });
    }

    /// Has a task not start, as long as nothing of it is there: [`Refusal::CalledOff`] will be told. One that has come
    /// further starts, and is to be stopped.
    pub fn call_off(&self, task: &TaskId) {
        self.starting.call_off(task);
    }

    /// Asks a task to stop, or ends it. One that has ended already is none the worse.
    pub fn stop(&self, task: &TaskId, handle: &Handle, stop: Stop) {
        match (handle, &self.containers) {
            (Handle::Process { pid, started }, _) => self.processes.stop(task, *pid, *started, stop),
            (Handle::Container { id }, Some(containers)) => containers.stop(task, id, stop),
            (Handle::Container { .. }, None) => {}
        }
    }

    /// Removes what an ended task has left. Its logs are kept as long as it is among the last few of its app.
    pub fn forget(&self, task: &TaskId, handle: &Handle) {
        match (handle, &self.containers) {
            (Handle::Process { .. }, _) => self.processes.forget(task),
            (Handle::Container { id }, Some(containers)) => containers.forget(task, id),
            (Handle::Container { .. }, None) => {}
        }
    }

    /// Waits until what a forgotten task has left is gone, unless that takes long.
    pub async fn forgotten(&self, task: &TaskId) {
        self.kept.arrived(task).await;
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
        self.kept.arrived(task).await;
        let running = match (handle, &self.containers) {
            (Some(Handle::Container { id }), Some(containers)) => return containers.logs(task, id, tail, follow).await,
            (Some(Handle::Container { .. }), None) => anyhow::bail!(NONE),
            (Some(Handle::Process { pid, started }), _) => Some((*pid, *started)),
            (None, _) => None,
        };
        self.processes.logs(task, running, tail, follow).await
    }

    /// Runs a line of a shell where a task runs: beside a process with its environment, its user and its folder, or in a
    /// container.
    pub async fn run_check(
        &self,
        task: &TaskId,
        handle: &Handle,
        line: &str,
        limit: Duration,
    ) -> anyhow::Result<Answer> {
        match (handle, &self.containers) {
            (Handle::Process { pid, started }, _) => self.processes.run_check(task, *pid, *started, line, limit).await,
            (Handle::Container { id }, Some(containers)) => containers.run_check(id, line, limit).await,
            (Handle::Container { .. }, None) => anyhow::bail!(NONE),
        }
    }

    fn tell(&self, told: Told) {
        // Whoever does not listen any more does not want to know.
        let _ = self.told.send(told);
    }
}
