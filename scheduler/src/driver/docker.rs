//! Containers of a Docker Engine. Those that do not have our label with this cluster's name are never touched.
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`body`], [`parameters`] | what the Engine is asked to create; the options of `docker run` that are taken |
//! | [`inside`] | which program is put into containers as their agent |
//! | [`start`] | an image, a container, its start; what goes wrong |
//! | [`watch`] | how containers end: the Engine's events, and a look at all of ours whenever they were cut off |
//! | [`find`] | the containers that are there when a scheduler starts |
//! | [`exec`] | a health check's command; logs |

mod body;
mod exec;
mod find;
mod inside;
mod parameters;
mod start;
mod watch;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::query_parameters::{KillContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinHandle;

use self::inside::Inside;
use super::kept::Kept;
use super::secrets::SecretFiles;
use super::{DockerSettings, Gate, Settings, Stop, TaskId, Told};

/// The labels by which a container is known as ours.
const CLUSTER: &str = "keyway.cluster";
const TASK: &str = "keyway.task";

/// How many requests are made at once to an Engine: each is a connection of its own.
pub const REQUESTS: usize = 16;

/// How long until an Engine that does not answer is asked again.
const AGAIN: Duration = Duration::from_millis(250);

/// In seconds, until an answer begins.
const PATIENCE: u64 = 120;

/// See the module.
#[derive(Debug)]
pub(super) struct Containers {
    inner: Arc<Inner>,
    watching: JoinHandle<()>,
}

impl Drop for Containers {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// What starts containers.
#[derive(Debug)]
pub(super) struct Starter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    gate: Gate,
    settings: Settings,
    docker: DockerSettings,
    inside: Inside,
    kept: Kept,
    secrets: SecretFiles,
    requests: Semaphore,
    /// One image is pulled by one at a time.
    pulls: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    followed: Mutex<HashMap<String, Followed>>,
    /// Somebody is followed, so events are of interest.
    wanted: Notify,
    /// Containers that are being asked or forced to stop, by their ids.
    stopping: Mutex<HashSet<(String, Stop)>>,
    told: mpsc::UnboundedSender<Told>,
}

/// A container whose end will be told.
#[derive(Debug)]
struct Followed {
    task: TaskId,
    /// That it runs has been told: its end may be.
    announced: bool,
    /// It ended before that.
    ended: bool,
}

impl Containers {
    pub(super) fn new(
        gate: Gate,
        settings: Settings,
        docker: DockerSettings,
        kept: Kept,
        told: mpsc::UnboundedSender<Told>,
    ) -> Self {
        let inner = Arc::new(Inner {
            secrets: SecretFiles::new(settings.folder.join("secrets")),
            gate,
            inside: Inside::find(&settings),
            settings,
            docker,
            kept,
            requests: Semaphore::new(REQUESTS),
            pulls: Mutex::default(),
            followed: Mutex::default(),
            wanted: Notify::new(),
            stopping: Mutex::default(),
            told,
        });
        let watching = tokio::spawn(watch::watch(Arc::clone(&inner)));
        Self { inner, watching }
    }

    pub(super) fn starter(&self) -> Starter {
        Starter(Arc::clone(&self.inner))
    }

    pub(super) fn adopt(&self, task: TaskId, id: &str) {
        let followed = Followed {
            task,
            announced: true,
            ended: false,
        };
        self.inner.followed().insert(id.to_owned(), followed);
        self.inner.wanted.notify_one();
        // It may have ended since it was found.
        let (inner, id) = (Arc::clone(&self.inner), id.to_owned());
        tokio::spawn(async move { inner.look_at(&id).await });
    }

    pub(super) fn stop(&self, task: &TaskId, id: &str, stop: Stop) {
        let asked = (id.to_owned(), stop);
        if !self.inner.stopping().insert(asked.clone()) {
            // Somebody is at it, for as long as the Engine does not answer.
            return;
        }
        let (inner, task) = (Arc::clone(&self.inner), task.clone());
        tokio::spawn(async move {
            while let Err(error) = inner.kill(&asked.0, stop).await {
                if !inner.waits_out(&error).await {
                    tracing::warn!(task = %task.0, "its container cannot be stopped: {error:#}");
                    break;
                }
            }
            inner.stopping().remove(&asked);
        });
    }

    pub(super) fn forget(&self, task: &TaskId, id: &str) {
        let (inner, task, id) = (Arc::clone(&self.inner), task.clone(), id.to_owned());
        let coming = inner.kept.coming(&task);
        tokio::spawn(async move {
            let _coming = coming;
            while let Err(error) = inner.remove(&task, &id).await {
                if !inner.waits_out(&error).await {
                    return tracing::warn!(task = %task.0, "its container cannot be removed: {error:#}");
                }
            }
            inner.secrets.remove(&task);
        });
    }
}

impl Inner {
    fn stopping(&self) -> MutexGuard<'_, HashSet<(String, Stop)>> {
        self.stopping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client of the Engine, whether it answers or not.
    fn engine(&self) -> anyhow::Result<Docker> {
        Ok(Docker::connect_with_unix(
            &self.docker.socket,
            PATIENCE,
            API_DEFAULT_VERSION,
        )?)
    }

    /// After a while, true if something is to be asked again: the Engine did not answer, and somebody still wants to know.
    async fn waits_out(&self, error: &anyhow::Error) -> bool {
        if !is_away(error) || self.told.is_closed() {
            return false;
        }
        tokio::time::sleep(AGAIN).await;
        !self.told.is_closed()
    }

    async fn kill(&self, id: &str, stop: Stop) -> anyhow::Result<()> {
        let _slot = self.requests.acquire().await?;
        let engine = self.engine()?;
        let signal = match stop {
            Stop::Force => "SIGKILL".to_owned(),
            Stop::Ask => {
                let wanted = match engine.inspect_container(id, None).await {
                    Ok(container) => container.config.and_then(|config| config.stop_signal),
                    Err(error) if status(&error) == Some(404) => return Ok(()),
                    Err(error) => return Err(error.into()),
                };
                wanted
                    .filter(|signal| !signal.is_empty())
                    .unwrap_or_else(|| "SIGTERM".to_owned())
            }
        };
        let options = KillContainerOptionsBuilder::new().signal(&signal).build();
        match engine.kill_container(id, Some(options)).await {
            // It is gone, or does not run any more.
            Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
            result => Ok(result?),
        }
    }

    /// Takes its output, and then the container away.
    async fn remove(&self, task: &TaskId, id: &str) -> anyhow::Result<()> {
        let _slot = self.requests.acquire().await?;
        let engine = self.engine()?;
        if let Err(error) = self.keep_logs(&engine, task, id).await {
            if is_away(&error) {
                return Err(error);
            }
            tracing::warn!(task = %task.0, "its output cannot be kept: {error:#}");
        }
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match engine.remove_container(id, Some(options)).await {
            Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
            result => Ok(result?),
        }
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<String, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, told: Told) {
        // Whoever does not listen any more does not want to know.
        let _ = self.told.send(told);
    }
}

/// Whether the Engine did not answer: it does not run, or ended before it had answered. What was asked may have been done.
fn is_away(error: &anyhow::Error) -> bool {
    use bollard::errors::Error;
    matches!(
        error.downcast_ref(),
        Some(
            Error::IOError { .. }
                | Error::HyperResponseError { .. }
                | Error::HyperLegacyError { .. }
                | Error::RequestTimeoutError
                | Error::SocketNotFoundError(_)
        )
    )
}

/// The code of an answer that is an error.
fn status(error: &bollard::errors::Error) -> Option<u16> {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// What the Engine said, without its code.
fn said(error: &bollard::errors::Error) -> String {
    match error {
        bollard::errors::Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        bollard::errors::Error::DockerStreamError { error } => error.trim().to_owned(),
        error => error.to_string(),
    }
}
