//! Apps for tests: one as its author would write it, and any that can be.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// `/web`, which sleeps, with these fields.
pub(crate) fn definition(fields: &Value) -> Value {
    let mut app = json!({ "id": "/web" });
    let starts = ["cmd", "args", "container"]
        .iter()
        .any(|name| fields.get(name).is_some());
    if !starts {
        app["cmd"] = json!("sleep 1000");
    }
    for (name, value) in fields.as_object().unwrap() {
        app[name] = value.clone();
    }
    app
}

pub(crate) fn app(fields: &Value) -> App {
    let read = read::app(&definition(fields), &AppId::root());
    read.unwrap_or_else(|error| panic!("{fields}: {error}")).app
}

prop_compose! {
    /// Any app that can be, with times.
    pub(crate) fn any_app()(
        mut app in any_json().prop_map(|fields| app(&fields)),
        version in 0u64..4_000_000_000_000,
        scaling in 0u64..4_000_000_000_000,
        config in 0u64..4_000_000_000_000,
    ) -> App {
        app.version = Timestamp(version);
        app.last_scaling = Timestamp(scaling);
        app.last_config_change = Timestamp(config);
        app
    }
}

/// A few fields of those that an app can have, each in one of its forms.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let starts = prop_oneof![
        Just(json!({ "cmd": "sleep 1000" })),
        Just(json!({ "args": ["/bin/web", "--port", "$PORT"] })),
        Just(json!({ "cmd": "web", "container": { "type": "MESOS" } })),
        Just(json!({ "container": { "docker": { "image": "nginx:1", "forcePullImage": true, "privileged": true } } })),
        Just(json!({
            "container": {
                "docker": { "image": "nginx:1", "parameters": [{ "key": "hostname", "value": "web" }] },
                "volumes": [{ "containerPath": "/a", "hostPath": "/b", "mode": "RO" }, { "containerPath": "/s", "secret": "pass" }],
            },
            "secrets": { "pass": { "source": "web/pass" } },
            "networks": [{ "mode": "container/bridge" }],
        })),
        Just(json!({
            "container": { "type": "MESOS", "docker": { "image": "nginx:1" }, "portMappings": [
                { "containerPort": 80, "name": "http", "protocol": "udp,tcp", "labels": { "VIP": "a" }, "networkNames": ["a"] },
                { "hostPort": 31_000, "servicePort": 10_000 },
            ] },
            "networks": [{ "mode": "container", "name": "a" }, { "mode": "container", "name": "b", "labels": { "c": "d" } }],
        })),
    ];
    let fields = vec![
        json!({ "instances": 7, "cpus": 0.25, "mem": 16.5, "disk": 1 }),
        json!({ "env": { "A": "1", "B_": "", "C": { "secret": "key" } }, "secrets": { "key": { "source": "web/key" }, "pass": { "source": "p" } } }),
        json!({ "labels": { "HAPROXY_GROUP": "external", "a.b-c": "" } }),
        json!({ "requirePorts": true, "portDefinitions": [{ "port": 0, "name": "http" }, { "port": 81, "protocol": "udp" }] }),
        json!({ "healthChecks": [{ "path": "live", "ignoreHttp1xx": true }, { "protocol": "TCP", "port": 80, "delaySeconds": 3 }] }),
        json!({ "healthChecks": [{ "protocol": "COMMAND", "command": { "value": "true" } }, { "protocol": "MESOS_HTTPS", "maxConsecutiveFailures": 0 }] }),
        json!({ "upgradeStrategy": { "minimumHealthCapacity": 0.95, "maximumOverCapacity": 0.05 } }),
        json!({ "backoffSeconds": 2, "backoffFactor": 1.5, "maxLaunchDelaySeconds": 30 }),
        json!({ "killSelection": "OLDEST_FIRST", "taskKillGracePeriodSeconds": 4, "user": "web", "tty": true }),
        json!({ "constraints": [["hostname", "unique"], ["rack", "GROUP_BY", 2], ["rack", "LIKE", "r-.*"], ["@zone", "CLUSTER"]] }),
        json!({ "constraints": [["a", "MAX_PER", "2"], ["a", "UNLIKE", "b"], ["a", "IS", "1.5"], ["a", "CLUSTER", "b"], ["a", "GROUP_BY"]] }),
        json!({ "dependencies": ["/db", "../cache"] }),
        json!({ "executor": "//cmd", "acceptedResourceRoles": ["*"], "role": "*", "unreachableStrategy": "disabled" }),
        json!({ "unreachableStrategy": { "inactiveAfterSeconds": 1, "expungeAfterSeconds": 2 } }),
    ];
    let some = proptest::sample::subsequence(fields.clone(), 0..=fields.len());
    (starts, some).prop_map(|(mut app, some)| {
        for (name, value) in some.iter().flat_map(|fields| fields.as_object().unwrap()) {
            app[name] = value.clone();
        }
        app
    })
}

proptest! {
    #[test]
    fn an_app_that_was_written_is_read_as_it_was(app in any_app()) {
        prop_assert_eq!(read::stored(&app.to_json()), Ok(app));
    }

    #[test]
    fn what_is_written_is_what_is_written_again(app in any_app()) {
        let written = app.to_json();
        prop_assert_eq!(read::stored(&written).unwrap().to_json(), written);
    }

    #[test]
    fn case_6_an_answer_that_is_sent_back_is_the_same_app(app in any_app()) {
        let mut answer = app.to_json();
        for (name, value) in [("tasksRunning", json!(3)), ("tasks", json!([])), ("lastTaskFailure", Value::Null)] {
            answer[name] = value;
        }
        let sent = read::app(&answer, &AppId::root()).unwrap();
        let none = Timestamp::default();
        let app = App { version: none, last_scaling: none, last_config_change: none, ..app };

        prop_assert_eq!(sent, read::Read { app, ignored: Vec::new() });
    }
}

/// What an app, a container and a port may have for marathon-python 0.13.
const KNOWN: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "acceptedResourceRoles",
            "args",
            "backoffFactor",
            "backoffSeconds",
            "cmd",
            "constraints",
            "container",
            "cpus",
            "dependencies",
            "disk",
            "env",
            "executor",
            "fetch",
            "gpus",
            "healthChecks",
            "id",
            "instances",
            "killSelection",
            "labels",
            "maxLaunchDelaySeconds",
            "mem",
            "networks",
            "portDefinitions",
            "readinessChecks",
            "requirePorts",
            "residency",
            "role",
            "secrets",
            "taskKillGracePeriodSeconds",
            "unreachableStrategy",
            "upgradeStrategy",
            "user",
            "version",
            "versionInfo",
        ],
    ),
    ("/container", &["type", "docker", "portMappings", "volumes"]),
    (
        "/container/portMappings/0",
        &["name", "containerPort", "hostPort", "servicePort", "protocol", "labels"],
    ),
    ("/container/volumes/0", &["containerPath", "hostPath", "mode"]),
    ("/portDefinitions/0", &["port", "protocol", "name", "labels"]),
];

#[test]
fn case_66_a_client_with_a_closed_list_of_names_knows_them_all() {
    let volumes = json!([{ "containerPath": "/a", "hostPath": "/b" }]);
    for fields in [
        json!({}),
        json!({ "args": ["a"], "labels": { "a": "b" }, "healthChecks": [{}], "taskKillGracePeriodSeconds": 1, "user": "web" }),
        json!({
            "container": { "docker": { "image": "a" }, "volumes": volumes },
            "networks": [{ "mode": "container/bridge" }],
            "secrets": { "a": { "source": "b" } },
        }),
    ] {
        let written = app(&fields).to_json();
        for (place, known) in KNOWN {
            let object = written.pointer(place).and_then(Value::as_object);
            for (name, value) in object.into_iter().flatten() {
                assert!(known.contains(&name.as_str()), "{place}/{name}");
                assert!(!value.is_null(), "{place}/{name}");
            }
        }
    }
}

#[test]
fn case_68_what_marathon_lb_takes_for_granted_is_there() {
    let written =
        app(&json!({ "healthChecks": [{}, { "protocol": "COMMAND", "command": { "value": "a" } }] })).to_json();
    assert_eq!(written["labels"], json!({}));
    for check in written["healthChecks"].as_array().unwrap() {
        for name in [
            "protocol",
            "timeoutSeconds",
            "intervalSeconds",
            "gracePeriodSeconds",
            "maxConsecutiveFailures",
        ] {
            assert!(check.get(name).is_some(), "{name}: {check}");
        }
    }
}
