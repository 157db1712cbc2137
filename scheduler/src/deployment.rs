//! A change that is under way, and what became of past ones.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::app::AppId;
use crate::backoff::Pause;
use crate::instance::InstanceId;
use crate::plan::deployment::{Action, Kind, Step};
use crate::plan::replace::Rollout;
use crate::time::Timestamp;

/// A change to some apps, step by step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    pub id: String,
    /// When it was asked for.
    pub version: Timestamp,
    pub steps: Vec<Step>,
    /// Which step is under way, from 0.
    pub current: usize,
    /// When it began.
    pub step_began: Timestamp,
    /// When something last became better than it ever was in this step.
    pub progress: Timestamp,
    /// How far the step was from its end when it was nearest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<u64>,
    /// What was decided for the apps whose configuration is rolled in this step.
    #[serde(default)]
    pub rollouts: BTreeMap<AppId, Rollout>,
    /// Instances that were asked for by name.
    #[serde(default)]
    pub sentenced: BTreeSet<InstanceId>,
    /// The version of each app before; `None` for a new one.
    pub before: BTreeMap<AppId, Option<Timestamp>>,
    /// Of apps that go, those that need them and have to be gone before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waits_for: BTreeMap<AppId, BTreeSet<AppId>>,
    /// The deployment that it undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// Why it was begun, as whoever asked for it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Deployment {
    /// The apps that nobody else may change while it is under way.
    pub fn apps(&self) -> impl Iterator<Item = &AppId> {
        self.before.keys()
    }

    /// How long its row and that of its end become at most, in bytes, without the failures of its apps, if each has so
    /// many instances.
    pub fn most_bytes(&self, instances: impl Fn(&AppId) -> u32) -> usize {
        let digits = |app: &AppId| instances(app).checked_ilog10().unwrap_or(0) as usize + 1;
        let of = |app: &AppId, more: usize| app.as_str().len() + more + 4 * digits(app);
        let restarts = self
            .steps
            .iter()
            .flatten()
            .filter(|action| action.kind == Kind::Restart);
        let rolled: usize = restarts.map(|action| of(&action.app, ROLLOUT)).sum();
        let reached: usize = self.apps().map(|app| of(app, REACHED)).sum();
        let written = serde_json::to_vec(self).map_or(usize::MAX, |row| row.len() + NEAREST);
        written.saturating_add(rolled.max(reached + OUTCOME))
    }

    /// What it does with an app just now.
    #[must_use]
    pub fn action(&self, app: &AppId) -> Option<&Action> {
        // A step has its apps in order, and there may be thousands.
        let step = self.steps.get(self.current)?;
        let at = step.binary_search_by(|action| action.app.cmp(app)).ok()?;
        step.get(at)
    }
}

/// One that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    pub deployment: Deployment,
    pub ended: Timestamp,
    pub outcome: Outcome,
    /// How far each app was then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reached: BTreeMap<AppId, Reached>,
}

/// What is written of one app beside its id and four numbers, with some more for numbers that are larger than what is
/// wanted: of its roll, and of how far it was at the end.
const ROLLOUT: usize = 36;
const REACHED: usize = 48;

/// What is written of how near it came.
const NEAREST: usize = r#","nearest":18446744073709551615"#.len();

/// What is written of an end beside its apps.
const OUTCOME: usize = 20_000;

impl Past {
    /// Makes it no longer than that, in bytes: what failed in each app is told by its queue too.
    #[must_use]
    pub fn within(mut self, most: usize) -> Self {
        if serde_json::to_vec(&self).is_ok_and(|row| row.len() > most) {
            self.reached.values_mut().for_each(|reached| reached.failure = None);
        }
        self
    }
}

/// How far a deployment is with an app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// How many there are to be.
    pub target: u32,
    /// How many have another configuration than the newest.
    pub old: usize,
    pub new: usize,
    /// How many of the new ones are well.
    pub healthy: usize,
    /// The last that failed since it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Done,
    /// Why, and the deployment that puts the former version back, if one does.
    Failed {
        reason: String,
        undone_by: Option<String>,
    },
    /// Another one came in its way, or somebody ended it.
    Cancelled {
        reason: String,
    },
}

/// What is remembered of the starts of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launches {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The last version whose deployment was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<Timestamp>,
    /// The last image that it was deployed with because a registry told of a push, whatever became of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<String>,
}

/// The last task that ended and was to run on, or one that runs and is not well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub task: String,
    pub state: String,
    pub message: String,
    pub host: String,
    pub version: Timestamp,
    pub at: Timestamp,
}
