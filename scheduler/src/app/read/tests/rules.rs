//! What cannot be meant, or cannot be done here.

use super::*;

#[test]
fn what_cannot_be_done_here_is_refused_and_says_what_can() {
    for (fields, path) in [
        (json!({ "gpus": 1 }), "/gpus"),
        (json!({ "residency": {} }), "/residency"),
        (json!({ "check": { "tcp": {} } }), "/check"),
        (json!({ "resourceLimits": { "mem": 1 } }), "/resourceLimits"),
        (json!({ "acceptedResourceRoles": ["web"] }), "/acceptedResourceRoles"),
        (json!({ "role": "web" }), "/role"),
        (json!({ "executor": "/bin/executor" }), "/executor"),
        (json!({ "fetch": [{ "uri": "ftp://files/a.tgz" }] }), "/fetch/0/uri"),
        (json!({ "fetch": [{ "uri": "http://files/" }] }), "/fetch/0/uri"),
        (
            json!({ "fetch": [{ "uri": "/files/a", "destPath": "../a" }] }),
            "/fetch/0/destPath",
        ),
        (
            json!({ "container": { "docker": { "image": "a", "pullConfig": {} } } }),
            "/container/docker/pullConfig",
        ),
        (
            json!({ "container": { "docker": { "image": "a" }, "linuxInfo": {} } }),
            "/container/linuxInfo",
        ),
        (
            json!({ "container": { "docker": { "image": "a", "parameters": [{ "key": "pid", "value": "host" }] } } }),
            "/container/docker/parameters/0/key",
        ),
        (
            json!({ "cmd": "a", "networks": [{ "mode": "container/bridge" }] }),
            "/networks",
        ),
    ] {
        wrong(&fields, path);
    }
}

#[test]
fn what_is_of_mesos_and_means_nothing_here_is_given_back() {
    let web = read_app(&json!({ "acceptedResourceRoles": ["*"], "role": "*", "executor": "//cmd", "gpus": 0 }));
    let names: Vec<&str> = web.echoed.keys().map(String::as_str).collect();
    assert_eq!(names, ["acceptedResourceRoles", "executor", "role"]);

    wrong(
        &json!({ "unreachableStrategy": { "inactiveAfterSeconds": 2, "expungeAfterSeconds": 1 } }),
        "/unreachableStrategy",
    );
}

#[test]
fn rules_of_more_than_one_field() {
    wrong(&json!({ "readinessChecks": [{}] }), "/readinessChecks/0/portName");
    wrong(
        &json!({ "readinessChecks": [{ "portName": "default", "timeoutSeconds": 30 }] }),
        "/readinessChecks/0",
    );
    wrong(
        &json!({ "portDefinitions": [{ "name": "a" }, { "name": "a" }] }),
        "/portDefinitions/1/name",
    );
    wrong(
        &json!({ "portDefinitions": [{ "name": "a_b" }] }),
        "/portDefinitions/0/name",
    );
    wrong(
        &json!({ "portDefinitions": [{ "port": 80 }, { "port": 80 }] }),
        "/portDefinitions/1/port",
    );
    wrong(&json!({ "env": { "A": { "secret": "s" } } }), "/env/A");
    for source in ["a//b", "../a", "a/", "a/./b"] {
        let secrets = json!({ "s": { "source": source } });
        wrong(&json!({ "secrets": secrets }), "/secrets/s/source");
    }
    let secrets = json!({ "s": { "source": "/a/b" } });
    for name in ["", "A=B"] {
        let env = json!({ name: { "secret": "s" } });
        wrong(&json!({ "env": env, "secrets": secrets }), &format!("/env/{name}"));
    }
    for (path, image) in [("../a", false), ("/", false), ("a//b", false), ("a", true)] {
        let volume = json!({ "containerPath": path, "secret": "s" });
        let container = match image {
            true => json!({ "docker": { "image": "a" }, "volumes": [volume] }),
            false => json!({ "type": "MESOS", "volumes": [volume] }),
        };
        let fields = json!({ "cmd": "a", "container": container, "secrets": secrets });
        wrong(&fields, "/container/volumes/0/containerPath");
    }
    let volume = json!({ "containerPath": "a", "secret": "s", "mode": "RW" });
    let container = json!({ "type": "MESOS", "volumes": [volume] });
    wrong(
        &json!({ "cmd": "a", "container": container, "secrets": secrets }),
        "/container/volumes/0",
    );
    wrong(
        &json!({ "healthChecks": [{ "protocol": "MESOS_TCP" }, { "protocol": "MESOS_HTTP" }] }),
        "/healthChecks",
    );
    wrong(
        &json!({ "healthChecks": [{ "protocol": "MESOS_TCP", "ipProtocol": "IPv6" }] }),
        "/healthChecks/0/ipProtocol",
    );
    let once = json!({ "MARATHON_SINGLE_INSTANCE_APP": "true" });
    let none = json!({ "minimumHealthCapacity": 0, "maximumOverCapacity": 0 });
    wrong(&json!({ "labels": once }), "/upgradeStrategy");
    wrong(
        &json!({ "labels": once, "instances": 2, "upgradeStrategy": none }),
        "/instances",
    );
    let networks = json!([{ "mode": "host" }, { "mode": "container/bridge" }]);
    wrong(
        &json!({ "container": { "docker": { "image": "a" } }, "networks": networks }),
        "/networks",
    );
    wrong(
        &json!({ "container": { "docker": { "image": "a" } }, "networks": [{ "mode": "container" }] }),
        "/networks/0",
    );
    wrong(&json!({ "cmd": "a", "container": {} }), "/container");
}

#[test]
fn constraints_are_checked() {
    let fields = |constraint: Value| json!({ "constraints": [constraint] });
    for constraint in [
        json!(["hostname"]),
        json!(["hostname", "UNIQUE", "a"]),
        json!(["hostname", "LIKE"]),
        json!(["hostname", "LIKE", "("]),
        json!(["hostname", "MAX_PER", "0"]),
        json!(["hostname", "GROUP_BY", "many"]),
        json!(["hostname", "NEAR", "a"]),
    ] {
        wrong(&fields(constraint), "/constraints/0");
    }
    let web = read_app(&fields(json!(["rack", "group_by", 3])));
    assert_eq!(web.constraints[0].operator, Operator::GroupBy(Some(3)));
}
