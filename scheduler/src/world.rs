//! All that is known: what is wanted, what runs, what is under way. Clones share what they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::{App, AppId, read};
use crate::deployment::{Deployment, Launches, Past, Reached};
use crate::instance::{Instance, InstanceId};
use crate::keys;
use crate::time::Timestamp;

/// How long a UUID is: what stands under another name is somebody else's.
const UUID: usize = 36;

/// What a group is, beside the apps in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    #[serde(default)]
    pub dependencies: BTreeSet<AppId>,
    pub version: Timestamp,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// As they are to be.
    pub apps: OrdMap<AppId, Arc<App>>,
    /// All that they were and are.
    pub versions: OrdMap<(AppId, Timestamp), Arc<App>>,
    pub groups: OrdMap<AppId, Arc<Group>>,
    pub instances: OrdMap<InstanceId, Arc<Instance>>,
    /// Under way, by their ids.
    pub deployments: OrdMap<String, Arc<Deployment>>,
    /// Ended, by the end of their key: the newest are last.
    pub past: OrdMap<String, Arc<Past>>,
    pub launches: OrdMap<AppId, Arc<Launches>>,
    /// What is registered, as it is written.
    pub services: OrdMap<InstanceId, Arc<[u8]>>,
}

impl World {
    /// The instances of an app.
    pub fn instances_of<'a>(&'a self, app: &'a AppId) -> impl Iterator<Item = &'a Arc<Instance>> {
        let first = InstanceId {
            app: app.clone(),
            uuid: String::new(),
        };
        let from = self.instances.range(first..);
        from.take_while(move |(id, _)| id.app == *app)
            .map(|(_, instance)| instance)
    }

    /// The versions of an app, the newest first.
    pub fn versions_of<'a>(&'a self, app: &'a AppId) -> impl Iterator<Item = (Timestamp, &'a Arc<App>)> {
        let range = (app.clone(), Timestamp(0))..=(app.clone(), Timestamp(u64::MAX));
        self.versions
            .range(range)
            .rev()
            .map(|((_, version), app)| (*version, app))
    }

    /// What an instance runs, or is to run.
    #[must_use]
    pub fn spec(&self, instance: &Instance) -> Option<&Arc<App>> {
        let app = self.apps.get(&instance.id.app);
        // What differs since concerns no instance: the newest labels and checks count.
        let app = app.filter(|app| app.last_config_change == instance.config);
        app.or_else(|| self.versions.get(&(instance.id.app.clone(), instance.version)))
    }

    /// Whether any task is a container, or is about to be one.
    #[must_use]
    pub fn has_containers(&self) -> bool {
        self.has_tasks(|app| app.image().is_some())
    }

    /// Whether any task is a plain process, or is about to be one.
    #[must_use]
    pub fn has_processes(&self) -> bool {
        self.has_tasks(|app| app.image().is_none())
    }

    fn has_tasks(&self, of: impl Fn(&App) -> bool) -> bool {
        let mut tasks = self.instances.values().filter(|instance| instance.has_task());
        tasks.any(|instance| self.spec(instance).is_some_and(|app| of(app)))
    }

    /// Whether an instance has the newest configuration of its app.
    #[must_use]
    pub fn is_current(&self, instance: &Instance) -> bool {
        let app = self.apps.get(&instance.id.app);
        app.is_some_and(|app| app.last_config_change == instance.config)
    }

    /// Whether an instance counts as well: it runs, and all that is asked says so. One that nobody asks has run for a while.
    #[must_use]
    pub fn is_well(&self, instance: &Instance) -> bool {
        let Some(app) = self.spec(instance) else {
            return false;
        };
        let is_healthy = match app.has_health() {
            true => instance.health.is_healthy() == Some(true),
            false => instance.proved,
        };
        instance.is_running() && is_healthy
    }

    /// Whether it is well, and ready where somebody asks for that.
    #[must_use]
    pub fn is_ready(&self, instance: &Instance) -> bool {
        let asks = self.spec(instance).is_some_and(|app| app.readiness_check.is_some());
        let is_ready = !asks || instance.readiness.as_ref().is_some_and(|readiness| readiness.ready);
        self.is_well(instance) && is_ready
    }

    /// Whether it was well once, runs, and has not said since this scheduler leads how it is.
    #[must_use]
    pub fn is_unknown(&self, instance: &Instance) -> bool {
        let asks = self.spec(instance).is_some_and(|app| app.readiness_check.is_some());
        let is_told = instance.health.is_healthy().is_some() && (!asks || instance.readiness.is_some());
        instance.is_running() && instance.proved && !is_told
    }

    /// The deployment that keeps an app for itself.
    #[must_use]
    pub fn deployment_of(&self, app: &AppId) -> Option<&Arc<Deployment>> {
        self.deployments
            .values()
            .find(|deployment| deployment.before.contains_key(app))
    }

    /// How far a deployment is with an app.
    #[must_use]
    pub fn reached(&self, deployment: &Deployment, app: &AppId) -> Reached {
        let new = |instance: &&Arc<Instance>| self.is_current(instance);
        let failure = self.launches.get(app).and_then(|launches| launches.failure.clone());
        Reached {
            target: self.apps.get(app).map_or(0, |app| app.instances),
            old: self.instances_of(app).filter(|one| !new(one)).count(),
            new: self.instances_of(app).filter(new).count(),
            healthy: self
                .instances_of(app)
                .filter(new)
                .filter(|one| self.is_ready(one))
                .count(),
            failure: failure.filter(|failure| failure.at >= deployment.version),
        }
    }

    /// What each app needs to be there before it: by itself, and by the groups that it is in.
    #[must_use]
    pub fn dependencies(&self) -> BTreeMap<AppId, BTreeSet<AppId>> {
        let of = |app: &App| {
            let groups = std::iter::successors(Some(app.id.parent()), |group| {
                (!group.is_root()).then(|| group.parent())
            });
            let by_groups = groups.filter_map(|group| self.groups.get(&group));
            let named = by_groups.flat_map(|group| &group.dependencies).chain(&app.dependencies);
            // A group stands for all apps in it.
            let all = named.flat_map(|named| self.apps.keys().filter(move |other| other.is_within(named)));
            all.filter(|other| **other != app.id).cloned().collect()
        };
        self.apps.values().map(|app| (app.id.clone(), of(app))).collect()
    }
}

/// A key of the store that does not have the form that it should.
#[derive(Debug, thiserror::Error)]
#[error("the key {key} holds {what}; start the scheduler that wrote it, or delete it with `keyway kv delete {key}`")]
pub struct BadRow {
    key: String,
    what: String,
}

impl World {
    /// Takes one key of the store. What belongs to somebody else is left alone.
    pub fn load(&mut self, key: &str, value: &[u8]) -> Result<(), BadRow> {
        let bad = |what: String| BadRow { key: key.into(), what };
        if key.starts_with(keys::APPS) {
            let app = app(value).map_err(bad)?;
            self.apps.insert(app.id.clone(), app.into());
        } else if key.starts_with(keys::VERSIONS) {
            let app = app(value).map_err(bad)?;
            self.versions.insert((app.id.clone(), app.version), app.into());
        } else if let Some(path) = key.strip_prefix(keys::GROUPS) {
            let id = AppId::absolute(path).map_err(|e| bad(e.to_string()))?;
            self.groups.insert(id, json::<Group>(value).map_err(bad)?.into());
        } else if key.starts_with(keys::DEPLOYMENTS) {
            let deployment: Deployment = json(value).map_err(bad)?;
            self.deployments.insert(deployment.id.clone(), deployment.into());
        } else if let Some(name) = key.strip_prefix(keys::PAST) {
            self.past.insert(name.into(), json::<Past>(value).map_err(bad)?.into());
        } else if key.starts_with(keys::INSTANCES) {
            let instance: Instance = json(value).map_err(bad)?;
            self.instances.insert(instance.id.clone(), instance.into());
        } else if let Some(path) = key.strip_prefix(keys::LAUNCHES) {
            let id = AppId::absolute(path).map_err(|e| bad(e.to_string()))?;
            self.launches.insert(id, json::<Launches>(value).map_err(bad)?.into());
        } else if let Some(path) = key.strip_prefix(keys::SERVICES) {
            // Somebody else may register there too, under other names.
            if let Some((app, uuid)) = path.rsplit_once('/')
                && let Ok(app) = AppId::absolute(app)
                && uuid.len() == UUID
            {
                let uuid = uuid.to_owned();
                self.services.insert(InstanceId { app, uuid }, value.into());
            }
        }
        Ok(())
    }
}

fn json<T: for<'de> Deserialize<'de>>(value: &[u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|e| format!("what cannot be read: {e}"))
}

fn app(value: &[u8]) -> Result<App, String> {
    let value: Value = json(value)?;
    read::stored(&value).map_err(|invalid| format!("no app: {invalid:?}"))
}
