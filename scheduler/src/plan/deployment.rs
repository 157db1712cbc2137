//! The steps of a change to several apps: first what goes, then what is new, then what others depend on before them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::app::AppId;

/// What happens to one app in one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    pub kind: Kind,
    pub app: AppId,
}

/// See [`Action`]. It is written in short: of a change to thousands of apps all of them are one value of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    #[serde(alias = "StopApplication")]
    Stop,
    #[serde(alias = "StartApplication")]
    Start,
    #[serde(alias = "ScaleApplication")]
    Scale,
    #[serde(alias = "RestartApplication")]
    Restart,
}

impl Kind {
    /// As the API names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "StopApplication",
            Self::Start => "StartApplication",
            Self::Scale => "ScaleApplication",
            Self::Restart => "RestartApplication",
        }
    }
}

/// What happens together, in the order of the apps; the next step begins when all of it is done.
pub type Step = Vec<Action>;

/// How an app differs from before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    New,
    Gone,
    /// Only how many there are to be.
    Instances,
    /// What they run.
    Config,
    /// What they run, and there are to be none.
    ConfigOfNone,
    /// Nothing that concerns instances: labels, checks, or nothing at all.
    Nothing,
}

/// The steps for these differences. `depends` says of each app that stays or comes which others it needs.
#[must_use]
pub fn steps(differences: &BTreeMap<AppId, Difference>, depends: &BTreeMap<AppId, BTreeSet<AppId>>) -> Vec<Step> {
    let of = |kind: Kind, wanted: &[Difference]| -> Step {
        let chosen = differences.iter().filter(|(_, difference)| wanted.contains(difference));
        chosen.map(|(app, _)| Action { kind, app: app.clone() }).collect()
    };
    let mut layers: BTreeMap<usize, Step> = BTreeMap::new();
    for (app, difference) in differences {
        let kind = match difference {
            Difference::New | Difference::Instances | Difference::ConfigOfNone => Kind::Scale,
            Difference::Config => Kind::Restart,
            Difference::Gone | Difference::Nothing => continue,
        };
        let action = Action { kind, app: app.clone() };
        layers
            .entry(depth(app, depends, differences.len()))
            .or_default()
            .push(action);
    }
    [of(Kind::Stop, &[Difference::Gone]), of(Kind::Start, &[Difference::New])]
        .into_iter()
        .chain(layers.into_values())
        .filter(|step| !step.is_empty())
        .collect()
}

/// Of apps that go together, those that have to be gone before each: whatever needs it, also by way of others. Marathon's
/// words promise this order, and its code does not keep it.
#[must_use]
pub fn before_each(
    going: &BTreeSet<AppId>,
    depends: &BTreeMap<AppId, BTreeSet<AppId>>,
) -> BTreeMap<AppId, BTreeSet<AppId>> {
    let mut before: BTreeMap<AppId, BTreeSet<AppId>> = BTreeMap::new();
    for app in going {
        let mut needed = BTreeSet::new();
        let mut next: Vec<&AppId> = depends.get(app).into_iter().flatten().collect();
        while let Some(other) = next.pop() {
            if needed.insert(other) {
                next.extend(depends.get(other).into_iter().flatten());
            }
        }
        // In a circle that slipped in nobody waits for anybody.
        let is_circle = needed.contains(app);
        for other in needed.into_iter().filter(|other| going.contains(*other) && !is_circle) {
            before.entry(other.clone()).or_default().insert(app.clone());
        }
    }
    before
}

/// The longest way down from an app to one that needs no other. There are no circles: they are refused before.
fn depth(app: &AppId, depends: &BTreeMap<AppId, BTreeSet<AppId>>, most: usize) -> usize {
    fn walk<'a>(
        app: &'a AppId,
        depends: &'a BTreeMap<AppId, BTreeSet<AppId>>,
        known: &mut BTreeMap<&'a AppId, usize>,
        most: usize,
    ) -> usize {
        if let Some(depth) = known.get(app) {
            return *depth;
        }
        // Whoever stands on the way already counts nothing, so that a circle that slipped in ends.
        known.insert(app, 0);
        let below = depends.get(app).into_iter().flatten();
        let deepest = below.map(|below| walk(below, depends, known, most)).max().unwrap_or(0);
        let depth = (deepest + 1).min(most.max(depends.len()));
        known.insert(app, depth);
        depth
    }
    walk(app, depends, &mut BTreeMap::new(), most)
}

#[cfg(test)]
#[path = "deployment/tests.rs"]
mod tests;
