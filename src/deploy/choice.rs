//! Small decisions: how an app is, in a word; whether it is as somebody waits for; which version to go back to. Pure.

use super::deployment::{Deployment, State};
use super::scheduler::Counted;

/// How an app is.
pub(super) fn word(app: &Counted) -> &'static str {
    match app {
        app if !app.deployments.is_empty() => "deploying",
        app if app.instances == 0 && app.tasks_running == 0 => "stopped",
        app if app.tasks_running < app.instances => "starting",
        app if !is_healthy(app) => "unhealthy",
        _ => "running",
    }
}

/// Whether as many run as there are to be, and all are well.
pub(super) fn is_healthy(app: &Counted) -> bool {
    let well = match app.health_checks.as_slice() {
        [] => app.tasks_running,
        _ => app.tasks_healthy,
    };
    app.tasks_running >= app.instances && well >= app.instances
}

/// What it runs: its image, or what is started.
pub(super) fn what(app: &Counted) -> String {
    let container = app.container.as_ref();
    let image = container.and_then(|container| container.pointer("/docker/image"));
    let command = app
        .cmd
        .clone()
        .or_else(|| app.args.as_ref().map(|args| args.join(" ")))
        .unwrap_or_default();
    image.and_then(|image| image.as_str()).map_or(command, str::to_owned)
}

/// What somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Awaited {
    Healthy,
    Version(String),
    Stopped,
    Count(u32),
}

impl std::str::FromStr for Awaited {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=').unwrap_or((text, "")) {
            ("healthy", "") => Ok(Self::Healthy),
            ("stopped", "") => Ok(Self::Stopped),
            ("version", version) if !version.is_empty() => Ok(Self::Version(version.into())),
            ("count", count) if count.parse::<u32>().is_ok() => Ok(Self::Count(count.parse().unwrap_or_default())),
            _ => Err("give healthy, stopped, version=VERSION or count=N".into()),
        }
    }
}

impl Awaited {
    /// Whether an app is so; `None` is one that is not there.
    pub(super) fn is_so(&self, app: Option<&Counted>) -> bool {
        let Some(app) = app else { return *self == Self::Stopped };
        let rests = app.deployments.is_empty();
        match self {
            Self::Healthy => rests && is_healthy(app),
            Self::Version(version) => rests && app.version == *version && is_healthy(app),
            Self::Stopped => app.instances == 0 && app.tasks_running == 0 && app.tasks_staged == 0,
            Self::Count(count) => app.tasks_running == *count && app.tasks_staged == 0,
        }
    }
}

/// Versions that may be gone back to, newest first: older than the present one, and none whose deployment failed.
pub(super) fn former<'a>(versions: &'a [String], present: &str, past: &[Deployment]) -> Vec<&'a str> {
    let failed = |version: &str| {
        let of = past.iter().find(|deployment| deployment.version == version);
        of.is_some_and(|deployment| deployment.state != State::Done)
    };
    // Times in one form are in their order.
    let mut older: Vec<&str> = versions
        .iter()
        .map(String::as_str)
        .filter(|version| *version < present && !failed(version))
        .collect();
    older.sort_unstable_by(|a, b| b.cmp(a));
    older
}

#[cfg(test)]
mod tests {
    use super::super::deployment::tests::rolling;
    use super::*;
    use serde_json::{Value, json};

    fn app(more: &Value) -> Counted {
        let mut app = json!({"id": "/web", "version": "v", "instances": 2, "tasksRunning": 2, "tasksHealthy": 2,
            "healthChecks": [{}], "cmd": "serve"});
        for (name, value) in more.as_object().unwrap() {
            app[name] = value.clone();
        }
        serde_json::from_value(app).unwrap()
    }

    #[test]
    fn a_word_says_how_an_app_is() {
        for (more, expected) in [
            (json!({}), "running"),
            (json!({"deployments": [{"id": "d"}]}), "deploying"),
            (json!({"tasksRunning": 1}), "starting"),
            (json!({"tasksHealthy": 1}), "unhealthy"),
            (json!({"tasksHealthy": 0, "healthChecks": []}), "running"),
            (json!({"instances": 0, "tasksRunning": 0}), "stopped"),
        ] {
            assert_eq!(word(&app(&more)), expected, "{more}");
        }
        assert_eq!(what(&app(&json!({}))), "serve");
        assert_eq!(
            what(&app(&json!({"container": {"docker": {"image": "web:1"}}}))),
            "web:1"
        );
        assert_eq!(what(&app(&json!({"cmd": null, "args": ["a", "b"]}))), "a b");
    }

    #[test]
    fn what_is_awaited_is_so_or_not() {
        for (awaited, more, so) in [
            ("healthy", json!({}), true),
            ("healthy", json!({"tasksHealthy": 1}), false),
            ("healthy", json!({"deployments": [{"id": "d"}]}), false),
            ("version=v", json!({}), true),
            ("version=w", json!({}), false),
            ("count=2", json!({}), true),
            ("count=3", json!({}), false),
            ("stopped", json!({}), false),
            ("stopped", json!({"instances": 0, "tasksRunning": 0}), true),
        ] {
            let awaited: Awaited = awaited.parse().unwrap();
            assert_eq!(awaited.is_so(Some(&app(&more))), so, "{awaited:?} {more}");
        }
        assert!(Awaited::Stopped.is_so(None) && !Awaited::Healthy.is_so(None));
        for text in ["", "well", "healthy=1", "version=", "count=many"] {
            assert!(text.parse::<Awaited>().is_err(), "{text}");
        }
    }

    #[test]
    fn one_goes_back_to_what_was_before_and_did_not_fail() {
        let versions = ["t4", "t1", "t3", "t2"].map(str::to_owned);
        let failed = Deployment {
            version: "t2".into(),
            state: State::Failed,
            ..rolling()
        };

        assert_eq!(former(&versions, "t4", &[failed]), ["t3", "t1"]);
        assert_eq!(former(&versions, "t1", &[]), Vec::<&str>::new());
    }
}
