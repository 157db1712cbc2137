//! An instance: one of the copies of an app that are wanted, over all the tasks that run for it one after the other.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::app::AppId;
use crate::driver::{End, Handle, TaskId};
use crate::health::Health;
use crate::time::Timestamp;

/// The name of an instance: its app's path and a UUID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId {
    pub app: AppId,
    pub uuid: String,
}

impl InstanceId {
    /// As the API writes it: `shop_web.instance-<uuid>`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.instance-{}", self.app.flat(), self.uuid)
    }

    /// The task of one incarnation.
    #[must_use]
    pub fn task(&self, incarnation: u32) -> TaskId {
        TaskId(format!("{}._app.{incarnation}", self.name()))
    }
}

/// The parts of a task's name that tell which it is: the UUID of its instance, and which incarnation. `None` if no task
/// can have this name.
#[must_use]
pub fn parts(task: &str) -> Option<(&str, u32)> {
    let (instance, rest) = task.rsplit_once("._app.")?;
    let (app, uuid) = instance.rsplit_once(".instance-")?;
    let is_uuid = uuid.len() == 36 && uuid.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let incarnation = rest.parse().ok().filter(|_| rest.chars().all(|c| c.is_ascii_digit()))?;
    (is_uuid && !app.is_empty()).then_some((uuid, incarnation))
}

/// What is kept of an instance in the store, and what is known of it while a scheduler leads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub id: InstanceId,
    /// Which of its tasks this is; the first is 1.
    pub incarnation: u32,
    /// The version of the app that it runs or is to run.
    pub version: Timestamp,
    /// When the configuration of that version came to be: what has the same one runs the same thing.
    pub config: Timestamp,
    pub goal: Goal,
    pub stage: Stage,
    pub host: String,
    /// Of the host, in the order of the app's ports.
    pub ports: Vec<u16>,
    /// Of a network of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// When it was wanted.
    pub since: Timestamp,
    /// It was well once in this incarnation, so that the grace of its checks is over.
    #[serde(default)]
    pub proved: bool,
    /// What its checks say; whoever leads anew asks again.
    #[serde(skip)]
    pub health: Health,
    /// Whether its readiness check has said so; asked during deployments only.
    #[serde(skip)]
    pub readiness: Option<Readiness>,
    /// Why it does not start, or has not started yet.
    #[serde(skip)]
    pub waiting: Option<Waiting>,
}

/// What is to become of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    Running,
    /// It is taken away for good.
    Stopped,
}

/// How far its present task is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// There is none yet.
    Scheduled,
    /// It was told to start; whether it has is not known.
    Staging { at: Timestamp },
    Running {
        staged: Timestamp,
        at: Timestamp,
        handle: Handle,
    },
    /// It is being stopped.
    Stopping {
        staged: Timestamp,
        /// `None` if it never ran as far as we know.
        running: Option<Timestamp>,
        handle: Option<Handle>,
        /// When its load balancer was told.
        at: Timestamp,
        /// When it was asked to stop.
        asked: Option<Timestamp>,
        forced: bool,
        why: Why,
    },
}

/// Why a task is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Its instance is not wanted any more.
    NotWanted,
    /// Somebody asked for it by name.
    Asked,
    /// Its checks failed.
    Unhealthy,
}

/// Why an instance that is wanted does not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// Others failed before it.
    Backoff { until: Timestamp },
    /// A constraint, in words.
    Constraint(String),
    /// The port that it must have.
    PortTaken(u16),
    /// A secret without a value, by its key.
    Secret(String),
    /// The driver, in words.
    Refused(String),
    /// What the driver is at, in words, before it can start.
    Preparing(String),
}

/// How long an instance may take until it is told why it is not healthy yet: most are until then.
const SLOW: Duration = Duration::from_secs(5);

/// What its readiness check said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    pub name: String,
    pub ready: bool,
    pub status: u16,
    pub content_type: String,
    pub body: String,
}

impl Instance {
    /// The name of its present task.
    #[must_use]
    pub fn task(&self) -> TaskId {
        self.id.task(self.incarnation)
    }

    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.goal == Goal::Running
    }

    /// Whether a task of it may be there.
    #[must_use]
    pub fn has_task(&self) -> bool {
        self.stage != Stage::Scheduled
    }

    #[must_use]
    pub fn handle(&self) -> Option<&Handle> {
        match &self.stage {
            Stage::Running { handle, .. } => Some(handle),
            Stage::Stopping { handle, .. } => handle.as_ref(),
            Stage::Scheduled | Stage::Staging { .. } => None,
        }
    }

    /// Since when its task runs.
    #[must_use]
    pub fn running_since(&self) -> Option<Timestamp> {
        match self.stage {
            Stage::Running { at, .. } => Some(at),
            Stage::Stopping { running, .. } => running,
            Stage::Scheduled | Stage::Staging { .. } => None,
        }
    }

    #[must_use]
    pub fn staged_at(&self) -> Option<Timestamp> {
        match self.stage {
            Stage::Staging { at } => Some(at),
            Stage::Running { staged, .. } | Stage::Stopping { staged, .. } => Some(staged),
            Stage::Scheduled => None,
        }
    }

    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running { .. })
    }

    /// Whether it is wanted and its task is not there yet, as far as we know.
    #[must_use]
    pub fn is_coming(&self) -> bool {
        self.is_wanted() && matches!(self.stage, Stage::Scheduled | Stage::Staging { .. })
    }

    #[must_use]
    pub fn is_stopping(&self) -> bool {
        matches!(self.stage, Stage::Stopping { .. })
    }

    /// What its health check finds wrong with it.
    #[must_use]
    pub fn complaint(&self) -> Option<&str> {
        self.health.complaint().filter(|_| self.is_running())
    }

    /// The same, once it is worth telling: it counts, or the instance has had time enough.
    #[must_use]
    pub fn lasting_complaint(&self, now: Timestamp) -> Option<&str> {
        let counts = self.health.is_healthy() == Some(false);
        self.complaint().filter(|_| counts || self.age(now) >= SLOW)
    }

    /// Its state as the API calls it.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self.stage {
            Stage::Scheduled | Stage::Staging { .. } => "TASK_STAGING",
            Stage::Running { .. } => "TASK_RUNNING",
            Stage::Stopping { .. } => "TASK_KILLING",
        }
    }

    /// The same as a condition, another list of words of the API.
    #[must_use]
    pub fn condition(&self) -> &'static str {
        match self.stage {
            Stage::Scheduled => "Scheduled",
            Stage::Staging { .. } => "Staging",
            Stage::Running { .. } => "Running",
            Stage::Stopping { .. } => "Killing",
        }
    }

    /// How long its task has run.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        self.running_since().map_or(Duration::ZERO, |since| now.since(since))
    }
}

/// How a task's end is called: its state, its condition, and the reason in words. `complaint` is what its health checks
/// found last.
#[must_use]
pub fn ended(end: &End, why: Option<Why>, complaint: Option<&str>) -> (&'static str, &'static str, String) {
    match (why, end) {
        (Some(Why::NotWanted), _) => ("TASK_KILLED", "Killed", "it is not wanted any more".into()),
        (Some(Why::Asked), _) => ("TASK_KILLED", "Killed", "somebody asked for its end".into()),
        (Some(Why::Unhealthy), _) => {
            let cause = complaint.map(|cause| format!(": {cause}")).unwrap_or_default();
            ("TASK_KILLED", "Killed", format!("its health checks failed{cause}"))
        }
        (None, End::Exited(0)) => ("TASK_FINISHED", "Finished", "it ended by itself".into()),
        (None, End::Exited(code)) => ("TASK_FAILED", "Failed", format!("it ended with code {code}")),
        (None, End::Signalled(signal)) => ("TASK_FAILED", "Failed", format!("it ended by signal {signal}")),
        (None, End::OutOfMemory) => ("TASK_FAILED", "Failed", "it took more memory than it may have".into()),
        (None, End::Gone) => ("TASK_LOST", "Gone", "it is gone, and nobody saw how".into()),
        (None, End::Unstarted) => ("TASK_LOST", "Gone", "it was made, and not started".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tasks_name_tells_its_instance_and_its_incarnation() {
        let id = InstanceId {
            app: AppId::absolute("/shop/web").unwrap(),
            uuid: "0f0e0d0c-0b0a-4090-8807-060504030201".into(),
        };

        let task = id.task(3);

        assert_eq!(task.0, "shop_web.instance-0f0e0d0c-0b0a-4090-8807-060504030201._app.3");
        assert_eq!(parts(&task.0), Some((id.uuid.as_str(), 3)));
        for text in [
            "",
            "shop_web",
            "x.instance-1._app.1",
            "._app.1",
            &format!("{}._app.", id.name()),
        ] {
            assert_eq!(parts(text), None, "{text}");
        }
    }
}
