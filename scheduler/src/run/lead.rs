//! One of several schedulers leads, by a lock in the store.
//!
//! The lock's session has a time to live; whoever leads renews it, and every write of its checks it, so that one that
//! stood still and does not know that it is over can write nothing more.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::FutureExt as _;
use kvapi::client::{Consistency, WriteOptions};
use kvapi::lock::{Lock, SessionTerms};
use kvapi::{Client, Error};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::term::Term;
use super::{Config, Role};
use crate::driver::Gate;
use crate::hub::Hub;
use crate::keys;
use crate::world::World;

/// How long a session lives without being renewed, at least.
const TTL: Duration = Duration::from_secs(10);

/// Between two renewals, and two tries.
const PAUSE: Duration = Duration::from_secs(2);

/// How long one that lets another one lead waits before it tries again: the others hear at once that nobody does.
const AFTER_YOU: Duration = Duration::from_millis(500);

/// How long a wait for the lock's end takes at once.
const WAIT: Duration = Duration::from_secs(30);

/// What stands in the lock's key.
#[derive(Debug, Serialize, Deserialize)]
struct Leader {
    address: String,
    /// Which machine it is on, and which process: whoever is on the same one can see that it is dead.
    #[serde(default)]
    process: Option<Process>,
}

/// Where whoever leads has the folders of plain processes, by which they are found again. It outlives the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    machine: String,
    folder: PathBuf,
}

/// Why nobody can be said to lead, or this one cannot.
#[derive(Debug, thiserror::Error)]
enum Obstacle {
    #[error("the store does not say who leads: {0}")]
    Store(#[from] Error),
    #[error(
        "this scheduler cannot lead: plain processes run that one with --state-dir {} has started, and here they would not \
         be found and be started a second time; start it with that folder, or stop them first and delete the key {}",
        .0.display(), keys::PLACE
    )]
    Elsewhere(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Process {
    /// Of this start of the machine, and its space of processes.
    machine: String,
    pid: u32,
    /// When it began, in clock ticks since the machine's start.
    started: u64,
}

impl Process {
    fn this() -> Option<Self> {
        let pid = std::process::id();
        Some(Self {
            machine: machine()?,
            pid,
            started: started(pid)?,
        })
    }

    /// It was a process of this machine, and is there no more. Where nobody sees the processes of others, nobody knows.
    fn is_dead(&self) -> bool {
        let sees_others = started(1).is_some();
        sees_others
            && machine().is_some_and(|machine| machine == self.machine)
            && started(self.pid) != Some(self.started)
    }
}

fn machine() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let space = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), space.display()))
}

/// When a process began.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may have anything in it.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    // A zombie holds nothing any more.
    let state = fields.next()?;
    (state != "Z").then(|| fields.nth(18)?.parse().ok()).flatten()
}

/// One that leads as soon as nobody else does.
pub(super) struct Candidate {
    client: Client,
    config: Config,
    hub: Hub,
    role: watch::Sender<Role>,
    abdicated: mpsc::Receiver<()>,
    stopped: watch::Receiver<bool>,
    /// It has let another one lead.
    waits: bool,
}

impl Candidate {
    pub(super) fn new(
        client: Client,
        config: Config,
        hub: Hub,
        role: watch::Sender<Role>,
        abdicated: mpsc::Receiver<()>,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        Self {
            client,
            config,
            hub,
            role,
            abdicated,
            stopped,
            waits: false,
        }
    }

    pub(super) async fn run(mut self) {
        let mut said = None;
        let place = self.place();
        while !*self.stopped.borrow() {
            let mut stopped = self.stopped.clone();
            let tried = tokio::select! {
                tried = self.try_to_lead(place.as_ref()) => tried,
                () = is_stopped(&mut stopped) => return,
            };
            match tried {
                Ok(Some((session, asked))) => {
                    said = None;
                    self.lead(&session, asked, place.clone()).await;
                    self.role.send_replace(Role::Unknown);
                    let options = WriteOptions::default();
                    if let Err(error) = self.client.destroy_session(&session, &options).await {
                        tracing::warn!(%error, "the lock is given up by its time alone");
                    }
                    if std::mem::take(&mut self.waits) {
                        sleep(AFTER_YOU).await;
                    }
                }
                Ok(None) => said = None,
                Err(error) => {
                    let text = error.to_string();
                    if said.as_ref() != Some(&text) {
                        tracing::warn!("{text}");
                        said = Some(text);
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// The session with which it leads, and when it was asked for; `None` if somebody else led, and that has changed.
    async fn try_to_lead(&mut self, place: Option<&Place>) -> Result<Option<(String, Instant)>, Obstacle> {
        let options = WriteOptions::default();
        let found = self.client.get(keys::LEADER, Consistency::Default).await?;
        if let Some(entry) = found.value
            && let Some(holder) = entry.session
        {
            let leader: Option<Leader> = serde_json::from_slice(&entry.value).ok();
            if let Some(leader) = leader {
                if leader.process.as_ref().is_some_and(Process::is_dead) {
                    tracing::info!(address = leader.address, "the scheduler that led is dead");
                    self.client.destroy_session(&holder, &options).await?;
                    return Ok(None);
                }
                self.role.send_replace(Role::Follows(leader.address));
            }
            // Whoever is killed beside us is found dead within this time, and not only when its session ends.
            let wait = WAIT.min(PAUSE);
            self.client.get_blocking(keys::LEADER, entry.modify_index, wait).await?;
            return Ok(None);
        }
        if let Some(place) = place {
            self.refuse_elsewhere(place).await?;
        }
        let terms = SessionTerms {
            name: "keyway scheduler".into(),
            ttl: TTL,
            lock_delay: Duration::ZERO,
        };
        let asked = Instant::now();
        let session = self.client.create_session(&terms, &options).await?;
        let leader = Leader {
            address: self.config.address.clone(),
            process: Process::this(),
        };
        let value = serde_json::to_vec(&leader).expect("texts have a JSON form");
        let lock = Lock::Acquire(&session);
        let stored = self.client.store_locked(keys::LEADER, value, lock, &options).await;
        if let Ok(stored) = &stored
            && stored.done
        {
            return Ok(Some((session, asked)));
        }
        self.client.destroy_session(&session, &options).await?;
        Ok(stored.map(|_| None)?)
    }

    fn place(&self) -> Option<Place> {
        let folder = self.config.driver.folder.clone();
        let machine = machine()?;
        Some(Place { machine, folder })
    }

    /// Refuses to lead if processes may run that it would not find. With a start of the machine they have ended, and what
    /// runs on another one is not known here.
    async fn refuse_elsewhere(&self, here: &Place) -> Result<(), Obstacle> {
        let found = self.client.get(keys::PLACE, Consistency::Default).await?;
        let last = found
            .value
            .and_then(|entry| serde_json::from_slice::<Place>(&entry.value).ok());
        let Some(last) = last.filter(|last| last.machine == here.machine && last != here) else {
            return Ok(());
        };
        let (mut world, mut is_readable) = (World::default(), true);
        for prefix in [keys::APPS, keys::VERSIONS, keys::INSTANCES] {
            for entry in self.client.list(prefix, Consistency::Default).await?.value {
                is_readable &= world.load(&entry.key, &entry.value).is_ok();
            }
        }
        // What cannot be read may be about a process.
        match world.has_processes() || !is_readable {
            true => Err(Obstacle::Elsewhere(last.folder)),
            false => Ok(()),
        }
    }

    /// Leads until that is over.
    async fn lead(&mut self, session: &str, asked: Instant, place: Option<Place>) {
        // What was asked of an earlier term does not concern this one.
        while self.abdicated.try_recv().is_ok() {}
        let gate = Gate::default();
        gate.open_until(asked + TTL);
        let term = Term {
            client: self.client.clone(),
            config: self.config.clone(),
            hub: self.hub.clone(),
            session: session.into(),
            place,
            gate: gate.clone(),
        };
        let mut stopped = self.stopped.clone();
        tokio::select! {
            ended = AssertUnwindSafe(term.run(&self.role)).catch_unwind() => match ended.unwrap_or_else(|_| Err(bug())) {
                Ok(()) => tracing::warn!("this scheduler does not lead any more"),
                Err(error) => {
                    tracing::error!("this scheduler cannot lead: {error:#}");
                    sleep(PAUSE).await;
                    // Another one may be able to.
                    self.waits = true;
                }
            },
            () = renewed(&self.client, session, asked, &gate) => tracing::warn!("this scheduler does not lead any more: its session is over"),
            _ = self.abdicated.recv() => {
                tracing::info!("this scheduler lets another one lead");
                self.waits = true;
            }
            () = is_stopped(&mut stopped) => {}
        }
        // The next one looks at what runs, and nothing may come up behind its back.
        if !gate.close(TTL).await {
            tracing::warn!("something is still being started by a scheduler that does not lead any more");
        }
    }
}

/// What panicked has said so by itself.
fn bug() -> anyhow::Error {
    anyhow::anyhow!("this is a bug: please report what stands above")
}

/// Renews a session until it is over, or may be.
async fn renewed(client: &Client, session: &str, mut last: Instant, gate: &Gate) {
    loop {
        sleep(PAUSE).await;
        let asked = Instant::now();
        match timeout_at(last + TTL, client.renew_session(session)).await {
            Ok(Ok(true)) => {
                last = asked;
                gate.open_until(last + TTL);
            }
            Ok(Ok(false)) | Err(_) => return,
            Ok(Err(error)) => {
                tracing::info!(%error, "the session could not be renewed; trying again");
                if last.elapsed() > TTL {
                    return;
                }
            }
        }
    }
}

/// Waits for the stop. Whoever could ask for it and is gone has asked for it too.
async fn is_stopped(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
