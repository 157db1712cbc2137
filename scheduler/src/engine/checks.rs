//! What probes find, and what counts for those that nobody asks.

use std::time::Duration;

use super::{Act, Engine, Probing};
use crate::app::AppId;
use crate::driver::TaskId;
use crate::event::{Event, check_json};
use crate::health::{Health, Moment, Probe, place};
use crate::instance::{Instance, InstanceId, Readiness, Why};
use crate::time::Timestamp;

/// How long what has no health checks must have run to count as well: what ends as soon as it is started never was.
const SETTLED: Duration = Duration::from_millis(500);

impl Engine {
    /// Instances without health checks are well from when they have run for a while.
    pub(super) fn settle_in(&mut self, app: &AppId, now: Timestamp) {
        let running = self.world.instances_of(app).filter(|instance| !instance.proved);
        for instance in running.cloned().collect::<Vec<_>>() {
            let is_asked = self.world.spec(&instance).is_none_or(|app| app.has_health());
            let since = instance.running_since().filter(|_| instance.is_running() && !is_asked);
            match since.map(|since| since + SETTLED) {
                Some(settled) if now < settled => self.alarm_by(settled, app),
                Some(_) => {
                    self.got_better(app);
                    self.put(Instance {
                        proved: true,
                        ..instance.as_ref().clone()
                    });
                }
                None => {}
            }
        }
    }

    /// A probe of the check `index` of a task has an answer.
    pub fn probed(&mut self, id: &InstanceId, task: &TaskId, index: usize, probe: Probe, now: Timestamp) {
        let Some(mut instance) = self.running(id, task) else {
            return;
        };
        let Some(app) = self.world.spec(&instance).cloned() else {
            return;
        };
        let Some(check) = app.health_checks.get(index) else {
            return;
        };
        let before = instance.health.is_healthy();
        let moment = Moment {
            now,
            running_since: instance.running_since().unwrap_or(now),
            proved: instance.proved,
        };
        let verdict = instance.health.take(index, check, probe, moment);
        let after = instance.health.is_healthy();
        let is_first = after == Some(true) && !instance.proved;
        instance.proved |= is_first;
        if verdict.failed {
            self.tell(Event::failed_check(now, &instance, &check_json(&app, check)));
        }
        if let Some(alive) = verdict.flipped {
            self.tell(Event::health(now, &instance, alive));
        }
        if before != after {
            self.tell(Event::instance_health(now, &instance));
        }
        if verdict.kill {
            let cause = instance
                .health
                .checks
                .get(index)
                .and_then(|check| check.last_cause.clone());
            self.tell(Event::unhealthy_kill(now, &instance, &cause.unwrap_or_default()));
        }
        self.turn.is_news |= !instance.proved && instance.lasting_complaint(now).is_some();
        if after == Some(true) && before != after {
            self.got_better(&id.app);
        }
        if before == after && !is_first && !verdict.kill {
            // Only times and counts: nothing to plan for.
            self.note(instance);
            return;
        }
        if is_first {
            // From now on it is asked at its own place in the interval.
            self.probe(&instance);
        }
        self.put(instance);
        if verdict.kill {
            self.stop(id, Why::Unhealthy, now);
        }
    }

    /// The readiness check of a task has an answer.
    pub fn ready(&mut self, id: &InstanceId, task: &TaskId, readiness: Readiness) {
        let Some(mut instance) = self.running(id, task) else {
            return;
        };
        let is_ready = readiness.ready;
        self.turn.is_news |= instance.readiness.as_ref() != Some(&readiness);
        instance.readiness = Some(readiness);
        if is_ready {
            self.got_better(&id.app);
        }
        self.put(instance);
    }

    /// Begins to ask how an instance is, or goes on with what its app says now.
    pub(super) fn probe(&mut self, instance: &Instance) {
        let Some(app) = self.world.spec(instance).cloned() else {
            return;
        };
        let is_asked = self.world.deployment_of(&app.id).is_some();
        let readiness = app.readiness_check.is_some() && is_asked;
        if !app.has_health() && !readiness {
            return;
        }
        self.probed += 1;
        let probing = Probing {
            instance: instance.clone().into(),
            app,
            readiness,
            place: place(self.probed),
        };
        self.act(Act::Probe(Box::new(probing)));
    }

    /// The checks of an app have changed, or a deployment begins: instances that run are asked anew.
    pub(super) fn probe_again(&mut self, app: &AppId) {
        let running = self.world.instances_of(app).filter(|instance| instance.is_running());
        for instance in running.cloned().collect::<Vec<_>>() {
            let mut instance = instance.as_ref().clone();
            let checks = self.world.spec(&instance).map_or(0, |app| app.health_checks.len());
            if instance.health.checks.len() != checks {
                instance.health = Health::unknown(checks);
            }
            self.probe(&instance);
            self.put(instance);
        }
    }

    /// An instance, if this is its task and it runs.
    fn running(&self, id: &InstanceId, task: &TaskId) -> Option<Instance> {
        let instance = self.instance(id)?;
        (instance.is_running() && instance.task() == *task).then_some(instance)
    }
}
