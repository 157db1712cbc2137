//! Instances begun and taken away, as plans say.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Act, Engine};
use crate::app::{App, AppId};
use crate::deployment::Deployment;
use crate::driver::{GRACE, Handle, Stop, TaskId};
use crate::event::Event;
use crate::extension::Extension;
use crate::health::Health;
use crate::instance::{Goal, Instance, InstanceId, Stage, Why};
use crate::plan::deployment::Kind;
use crate::plan::{Condition, Moves, Seen, replace, scale};
use crate::time::Timestamp;

/// How many instances of an app may be on their way up: whoever wants a billion by mistake gets those that the machine
/// can carry, and not a scheduler without memory.
const MOST_COMING: usize = 2000;

/// What the agent in an instance, which forces its program itself when its grace is over, has to tell how that ended.
const TELLING: Duration = Duration::from_secs(1);

/// When what was forced to end and has not ended is forced again.
const FORCE_AGAIN: Duration = Duration::from_secs(30);

impl Engine {
    /// Makes the next moves of an app.
    pub(super) fn plan(&mut self, app: &AppId, now: Timestamp) {
        let moves = self.moves(app);
        for id in &moves.stop {
            self.stop(id, Why::NotWanted, now);
        }
        if let Some(spec) = self.world.apps.get(app).cloned() {
            let coming = self.world.instances_of(app).filter(|one| one.is_coming()).count();
            let room = MOST_COMING.saturating_sub(coming);
            for _ in 0..room.min(moves.start as usize) {
                self.begin(&spec, now);
            }
        }
    }

    /// What is safe to do with an app now.
    pub(super) fn moves(&self, app: &AppId) -> Moves {
        let seen = self.seen(app);
        let deployment = self.world.deployment_of(app);
        let kind = deployment
            .and_then(|deployment| deployment.action(app))
            .map(|action| action.kind);
        let Some(spec) = self.world.apps.get(app) else {
            // Nobody wants it any more. If somebody is about to say so step by step, it is not its turn yet, nor while
            // something is there that needs it.
            let is_needed = |deployment: &Deployment| {
                let mut others = deployment.waits_for.get(app).into_iter().flatten();
                others.any(|other| self.world.instances_of(other).next().is_some())
            };
            let is_due = deployment.is_none_or(|deployment| kind == Some(Kind::Stop) && !is_needed(deployment));
            let wanted = seen.iter().filter(|seen| seen.wanted && is_due);
            return Moves {
                stop: wanted.map(|seen| seen.id.clone()).collect(),
                start: 0,
                done: seen.is_empty(),
            };
        };
        let none = BTreeSet::new();
        let sentenced = deployment.map_or(&none, |deployment| &deployment.sentenced);
        let scaled = || {
            let mut moves = scale::moves(spec.instances, spec.kill_selection, sentenced, &[], &seen);
            moves.done &= deployment.is_none_or(|deployment| self.are_well(app, deployment.step_began));
            moves
        };
        match (deployment, kind) {
            (Some(_), Some(Kind::Scale)) | (None, _) => scaled(),
            (Some(deployment), Some(Kind::Restart)) => match deployment.rollouts.get(app) {
                Some(rollout) => replace::moves(spec.instances, spec.upgrade, *rollout, &seen),
                None => Moves::default(),
            },
            // One that was to be gone is still wanted: whoever decided so died before its definition was taken away.
            (Some(_), Some(Kind::Start | Kind::Stop)) => Moves {
                done: true,
                ..Moves::default()
            },
            // Its turn comes in another step.
            (Some(_), None) => Moves::default(),
        }
    }

    /// Whether all that began since are well.
    fn are_well(&self, app: &AppId, since: Timestamp) -> bool {
        let mut new = self.world.instances_of(app).filter(|instance| instance.since >= since);
        new.all(|instance| self.world.is_ready(instance))
    }

    /// The instances of an app, as plans see them.
    pub(super) fn seen(&self, app: &AppId) -> Vec<Seen> {
        let seen = |instance: &Instance| {
            let (condition, since) = match instance.stage {
                Stage::Scheduled => (Condition::Staging, instance.since),
                Stage::Staging { at } => (Condition::Staging, at),
                Stage::Running { at, .. } => (Condition::Running, at),
                Stage::Stopping { at, .. } => (Condition::Other, at),
            };
            Seen {
                id: instance.id.clone(),
                current: self.world.is_current(instance),
                wanted: instance.is_wanted(),
                healthy: self.world.is_ready(instance),
                unknown: self.world.is_unknown(instance),
                condition,
                since: since.0,
            }
        };
        self.world.instances_of(app).map(|instance| seen(instance)).collect()
    }

    /// One more instance.
    fn begin(&mut self, app: &App, now: Timestamp) {
        let id = InstanceId {
            app: app.id.clone(),
            uuid: (self.chance)(),
        };
        self.put(Instance {
            id,
            incarnation: 1,
            version: app.version,
            config: app.last_config_change,
            goal: Goal::Running,
            stage: Stage::Scheduled,
            host: self.settings.host.clone(),
            ports: Vec::new(),
            addresses: Vec::new(),
            since: now,
            proved: false,
            health: Health::default(),
            readiness: None,
            waiting: None,
        });
    }

    /// Takes the task of an instance away; with [`Why::NotWanted`] for good.
    pub(super) fn stop(&mut self, id: &InstanceId, why: Why, now: Timestamp) {
        let Some(mut instance) = self.instance(id) else { return };
        if why == Why::NotWanted {
            instance.goal = Goal::Stopped;
        }
        let (staged, running, handle) = match instance.stage.clone() {
            Stage::Scheduled if instance.goal == Goal::Stopped => return self.remove(id),
            Stage::Scheduled => return,
            // It is on its way already; whether it comes back may be decided anew.
            Stage::Stopping { .. } => return self.put(instance),
            Stage::Staging { at } => (at, None, None),
            Stage::Running { staged, at, handle } => (staged, Some(at), Some(handle)),
        };
        let handle_is_unknown = handle.is_none();
        instance.stage = Stage::Stopping {
            staged,
            running,
            handle,
            at: now,
            asked: None,
            forced: false,
            why,
        };
        self.act(Act::Leave(id.clone()));
        if handle_is_unknown {
            // It may have to wait for long, such as for an image.
            self.act(Act::CallOff(instance.task()));
        }
        self.tell(Event::status(now, &instance, "TASK_KILLING", ""));
        self.tell(Event::instance_changed(now, &instance, "Killing"));
        self.put(instance);
        // Not only when its app is looked at next: whoever forces it to end must have been asked for it.
        self.press(&id.app, now);
    }

    /// Asks what is stopping to stop once its load balancers have had their time, and forces it when its grace is over.
    pub(super) fn press(&mut self, app: &AppId, now: Timestamp) {
        let stopping = self.world.instances_of(app).filter(|instance| instance.is_stopping());
        for instance in stopping.cloned().collect::<Vec<_>>() {
            self.press_one(instance.as_ref().clone(), now);
        }
    }

    fn press_one(&mut self, mut instance: Instance, now: Timestamp) {
        let spec = self.world.spec(&instance);
        let extension = spec.and_then(|spec| Extension::of(&spec.labels).ok());
        let drain = extension.as_ref().filter(|_| instance.proved);
        let drain = drain.map_or(Duration::ZERO, |extension| extension.drain);
        let has_agent = extension.is_none_or(|extension| extension.agent.is_some());
        let telling = if has_agent { TELLING } else { Duration::ZERO };
        let grace = spec.and_then(|spec| spec.kill_grace);
        let grace = grace.map_or(GRACE, |grace| grace + telling);
        let task = instance.task();
        let app = instance.id.app.clone();
        let Stage::Stopping {
            handle: Some(handle),
            at,
            asked,
            forced,
            ..
        } = &mut instance.stage
        else {
            // It was told to start, and has not: it will be asked when it has.
            return;
        };
        let handle = handle.clone();
        let (stop, again) = match asked {
            None if now < *at + drain => (None, Some(*at + drain)),
            None => {
                *asked = Some(now);
                (Some(Stop::Ask), Some(now + grace))
            }
            Some(asked) if !*forced && now >= *asked + grace => {
                *forced = true;
                (Some(Stop::Force), None)
            }
            Some(asked) if !*forced => (None, Some(*asked + grace)),
            Some(_) => (None, None),
        };
        if let Some(again) = again {
            self.alarm(again, &app);
        }
        match stop {
            Some(Stop::Ask) => {
                self.put(instance);
                self.act(Act::Stop {
                    task,
                    handle,
                    stop: Stop::Ask,
                });
            }
            Some(Stop::Force) => {
                self.put(instance);
                self.force(task, handle, now);
            }
            None => {}
        }
    }

    fn force(&mut self, task: TaskId, handle: Handle, now: Timestamp) {
        self.forcing.insert(task.clone(), (handle.clone(), now + FORCE_AGAIN));
        let stop = Stop::Force;
        self.act(Act::Stop { task, handle, stop });
    }

    /// Who was forced and has not ended may not have been reached.
    pub(super) fn force_again(&mut self, now: Timestamp) {
        let due = self.forcing.iter().filter(|(_, (_, at))| *at <= now);
        let due: Vec<_> = due.map(|(task, (handle, _))| (task.clone(), handle.clone())).collect();
        for (task, handle) in due {
            self.force(task, handle, now);
        }
    }

    /// Ends a task that nobody knows.
    pub(super) fn end_stray(&mut self, task: TaskId, handle: Handle, now: Timestamp) {
        self.forcing.insert(task.clone(), (handle.clone(), now + GRACE));
        let stop = Stop::Ask;
        self.act(Act::Stop { task, handle, stop });
    }
}
