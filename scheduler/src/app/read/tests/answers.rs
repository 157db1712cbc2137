//! What others write: Marathon itself in its answers, sent here to move from it, and marathon-python 0.13.

use super::*;

/// Read with nothing but this ignored.
fn moved(answer: &Value, ignored: &[&str]) -> App {
    let read = self::app(answer, &AppId::root()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read.ignored, ignored);
    read.app
}

#[test]
fn case_6_an_answer_of_a_new_marathon() {
    let web = moved(
        &json!({
            "id": "/shop/web",
            "acceptedResourceRoles": ["*"],
            "backoffFactor": 1.15,
            "backoffSeconds": 1,
            "container": {
                "type": "DOCKER",
                "docker": { "forcePullImage": false, "image": "nginx:1", "parameters": [], "privileged": false },
                "volumes": [{ "containerPath": "/srv", "hostPath": "/srv/web", "mode": "RO" }],
                "portMappings": [{
                    "containerPort": 80, "hostPort": 0, "labels": {}, "name": "http", "protocol": "tcp", "servicePort": 10_001,
                }],
            },
            "cpus": 0.1,
            "disk": 0,
            "env": { "MODE": "live" },
            "executor": "",
            "gpus": 0,
            "healthChecks": [{
                "gracePeriodSeconds": 300, "intervalSeconds": 60, "maxConsecutiveFailures": 3, "path": "/live", "portIndex": 0,
                "protocol": "MESOS_HTTP", "ipProtocol": "IPv4", "timeoutSeconds": 20, "delaySeconds": 15,
            }],
            "instances": 3,
            "killSelection": "YOUNGEST_FIRST",
            "labels": { "HAPROXY_GROUP": "external" },
            "maxLaunchDelaySeconds": 300,
            "mem": 128,
            "networks": [{ "mode": "container/bridge" }],
            "requirePorts": false,
            "role": "*",
            "unreachableStrategy": { "expungeAfterSeconds": 600, "inactiveAfterSeconds": 300 },
            "upgradeStrategy": { "maximumOverCapacity": 1, "minimumHealthCapacity": 1 },
            "version": "2026-01-02T03:04:05.678Z",
            "versionInfo": {
                "lastConfigChangeAt": "2026-01-02T03:04:05.678Z", "lastScalingAt": "2026-01-02T03:04:05.678Z",
            },
            "tasksHealthy": 3,
            "tasksRunning": 3,
            "tasksStaged": 0,
            "tasksUnhealthy": 0,
            "tasksStats": { "totalSummary": {} },
            "tasks": [{ "id": "shop_web.instance-1._app.1" }],
            "deployments": [],
            "readinessCheckResults": [],
        }),
        &[],
    );
    assert_eq!(
        (web.instances, web.service_ports(), web.command.is_none()),
        (3, vec![10_001], true)
    );
    assert_eq!(web.networks, [Network::Bridge]);
}

#[test]
fn case_6_an_answer_of_marathon_1_4() {
    let web = moved(
        &json!({
            "id": "/web",
            "cmd": null,
            "args": null,
            "user": null,
            "env": {},
            "constraints": [["hostname", "UNIQUE"]],
            "executor": "",
            "uris": [],
            "fetch": [],
            "backoffSeconds": 1,
            "backoffFactor": 1.15,
            "maxLaunchDelaySeconds": 3600,
            "container": {
                "type": "DOCKER",
                "volumes": [],
                "docker": {
                    "image": "nginx:1",
                    "network": "BRIDGE",
                    "portMappings": [{
                        "containerPort": 80, "hostPort": 0, "servicePort": 10_001, "protocol": "tcp", "name": null, "labels": {},
                    }],
                    "privileged": false,
                    "parameters": [],
                    "forcePullImage": false,
                },
            },
            "healthChecks": [{ "protocol": "HTTP", "path": "/", "portIndex": 0, "port": null, "ignoreHttp1xx": false }],
            "readinessChecks": [],
            "dependencies": [],
            "upgradeStrategy": { "minimumHealthCapacity": 1 },
            "labels": {},
            "ipAddress": null,
            "residency": null,
            "secrets": {},
            "taskKillGracePeriodSeconds": null,
            "ports": [10_001],
            "portDefinitions": [{ "port": 10_001, "protocol": "tcp", "labels": {} }],
            "requirePorts": false,
        }),
        &["/portDefinitions"],
    );
    assert_eq!((web.ports()[0].declared, web.service_ports()), (80, vec![10_001]));
    assert_eq!(web.kill_grace, None);
}

/// As the client wrote them when it was asked to create such apps.
#[test]
fn case_66_what_marathon_python_sends() {
    let plain = moved(
        &json!({
            "id": "/a", "cmd": "sleep 1", "instances": 2, "cpus": 0.1, "mem": 16, "env": { "A": "b" }, "labels": { "x": "y" },
            "healthChecks": [{
                "gracePeriodSeconds": 3, "intervalSeconds": 2, "maxConsecutiveFailures": 3, "path": "/", "portIndex": 0,
                "protocol": "HTTP", "timeoutSeconds": 1,
            }],
            "constraints": [["hostname", "UNIQUE"], ["rack", "GROUP_BY", "2"]],
            "upgradeStrategy": { "maximumOverCapacity": 0.1, "minimumHealthCapacity": 0.5 },
            "ports": [0], "requirePorts": false, "backoffFactor": 1.2, "backoffSeconds": 1, "maxLaunchDelaySeconds": 30,
            "user": "web", "killSelection": "OLDEST_FIRST", "taskKillGracePeriodSeconds": 3, "dependencies": ["/db"],
            "unreachableStrategy": { "expungeAfterSeconds": 600, "inactiveAfterSeconds": 300 },
        }),
        &[],
    );
    assert_eq!(
        (plain.instances, plain.ports().len(), plain.constraints.len()),
        (2, 1, 2)
    );

    let legacy = moved(
        &json!({
            "id": "/b",
            "container": {
                "docker": {
                    "forcePullImage": true, "image": "nginx", "network": "BRIDGE", "privileged": false,
                    "parameters": [{ "key": "hostname", "value": "h" }],
                    "portMappings": [{
                        "containerPort": 80, "hostPort": 0, "name": "http", "protocol": "tcp", "servicePort": 0,
                    }],
                },
                "type": "DOCKER",
                "volumes": [{ "containerPath": "/a", "hostPath": "/b", "mode": "RO" }],
            },
            "env": { "P": { "secret": "s" } },
            "secrets": { "s": { "source": "x" } },
            "readinessChecks": [{
                "httpStatusCodesForReady": [200], "intervalSeconds": 3, "name": "r", "path": "/", "portName": "http",
                "preserveLastResponse": false, "protocol": "HTTP", "timeoutSeconds": 2,
            }],
            "uris": ["file:///etc/docker.tar.gz"],
        }),
        &[],
    );
    assert_eq!((legacy.networks, legacy.fetch.len()), (vec![Network::Bridge], 1));
}
