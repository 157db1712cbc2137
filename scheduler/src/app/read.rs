//! An app's definition from JSON, with every mistake at once.
//!
//! What was written the old way is translated; what Marathon answers besides is left out, so that an answer can be sent back;
//! fields that nobody knows have no effect, and are named.

mod checks;
mod container;
pub(super) mod legacy;
mod network;
pub(super) mod node;
mod policy;
mod rules;

#[cfg(test)]
mod tests;

use serde_json::Value;

use super::id::AppId;
use super::invalid::Invalid;
use super::{App, Command, EnvValue, Resources};
use crate::time::Timestamp;
use node::{Findings, Node, Object};

/// An app that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    pub app: App,
    /// The places of fields that have no effect.
    pub ignored: Vec<String>,
}

/// What Marathon says of an app besides its definition.
const ANSWERED: &[&str] = &[
    "deployments",
    "lastTaskFailure",
    "readinessCheckResults",
    "taskStats",
    "tasks",
    "tasksHealthy",
    "tasksRunning",
    "tasksStaged",
    "tasksStats",
    "tasksUnhealthy",
];

/// The JSON of a request's body.
pub fn json(text: &[u8]) -> Result<Value, Invalid> {
    serde_json::from_slice(text).map_err(|error| Invalid::Syntax(error.to_string()))
}

/// A definition that somebody sent; an id without a leading slash is in `group`. Its times are zero: it has none until it is
/// laid beside what was there before ([`App::stamped`]).
pub fn app(value: &Value, group: &AppId) -> Result<Read, Invalid> {
    read(value, group, rules::check)
}

fn read(value: &Value, group: &AppId, check: impl FnOnce(&App, &Findings)) -> Result<Read, Invalid> {
    let fields = value.as_object().ok_or_else(Invalid::no_object)?;
    let findings = Findings::default();
    let value = Value::Object(legacy::translate(fields.clone(), &findings));
    let root = Node::root(&value, &findings);
    let read = root.object().and_then(|mut object| {
        object.leave(ANSWERED);
        object.leave(&["version", "versionInfo"]);
        definition(&mut object, group, &findings)
    });
    if let Some(app) = &read {
        check(app, &findings);
    }
    let ignored = findings.conclude()?;
    // A definition without mistakes was read.
    let app = read.ok_or_else(Invalid::no_object)?;
    Ok(Read { app, ignored })
}

/// A definition as [`App::to_json`] wrote it, with its times. By the rules of its time it was taken: those of today, which
/// may be others, are not asked.
pub fn stored(value: &Value) -> Result<App, Invalid> {
    let Read { mut app, .. } = read(value, &AppId::root(), |_, _| {})?;
    let time = |place: &str| {
        let time = value.pointer(place).and_then(Value::as_str).unwrap_or_default();
        time.parse::<Timestamp>()
            .map_err(|error| Invalid::meaning(place, error.to_string()))
    };
    app.version = time("/version")?;
    app.last_scaling = time("/versionInfo/lastScalingAt")?;
    app.last_config_change = time("/versionInfo/lastConfigChangeAt")?;
    Ok(app)
}

fn definition(object: &mut Object<'_>, group: &AppId, findings: &Findings) -> Option<App> {
    // The networks are asked for first: what is missing is not read on.
    let networks = network::networks(object);
    let definitions = network::definitions(object);
    let container = object.take("container").and_then(|node| container::container(&node));
    policy::refused(object);
    let mut app = App {
        command: command(object),
        instances: object.whole("instances", i32::MAX.unsigned_abs()).unwrap_or(1),
        resources: resources(object),
        env: object.map("env", |node| env(&node)),
        labels: object.texts("labels"),
        container,
        networks,
        port_definitions: Vec::new(),
        require_ports: object.boolean("requirePorts"),
        health_checks: object
            .list("healthChecks", |node| checks::health(&node))
            .unwrap_or_default(),
        readiness_check: readiness(object),
        upgrade: policy::upgrade(object),
        backoff: policy::backoff(object),
        kill_selection: policy::kill_selection(object),
        kill_grace: object.seconds("taskKillGracePeriodSeconds", 0),
        constraints: object
            .list("constraints", |node| policy::constraint(&node))
            .unwrap_or_default(),
        dependencies: Default::default(),
        fetch: object.list("fetch", |node| policy::fetch(&node)).unwrap_or_default(),
        user: object.words("user"),
        tty: object.boolean("tty"),
        secrets: object.map("secrets", |node| node.object()?.need("source")?.text().map(Into::into)),
        echoed: policy::echoed(object),
        version: Timestamp::default(),
        last_scaling: Timestamp::default(),
        last_config_change: Timestamp::default(),
        id: id(object, group)?,
    };
    let path = |node: Node<'_>| reference(&node, &app.id);
    app.dependencies = object
        .list("dependencies", path)
        .unwrap_or_default()
        .into_iter()
        .collect();
    network::settle(&mut app, definitions, findings);
    Some(app)
}

fn id(object: &mut Object<'_>, group: &AppId) -> Option<AppId> {
    let node = object.need("id")?;
    let id = reference(&node, group)?;
    if id.is_root() {
        node.wrong("is the root, which no app can be");
    } else if !id.is_within(group) {
        node.wrong(format!("is not within its group {group}"));
    }
    Some(id)
}

/// A path; a relative one starts at `base`.
pub(super) fn reference(node: &Node<'_>, base: &AppId) -> Option<AppId> {
    let id = AppId::below(base, node.text()?);
    id.map_err(|error| node.wrong(error.to_string())).ok()
}

fn command(object: &mut Object<'_>) -> Option<Command> {
    let line = object.words("cmd");
    let text = |node: Node<'_>| node.text().map(Into::into);
    let node = object.take("args");
    let args = node.as_ref().and_then(Node::items).unwrap_or_default();
    let args: Vec<String> = args.into_iter().filter_map(text).collect();
    match (line, node.filter(|_| !args.is_empty())) {
        (Some(line), Some(node)) => {
            node.wrong("stands beside cmd: there is one way to start an app");
            Some(Command::Shell(line))
        }
        (Some(line), None) => Some(Command::Shell(line)),
        (None, Some(_)) => Some(Command::Args(args)),
        (None, None) => None,
    }
}

fn resources(object: &mut Object<'_>) -> Resources {
    let gpus = object.take("gpus");
    if gpus
        .as_ref()
        .and_then(|node| node.whole(0, u32::MAX))
        .is_some_and(|gpus| gpus > 0)
        && let Some(node) = gpus
    {
        node.wrong("cannot be done here: leave it out, or make it 0");
    }
    Resources {
        cpus: object.number("cpus", 0.001, 1.0),
        mem: object.number("mem", 0.0, 128.0),
        disk: object.number("disk", 0.0, 0.0),
        gpus: 0,
    }
}

fn env(node: &Node<'_>) -> Option<EnvValue> {
    if node.value.is_object() {
        let secret = node.object()?.need("secret")?.text()?.to_owned();
        return Some(EnvValue::Secret(secret));
    }
    node.text().map(|text| EnvValue::Text(text.into()))
}

fn readiness(object: &mut Object<'_>) -> Option<super::ReadinessCheck> {
    let node = object.take("readinessChecks")?;
    let mut checks = node.items()?.iter().filter_map(checks::readiness).collect::<Vec<_>>();
    if checks.len() > 1 {
        node.wrong("may have one check at most");
    }
    checks.pop()
}
