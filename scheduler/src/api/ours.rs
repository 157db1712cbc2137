//! `/v1`: what Marathon has no place for, since its clients end at fields that they do not know.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use http::StatusCode;
use kvapi::Client;
use kvapi::client::Consistency;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::answer::{Answer, Refused, ok, text};
use super::queue::reason;
use super::server::Asked;
use super::stream::{COMMENT, KEEP_ALIVE, bytes_of, frame, stream};
use crate::app::AppId;
use crate::deployment::{Deployment, Outcome, Past, Reached};
use crate::driver::TaskId;
use crate::instance::{Instance, parts};
use crate::keys;
use crate::plan::deployment::Kind;
use crate::run::Leading;
use crate::time::Timestamp;
use crate::world::World;

/// Deployments under way and past, the newest first.
pub(super) fn deployments(asked: &Asked, leading: &Leading) -> Answer {
    let world = leading.world();
    let app = asked.query.get("app").map(AppId::absolute).transpose();
    let app = app.map_err(|e| Refused::unprocessable(e.to_string()))?;
    let concerns = |deployment: &Deployment| app.as_ref().is_none_or(|app| deployment.before.contains_key(app));
    let running = world.deployments.values().filter(|one| concerns(one));
    let past = world.past.values().rev().filter(|past| concerns(&past.deployment));
    let mut all: Vec<(Timestamp, Value)> = running
        .map(|one| (one.version, running_json(&world, one, asked.now)))
        .chain(past.map(|past| (past.deployment.version, past_json(past))))
        .collect();
    all.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    ok(&json!({ "deployments": all.into_iter().map(|(_, json)| json).collect::<Vec<_>>() }))
}

/// One of them.
pub(super) fn deployment(asked: &Asked, leading: &Leading, id: &str) -> Answer {
    let told = progress(&leading.world(), id, asked.now).ok_or_else(|| Refused::no_deployment(id))?;
    ok(&told)
}

/// How one goes on, until it has ended.
pub(super) fn deployment_events(asked: &Asked, leading: &Leading, id: &str) -> Answer {
    let first = progress(&leading.world(), id, asked.now).ok_or_else(|| Refused::no_deployment(id))?;
    let (send, out) = mpsc::channel(1);
    let (leading, id) = (leading.clone(), id.to_owned());
    tokio::spawn(async move {
        let mut told = first;
        loop {
            let bytes = Bytes::from(frame("progress", &told.to_string()));
            if send.send(bytes).await.is_err() || told["state"] != "running" {
                return;
            }
            // What was told is not told again.
            told = loop {
                let mut next = None;
                let changed = leading.until(|world| {
                    next = progress(world, &id, crate::run::now()).filter(|next| *next != told);
                    next.is_some()
                });
                let waited = timeout(KEEP_ALIVE, changed).await;
                match (waited, next) {
                    (Ok(Ok(())), Some(next)) => break next,
                    (Ok(_), _) => return,
                    (Err(_), _) => {
                        let comment = Bytes::from_static(COMMENT.as_bytes());
                        if send.send(comment).await.is_err() {
                            return;
                        }
                    }
                }
            };
        }
    });
    Ok(stream(out))
}

/// How a deployment is; `None` if nobody knows of it.
fn progress(world: &World, id: &str, now: Timestamp) -> Option<Value> {
    if let Some(deployment) = world.deployments.get(id) {
        return Some(running_json(world, deployment, now));
    }
    let past = world.past.values().rev().find(|past| past.deployment.id == id)?;
    Some(past_json(past))
}

/// What is said of one under way and of one that has ended. How far it is with an app, and why some wait, tells `app`.
fn common(deployment: &Deployment, app: impl Fn(&AppId) -> (Reached, Vec<String>)) -> Value {
    let current = deployment.current.min(deployment.steps.len().saturating_sub(1));
    // Of one that has ended, what it did.
    let has_ended = deployment.current >= deployment.steps.len();
    let kind = |app: &AppId| {
        let any = || deployment.steps.iter().flatten().find(|one| one.app == *app);
        let action = deployment.action(app).or_else(|| any().filter(|_| has_ended));
        action.map_or("None", |action| match action.kind {
            Kind::Stop => "Stop",
            Kind::Start => "Start",
            Kind::Scale => "Scale",
            Kind::Restart => "Restart",
        })
    };
    let apps = deployment.apps().map(|id| {
        let (reached, waiting) = app(id);
        app_json(id, &reached, kind(id), &waiting)
    });
    let mut json = json!({
        "id": deployment.id, "version": deployment.version.to_string(), "began": deployment.version.to_string(),
        "step": if deployment.steps.is_empty() { 0 } else { current + 1 }, "steps": deployment.steps.len(),
        "apps": apps.collect::<Vec<_>>(),
    });
    if let Some(undoes) = &deployment.undoes {
        json["undoes"] = undoes.as_str().into();
    }
    if let Some(message) = &deployment.message {
        json["message"] = message.as_str().into();
    }
    json
}

fn app_json(id: &AppId, reached: &Reached, action: &str, waiting: &[String]) -> Value {
    let mut json = json!({
        "id": id.as_str(), "action": action, "target": reached.target, "old": reached.old, "new": reached.new,
        "healthy": reached.healthy, "waiting": waiting,
    });
    if let Some(failure) = &reached.failure {
        json["failure"] = json!({
            "task": failure.task, "state": failure.state, "message": failure.message, "at": failure.at.to_string(),
        });
    }
    json
}

/// Why those that wait do, and what one says that runs and is not well.
fn waiting(world: &World, app: &AppId, now: Timestamp) -> Vec<String> {
    let waiting = world.instances_of(app).filter_map(|one| reason(world, one, now));
    let waiting = waiting.collect::<BTreeSet<_>>().into_iter();
    let current = world.instances_of(app).filter(|one| world.is_current(one));
    let ill = current
        .filter_map(|one| Some((one, one.lasting_complaint(now)?)))
        .map(|(one, cause)| format!("not healthy: {cause} ({})", one.task().0));
    waiting.chain(ill.take(1)).collect()
}

fn running_json(world: &World, deployment: &Deployment, now: Timestamp) -> Value {
    let mut json = common(deployment, |app| {
        (world.reached(deployment, app), waiting(world, app, now))
    });
    json["state"] = "running".into();
    json
}

fn past_json(past: &Past) -> Value {
    let reached = |app: &AppId| past.reached.get(app).cloned().unwrap_or_default();
    let mut json = common(&past.deployment, |app| (reached(app), Vec::new()));
    json["ended"] = past.ended.to_string().into();
    let (state, reason, undone_by) = match &past.outcome {
        Outcome::Done => ("done", None, None),
        Outcome::Failed { reason, undone_by } => ("failed", Some(reason), undone_by.as_ref()),
        Outcome::Cancelled { reason } => ("cancelled", Some(reason), None),
    };
    json["state"] = state.into();
    for (name, text) in [("reason", reason), ("undone_by", undone_by)] {
        if let Some(text) = text {
            json[name] = text.as_str().into();
        }
    }
    json
}

/// Each instance of an app: what it runs, and what its agent reports.
pub(super) async fn instances(asked: &Asked, store: &Client, leading: &Leading, id: &AppId) -> Answer {
    let world = leading.world();
    world.apps.get(id).ok_or_else(|| Refused::no_app(id))?;
    let prefix = format!("{}{}.instance-", keys::AGENTS, id.flat());
    let reports = store.list(&prefix, Consistency::Stale).await;
    let reports = reports.map_err(|e| {
        Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("read the agents' reports: {e}"),
        )
    })?;
    let reports: HashMap<&str, &[u8]> = reports
        .value
        .iter()
        .map(|entry| (entry.key.as_str(), entry.value.as_ref()))
        .collect();
    let report = |task: &TaskId| serde_json::from_slice::<Value>(reports.get(keys::agent(task).as_str())?).ok();
    let all = world
        .instances_of(id)
        .map(|instance| instance_json(&world, instance, report(&instance.task()), asked.now));
    ok(&json!({ "instances": all.collect::<Vec<_>>() }))
}

fn instance_json(world: &World, instance: &Instance, report: Option<Value>, now: Timestamp) -> Value {
    let mut json = json!({
        "id": instance.id.name(), "task": instance.task().0, "host": instance.host, "ports": instance.ports,
        "state": instance.state(), "version": instance.version.to_string(), "since": instance.since.to_string(),
        "current": world.is_current(instance),
    });
    if instance.is_running() {
        json["healthy"] = match world.spec(instance).is_some_and(|app| app.has_health()) {
            true => instance.health.is_healthy().into(),
            false => Value::Null,
        };
    }
    if let Some(reason) = reason(world, instance, now) {
        json["waiting"] = reason.into();
    }
    if let Some(cause) = instance.complaint() {
        json["health_failure"] = cause.into();
    }
    if let Some(report) = report {
        for (name, place) in [
            ("settings_revision", "/revisions/applied/settings"),
            ("agent_state", "/state"),
            ("files", "/templates"),
        ] {
            if let Some(value) = report.pointer(place) {
                json[name] = value.clone();
            }
        }
    }
    json
}

/// What a task wrote.
pub(super) async fn logs(asked: &Asked, leading: &Leading, task: &str) -> Answer {
    let (uuid, _) = parts(task).ok_or_else(|| Refused::no_task(task))?;
    let tail = asked.query.get("tail").map_or(Ok(10), str::parse);
    let tail: usize = tail.map_err(|_| Refused::bad("tail has to be a number of lines"))?;
    let follow = asked.query.is_on("follow", false);
    let handle = {
        let world = leading.world();
        let found = world
            .instances
            .values()
            .find(|one| one.id.uuid == uuid && one.task().0 == task);
        found.and_then(|instance| instance.handle().cloned())
    };
    let task = TaskId(task.into());
    let out = leading.driver.logs(&task, handle.as_ref(), tail, follow).await;
    let out = out.map_err(|e| Refused::not_found(format!("{e:#}")))?;
    Ok(text(
        StatusCode::OK,
        "text/plain; charset=utf-8",
        axum::body::Body::from_stream(bytes_of(out)),
    ))
}
