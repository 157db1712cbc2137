//! What decides: what is asked, what drivers tell and what probes find goes in; what is to be written and done comes out.
//!
//! Nothing is done before what it rests on is written, and nobody is told before that. What has been written is enough to go
//! on from: a scheduler that dies anywhere leaves a world that the next one reads and plans from again.
//!
//! | room | what it holds |
//! | --- | --- |
//! | `change` | another wish: checked against what is under way, and made a deployment |
//! | `progress` | deployments, step by step, to their end |
//! | `moves` | instances begun and taken away |
//! | `launch` | instances that are wanted, started as soon as nothing is in the way |
//! | `tasks` | what drivers tell |
//! | `checks` | what probes find, and what counts for those that nobody asks |
//! | `registry` | who may be sent traffic |

pub mod change;
mod checks;
mod launch;
mod moves;
mod ports;
mod progress;
mod registry;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::Serialize;

use crate::app::{App, AppId, Protocol, service_ports};
use crate::constraints::Node;
use crate::driver::{Handle, Launch, Stop, TaskId};
use crate::event::Event;
use crate::instance::{Instance, InstanceId, Waiting};
use crate::keys;
use crate::time::Timestamp;
use crate::world::World;

pub use change::{Accepted, Denied, Edit, Proposal, VERSIONS, Wish, preview};

/// What an engine is told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of this machine, as tasks have it.
    pub host: String,
    /// Ports of this machine for tasks.
    pub ports: RangeInclusive<u16>,
    /// Service ports for those that ask for none.
    pub service_ports: RangeInclusive<u16>,
    /// What constraints look at, beside the name.
    pub attributes: BTreeMap<String, String>,
}

impl Settings {
    /// This machine, as constraints see it.
    #[must_use]
    pub fn node(&self) -> Node {
        let attribute = |name: &str| self.attributes.get(name).cloned();
        Node {
            hostname: self.host.clone(),
            region: attribute("region"),
            zone: attribute("zone"),
            attributes: self.attributes.clone(),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            ports: 21_000..=31_999,
            service_ports: service_ports::RANGE,
            attributes: BTreeMap::new(),
        }
    }
}

/// What is to be written, and what is to be done once it is.
#[derive(Debug, Default)]
pub struct Turn {
    /// Values by their keys; `None` deletes.
    pub rows: BTreeMap<String, Option<Vec<u8>>>,
    pub acts: Vec<Act>,
    /// Something is known that is not written, and that readers are to see.
    pub is_news: bool,
}

/// What is to be done.
#[derive(Debug)]
pub enum Act {
    /// Start a task, and give it what these keys of the store hold then.
    Start(Box<Launch>, Vec<Wanted>),
    /// What was told to start is not wanted any more. Unless it is too late for that it will be refused.
    CallOff(TaskId),
    Adopt {
        task: TaskId,
        handle: Handle,
    },
    Stop {
        task: TaskId,
        handle: Handle,
        stop: Stop,
    },
    Forget {
        task: TaskId,
        handle: Handle,
    },
    /// Ask how an instance is, from now on; in place of what was asked before.
    Probe(Box<Probing>),
    /// Ask no more.
    Leave(InstanceId),
    Tell(Event),
}

/// A secret that a task is to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub key: String,
    pub place: Place,
}

/// How it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A variable of this name.
    Variable(String),
    /// A file at this path.
    File(String),
}

/// What is asked of an instance.
#[derive(Debug, Clone)]
pub struct Probing {
    pub instance: Arc<Instance>,
    pub app: Arc<App>,
    /// Its readiness check too.
    pub readiness: bool,
    /// Its place in the interval, from 0 to 1.
    pub place: f64,
}

/// See the module.
pub struct Engine {
    world: World,
    settings: Settings,
    /// Gives a new UUID.
    chance: Box<dyn FnMut() -> String + Send>,
    /// Which instance a task is of.
    tasks: BTreeMap<TaskId, InstanceId>,
    ports: ports::Ports,
    /// The keys of secrets that have a value.
    secrets: BTreeSet<String>,
    /// How many have been probed: gives each its place.
    probed: u32,
    /// When to look at an app again.
    alarms: BTreeSet<(Timestamp, AppId)>,
    /// Apps to look at.
    dirty: BTreeSet<AppId>,
    /// Apps of which something may have become better.
    better: BTreeSet<AppId>,
    /// Tasks that are forced to end, and when again if nobody has told their end.
    forcing: BTreeMap<TaskId, (Handle, Timestamp)>,
    turn: Turn,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("world", &self.world)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Goes on from what is in the store. Tasks that run are told with [`Engine::found`] first.
    #[must_use]
    pub fn new(world: World, settings: Settings, mut chance: Box<dyn FnMut() -> String + Send>) -> Self {
        let tasks = world.instances.values().filter(|instance| instance.has_task());
        let tasks = tasks.map(|instance| (instance.task(), instance.id.clone())).collect();
        let mut ports = ports::Ports::new(settings.ports.clone(), first_port(&chance()));
        for instance in world.instances.values().filter(|instance| instance.has_task()) {
            let spec = world.spec(instance);
            let protocols: Vec<Protocol> = spec
                .iter()
                .flat_map(|app| app.ports())
                .map(|port| port.protocol)
                .collect();
            for (index, port) in instance.ports.iter().enumerate() {
                // Of what nobody knows any more, both.
                let protocol = protocols.get(index).copied().unwrap_or(Protocol::UdpTcp);
                ports.take(&instance.id, *port, protocol);
            }
        }
        Self {
            dirty: world
                .apps
                .keys()
                .chain(world.instances.keys().map(|id| &id.app))
                .cloned()
                .collect(),
            tasks,
            ports,
            secrets: BTreeSet::new(),
            probed: 0,
            alarms: BTreeSet::new(),
            better: BTreeSet::new(),
            forcing: BTreeMap::new(),
            turn: Turn::default(),
            chance,
            settings,
            world,
        }
    }

    /// What is known now. What of it is not written yet comes with the next turn.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// When [`Engine::turn`] is to be called at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        let alarm = self.alarms.first().map(|(at, _)| *at);
        self.forcing.values().map(|(_, at)| *at).chain(alarm).min()
    }

    /// These secrets have values now, by their keys. What waits for one is started.
    pub fn secrets(&mut self, keys: BTreeSet<String>) {
        self.secrets = keys;
        let waiting = self
            .world
            .instances
            .values()
            .filter(|instance| match &instance.waiting {
                Some(Waiting::Secret(key)) => self.secrets.contains(key),
                _ => false,
            });
        self.dirty.extend(waiting.map(|instance| instance.id.app.clone()));
    }

    /// What is to be written and done now, after all that was told since the last turn: it is decided on together.
    pub fn turn(&mut self, now: Timestamp) -> Turn {
        while let Some((_, app)) = self.alarms.first().filter(|(at, _)| *at <= now).cloned() {
            self.alarms.pop_first();
            self.dirty.insert(app);
        }
        self.force_again(now);
        self.settle(now);
        std::mem::take(&mut self.turn)
    }

    /// Looks at all that has changed until nothing changes any more.
    fn settle(&mut self, now: Timestamp) {
        loop {
            while let Some(app) = self.dirty.pop_first() {
                self.visit(&app, now);
            }
            self.advance(now);
            if self.dirty.is_empty() {
                return;
            }
        }
    }

    fn visit(&mut self, app: &AppId, now: Timestamp) {
        self.press(app, now);
        self.settle_in(app, now);
        self.plan(app, now);
        self.launch(app, now);
    }

    fn alarm(&mut self, at: Timestamp, app: &AppId) {
        self.alarms.insert((at, app.clone()));
    }

    /// Looks at an app again by then, unless that happens before anyway: whoever asks for it each time it is looked at
    /// would be called more and more often.
    fn alarm_by(&mut self, at: Timestamp, app: &AppId) {
        let mut sooner = self.alarms.iter().take_while(|(other, _)| *other <= at);
        if !sooner.any(|(_, other)| other == app) {
            self.alarm(at, app);
        }
    }

    fn act(&mut self, act: Act) {
        self.turn.acts.push(act);
    }

    fn tell(&mut self, event: Event) {
        self.act(Act::Tell(event));
    }

    fn write<T: Serialize>(&mut self, key: String, value: &T) {
        let value = serde_json::to_vec(value).expect("what is kept has a JSON form");
        self.turn.rows.insert(key, Some(value));
    }

    fn erase(&mut self, key: String) {
        self.turn.rows.insert(key, None);
    }

    /// An instance is as this says from now on.
    fn put(&mut self, instance: Instance) {
        let id = instance.id.clone();
        let before = self.world.instances.get(&id);
        let value = serde_json::to_vec(&instance).expect("an instance has a JSON form");
        let is_same = before.is_some_and(|before| serde_json::to_vec(before.as_ref()).is_ok_and(|old| old == value));
        if !is_same {
            self.turn.rows.insert(keys::instance(&id), Some(value));
        }
        self.world.instances.insert(id.clone(), Arc::new(instance));
        self.register(&id);
        self.dirty.insert(id.app);
    }

    /// Keeps what is known of an instance in memory alone: what has no row, or gets it with the next change, and is nothing to
    /// plan for.
    fn note(&mut self, instance: Instance) {
        self.world.instances.insert(instance.id.clone(), instance.into());
    }

    /// An instance is no more.
    fn remove(&mut self, id: &InstanceId) {
        if let Some(instance) = self.world.instances.remove(id) {
            self.ports.free(&instance.id);
            self.tasks.remove(&instance.task());
            self.erase(keys::instance(id));
        }
        self.register(id);
        self.dirty.insert(id.app.clone());
        // Others may have waited for its end.
        if let Some(deployment) = self.world.deployment_of(&id.app) {
            let waiting = deployment
                .waits_for
                .iter()
                .filter(|(_, before)| before.contains(&id.app));
            self.dirty.extend(waiting.map(|(app, _)| app.clone()));
        }
    }

    fn instance(&self, id: &InstanceId) -> Option<Instance> {
        self.world.instances.get(id).map(|instance| instance.as_ref().clone())
    }
}

/// Any number, of a UUID.
fn first_port(uuid: &str) -> usize {
    usize::from_str_radix(uuid.rsplit('-').next().unwrap_or_default(), 16).unwrap_or(0)
}

#[cfg(test)]
mod tests;
