mod answers;
mod legacy;
mod rules;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::app::tests::{app as read_app, definition};
use crate::app::*;

/// The mistakes of `/web` with these fields: whether in shape, and their places.
fn mistakes(fields: &Value) -> (&'static str, Vec<String>) {
    let read = self::app(&definition(fields), &AppId::root());
    let error = read.expect_err(&fields.to_string());
    (
        error.message(),
        error.fields().iter().map(|field| field.path.clone()).collect(),
    )
}

fn misshapen(fields: &Value, paths: &[&str]) {
    assert_eq!(
        mistakes(fields),
        ("Invalid JSON", paths.iter().map(|path| (*path).into()).collect()),
        "{fields}"
    );
}

fn wrong(fields: &Value, path: &str) {
    assert_eq!(
        mistakes(fields),
        ("Object is not valid", vec![path.to_owned()]),
        "{fields}"
    );
}

#[test]
fn the_least_app_has_marathons_defaults() {
    let web = read_app(&json!({}));

    assert_eq!(web.id.as_str(), "/web");
    assert_eq!(web.command, Some(Command::Shell("sleep 1000".into())));
    assert_eq!((web.instances, web.resources.cpus, web.resources.mem), (1, 1.0, 128.0));
    assert_eq!(web.networks, [Network::Host]);
    assert_eq!(web.port_definitions.len(), 1);
    assert_eq!(
        (web.port_definitions[0].port, web.port_definitions[0].name.as_deref()),
        (0, Some("default"))
    );
    assert_eq!(
        (web.upgrade.minimum_health.get(), web.upgrade.maximum_over.get()),
        (1.0, 1.0)
    );
    assert_eq!(
        (
            web.backoff.first.as_secs(),
            web.backoff.factor,
            web.backoff.max.as_secs()
        ),
        (1, 1.15, 300)
    );
    assert_eq!(web.kill_grace, None);
    assert!(!web.has_health());
}

#[test]
fn case_5_what_cannot_be_meant_is_refused_with_its_place() {
    wrong(&json!({ "cmd": "a", "args": ["b"] }), "/args");
    wrong(&json!({ "args": [] }), "/cmd");
    wrong(&json!({ "container": { "type": "MESOS" } }), "/cmd");
    wrong(
        &json!({ "upgradeStrategy": { "minimumHealthCapacity": 1.5 } }),
        "/upgradeStrategy/minimumHealthCapacity",
    );
    wrong(&json!({ "instances": -1 }), "/instances");
    wrong(&json!({ "id": "Web" }), "/id");
    wrong(&json!({ "id": "/" }), "/id");
    misshapen(&json!({ "id": 1 }), &["/id"]);
    misshapen(&json!({ "id": null }), &["/id"]);
    misshapen(&json!({ "instances": 1.5 }), &["/instances"]);
    assert!(matches!(self::json(br#"{"id": "/we"#), Err(Invalid::Syntax(error)) if error.contains("line 1")));
    assert!(matches!(self::app(&json!([]), &AppId::root()), Err(Invalid::Shape(_))));
}

#[test]
fn all_mistakes_are_told_at_once() {
    let fields = json!({
        "cpus": "1",
        "env": { "A": 1 },
        "labels": { "B": true },
        "healthChecks": [{ "protocol": "SMTP" }, { "protocol": "COMMAND" }],
        "networks": [{}],
        "portDefinitions": [{ "protocol": "sctp" }],
        "constraints": ["hostname"],
    });
    let paths = [
        "/constraints/0",
        "/cpus",
        "/env/A",
        "/healthChecks/0/protocol",
        "/healthChecks/1/command",
        "/labels/B",
        "/networks/0/mode",
        "/portDefinitions/0/protocol",
    ];
    misshapen(&fields, &paths);

    let (message, paths) = mistakes(&json!({ "cpus": 0, "backoffFactor": 0.5, "gpus": 1 }));
    assert_eq!(
        (message, paths),
        (
            "Object is not valid",
            vec!["/backoffFactor".into(), "/cpus".into(), "/gpus".into()]
        )
    );
}

#[test]
fn a_mistake_names_what_there_is_to_choose_from() {
    let error = self::app(
        &definition(&json!({ "healthChecks": [{ "protocol": "SMTP" }] })),
        &AppId::root(),
    )
    .unwrap_err();
    let shown = error.to_string();
    assert!(
        shown.contains("HTTP, HTTPS, TCP, COMMAND, MESOS_HTTP, MESOS_HTTPS, MESOS_TCP"),
        "{shown}"
    );
}

#[test]
fn fields_that_nobody_knows_are_named_and_have_no_effect() {
    let fields =
        json!({ "instancez": 3, "healthChecks": [{ "protocol": "TCP", "path": "/" }], "user": null, "tasks": [] });
    let read = self::app(&definition(&fields), &AppId::root()).unwrap();
    assert_eq!(read.ignored, ["/healthChecks/0/path", "/instancez"]);
}

#[test]
fn case_56_a_check_needs_a_port_that_is_there() {
    wrong(
        &json!({ "healthChecks": [{ "portIndex": 3 }] }),
        "/healthChecks/0/portIndex",
    );
    wrong(
        &json!({ "portDefinitions": [], "healthChecks": [{}] }),
        "/healthChecks/0/portIndex",
    );

    let web = read_app(&json!({ "portDefinitions": [{}, {}], "healthChecks": [{ "protocol": "HTTP" }] }));
    assert_eq!(web.health_checks[0].port, Some(CheckPort::Index(0)));
    let web = read_app(&json!({ "portDefinitions": [], "healthChecks": [{ "port": 8080, "portIndex": 9 }] }));
    assert_eq!(web.health_checks[0].port, Some(CheckPort::Number(8080)));
}

#[test]
fn checks_have_marathons_defaults() {
    let web = read_app(&json!({
        "healthChecks": [{ "path": "live" }, { "protocol": "MESOS_TCP" }, { "protocol": "COMMAND", "command": { "value": "true" } }],
        "readinessChecks": [{ "portName": "default" }],
    }));
    let [http, tcp, command] = &web.health_checks[..] else {
        panic!("{web:?}")
    };
    let seconds = [http.grace, http.interval, http.timeout, http.delay].map(|time| time.as_secs());
    assert_eq!((seconds, http.max_failures, http.mesos), ([300, 60, 20, 15], 3, false));
    assert_eq!(http.protocol, CheckProtocol::Http { path: "/live".into() });
    assert_eq!((&tcp.protocol, tcp.mesos), (&CheckProtocol::Tcp, true));
    assert_eq!((command.port, command.mesos), (None, true));
    let ready = web.readiness_check.unwrap();
    assert_eq!(
        (ready.name.as_str(), ready.interval.as_secs(), ready.timeout.as_secs()),
        ("readinessCheck", 30, 10)
    );
    assert_eq!(ready.ready_statuses, [200].into());
}

#[test]
fn one_number_of_an_upgrade_strategy_is_enough() {
    let web = read_app(&json!({ "upgradeStrategy": { "minimumHealthCapacity": 0.5 } }));
    assert_eq!(
        (web.upgrade.minimum_health.get(), web.upgrade.maximum_over.get()),
        (0.5, 1.0)
    );
}

#[test]
fn ports_said_for_another_network_are_ignored() {
    let bridge = json!({ "container": { "docker": { "image": "a" } }, "networks": [{ "mode": "container/bridge" }] });
    let mut fields = bridge;
    fields["portDefinitions"] = json!([{ "port": 80 }]);
    fields["requirePorts"] = json!(true);
    let read = self::app(&definition(&fields), &AppId::root()).unwrap();
    assert_eq!(read.ignored, ["/portDefinitions"]);
    assert_eq!(
        (read.app.require_ports, read.app.ports().len(), read.app.ports()[0].name),
        (false, 1, Some("default"))
    );

    let fields = json!({ "container": { "docker": { "image": "a" }, "portMappings": [{ "containerPort": 80 }] } });
    let read = self::app(&definition(&fields), &AppId::root()).unwrap();
    assert_eq!(read.ignored, ["/container/portMappings"]);
}

#[test]
fn ids_are_relative_to_the_group_and_dependencies_to_the_app() {
    let group = AppId::absolute("/shop").unwrap();
    let read = self::app(
        &json!({ "id": "web", "cmd": "a", "dependencies": ["../db", "/mail"] }),
        &group,
    )
    .unwrap();
    assert_eq!(read.app.id.as_str(), "/shop/web");
    let paths: Vec<&str> = read.app.dependencies.iter().map(AppId::as_str).collect();
    assert_eq!(paths, ["/mail", "/shop/db"]);
    assert!(self::app(&json!({ "id": "/other/web", "cmd": "a" }), &group).is_err());
}

#[test]
fn a_stored_app_needs_its_times() {
    let mut stored = read_app(&json!({})).to_json();
    stored["versionInfo"] = Value::Null;
    assert!(self::stored(&stored).is_err());
}

const NAMES: &[&str] = &[
    "id",
    "cmd",
    "args",
    "container",
    "docker",
    "network",
    "portMappings",
    "ports",
    "portDefinitions",
    "port",
    "uris",
    "ipAddress",
    "discovery",
    "networks",
    "mode",
    "healthChecks",
    "protocol",
    "upgradeStrategy",
    "constraints",
    "env",
    "fetch",
    "uri",
    "readinessChecks",
    "executor",
    "unreachableStrategy",
    "version",
];

/// Any JSON, with the names that are looked for.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[A-Z_a-z/]{0,8}".prop_map(Value::from),
        Just(json!("BRIDGE")),
        Just(json!("container")),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(proptest::sample::select(NAMES), inner, 0..6).prop_map(|fields| fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_an_app_or_has_mistakes(value in any_value()) {
        match self::app(&value, &AppId::root()) {
            Ok(read) => prop_assert!(stored(&read.app.to_json()).is_ok()),
            Err(error) => prop_assert!(!error.fields().is_empty()),
        }
    }
}
