//! What acts: who leads, the loop round the engine, what is written, what is asked of instances.
//!
//! | room | what it holds |
//! | --- | --- |
//! | `lead` | one of several schedulers leads, by a lock in the store |
//! | `term` | the time of one leader: its engine, and what it decides carried out |
//! | `end` | the end of everything that was started |
//! | `writer`, `batch` | what is decided, into the store, before it is done; in which transactions |
//! | `prober` | health and readiness checks |
//! | `secrets` | secrets that tasks are given |

pub(crate) mod batch;
mod end;
mod lead;
mod prober;
mod secrets;
mod term;
mod writer;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use kvapi::Client;
use tokio::sync::{mpsc, oneshot, watch};

pub use self::end::end_all;
use crate::driver;
use crate::engine::{self, Engine};
use crate::hub::Hub;
use crate::time::Timestamp;
use crate::world::World;

/// What a scheduler is told once.
#[derive(Debug, Clone)]
pub struct Config {
    pub engine: engine::Settings,
    pub driver: driver::Settings,
    /// Where its API is reached, for whoever asks another one.
    pub address: String,
}

/// Something to be done with the engine of whoever leads.
type Call = Box<dyn FnOnce(&mut Engine, Timestamp) -> Answer + Send>;

/// Given once what was decided is written.
type Answer = Box<dyn FnOnce() + Send>;

/// What a scheduler that leads gives to its API.
#[derive(Debug, Clone)]
pub struct Leading {
    world: watch::Receiver<Arc<World>>,
    calls: mpsc::Sender<CallBox>,
    pub(crate) driver: Arc<driver::Driver>,
}

struct CallBox(Call);

impl std::fmt::Debug for CallBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallBox")
    }
}

/// The scheduler stopped to lead before an answer was known: it may have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown;

impl Leading {
    /// All that is known, as it is written.
    #[must_use]
    pub fn world(&self) -> Arc<World> {
        self.world.borrow().clone()
    }

    /// Waits until the world is as is asked.
    pub async fn until(&self, mut is_so: impl FnMut(&World) -> bool) -> Result<(), Unknown> {
        let mut world = self.world.clone();
        let found = world.wait_for(|world| is_so(world)).await;
        found.map(drop).map_err(|_| Unknown)
    }

    /// Does something with the engine. The answer comes once what it decided is written.
    pub async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Engine, Timestamp) -> T + Send + 'static,
    ) -> Result<T, Unknown> {
        let (answer, answered) = oneshot::channel();
        let call: Call = Box::new(move |engine, now| {
            let told = call(engine, now);
            // Whoever asked may have gone away.
            Box::new(move || drop(answer.send(told)))
        });
        self.calls.send(CallBox(call)).await.map_err(|_| Unknown)?;
        answered.await.map_err(|_| Unknown)
    }
}

/// Who leads.
#[derive(Debug, Clone, Default)]
pub enum Role {
    /// Nobody is known to.
    #[default]
    Unknown,
    /// Another scheduler, at this address.
    Follows(String),
    Leads(Leading),
}

/// A scheduler that runs.
#[derive(Debug)]
pub struct Scheduler {
    role: watch::Receiver<Role>,
    hub: Hub,
    abdicate: mpsc::Sender<()>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Scheduler {
    /// Starts one. It leads as soon as nobody else does.
    #[must_use]
    pub fn start(client: Client, config: Config) -> Self {
        let hub = Hub::default();
        let (told, role) = watch::channel(Role::default());
        let (abdicate, abdicated) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(false);
        let lead = lead::Candidate::new(client, config, hub.clone(), told, abdicated, stopped);
        Self {
            role,
            hub,
            abdicate,
            stop,
            task: tokio::spawn(lead.run()),
        }
    }

    /// Who leads, now and from now on.
    #[must_use]
    pub fn role(&self) -> watch::Receiver<Role> {
        self.role.clone()
    }

    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Lets another one lead.
    pub fn abdicator(&self) -> mpsc::Sender<()> {
        self.abdicate.clone()
    }

    /// Stops in order: instances run on.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // A task that panicked has said so.
        let _ = self.task.await;
    }
}

/// The settings of a driver, which knows its containers by the cluster of the store, unless it is told another name.
async fn with_cluster(client: &Client, mut settings: driver::Settings) -> anyhow::Result<driver::Settings> {
    if let Some(docker) = settings.docker.as_mut().filter(|docker| docker.cluster.is_empty()) {
        let status = client.cluster_status().await.context("ask the store for its cluster")?;
        docker.cluster = status.cluster_id;
    }
    Ok(settings)
}

/// The present time, for the engine.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let millis = since.unwrap_or(Duration::ZERO).as_millis();
    Timestamp(u64::try_from(millis).unwrap_or(u64::MAX))
}
