//! A deployment as the scheduler tells of it, and what became of one. Pure.

use kvapi::problem::exit;
use serde::{Deserialize, Serialize};

/// How far a change to some apps is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deployment {
    pub(crate) id: String,
    /// The version that the apps get.
    pub(crate) version: String,
    pub(crate) state: State,
    /// Why it failed or was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The deployment that puts back what was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) undone_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) undoes: Option<String>,
    /// Why it was begun, as whoever began it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    pub(crate) began: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<String>,
    /// Which step is under way, from 1.
    pub(super) step: u32,
    /// None if no instance is concerned.
    pub(super) steps: u32,
    #[serde(default)]
    pub(crate) apps: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Running,
    Done,
    Failed,
    Cancelled,
}

/// One app of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) id: String,
    /// `Restart`, `Scale`, `Start`, `Stop`.
    #[serde(default)]
    pub(super) action: String,
    pub(crate) target: u32,
    /// Instances of former versions.
    pub(crate) old: u32,
    /// Instances of this one.
    pub(crate) new: u32,
    /// How many of the new ones are healthy.
    pub(crate) healthy: u32,
    /// Why instances do not start.
    #[serde(default)]
    pub(super) waiting: Vec<String>,
    /// The last instance that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failed>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) task: String,
    pub(crate) state: String,
    pub(crate) message: String,
    pub(super) at: String,
}

impl Failed {
    /// Or it runs, and is not well.
    pub(super) fn has_ended(&self) -> bool {
        self.state != "TASK_RUNNING"
    }
}

/// How following a deployment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Done,
    /// It failed, and what was before is back.
    RolledBack,
    /// It failed or was cancelled, and everything is left as it was then.
    Left,
    /// It goes on and nobody waits for it any more.
    Detached,
    /// It goes on, and the time to wait has passed.
    Timeout,
}

impl Deployment {
    pub(crate) fn is_running(&self) -> bool {
        self.state == State::Running
    }

    /// What became of it; `undo` is how the deployment ended that was to put back what was before.
    pub(super) fn outcome(&self, undo: Option<&Self>) -> Outcome {
        match (self.state, undo.map(|undo| undo.state)) {
            (State::Running, _) => Outcome::Detached,
            (State::Done, _) => Outcome::Done,
            (State::Failed | State::Cancelled, Some(State::Done)) => Outcome::RolledBack,
            (State::Failed | State::Cancelled, _) => Outcome::Left,
        }
    }

    /// The apps it is about, for a sentence.
    pub(super) fn names(&self) -> String {
        match self.apps.as_slice() {
            [] => "nothing".into(),
            apps if apps.len() <= 3 => apps.iter().map(|app| app.id.as_str()).collect::<Vec<_>>().join(", "),
            apps => format!("{} apps", apps.len()),
        }
    }

    /// What goes between their names and what they are.
    pub(super) fn verb(&self) -> &'static str {
        match self.apps.as_slice() {
            [_, _, ..] => "are",
            _ => "is",
        }
    }

    /// How it is, in a word or a sentence.
    pub(crate) fn word(&self) -> String {
        let reason = self.reason.as_deref().unwrap_or_default();
        let undone = match &self.undone_by {
            Some(id) => format!("; undone by {id}"),
            None => String::new(),
        };
        match self.state {
            State::Running => format!("step {} of {}", self.step, self.steps),
            State::Done => "done".into(),
            State::Failed => format!("failed: {reason}{undone}"),
            State::Cancelled => format!("cancelled: {reason}{undone}"),
        }
    }

    /// How long it took, in milliseconds.
    pub(crate) fn took(&self) -> Option<u64> {
        let at = |text: &str| text.parse::<jiff::Timestamp>().ok();
        let (began, ended) = (at(&self.began)?, at(self.ended.as_deref()?)?);
        u64::try_from(ended.as_millisecond() - began.as_millisecond()).ok()
    }
}

impl Outcome {
    /// The exit code.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => exit::OK,
            Self::RolledBack => exit::ROLLED_BACK,
            Self::Left => exit::LEFT,
            Self::Detached => crate::signals::INTERRUPTED,
            Self::Timeout => exit::TIMEOUT,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// A deployment of one app in the middle of its roll.
    pub(in super::super) fn rolling() -> Deployment {
        serde_json::from_value(json!({
            "id": "d1", "version": "2026-01-02T03:04:05.678Z", "state": "running",
            "began": "2026-01-02T03:04:05.678Z", "step": 1, "steps": 1,
            "apps": [{
                "id": "/web", "action": "Restart", "target": 10, "old": 3, "new": 7, "healthy": 6, "waiting": [],
            }],
        }))
        .unwrap()
    }

    #[test]
    fn what_became_of_it_decides_the_exit_code() {
        let with = |state| Deployment { state, ..rolling() };
        let done = with(State::Done);
        for (state, undo, code) in [
            (State::Done, None, exit::OK),
            (State::Failed, Some(&done), exit::ROLLED_BACK),
            (State::Cancelled, Some(&done), exit::ROLLED_BACK),
            (State::Failed, Some(&with(State::Failed)), exit::LEFT),
            (State::Failed, None, exit::LEFT),
            (State::Cancelled, None, exit::LEFT),
        ] {
            assert_eq!(with(state).outcome(undo).code(), code, "{state:?}");
        }
        assert_eq!(Outcome::Timeout.code(), 124);
        assert_eq!(Outcome::Detached.code(), 130);
    }

    #[test]
    fn its_time_is_that_from_its_beginning_to_its_end() {
        let ended = Some("2026-01-02T03:04:07.000Z".to_owned());

        assert_eq!(Deployment { ended, ..rolling() }.took(), Some(1_322));
        assert_eq!(rolling().took(), None);
    }
}
