//! A change that is under way, and what became of past ones.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::app::AppId;
use crate::backoff::Pause;
use crate::instance::InstanceId;
use crate::plan::deployment::{Action, Step};
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
    /// When something last became better.
    pub progress: Timestamp,
    /// What was decided for the apps whose configuration is rolled in this step.
    #[serde(default)]
    pub rollouts: BTreeMap<AppId, Rollout>,
    /// Instances that were asked for by name.
    #[serde(default)]
    pub sentenced: BTreeSet<InstanceId>,
    /// The version of each app before; `None` for a new one.
    pub before: BTreeMap<AppId, Option<Timestamp>>,
    /// The deployment that it undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
}

impl Deployment {
    /// The apps that nobody else may change while it is under way.
    pub fn apps(&self) -> impl Iterator<Item = &AppId> {
        self.before.keys()
    }

    /// What it does with an app just now.
    #[must_use]
    pub fn action(&self, app: &AppId) -> Option<&Action> {
        self.steps.get(self.current)?.iter().find(|action| action.app == *app)
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

/// The last task that ended and was to run on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub task: String,
    pub state: String,
    pub message: String,
    pub host: String,
    pub version: Timestamp,
    pub at: Timestamp,
}
