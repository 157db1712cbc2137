//! `/v2/queue`: what is wanted and does not start, and why.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Refused, ok, respond};
use super::query::Query;
use super::server::Asked;
use super::view;
use crate::app::{App, AppId};
use crate::instance::{Instance, Stage, Waiting};
use crate::run::Leading;
use crate::time::Timestamp;
use crate::world::World;

/// Everything that waits, by its app.
pub(super) fn list(asked: &Asked, leading: &Leading) -> Answer {
    let world = leading.world();
    let items = world
        .apps
        .values()
        .filter_map(|app| item(&world, app, &asked.query, asked.now));
    ok(&json!({ "queue": items.collect::<Vec<_>>() }))
}

/// What stands in an instance's way, in words.
pub(super) fn reason(world: &World, instance: &Instance, now: Timestamp) -> Option<String> {
    Some(match instance.waiting.as_ref()? {
        Waiting::Backoff { until } => {
            let seconds = until.since(now).as_millis().div_ceil(1000);
            let left = kvapi::duration::format(Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX)));
            let launches = world.launches.get(&instance.id.app);
            let failure = launches.and_then(|launches| launches.failure.as_ref());
            let failure = failure.filter(|failure| failure.version == instance.version);
            let why = failure
                .map(|failure| format!(": {}", failure.message))
                .unwrap_or_default();
            format!("it failed, and is started again in {left}{why}")
        }
        Waiting::Constraint(reason) | Waiting::Refused(reason) | Waiting::Preparing(reason) => reason.clone(),
        Waiting::Secret(key) => {
            format!("the secret {key} has no value: write one with `keyway kv put {key} @FILE`")
        }
        Waiting::PortTaken(port) => format!("port {port} of this machine is taken"),
    })
}

fn item(world: &World, app: &App, query: &Query, now: Timestamp) -> Option<Value> {
    let waiting: Vec<&Instance> = world
        .instances_of(&app.id)
        .map(AsRef::as_ref)
        .filter(|instance| instance.stage == Stage::Scheduled)
        .collect();
    let since = waiting.iter().map(|instance| instance.since).min()?;
    let until = waiting.iter().filter_map(|instance| match instance.waiting {
        Some(Waiting::Backoff { until }) => Some(until),
        _ => None,
    });
    let left = until
        .max()
        .map_or(0, |until| until.since(now).as_millis().div_ceil(1000));
    // Why nothing starts has no other place that every client bears: the summary of offers has lists of reasons.
    let mut reasons: Vec<String> = waiting
        .iter()
        .filter_map(|instance| reason(world, instance, now))
        .collect();
    reasons.sort();
    reasons.dedup();
    let summary = reasons
        .iter()
        .map(|reason| json!({ "reason": reason, "declined": 1, "processed": 1 }));
    let summary: Vec<Value> = summary.collect();
    let mut app_json = view::app(world, app, &Query::default(), false);
    for name in [
        "tasksStaged",
        "tasksRunning",
        "tasksHealthy",
        "tasksUnhealthy",
        "deployments",
    ] {
        app_json.as_object_mut()?.remove(name);
    }
    let mut item = json!({
        "app": app_json, "count": waiting.len(),
        "delay": { "timeLeftSeconds": u64::try_from(left).unwrap_or(u64::MAX), "overdue": left == 0 },
        "since": since.to_string(),
        "processedOffersSummary": {
            "processedOffersCount": summary.len(), "unusedOffersCount": summary.len(),
            "rejectSummaryLastOffers": summary, "rejectSummaryLaunchAttempt": [],
        },
    });
    if query.embeds("lastUnusedOffers") {
        item["lastUnusedOffers"] = json!([]);
    }
    Some(item)
}

/// Starts what waits for its pause at once.
pub(super) async fn reset(leading: &Leading, id: &AppId) -> Answer {
    let app = id.clone();
    let waited = leading.call(move |engine, _| engine.forget_pause(&app)).await?;
    match waited {
        true => Ok(respond(StatusCode::NO_CONTENT, &Value::Null)),
        false => Err(Refused::not_found(format!(
            "Application {id} not found in tasks queue."
        ))),
    }
}
