//! The time of one leader: its engine, and what it decides carried out.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kvapi::Client;
use kvapi::client::Consistency;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::lead::Place;
use super::prober::{Heard, Prober};
use super::writer::{Decided, Perform, Writer};
use super::{CallBox, Config, Leading, Role, now, secrets, with_cluster};
use crate::driver::{Driver, Gate};
use crate::engine::{Act, Engine};
use crate::hub::Hub;
use crate::keys;
use crate::world::World;

/// How many decisions may wait to be written. Behind them the engine waits too.
const DECIDED: usize = 64;

/// How many calls may wait for the engine.
const CALLS: usize = 256;

/// The longest wait when nothing is to be waited for.
const LONG: Duration = Duration::from_secs(3600);

/// See the module.
pub(super) struct Term {
    pub(super) client: Client,
    pub(super) config: Config,
    pub(super) hub: Hub,
    pub(super) session: String,
    /// Where what it starts is found again; `None` where nobody can say.
    pub(super) place: Option<Place>,
    /// Nothing is started when it is closed.
    pub(super) gate: Gate,
}

impl Term {
    /// Leads until the lock is lost.
    pub(super) async fn run(self, role: &watch::Sender<Role>) -> anyhow::Result<()> {
        let writer = Writer {
            client: self.client.clone(),
            session: self.session.clone(),
        };
        let world = self.load().await?;
        let (tell, mut told) = mpsc::unbounded_channel();
        let (heard, mut hears) = mpsc::unbounded_channel();
        let (tell_secrets, mut told_secrets) = mpsc::channel(1);
        let (calls, mut called) = mpsc::channel(CALLS);
        let (decided, to_write) = mpsc::channel(DECIDED);
        let (publish, published) = watch::channel(Arc::new(world.clone()));
        let settings = with_cluster(&self.client, self.config.driver.clone()).await?;
        let driver = Arc::new(Driver::behind(&self.gate, settings, tell)?);
        // As long as containers are known, nothing can be decided without their Engine.
        let found = match world.has_containers() {
            true => driver.find().await,
            false => driver.find_reachable().await,
        };
        let found = found.context("look for what runs")?;
        // Before anything is started there.
        if let Some(place) = &self.place
            && !writer.put(keys::PLACE, place).await?
        {
            return Ok(());
        }
        let chance = Box::new(|| uuid::Uuid::new_v4().to_string());
        let mut engine = Engine::new(world, self.config.engine.clone(), chance);
        let (known, since) = secrets::known(&self.client)
            .await
            .context("ask which secrets there are")?;
        engine.secrets(known);
        engine.found(found, now());
        let mut followers = JoinSet::new();
        followers.spawn(secrets::follow(self.client.clone(), since, tell_secrets));
        let performer = Performer {
            client: self.client.clone(),
            driver: Arc::clone(&driver),
            prober: Prober::new(Arc::clone(&driver), heard),
            hub: self.hub.clone(),
            world: publish,
        };
        let mut writing = std::pin::pin!(writer.run(to_write, performer));
        let mut answers = Vec::new();
        let mut is_told = false;
        loop {
            let turn = engine.turn(now());
            let is_news = turn.is_news || !turn.rows.is_empty() || !turn.acts.is_empty();
            if is_news || !answers.is_empty() || !is_told {
                let next = Decided {
                    turn,
                    answers: std::mem::take(&mut answers),
                    world: engine.world().clone(),
                };
                tokio::select! {
                    sent = decided.send(next) => anyhow::ensure!(sent.is_ok(), "nobody writes what is decided"),
                    ended = &mut writing => return ended,
                }
            }
            if !std::mem::replace(&mut is_told, true) {
                role.send_replace(Role::Leads(Leading {
                    world: published.clone(),
                    calls: calls.clone(),
                    driver: Arc::clone(&driver),
                }));
            }
            let wait = engine.deadline().map_or(LONG, |deadline| deadline.since(now()));
            tokio::select! {
                ended = &mut writing => return ended,
                Some(told) = told.recv() => engine.told(told, now()),
                Some(heard) = hears.recv() => hear(&mut engine, heard),
                Some(known) = told_secrets.recv() => engine.secrets(known),
                Some(CallBox(call)) = called.recv() => answers.push(call(&mut engine, now())),
                () = sleep(wait) => {}
            }
            // What else has come in is decided on together, and written together.
            while let Ok(told) = told.try_recv() {
                engine.told(told, now());
            }
            while let Ok(heard) = hears.try_recv() {
                hear(&mut engine, heard);
            }
        }
    }

    /// All that the store holds of ours. What somebody wants and nobody here can read must not be taken for unwanted: a newer
    /// scheduler may have written it, so then this one does not lead. What only tells of the past is left out.
    async fn load(&self) -> anyhow::Result<World> {
        let mut world = World::default();
        for prefix in [
            keys::APPS,
            keys::VERSIONS,
            keys::GROUPS,
            keys::DEPLOYMENTS,
            keys::PAST,
            keys::INSTANCES,
            keys::LAUNCHES,
            keys::SERVICES,
        ] {
            let list = self.client.list(prefix, Consistency::Consistent).await;
            for entry in list.with_context(|| format!("read {prefix}"))?.value {
                match world.load(&entry.key, &entry.value) {
                    Err(bad) if ![keys::PAST, keys::LAUNCHES].contains(&prefix) => return Err(bad.into()),
                    Err(bad) => tracing::error!("{bad}"),
                    Ok(()) => {}
                }
            }
        }
        Ok(world)
    }
}

fn hear(engine: &mut Engine, heard: Heard) {
    match heard {
        Heard::Health {
            instance,
            task,
            check,
            probe,
        } => engine.probed(&instance, &task, check, probe, now()),
        Heard::Readiness {
            instance,
            task,
            readiness,
        } => engine.ready(&instance, &task, readiness),
    }
}

/// Does what is decided.
struct Performer {
    client: Client,
    driver: Arc<Driver>,
    prober: Prober,
    hub: Hub,
    world: watch::Sender<Arc<World>>,
}

impl Perform for Performer {
    fn act(&mut self, act: Act) {
        match act {
            Act::Start(launch, wanted) => {
                let (task, again) = (launch.task.clone(), launch.again);
                let gathering = secrets::gather(self.client.clone(), *launch, wanted);
                self.driver.start_when(task, again, gathering);
            }
            Act::CallOff(task) => self.driver.call_off(&task),
            Act::Adopt { task, handle } => self.driver.adopt(task, &handle),
            Act::Stop { task, handle, stop } => self.driver.stop(&task, &handle, stop),
            Act::Forget { task, handle } => self.driver.forget(&task, &handle),
            Act::Probe(probing) => self.prober.ask(*probing),
            Act::Leave(instance) => self.prober.leave(&instance),
            Act::Tell(event) => self.hub.tell(event),
        }
    }

    fn publish(&mut self, world: Arc<World>) {
        self.world.send_replace(world);
    }
}
