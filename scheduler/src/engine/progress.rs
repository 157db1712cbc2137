//! Deployments, step by step, to their end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::tasks::brief;
use super::{Engine, Wish};
use crate::app::AppId;
use crate::deployment::{Deployment, Failure, Outcome, Past};
use crate::event::Event;
use crate::extension::{Extension, OnFailure};
use crate::keys;
use crate::limits;
use crate::plan::deployment::{Action, Kind};
use crate::plan::replace;
use crate::time::Timestamp;

/// How many ended deployments are kept.
const KEPT: usize = 200;

/// How long progress is not written again, at most.
const PAUSE: Duration = Duration::from_secs(1);

/// How many failures are told as the reason of one that is given up.
const FAILURES: usize = 8;

impl Engine {
    /// Goes on with every deployment whose step is done, and ends those that have stood still for too long.
    pub(super) fn advance(&mut self, now: Timestamp) {
        let better = std::mem::take(&mut self.better);
        for id in self.world.deployments.keys().cloned().collect::<Vec<_>>() {
            while self.step_is_done(&id) {
                self.next_step(&id, now);
            }
            self.measure(&id, &better, now);
            self.watch_progress(&id, now);
        }
    }

    fn step_is_done(&self, id: &str) -> bool {
        let Some(deployment) = self.world.deployments.get(id) else {
            return false;
        };
        let step = deployment.steps.get(deployment.current);
        step.is_none_or(|step| step.iter().all(|action| self.moves(&action.app).done))
    }

    /// A step is done; the next one begins, or the deployment has ended.
    fn next_step(&mut self, id: &str, now: Timestamp) {
        let Some(deployment) = self.world.deployments.get(id) else {
            return;
        };
        let mut deployment = deployment.as_ref().clone();
        if let Some(step) = deployment.steps.get(deployment.current) {
            for action in step.iter().filter(|action| action.kind == Kind::Stop) {
                self.erase(keys::launches(&action.app));
                self.world.launches.remove(&action.app);
                self.forget_versions(&action.app);
                self.tell(Event::app_terminated(now, &action.app));
            }
            self.tell(Event::step("deployment_step_success", now, &deployment, step));
        }
        deployment.current += 1;
        self.begin_step(deployment, now);
    }

    /// Begins the step that a deployment is at.
    pub(super) fn begin_step(&mut self, mut deployment: Deployment, now: Timestamp) {
        deployment.step_began = now;
        deployment.progress = now;
        deployment.nearest = None;
        deployment.rollouts.clear();
        let Some(step) = deployment.steps.get(deployment.current).cloned() else {
            return self.end(&deployment, Outcome::Done, now);
        };
        for action in &step {
            if action.kind == Kind::Restart {
                self.drop_waiting(&action.app);
            }
            if let (Kind::Restart, Some(app)) = (action.kind, self.world.apps.get(&action.app)) {
                let rollout = replace::begin(app.instances, app.upgrade, &self.seen(&action.app));
                deployment.rollouts.insert(action.app.clone(), rollout);
            }
            if action.kind != Kind::Scale {
                self.remember(&action.app, |launches| launches.pause = None);
            }
            self.dirty.insert(action.app.clone());
        }
        self.tell(Event::step("deployment_info", now, &deployment, &step));
        self.keep(deployment);
        for action in &step {
            self.probe_again(&action.app);
        }
    }

    /// Old ones that have no task go before the numbers of a roll are decided on: none that is new has to be well for that.
    fn drop_waiting(&mut self, app: &AppId) {
        let waiting = self.world.instances_of(app).filter(|one| !one.has_task());
        let old = waiting.filter(|one| !self.world.is_current(one));
        for id in old.map(|one| one.id.clone()).collect::<Vec<_>>() {
            self.remove(&id);
        }
    }

    fn keep(&mut self, deployment: Deployment) {
        self.write(keys::deployment(&deployment.id), &deployment);
        self.world.deployments.insert(deployment.id.clone(), deployment.into());
    }

    /// A deployment has ended.
    pub(super) fn end(&mut self, deployment: &Deployment, outcome: Outcome, now: Timestamp) {
        let has_failed = matches!(outcome, Outcome::Failed { .. });
        let reached = deployment.apps().map(|app| {
            let mut reached = self.world.reached(deployment, app);
            if has_failed && reached.failure.is_none() {
                // It will be gone before anybody can ask how it is.
                reached.failure = self.unwell(app, now);
            }
            (app.clone(), reached)
        });
        let reached = reached.collect();
        self.erase(keys::deployment(&deployment.id));
        self.world.deployments.remove(&deployment.id);
        let reason = match &outcome {
            Outcome::Done => None,
            Outcome::Failed { reason, .. } | Outcome::Cancelled { reason } => Some(reason.as_str()),
        };
        self.tell(Event::deployment_ended(now, deployment, reason));
        for app in deployment.apps() {
            if outcome == Outcome::Done
                && let Some(version) = self.world.apps.get(app).map(|app| app.version)
            {
                self.remember(app, |launches| launches.stable = Some(version));
            }
            self.dirty.insert(app.clone());
        }
        let past = Past {
            // How it was to be rolled is of no use any more.
            deployment: Deployment {
                rollouts: BTreeMap::new(),
                ..deployment.clone()
            },
            ended: now,
            outcome,
            reached,
        }
        .within(limits::DEPLOYMENT);
        let key = keys::past(now, &deployment.id);
        self.write(key.clone(), &past);
        self.world.past.insert(key[keys::PAST.len()..].into(), past.into());
        while self.world.past.len() > KEPT
            && let Some(oldest) = self.world.past.keys().next().cloned()
        {
            self.world.past.remove(&oldest);
            self.erase(format!("{}{oldest}", keys::PAST));
        }
    }

    /// Something of an app may have become better.
    pub(super) fn got_better(&mut self, app: &AppId) {
        self.better.insert(app.clone());
    }

    /// Whoever leads anew gives every deployment its whole time: nothing could become better while nobody led, and that
    /// what was well is so again has to be heard first.
    pub(super) fn begin_patience(&mut self, now: Timestamp) {
        for deployment in self.world.deployments.values().cloned().collect::<Vec<_>>() {
            self.keep(Deployment {
                progress: now,
                nearest: None,
                ..deployment.as_ref().clone()
            });
        }
    }

    /// Takes note if the step of a deployment is nearer to its end than it ever was: what is well for a moment, again and
    /// again, comes no nearer.
    fn measure(&mut self, id: &str, better: &BTreeSet<AppId>, now: Timestamp) {
        let Some(deployment) = self.world.deployments.get(id).cloned() else {
            return;
        };
        if !deployment.apps().any(|app| better.contains(app)) {
            return;
        }
        let distance = self.distance(&deployment);
        if deployment.nearest.is_some_and(|nearest| nearest <= distance) {
            return;
        }
        let is_due = deployment.nearest.is_none() || now >= deployment.progress + self.pause(&deployment);
        let nearer = Deployment {
            nearest: Some(distance),
            progress: if is_due { now } else { deployment.progress },
            ..deployment.as_ref().clone()
        };
        match is_due {
            true => self.keep(nearer),
            // The row is long, and is not written for every instance.
            false => drop(self.world.deployments.insert(id.into(), nearer.into())),
        }
    }

    /// What is still to become of the apps of a step: instances that have to go, to come, to be well and to be ready.
    fn distance(&self, deployment: &Deployment) -> u64 {
        let of = |action: &Action| {
            let target = match (action.kind, self.world.apps.get(&action.app)) {
                (Kind::Stop, _) | (_, None) => 0,
                (_, Some(app)) => app.instances,
            };
            let target = u64::from(target);
            let (mut there, mut well, mut ready, mut going) = (0_u64, 0_u64, 0_u64, 0_u64);
            for one in self.world.instances_of(&action.app) {
                if self.world.is_current(one) && one.is_wanted() {
                    there += 1;
                    well += u64::from(self.world.is_well(one));
                    ready += u64::from(self.world.is_ready(one));
                } else {
                    going += 1;
                }
            }
            going + there.abs_diff(target) + target.saturating_sub(well) + target.saturating_sub(ready)
        };
        deployment
            .steps
            .get(deployment.current)
            .into_iter()
            .flatten()
            .map(of)
            .sum()
    }

    /// How long progress is not written again.
    fn pause(&self, deployment: &Deployment) -> Duration {
        let patience = self.patience(deployment).map_or(PAUSE, |(patience, _)| patience / 4);
        patience.min(PAUSE)
    }

    /// How long a deployment may stand still in its present step, and what comes then.
    fn patience(&self, deployment: &Deployment) -> Option<(Duration, OnFailure)> {
        let step = deployment.steps.get(deployment.current)?;
        let apps = step.iter().filter_map(|action| self.world.apps.get(&action.app));
        let extensions = apps.filter_map(|app| Extension::of(&app.labels).ok());
        let patient = extensions.filter_map(|extension| Some((extension.progress_deadline?, extension.on_failure)));
        patient.min_by_key(|(deadline, _)| *deadline)
    }

    fn watch_progress(&mut self, id: &str, now: Timestamp) {
        let Some(deployment) = self.world.deployments.get(id).cloned() else {
            return;
        };
        let Some((patience, on_failure)) = self.patience(&deployment) else {
            return;
        };
        let until = deployment.progress + patience;
        if now < until {
            if let Some(app) = deployment.apps().next() {
                self.alarm(until, app);
            }
            return;
        }
        if on_failure == OnFailure::Wait {
            return;
        }
        let reason = self.why_it_stands_still(&deployment, patience, now);
        self.give_up(&deployment, reason, now);
    }

    /// What somebody would want to hear first.
    fn why_it_stands_still(&self, deployment: &Deployment, patience: Duration, now: Timestamp) -> String {
        let step = deployment.steps.get(deployment.current);
        let apps = step.into_iter().flatten().map(|action| &action.app);
        let failures = apps.filter_map(|app| self.ended_badly(app, deployment).or_else(|| self.unwell(app, now)));
        let failures = failures.map(|failure| format!("; {} {}: {}", failure.task, failure.state, failure.message));
        let failures: String = failures.take(FAILURES).collect();
        format!(
            "nothing became better for {}{failures}",
            kvapi::duration::format(patience)
        )
    }

    /// The last task of an app that has failed in a deployment's step.
    fn ended_badly(&self, app: &AppId, deployment: &Deployment) -> Option<Failure> {
        let failure = self.world.launches.get(app)?.failure.clone()?;
        (failure.at >= deployment.step_began).then_some(failure)
    }

    /// A task of an app that runs what is wanted and is not well.
    fn unwell(&self, app: &AppId, now: Timestamp) -> Option<Failure> {
        let mut current = self.world.instances_of(app).filter(|one| self.world.is_current(one));
        current.find_map(|one| {
            Some(Failure {
                task: one.task().0,
                state: one.state().into(),
                message: brief(format!("it is not healthy: {}", one.complaint()?)),
                host: one.host.clone(),
                version: one.version,
                at: now,
            })
        })
    }

    /// Puts back what was healthy before, of the apps that were there before.
    fn give_up(&mut self, deployment: &Deployment, reason: String, now: Timestamp) {
        let wishes = deployment.before.iter().filter_map(|(app, before)| {
            let stable = self.world.launches.get(app).and_then(|launches| launches.stable);
            let version = stable.or(*before)?;
            let former = self.world.versions.get(&(app.clone(), version))?;
            let is_other = self.world.apps.get(app).is_none_or(|now| now.version != version);
            is_other.then(|| (app.clone(), Wish::Former(former.as_ref().clone().into())))
        });
        let wishes: BTreeMap<AppId, Wish> = wishes.collect();
        let undoes = deployment.undoes.is_none() && !wishes.is_empty();
        let undone_by = undoes.then(|| (self.chance)());
        self.end(
            deployment,
            Outcome::Failed {
                reason,
                undone_by: undone_by.clone(),
            },
            now,
        );
        if let Some(id) = undone_by {
            self.undo(id, deployment, wishes, now);
        }
    }
}
