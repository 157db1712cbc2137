//! Another wish: checked against what is under way, and made a deployment.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::Engine;
use crate::app::change::Change;
use crate::app::service_ports::{self, Exhausted};
use crate::app::{App, AppId};
use crate::deployment::{Deployment, Outcome};
use crate::event::Event;
use crate::instance::InstanceId;
use crate::keys;
use crate::limits;
use crate::plan::deployment::{Difference, Step, before_each, steps};
use crate::time::Timestamp;
use crate::world::{Group, World};

/// What is to become of an app.
#[derive(Debug, Clone, PartialEq)]
pub enum Wish {
    /// It is to be like this. Its version is given here.
    Is(Box<App>),
    /// It is to be again what it was: instances that still run that are kept.
    Former(Box<App>),
    /// All its instances are to be replaced.
    Restarted,
    Gone,
}

/// What somebody wants to be different.
#[derive(Debug, Clone, Default)]
pub struct Proposal {
    pub apps: BTreeMap<AppId, Wish>,
    /// `None` for one that is to be gone.
    pub groups: BTreeMap<AppId, Option<Group>>,
    /// Instances that go first, by name.
    pub sentenced: BTreeSet<InstanceId>,
    /// The deployment that this undoes.
    pub undoes: Option<String>,
    /// Why, as whoever asked for it says.
    pub message: Option<String>,
}

/// Makes a proposal of what is there now. Its error is for whoever asked.
pub type Edit<E> = Box<dyn FnOnce(&World, Timestamp) -> Result<Proposal, E> + Send>;

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub deployment: String,
    pub version: Timestamp,
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied<E> {
    /// Somebody else changes some of these apps just now.
    Locked {
        apps: Vec<AppId>,
        deployments: Vec<String>,
    },
    /// As many deployments as there may be are under way.
    TooMany,
    /// There is no service port left.
    NoPort(Exhausted),
    /// It is about so many apps that what is kept of it would be longer than the store takes.
    TooLarge {
        apps: usize,
        /// How long it would be, and how long it may be, in bytes.
        bytes: usize,
        most: usize,
    },
    Refused(E),
}

/// The most deployments at once.
const MOST: usize = 100;

/// How many versions of an app are kept.
pub const VERSIONS: usize = 50;

impl Engine {
    /// Changes what is wanted. With `force`, deployments that are in the way are cancelled.
    pub fn change<E>(&mut self, edit: Edit<E>, force: bool, now: Timestamp) -> Result<Accepted, Denied<E>> {
        let now = self.unique(now);
        let mut proposal = edit(&self.world, now).map_err(Denied::Refused)?;
        let range = self.settings.service_ports.clone();
        assign_ports(&self.world, &mut proposal, range).map_err(Denied::NoPort)?;
        let in_the_way: Vec<_> = self
            .world
            .deployments
            .values()
            .filter(|deployment| deployment.apps().any(|app| proposal.apps.contains_key(app)))
            .cloned()
            .collect();
        if !in_the_way.is_empty() && !force {
            let apps = in_the_way.iter().flat_map(|deployment| deployment.apps());
            let apps: BTreeSet<&AppId> = apps.filter(|app| proposal.apps.contains_key(*app)).collect();
            return Err(Denied::Locked {
                apps: apps.into_iter().cloned().collect(),
                deployments: in_the_way.iter().map(|deployment| deployment.id.clone()).collect(),
            });
        }
        if in_the_way.is_empty() && self.world.deployments.len() >= MOST {
            return Err(Denied::TooMany);
        }
        let id = (self.chance)();
        let draft = self.draft(id.clone(), proposal, now);
        let bytes = draft.deployment.most_bytes(|app| draft.instances(app));
        if bytes > limits::DEPLOYMENT {
            return Err(Denied::TooLarge {
                apps: draft.deployment.before.len(),
                bytes,
                most: limits::DEPLOYMENT,
            });
        }
        for deployment in in_the_way {
            let reason = format!("cancelled by deployment {id}");
            self.end(&deployment, Outcome::Cancelled { reason }, now);
        }
        self.accept(draft, now);
        Ok(Accepted {
            deployment: id,
            version: now,
        })
    }

    /// The same, to have an app with an image that was pushed. The next one who tells of that very push repeats it.
    pub fn change_for_push<E>(
        &mut self,
        app: &AppId,
        image: String,
        edit: Edit<E>,
        now: Timestamp,
    ) -> Result<Accepted, Denied<E>> {
        let accepted = self.change(edit, false, now)?;
        self.remember(app, |launches| launches.pushed = Some(image));
        Ok(accepted)
    }

    /// Ends a deployment and leaves everything as it is just now. Whether there was one.
    pub fn cancel(&mut self, id: &str, now: Timestamp) -> bool {
        let Some(deployment) = self.world.deployments.get(id).cloned() else {
            return false;
        };
        let reason = "cancelled by request".into();
        self.end(&deployment, Outcome::Cancelled { reason }, now);
        true
    }

    pub(super) fn undo(&mut self, id: String, deployment: &Deployment, apps: BTreeMap<AppId, Wish>, now: Timestamp) {
        let proposal = Proposal {
            apps,
            undoes: Some(deployment.id.clone()),
            ..Proposal::default()
        };
        let now = self.unique(now);
        let draft = self.draft(id, proposal, now);
        self.accept(draft, now);
    }

    /// A time that no version has yet: versions are told apart by it.
    fn unique(&self, now: Timestamp) -> Timestamp {
        let newest = self.world.versions.keys().map(|(_, version)| *version);
        let newest = newest
            .chain(self.world.deployments.values().map(|deployment| deployment.version))
            .max();
        newest.map_or(now, |newest| now.max(Timestamp(newest.0 + 1)))
    }

    /// What a proposal comes to.
    fn draft(&self, id: String, proposal: Proposal, now: Timestamp) -> Draft {
        let mut then = self.world.clone();
        for (group, wish) in &proposal.groups {
            match wish {
                Some(wish) => then.groups.insert(group.clone(), wish.clone().into()),
                None => then.groups.remove(group),
            };
        }
        let mut differences = BTreeMap::new();
        let mut before = BTreeMap::new();
        let mut apps = BTreeMap::new();
        for (app, wish) in proposal.apps {
            let old = self.world.apps.get(&app);
            let (difference, new) = stamp(old.map(AsRef::as_ref), wish, now);
            if difference == Difference::Nothing && old.map(AsRef::as_ref) == new.as_ref() {
                continue;
            }
            before.insert(app.clone(), old.map(|old| old.version));
            differences.insert(app.clone(), difference);
            match &new {
                Some(new) => then.apps.insert(app.clone(), new.clone().into()),
                None => then.apps.remove(&app),
            };
            apps.insert(app, new);
        }
        // Those whose instances are to go by name are changed, even if their number is not.
        for id in &proposal.sentenced {
            let app = then.apps.get(&id.app).map(|app| app.version);
            before.entry(id.app.clone()).or_insert(app);
            differences.entry(id.app.clone()).or_insert(Difference::Instances);
        }
        let gone = apps.iter().filter(|(_, new)| new.is_none());
        let gone: BTreeSet<AppId> = gone.map(|(app, _)| app.clone()).collect();
        let waits_for = match gone.len() {
            0 | 1 => BTreeMap::new(),
            _ => before_each(&gone, &self.world.dependencies()),
        };
        let deployment = Deployment {
            id,
            version: now,
            steps: steps(&differences, &then.dependencies()),
            current: 0,
            step_began: now,
            progress: now,
            nearest: None,
            rollouts: BTreeMap::new(),
            sentenced: proposal.sentenced,
            before,
            waits_for,
            undoes: proposal.undoes,
            message: proposal.message,
        };
        Draft {
            groups: proposal.groups,
            apps,
            deployment,
        }
    }

    fn accept(&mut self, draft: Draft, now: Timestamp) {
        for (group, wish) in draft.groups {
            self.change_group(&group, wish, now);
        }
        let mut changed = Vec::new();
        for (app, new) in draft.apps {
            match new {
                Some(new) => self.define(new),
                None => {
                    self.world.apps.remove(&app);
                    self.erase(keys::app(&app));
                }
            }
            changed.push(app);
        }
        self.tell(Event::group_change(now, &AppId::root(), now));
        self.begin_step(draft.deployment, now);
        for app in changed {
            self.probe_again(&app);
        }
    }

    /// An app is like this from now on.
    fn define(&mut self, app: App) {
        let json = app.to_json();
        self.write(keys::app(&app.id), &json);
        self.write(keys::version(&app.id, app.version), &json);
        let app = std::sync::Arc::new(app);
        self.world.versions.insert((app.id.clone(), app.version), app.clone());
        self.world.apps.insert(app.id.clone(), app.clone());
        self.forget_old_versions(&app.id);
    }

    /// Keeps the newest versions, and those that something still runs or may go back to.
    fn forget_old_versions(&mut self, app: &AppId) {
        let stable = self.world.launches.get(app).and_then(|launches| launches.stable);
        let run: BTreeSet<Timestamp> = self.world.instances_of(app).map(|instance| instance.version).collect();
        let old = self.world.versions_of(app).skip(VERSIONS).map(|(version, _)| version);
        let old = old.filter(|version| !run.contains(version) && stable != Some(*version));
        for version in old.collect::<Vec<_>>() {
            self.world.versions.remove(&(app.clone(), version));
            self.erase(keys::version(app, version));
        }
    }

    /// Nothing of an app is there any more, and nobody can go back to it.
    pub(super) fn forget_versions(&mut self, app: &AppId) {
        if self.world.apps.contains_key(app) {
            return;
        }
        let versions: Vec<Timestamp> = self.world.versions_of(app).map(|(version, _)| version).collect();
        for version in versions {
            self.world.versions.remove(&(app.clone(), version));
            self.erase(keys::version(app, version));
        }
    }

    fn change_group(&mut self, group: &AppId, wish: Option<Group>, now: Timestamp) {
        match wish {
            Some(wish) => {
                let wish = Group { version: now, ..wish };
                self.write(keys::group(group), &wish);
                self.world.groups.insert(group.clone(), wish.into());
            }
            None => {
                self.world.groups.remove(group);
                self.erase(keys::group(group));
            }
        }
    }
}

/// What a proposal comes to, before anything is changed.
struct Draft {
    groups: BTreeMap<AppId, Option<Group>>,
    /// Those that become others; `None` for one that goes.
    apps: BTreeMap<AppId, Option<App>>,
    deployment: Deployment,
}

impl Draft {
    /// How many instances an app is to have, if that is changed too.
    fn instances(&self, app: &AppId) -> u32 {
        let new = self.apps.get(app).and_then(Option::as_ref);
        new.map_or(0, |app| app.instances)
    }
}

/// Gives service ports to those that ask for some.
fn assign_ports(world: &World, proposal: &mut Proposal, range: RangeInclusive<u16>) -> Result<(), Exhausted> {
    let old = world
        .apps
        .iter()
        .map(|(id, app)| (id.clone(), app.as_ref().clone()))
        .collect();
    let changed = proposal.apps.iter().filter_map(|(id, wish)| match wish {
        Wish::Is(app) => Some((id.clone(), app.as_ref().clone())),
        Wish::Former(_) | Wish::Restarted | Wish::Gone => None,
    });
    let mut changed: BTreeMap<AppId, App> = changed.collect();
    service_ports::assign(&old, &mut changed, range)?;
    proposal
        .apps
        .extend(changed.into_iter().map(|(id, app)| (id, Wish::Is(app.into()))));
    Ok(())
}

/// The steps that a proposal would make.
#[must_use]
pub fn preview(world: &World, mut proposal: Proposal, now: Timestamp) -> Vec<Step> {
    // Which ports new ones would get does not matter: whoever had some keeps them. With none left it is refused later.
    let _ = assign_ports(world, &mut proposal, 1..=u16::MAX);
    let mut then = world.clone();
    let mut differences = BTreeMap::new();
    for (id, wish) in &proposal.apps {
        let (difference, new) = stamp(world.apps.get(id).map(AsRef::as_ref), wish.clone(), now);
        differences.insert(id.clone(), difference);
        match new {
            Some(new) => then.apps.insert(id.clone(), new.into()),
            None => then.apps.remove(id),
        };
    }
    for (id, group) in &proposal.groups {
        match group {
            Some(group) => then.groups.insert(id.clone(), group.clone().into()),
            None => then.groups.remove(id),
        };
    }
    steps(&differences, &then.dependencies())
}

/// What differs, and the app with the times of its version.
fn stamp(old: Option<&App>, wish: Wish, now: Timestamp) -> (Difference, Option<App>) {
    match (wish, old) {
        (Wish::Gone, _) => (Difference::Gone, None),
        (Wish::Restarted, None) => (Difference::Nothing, None),
        (Wish::Restarted, Some(old)) => {
            let new = old.clone().restarted(now);
            (rolled(&new), Some(new))
        }
        (Wish::Former(former), old) => {
            let new = App {
                version: now,
                ..*former
            };
            let difference = match old {
                None => Difference::New,
                // Instances that have its configuration are there still.
                Some(old) if old.last_config_change != new.last_config_change => rolled(&new),
                Some(old) if old.instances != new.instances => Difference::Instances,
                Some(_) => Difference::Nothing,
            };
            (difference, Some(new))
        }
        (Wish::Is(new), None) => {
            let new = new.stamped(None, Change::default(), now);
            (Difference::New, Some(new))
        }
        (Wish::Is(new), Some(old)) => {
            let change = Change::between(old, &new);
            let new = new.stamped(Some(old), change, now);
            let difference = match change {
                Change { config: true, .. } => rolled(&new),
                Change { instances: true, .. } => Difference::Instances,
                Change { .. } => Difference::Nothing,
            };
            (difference, Some(new))
        }
    }
}

fn rolled(app: &App) -> Difference {
    match app.instances {
        0 => Difference::ConfigOfNone,
        _ => Difference::Config,
    }
}
