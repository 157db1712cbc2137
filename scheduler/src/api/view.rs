//! Apps and tasks as JSON, with these fields and no others: Marathon's clients end at what they do not know.

use serde_json::{Value, json};

use super::query::Query;
use crate::app::App;
use crate::event::addresses;
use crate::health::CheckHealth;
use crate::instance::Instance;
use crate::time::Timestamp;
use crate::world::World;

/// An app, with what is asked to be embedded.
pub(super) fn app(world: &World, app: &App, query: &Query, whole: bool) -> Value {
    let mut json = app.to_json();
    let with = |name: &str| whole || query.embeds(name);
    let instances: Vec<&Instance> = world.instances_of(&app.id).map(AsRef::as_ref).collect();
    counts(world, &instances, &mut json);
    let deployments = world
        .deployments
        .values()
        .filter(|one| one.before.contains_key(&app.id));
    json["deployments"] = deployments.map(|one| json!({ "id": one.id })).collect();
    if with("tasks") || query.embeds("failures") {
        let tasks = instances.iter().filter(|instance| instance.has_task());
        json["tasks"] = tasks.map(|instance| task(world, instance)).collect();
    }
    if (with("lastTaskFailure") || query.embeds("failures"))
        && let Some(failure) = failure(world, app)
    {
        json["lastTaskFailure"] = failure;
    }
    if query.embeds("readiness") {
        json["readinessCheckResults"] = readiness(&instances);
    }
    if query.embeds("taskStats") {
        json["taskStats"] = statistics(world, app, &instances);
    }
    json
}

fn counts(world: &World, instances: &[&Instance], json: &mut Value) {
    let count = |is: &dyn Fn(&Instance) -> bool| instances.iter().filter(|one| is(one)).count();
    let has_checks = |one: &Instance| world.spec(one).is_some_and(|app| app.has_health());
    json["tasksStaged"] = count(&|one| one.has_task() && !one.is_running() && !one.is_stopping()).into();
    json["tasksRunning"] = count(&Instance::is_running).into();
    json["tasksHealthy"] =
        count(&|one| one.is_running() && has_checks(one) && one.health.is_healthy() == Some(true)).into();
    json["tasksUnhealthy"] = count(&|one| one.is_running() && one.health.is_healthy() == Some(false)).into();
}

fn failure(world: &World, app: &App) -> Option<Value> {
    let failure = world.launches.get(&app.id)?.failure.as_ref()?;
    Some(json!({
        "appId": app.id.as_str(), "host": failure.host, "message": failure.message, "state": failure.state,
        "taskId": failure.task, "timestamp": failure.at.to_string(), "version": failure.version.to_string(),
        "slaveId": failure.host,
    }))
}

/// One task.
pub(super) fn task(world: &World, instance: &Instance) -> Value {
    let spec = world.spec(instance);
    let mut json = json!({
        "appId": instance.id.app.as_str(), "id": instance.task().0, "host": instance.host,
        "ports": instance.ports, "servicePorts": spec.map(|app| app.service_ports()).unwrap_or_default(),
        "slaveId": instance.host, "state": instance.state(), "version": instance.version.to_string(),
        "ipAddresses": addresses(instance), "localVolumes": [],
    });
    if let Some(staged) = instance.staged_at() {
        json["stagedAt"] = staged.to_string().into();
    }
    if let Some(running) = instance.running_since() {
        json["startedAt"] = running.to_string().into();
    }
    let known = instance.health.checks.iter().filter(|check| check.is_known());
    let results: Vec<Value> = known.map(|check| health(instance, check)).collect();
    if !results.is_empty() {
        json["healthCheckResults"] = results.into();
    }
    json
}

fn health(instance: &Instance, check: &CheckHealth) -> Value {
    let mut json = json!({
        "alive": check.is_alive(), "consecutiveFailures": check.failures, "instanceId": instance.id.name(),
    });
    let times = [
        ("firstSuccess", check.first_success),
        ("lastSuccess", check.last_success),
        ("lastFailure", check.last_failure),
    ];
    for (name, time) in times {
        if let Some(time) = time {
            json[name] = time.to_string().into();
        }
    }
    if let Some(cause) = &check.last_cause {
        json["lastFailureCause"] = cause.as_str().into();
    }
    json
}

/// What the readiness checks of an app's instances said last.
pub(super) fn readiness(instances: &[&Instance]) -> Value {
    let known = instances.iter().filter_map(|one| Some((one, one.readiness.as_ref()?)));
    let results = known.map(|(one, readiness)| {
        json!({
            "name": readiness.name, "taskId": one.task().0, "ready": readiness.ready,
            "lastResponse": {
                "status": readiness.status, "contentType": readiness.content_type, "body": readiness.body,
            },
        })
    });
    results.collect()
}

fn statistics(world: &World, app: &App, instances: &[&Instance]) -> Value {
    let newest = world
        .versions_of(&app.id)
        .map(|(version, _)| version)
        .max()
        .unwrap_or(app.version);
    let of = |is: &dyn Fn(&Instance) -> bool| {
        let chosen: Vec<&Instance> = instances.iter().copied().filter(|one| is(one)).collect();
        section(world, &chosen, newest)
    };
    let sections = [
        ("startedAfterLastScaling", of(&|one| one.since >= app.last_scaling)),
        ("withLatestConfig", of(&|one| world.is_current(one))),
        ("withOutdatedConfig", of(&|one| !world.is_current(one))),
        ("totalSummary", of(&|_| true)),
    ];
    let known = sections
        .into_iter()
        .filter_map(|(name, section)| Some((name.to_owned(), section?)));
    Value::Object(known.collect())
}

fn section(world: &World, instances: &[&Instance], now: Timestamp) -> Option<Value> {
    if instances.is_empty() {
        return None;
    }
    let mut counted = json!({});
    counts(world, instances, &mut counted);
    let mut ages: Vec<f64> = instances.iter().map(|one| one.age(now).as_secs_f64()).collect();
    ages.sort_by(f64::total_cmp);
    let sum: f64 = ages.iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "counts of instances are small")]
    let average = sum / ages.len() as f64;
    Some(json!({ "stats": {
        "counts": {
            "staged": counted["tasksStaged"], "running": counted["tasksRunning"],
            "healthy": counted["tasksHealthy"], "unhealthy": counted["tasksUnhealthy"],
        },
        "lifeTime": { "averageSeconds": average, "medianSeconds": ages[ages.len() / 2] },
    } }))
}
