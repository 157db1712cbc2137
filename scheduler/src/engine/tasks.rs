//! What drivers tell of tasks.

use std::collections::BTreeMap;

use super::{Act, Engine};
use crate::app::AppId;
use crate::app::ports::HostPort;
use crate::backoff::Pause;
use crate::deployment::{Failure, Launches};
use crate::driver::{End, Found, Handle, Refusal, TaskId, Told};
use crate::event::Event;
use crate::health::Health;
use crate::instance::{Instance, InstanceId, Stage, Waiting, Why, ended};
use crate::keys;
use crate::limits;
use crate::plan::deployment::Kind;
use crate::time::Timestamp;

/// The beginning of what may be as long as a program likes.
pub(super) fn brief(mut message: String) -> String {
    if message.len() > limits::MESSAGE {
        message.truncate(message.floor_char_boundary(limits::MESSAGE));
        message.push('…');
    }
    message
}

impl Engine {
    /// What drivers have found at the beginning: tasks that run are adopted, those that ended meanwhile have ended, and
    /// those that nobody knows are stopped.
    pub fn found(&mut self, found: Vec<Found>, now: Timestamp) {
        let mut there: BTreeMap<TaskId, Found> = found.into_iter().map(|found| (found.task.clone(), found)).collect();
        let known = self.world.instances.values().filter(|instance| instance.has_task());
        for instance in known.cloned().collect::<Vec<_>>() {
            let task = instance.task();
            let found = there.remove(&task);
            let is_unstarted = found.as_ref().is_none_or(|found| found.ended == Some(End::Unstarted));
            if is_unstarted && self.start_again(&instance) {
                continue;
            }
            match found {
                Some(Found {
                    handle, ended: None, ..
                }) => {
                    self.act(Act::Adopt {
                        task: task.clone(),
                        handle: handle.clone(),
                    });
                    self.ask_anew(&instance.id);
                    self.runs(&task, handle, instance.addresses.clone(), now);
                }
                Some(Found {
                    handle,
                    ended: Some(end),
                    ..
                }) => {
                    self.hold(&task, handle);
                    self.ended(&task, &end, now);
                }
                // It was told to start, and nothing of it is there: whoever told it died before it did.
                None => self.ended(&task, &End::Gone, now),
            }
        }
        for (task, Found { handle, ended, .. }) in there {
            match ended {
                Some(_) => self.act(Act::Forget { task, handle }),
                None => {
                    self.act(Act::Adopt {
                        task: task.clone(),
                        handle: handle.clone(),
                    });
                    self.end_stray(task, handle, now);
                }
            }
        }
        for app in self.world.apps.keys().cloned().collect::<Vec<_>>() {
            self.probe_again(&app);
        }
        for id in self.world.services.keys().cloned().collect::<Vec<_>>() {
            self.register(&id);
        }
        self.begin_patience(now);
    }

    /// Tells a driver once more to start a task that may be about to start: of a container, which has its task's name, there
    /// is never a second one.
    fn start_again(&mut self, instance: &Instance) -> bool {
        let is_staging = instance.is_wanted() && matches!(instance.stage, Stage::Staging { .. });
        let spec = self.world.spec(instance).filter(|app| app.image().is_some());
        let Some(app) = spec.filter(|_| is_staging).cloned() else {
            return false;
        };
        self.start(&app, instance, true);
        true
    }

    /// A driver tells something.
    pub fn told(&mut self, told: Told, now: Timestamp) {
        match told {
            Told::Running {
                task,
                handle,
                addresses,
            } => self.runs(&task, handle, addresses, now),
            Told::Ended { task, end, .. } => {
                let forced = self.forcing.remove(&task);
                match forced.filter(|_| self.of(&task).is_none()) {
                    Some((handle, _)) => self.act(Act::Forget { task, handle }),
                    None => self.ended(&task, &end, now),
                }
            }
            Told::Refused { task, refusal } => self.refused(&task, &refusal, now),
            Told::Preparing { task, what } => self.prepares(&task, what),
        }
    }

    /// A task will come later, and why.
    fn prepares(&mut self, task: &TaskId, what: String) {
        let staging = self
            .of(task)
            .filter(|instance| matches!(instance.stage, Stage::Staging { .. }));
        if let Some(mut instance) = staging {
            instance.waiting = Some(Waiting::Preparing(what));
            self.note(instance);
            self.turn.is_news = true;
        }
    }

    fn of(&self, task: &TaskId) -> Option<Instance> {
        let id = self.tasks.get(task)?;
        self.instance(id).filter(|instance| instance.task() == *task)
    }

    /// A task is there.
    fn runs(&mut self, task: &TaskId, handle: Handle, addresses: Vec<String>, now: Timestamp) {
        let Some(mut instance) = self.of(task) else {
            // Nobody wants it any more.
            return self.end_stray(task.clone(), handle, now);
        };
        instance.addresses = addresses;
        instance.waiting = None;
        match &mut instance.stage {
            Stage::Staging { at } => {
                instance.stage = Stage::Running {
                    staged: *at,
                    at: now,
                    handle,
                };
                let app = self.world.spec(&instance).cloned();
                let checks = app.as_ref().map_or(0, |app| app.health_checks.len());
                instance.health = Health::unknown(checks);
                instance.proved = false;
                self.tell(Event::status(now, &instance, "TASK_RUNNING", ""));
                self.tell(Event::instance_changed(now, &instance, "Running"));
                self.probe(&instance);
                self.put(instance);
            }
            Stage::Stopping { handle: known, .. } => {
                *known = Some(handle);
                self.put(instance);
            }
            Stage::Running { handle: known, .. } => {
                *known = handle;
                self.put(instance);
            }
            Stage::Scheduled => {}
        }
    }

    /// Whether one that is being stopped was asked is written before it is done, so whoever wrote it may have died before:
    /// it is asked again, and has its grace again.
    fn ask_anew(&mut self, id: &InstanceId) {
        let Some(mut instance) = self.instance(id) else { return };
        if let Stage::Stopping { asked, forced, .. } = &mut instance.stage {
            (*asked, *forced) = (None, false);
            self.note(instance);
        }
    }

    /// Where a task is, so that what it left can be removed.
    fn hold(&mut self, task: &TaskId, handle: Handle) {
        if let Some(mut instance) = self.of(task) {
            match &mut instance.stage {
                Stage::Staging { at } => {
                    let at = *at;
                    instance.stage = Stage::Running { staged: at, at, handle };
                }
                // It was called off, and had been started all the same.
                Stage::Stopping { handle: unknown, .. } => *unknown = Some(handle),
                Stage::Scheduled | Stage::Running { .. } => {}
            }
            self.note(instance);
        }
    }

    /// A task has ended.
    fn ended(&mut self, task: &TaskId, end: &End, now: Timestamp) {
        let Some(instance) = self.of(task) else { return };
        let why = match instance.stage {
            Stage::Stopping { why, .. } => Some(why),
            Stage::Scheduled | Stage::Staging { .. } | Stage::Running { .. } => None,
        };
        let (state, condition, message) = ended(end, why, instance.health.complaint());
        self.tell(Event::status(now, &instance, state, &message));
        self.tell(Event::instance_changed(now, &instance, condition));
        self.act(Act::Leave(instance.id.clone()));
        // An agent that was killed has left its report, and no other one will have its name.
        self.erase(keys::agent(task));
        if let Some(handle) = instance.handle() {
            let (task, handle) = (task.clone(), handle.clone());
            self.act(Act::Forget { task, handle });
        }
        // One that nobody saw start has not failed: whoever was to start it died before that.
        let is_unstarted = matches!(end, End::Gone | End::Unstarted) && matches!(instance.stage, Stage::Staging { .. });
        if !is_unstarted && !matches!(why, Some(Why::NotWanted | Why::Asked)) {
            self.failed(&instance, state, message, now);
        }
        if instance.is_wanted() && !self.is_replaced(&instance) && self.world.apps.contains_key(&instance.id.app) {
            self.again(instance, None, now);
        } else {
            self.got_better(&instance.id.app);
            self.remove(&instance.id);
        }
    }

    /// A task could not be started.
    fn refused(&mut self, task: &TaskId, refusal: &Refusal, now: Timestamp) {
        let Some(instance) = self.of(task) else { return };
        let message = brief(refusal.to_string());
        let state = match refusal {
            Refusal::CalledOff => "TASK_KILLED",
            _ => "TASK_FAILED",
        };
        self.tell(Event::status(now, &instance, state, &message));
        self.act(Act::Leave(instance.id.clone()));
        if !instance.is_wanted() {
            return self.remove(&instance.id);
        }
        let waiting = match refusal {
            // Another one is tried at once, and this one as late as possible.
            Refusal::PortTaken(port) if !self.must_have(&instance, *port) => None,
            Refusal::PortTaken(port) => Some(Waiting::PortTaken(*port)),
            Refusal::CalledOff => None,
            Refusal::Image { .. } | Refusal::Other(_) => {
                self.failed(&instance, "TASK_FAILED", message.clone(), now);
                Some(Waiting::Refused(message))
            }
        };
        self.again(instance, waiting, now);
    }

    /// Whether an app names this port of the host itself.
    fn must_have(&self, instance: &Instance, port: u16) -> bool {
        let app = self.world.spec(instance);
        app.is_some_and(|app| app.ports().iter().any(|one| one.host == HostPort::Fixed(port)))
    }

    /// An instance needs another task.
    fn again(&mut self, mut instance: Instance, waiting: Option<Waiting>, now: Timestamp) {
        self.tasks.remove(&instance.task());
        self.ports.free(&instance.id);
        // What it is to run may have changed meanwhile, and it may as well run that.
        if let Some(app) = self
            .world
            .apps
            .get(&instance.id.app)
            .filter(|_| self.world.is_current(&instance))
        {
            instance.version = app.version;
        }
        instance.incarnation += 1;
        instance.stage = Stage::Scheduled;
        instance.ports = Vec::new();
        instance.addresses = Vec::new();
        instance.proved = false;
        instance.health = Health::default();
        instance.readiness = None;
        instance.since = now;
        instance.waiting = waiting;
        self.put(instance);
    }

    /// One that was to run on has failed: the next start waits.
    fn failed(&mut self, instance: &Instance, state: &str, message: String, now: Timestamp) {
        let Some(app) = self.world.spec(instance).cloned() else {
            return;
        };
        let failure = Failure {
            task: instance.task().0,
            state: state.into(),
            message: brief(message),
            host: instance.host.clone(),
            version: instance.version,
            at: now,
        };
        let began = instance.staged_at().unwrap_or(now);
        self.remember(&app.id, |launches| {
            // What was there already when another failed has failed with it: a hundred that end together, when their
            // machine is started anew or what they all need goes away, are one failure.
            let with_another = launches.failure.as_ref().is_some_and(|failure| began < failure.at);
            let pause = launches.pause.as_ref();
            launches.pause = Some(
                match pause.filter(|pause| with_another && pause.holds(instance.config, app.backoff, now)) {
                    Some(pause) => Pause {
                        from: now,
                        ..pause.clone()
                    },
                    None => Pause::after_failure(pause, instance.config, app.backoff, now),
                },
            );
            launches.failure = Some(failure);
        });
    }

    /// Changes what is remembered of the starts of an app.
    pub(super) fn remember(&mut self, app: &AppId, change: impl FnOnce(&mut Launches)) {
        let before = self.world.launches.get(app);
        let mut launches = before.map(|launches| launches.as_ref().clone()).unwrap_or_default();
        let old = launches.clone();
        change(&mut launches);
        if launches != old {
            self.write(keys::launches(app), &launches);
            self.world.launches.insert(app.clone(), launches.into());
        }
    }

    /// Whether another configuration takes an instance's place just now: it is not started again then.
    pub(super) fn is_replaced(&self, instance: &Instance) -> bool {
        !self.world.is_current(instance) && matches!(self.kind(&instance.id.app), Some(Kind::Restart))
    }

    /// What a deployment does with an app just now.
    pub(super) fn kind(&self, app: &AppId) -> Option<Kind> {
        let deployment = self.world.deployment_of(app)?;
        deployment.action(app).map(|action| action.kind)
    }

    /// Ends tasks by name. They come back, unless they are wiped: then others come in their place.
    pub fn kill(&mut self, ids: &[InstanceId], wipe: bool, now: Timestamp) {
        for id in ids {
            self.stop(id, if wipe { Why::NotWanted } else { Why::Asked }, now);
        }
    }

    /// Forgets the pause of an app. Whether it had something that waits.
    pub fn forget_pause(&mut self, app: &AppId) -> bool {
        let waits = self
            .world
            .instances_of(app)
            .any(|instance| instance.stage == Stage::Scheduled);
        if waits {
            self.remember(app, |launches| launches.pause = None);
            self.dirty.insert(app.clone());
        }
        waits
    }
}
