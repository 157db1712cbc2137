//! Groups: apps and groups in a tree, changed together.
//!
//! A group is a path that apps are under, and what it depends on. So what is kept is flat, [`Groups`], and the tree is only a
//! way to write it.

mod circle;
mod read;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use super::invalid::{ByPath, FieldError, Invalid};
use super::{App, AppId};
use crate::time::Timestamp;

pub use circle::{circle, needs};
pub use write::{Shape, tree};

/// Apps, and what groups depend on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Groups {
    pub apps: BTreeMap<AppId, App>,
    /// Groups that are there by themselves, even with nothing in them.
    pub groups: BTreeMap<AppId, BTreeSet<AppId>>,
}

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    Definition(Definition),
    /// As it was at that time.
    Back(Timestamp),
    /// So many times the instances of each app.
    Scale(f64),
}

/// A group as it is written: what it does not name stays as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    pub id: AppId,
    pub apps: Option<Vec<App>>,
    pub groups: Option<Vec<Self>>,
    pub dependencies: Option<BTreeSet<AppId>>,
    /// The places of fields that have no effect.
    pub ignored: Vec<String>,
}

impl Groups {
    /// What is in a group, with the group.
    #[must_use]
    pub fn within(&self, group: &AppId) -> Self {
        let apps = self.apps.iter().filter(|(id, _)| id.is_within(group));
        let groups = self.groups.iter().filter(|(id, _)| id.is_within(group));
        Self {
            apps: apps.map(|(id, app)| (id.clone(), app.clone())).collect(),
            groups: groups
                .map(|(id, dependencies)| (id.clone(), dependencies.clone()))
                .collect(),
        }
    }

    /// Whether there is such a group, by itself or because something is in it.
    #[must_use]
    pub fn has(&self, group: &AppId) -> bool {
        let is_in = |id: &AppId| id.is_within(group);
        group.is_root() || self.groups.keys().any(is_in) || self.apps.keys().any(|id| id != group && is_in(id))
    }

    /// Everything in the group as the definition says it, checked; what is elsewhere stays.
    pub fn updated(&self, definition: &Definition) -> Result<Self, Invalid> {
        let mut groups = self.clone();
        let mut mistakes = ByPath::new();
        groups.take(definition, "", &mut mistakes);
        if !mistakes.is_empty() {
            return Err(Invalid::Meaning(FieldError::list(mistakes)));
        }
        groups.check()?;
        Ok(groups)
    }

    /// The same with so many times the instances, rounded up.
    #[must_use]
    pub fn scaled(&self, group: &AppId, factor: f64) -> Self {
        let mut groups = self.clone();
        for app in groups.apps.values_mut().filter(|app| app.id.is_within(group)) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a number above what fits becomes the most that does"
            )]
            let scaled = (f64::from(app.instances) * factor).ceil() as u32;
            app.instances = scaled.min(i32::MAX.unsigned_abs());
        }
        groups
    }

    /// Whether ids are of one thing each, and no app waits for itself.
    pub fn check(&self) -> Result<(), Invalid> {
        if let Some(id) = self.apps.keys().find(|id| self.has(id)) {
            let error = format!("{id} is an app and a group: one of them needs another id");
            return Err(Invalid::meaning("/id", error));
        }
        match circle(&needs(self.apps.values(), |id| self.groups.get(id))) {
            Some(circle) => {
                let circle: Vec<&str> = circle.iter().map(AppId::as_str).collect();
                let circle = circle.join(" -> ");
                Err(Invalid::meaning("/dependencies", format!("go in a circle: {circle}")))
            }
            None => Ok(()),
        }
    }

    fn take(&mut self, definition: &Definition, path: &str, mistakes: &mut ByPath) {
        let id = &definition.id;
        if let Some(apps) = &definition.apps {
            self.apps.retain(|app, _| app.parent() != *id);
            for (index, app) in apps.iter().enumerate() {
                let twice = self.apps.insert(app.id.clone(), app.clone()).is_some();
                if twice {
                    note(
                        mistakes,
                        format!("{path}/apps/{index}/id"),
                        format!("{} is there twice", app.id),
                    );
                }
            }
        }
        if let Some(groups) = &definition.groups {
            let named: BTreeSet<&AppId> = groups.iter().map(|group| &group.id).collect();
            let stays = |other: &AppId| !is_deeper(other, id) || named.iter().any(|group| other.is_within(group));
            self.apps.retain(|app, _| app.parent() == *id || stays(app));
            self.groups.retain(|group, _| stays(group));
            let mut seen = BTreeSet::new();
            for (index, group) in groups.iter().enumerate() {
                let path = format!("{path}/groups/{index}");
                if !seen.insert(&group.id) {
                    note(mistakes, format!("{path}/id"), format!("{} is there twice", group.id));
                }
                self.take(group, &path, mistakes);
            }
        }
        let dependencies = self.groups.entry(id.clone()).or_default();
        if let Some(given) = &definition.dependencies {
            dependencies.clone_from(given);
        }
    }
}

/// Whether it is in the group, and not the group itself.
fn is_deeper(id: &AppId, group: &AppId) -> bool {
    id != group && id.is_within(group)
}

fn note(mistakes: &mut ByPath, path: String, error: String) {
    mistakes.entry(path).or_default().push(error);
}

#[cfg(test)]
mod tests;
