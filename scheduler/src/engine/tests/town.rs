//! A world for an engine: a store, a driver and probes, in which time passes as the test says.
//!
//! What a task does is in its command: `good` runs and is healthy, `bad` ends with code 1, `ill` runs and never is
//! healthy, `missing` cannot be started, `hanging` is about to start for ever, `stubborn` is healthy and ends only when it is
//! forced, `slow` takes a second to end when it is asked, `brief` ends with code 1 as soon as it has been healthy.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{AppId, Command, Network, read};
use crate::deployment::{Outcome, Past};
use crate::driver::{End, Found, Handle, Refusal, Stop, TaskId, Told};
use crate::engine::{Accepted, Act, Denied, Engine, Probing, Proposal, Settings, Turn, Wanted, Wish};
use crate::event::Event;
use crate::health::Probe;
use crate::instance::{Instance, InstanceId};
use crate::run::batch::batches;
use crate::time::Timestamp;
use crate::world::World;

/// A task that runs.
#[derive(Debug, Clone)]
struct Task {
    does: String,
    handle: Handle,
    addresses: Vec<String>,
}

/// What is about to happen.
#[derive(Debug, Clone)]
enum Soon {
    Runs(TaskId),
    Refused(TaskId),
    CalledOff(TaskId),
    Ends(TaskId, End),
    Probed(InstanceId, TaskId, usize),
}

pub(super) struct Town {
    pub(super) engine: Engine,
    pub(super) now: Timestamp,
    pub(super) events: Vec<Event>,
    rows: BTreeMap<String, Vec<u8>>,
    there: BTreeMap<TaskId, Task>,
    started: BTreeSet<TaskId>,
    soon: VecDeque<Soon>,
    asked: BTreeMap<InstanceId, Probing>,
    /// `kill` and `start` of tasks, in order.
    pub(super) told: Vec<String>,
    /// What the last one that was started is to be given of secrets.
    pub(super) wanted: Vec<Wanted>,
    /// How many were forgotten after their end.
    pub(super) forgotten: usize,
    seed: u64,
    /// The scheduler dies when it has written so many of the next rows, and does nothing of what it decided.
    dies_writing: Option<usize>,
    /// The longest value that was ever written, in bytes.
    pub(super) longest: usize,
    /// What ends later.
    later: Vec<(Timestamp, TaskId)>,
}

fn ids(mut from: u64) -> Box<dyn FnMut() -> String + Send> {
    Box::new(move || {
        from += 1;
        format!("00000000-0000-4000-8000-{from:012}")
    })
}

impl Town {
    pub(super) fn new() -> Self {
        Self {
            engine: Engine::new(World::default(), Settings::default(), ids(0)),
            now: Timestamp(1_000_000),
            events: Vec::new(),
            rows: BTreeMap::new(),
            there: BTreeMap::new(),
            started: BTreeSet::new(),
            soon: VecDeque::new(),
            asked: BTreeMap::new(),
            told: Vec::new(),
            wanted: Vec::new(),
            forgotten: 0,
            seed: 0,
            dies_writing: None,
            longest: 0,
            later: Vec::new(),
        }
    }

    /// Wants an app to be like this.
    pub(super) fn put(&mut self, json: &Value) -> Accepted {
        let app = read::app(json, &AppId::root()).expect("a good app").app;
        self.propose([(app.id.clone(), Wish::Is(app.into()))], false)
            .expect("nothing is in the way")
    }

    pub(super) fn propose(
        &mut self,
        apps: impl IntoIterator<Item = (AppId, Wish)>,
        force: bool,
    ) -> Result<Accepted, Denied<()>> {
        let apps = apps.into_iter().collect();
        let proposal = Proposal {
            apps,
            ..Proposal::default()
        };
        self.now = self.now + Duration::from_millis(1);
        let done = self.engine.change(Box::new(move |_, _| Ok(proposal)), force, self.now);
        self.carry_out();
        done
    }

    pub(super) fn kill(&mut self, id: &InstanceId, wipe: bool) {
        self.engine.kill(std::slice::from_ref(id), wipe, self.now);
        self.carry_out();
    }

    /// These secrets have values, and no others.
    pub(super) fn secrets(&mut self, sources: &[&str]) {
        let keys = sources.iter().map(|source| format!("_keyway/secrets/{source}"));
        self.engine.secrets(keys.collect());
        self.carry_out();
    }

    /// A driver tells something.
    pub(super) fn tell(&mut self, told: Told) {
        self.engine.told(told, self.now);
        self.carry_out();
    }

    /// A task ends by itself.
    pub(super) fn dies(&mut self, id: &InstanceId) {
        let task = self.instance(id).task();
        self.soon.push_back(Soon::Ends(task, End::Exited(1)));
    }

    /// A task does something else from now on.
    pub(super) fn becomes(&mut self, id: &InstanceId, does: &str) {
        let task = self.instance(id).task();
        self.there.get_mut(&task).expect("it runs").does = does.into();
    }

    /// Writes and does what is decided.
    fn carry_out(&mut self) {
        let Turn { rows, acts, .. } = self.engine.turn(self.now);
        let dies = self.dies_writing.take().filter(|_| !rows.is_empty());
        let written = batches(rows, 1, 0).into_iter().flatten();
        for (key, value) in written.take(dies.unwrap_or(usize::MAX)) {
            self.longest = self.longest.max(value.as_ref().map_or(0, Vec::len));
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        if dies.is_some() {
            return self.fail_over();
        }
        for act in acts {
            self.act(act);
        }
    }

    /// The store forgets everything, as when another one is put in its place.
    pub(super) fn forget_all(&mut self) {
        self.rows.clear();
    }

    /// Everything that runs ends, each by itself.
    pub(super) fn end_all(&mut self) {
        let all = self.there.keys().cloned();
        self.soon.extend(all.map(|task| Soon::Ends(task, End::Signalled(9))));
    }

    /// See `dies_writing`.
    pub(super) fn die_writing(&mut self, rows: usize) {
        self.dies_writing = Some(rows);
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Start(launch, wanted) => {
                self.wanted = wanted;
                let is_new = self.started.insert(launch.task.clone());
                // A container has its task's name, so there is never a second one.
                assert!(is_new || launch.image.is_some(), "{} is started twice", launch.task.0);
                self.told.push(format!("start {}", launch.env["DOES"]));
                let does = launch.env["DOES"].clone();
                assert!(matches!(launch.command, Some(Command::Shell(_))));
                if does == "hanging" {
                    return;
                }
                if does == "missing" {
                    return self.soon.push_back(Soon::Refused(launch.task));
                }
                let pid = i32::try_from(self.started.len()).unwrap();
                let handle = Handle::Process { pid, started: 7 };
                let has_own = launch.network != Network::Host;
                let task = Task {
                    does,
                    handle,
                    addresses: has_own.then(|| "10.9.8.7".to_owned()).into_iter().collect(),
                };
                self.there.insert(launch.task.clone(), task);
                self.soon.push_back(Soon::Runs(launch.task));
            }
            Act::Stop { task, stop, handle } => {
                let Some(there) = self.there.get(&task) else { return };
                assert_eq!(there.handle, handle);
                if stop == Stop::Ask {
                    self.told.push(format!("kill {}", there.does));
                }
                match (stop, there.does.as_str()) {
                    (Stop::Ask, "stubborn") => {}
                    (Stop::Ask, "slow") => self.later.push((self.now + Duration::from_secs(1), task)),
                    _ => self.soon.push_back(Soon::Ends(task, End::Signalled(15))),
                }
            }
            Act::CallOff(task) if !self.there.contains_key(&task) => self.soon.push_back(Soon::CalledOff(task)),
            Act::CallOff(_) => {}
            Act::Adopt { task, .. } => assert!(self.there.contains_key(&task), "{} is not there", task.0),
            Act::Forget { task, .. } => {
                assert!(!self.there.contains_key(&task), "{} is still there", task.0);
                self.forgotten += 1;
            }
            Act::Probe(probing) => {
                for check in 0..probing.app.health_checks.len() {
                    let (id, task) = (probing.instance.id.clone(), probing.instance.task());
                    self.soon.push_back(Soon::Probed(id, task, check));
                }
                self.asked.insert(probing.instance.id.clone(), *probing);
            }
            Act::Leave(id) => drop(self.asked.remove(&id)),
            Act::Tell(event) => self.events.push(event),
        }
    }

    /// One of the things that are about to happen does, the first or the `nth`. Whether there was one.
    pub(super) fn step(&mut self, nth: usize) -> bool {
        let Some(soon) = self.soon.remove(nth.min(self.soon.len().saturating_sub(1))) else {
            return false;
        };
        self.now = self.now + Duration::from_millis(1);
        match soon {
            Soon::Runs(task) => {
                let Some(there) = self.there.get(&task).cloned() else {
                    return true;
                };
                let handle = there.handle.clone();
                let running = Told::Running {
                    task: task.clone(),
                    handle,
                    addresses: there.addresses.clone(),
                };
                self.engine.told(running, self.now);
                if there.does == "bad" {
                    self.soon.push_back(Soon::Ends(task, End::Exited(1)));
                }
            }
            Soon::Refused(task) => {
                let refusal = Refusal::Other("there is no such program".into());
                self.engine.told(Told::Refused { task, refusal }, self.now);
            }
            Soon::CalledOff(task) => {
                let refusal = Refusal::CalledOff;
                self.engine.told(Told::Refused { task, refusal }, self.now);
            }
            Soon::Ends(task, end) => {
                if self.there.remove(&task).is_some() {
                    let at = self.now;
                    self.engine.told(Told::Ended { task, end, at }, self.now);
                }
            }
            Soon::Probed(id, task, check) => {
                let does = self.there.get(&task).map(|there| there.does.as_str());
                let probe = match does {
                    Some("good" | "stubborn" | "slow" | "brief") => Probe::Good,
                    _ => Probe::Bad("500".into()),
                };
                if does == Some("brief") {
                    self.soon.push_back(Soon::Ends(task.clone(), End::Exited(1)));
                }
                self.engine.probed(&id, &task, check, probe, self.now);
            }
        }
        self.carry_out();
        true
    }

    /// Everything happens that is about to.
    pub(super) fn calm(&mut self) {
        for _ in 0..100_000 {
            if !self.step(0) {
                return;
            }
        }
        panic!("it never ends");
    }

    /// Time passes, and what happens in it happens.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.calm();
        loop {
            let later = self.later.iter().map(|(at, _)| *at);
            let next = self.engine.deadline().into_iter().chain(later).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            let now = self.now;
            let due = self.later.extract_if(.., |(at, _)| *at <= now);
            self.soon.extend(due.map(|(_, task)| Soon::Ends(task, End::Exited(0))));
            self.carry_out();
            self.calm();
        }
        self.now = self.now.max(end);
        self.carry_out();
        self.calm();
    }

    /// Everybody who is asked how they are is asked again.
    pub(super) fn probe_all(&mut self) {
        for probing in self.asked.values() {
            for check in 0..probing.app.health_checks.len() {
                let (id, task) = (probing.instance.id.clone(), probing.instance.task());
                self.soon.push_back(Soon::Probed(id, task, check));
            }
        }
    }

    /// The scheduler dies, with all that it knew and was told, and another one goes on from the store.
    pub(super) fn fail_over(&mut self) {
        let mut world = World::default();
        for (key, value) in &self.rows {
            world.load(key, value).expect("what was written is read");
        }
        self.seed += 1;
        self.engine = Engine::new(world, Settings::default(), ids(self.seed * 1_000_000));
        self.asked.clear();
        // What a dead scheduler was to be told is told to nobody; what ends, ends.
        let soon = std::mem::take(&mut self.soon);
        let mut found = Vec::new();
        for soon in soon {
            if let Soon::Ends(task, end) = soon
                && let Some(there) = self.there.remove(&task)
            {
                found.push(Found {
                    task,
                    handle: there.handle,
                    ended: Some(end),
                });
            }
        }
        found.extend(self.there.iter().map(|(task, there)| Found {
            task: task.clone(),
            handle: there.handle.clone(),
            ended: None,
        }));
        for (task, there) in &self.there {
            if there.does == "bad" {
                self.soon.push_back(Soon::Ends(task.clone(), End::Exited(1)));
            }
        }
        self.engine.found(found, self.now);
        self.carry_out();
    }

    pub(super) fn instance(&self, id: &InstanceId) -> Instance {
        self.engine.world().instances[id].as_ref().clone()
    }

    pub(super) fn instances(&self, app: &str) -> Vec<Instance> {
        let app = AppId::absolute(app).unwrap();
        self.engine
            .world()
            .instances_of(&app)
            .map(|instance| instance.as_ref().clone())
            .collect()
    }

    /// How many tasks of a kind there are.
    pub(super) fn count(&self, does: &str) -> usize {
        self.there.values().filter(|there| there.does == does).count()
    }

    /// How many tasks there are.
    pub(super) fn live(&self) -> usize {
        self.there.len()
    }

    /// How many instances are well, as the engine knows.
    pub(super) fn healthy(&self, app: &str) -> usize {
        let instances = self.instances(app);
        instances
            .iter()
            .filter(|one| one.is_wanted() && self.engine.world().is_well(one))
            .count()
    }

    pub(super) fn service_keys(&self) -> Vec<&String> {
        self.rows
            .keys()
            .filter(|key| key.starts_with("_keyway/services/"))
            .collect()
    }

    /// What is registered of an app's instances.
    pub(super) fn services(&self, app: &str) -> Vec<Value> {
        let prefix = format!("_keyway/services{app}/");
        let of_app = self.rows.iter().filter(|(key, _)| key.starts_with(&prefix));
        of_app
            .map(|(_, row)| serde_json::from_slice(row).expect("JSON"))
            .collect()
    }

    pub(super) fn outcome(&self, deployment: &str) -> Option<Outcome> {
        let past = self.engine.world().past.values();
        past.map(|past| past.as_ref().clone())
            .find(|past: &Past| past.deployment.id == deployment)
            .map(|past| past.outcome)
    }

    /// The kinds of the events so far, with their number.
    pub(super) fn kinds(&self) -> BTreeMap<&'static str, usize> {
        let mut kinds = BTreeMap::new();
        for event in &self.events {
            *kinds.entry(event.kind).or_default() += 1;
        }
        kinds
    }
}

/// An app with a health check whose tasks do this.
pub(super) fn app(does: &str, instances: u32) -> Value {
    json!({
        "id": "/web", "cmd": "./web", "instances": instances, "cpus": 0.1, "mem": 16,
        "env": { "DOES": does },
        "portDefinitions": [{ "port": 0, "name": "http" }],
        "healthChecks": [{ "protocol": "HTTP", "path": "/", "gracePeriodSeconds": 5, "intervalSeconds": 10 }],
    })
}
