//! What was written before Marathon 1.5.

use super::*;

#[test]
fn case_10_what_was_written_the_old_way_is_translated() {
    let web = read_app(&json!({
        "container": { "docker": {
            "image": "nginx",
            "network": "BRIDGE",
            "portMappings": [{ "containerPort": 80, "servicePort": 9000 }],
        } },
        "uris": ["file:///etc/docker.tar.gz"],
        "ports": [0],
    }));
    assert_eq!(web.networks, [Network::Bridge]);
    assert_eq!(web.ports().len(), 1);
    assert_eq!(
        (web.ports()[0].host, web.service_ports()),
        (ports::HostPort::Any, vec![9000])
    );
    assert_eq!(
        (web.fetch[0].uri.as_str(), web.fetch[0].extract),
        ("file:///etc/docker.tar.gz", true)
    );
    let written = web.to_json();
    for old in [
        "/ports",
        "/uris",
        "/ipAddress",
        "/container/docker/network",
        "/container/docker/portMappings",
    ] {
        assert_eq!(written.pointer(old), None, "{old}");
    }

    let web = read_app(&json!({ "ports": [80, 81] }));
    assert_eq!(web.service_ports(), [80, 81]);
    let web = read_app(&json!({ "ports": [80], "portDefinitions": [{ "port": 80, "name": "http" }] }));
    assert_eq!(web.ports()[0].name, Some("http"));
    let web = read_app(&json!({
        "container": { "type": "MESOS", "docker": { "image": "nginx" } },
        "ipAddress": { "networkName": "backend", "discovery": { "ports": [{ "number": 80, "name": "http", "protocol": "tcp" }] } },
    }));
    assert!(matches!(&web.networks[..], [Network::Container { name, .. }] if name == "backend"));
    assert_eq!(
        (web.ports()[0].declared, web.ports()[0].host),
        (80, ports::HostPort::Unpublished)
    );
}

#[test]
fn case_10_what_is_said_both_ways_is_refused() {
    wrong(&json!({ "ports": [80], "portDefinitions": [{ "port": 81 }] }), "/ports");
    wrong(
        &json!({ "container": { "docker": { "image": "a", "network": "BRIDGE" } }, "networks": [{ "mode": "host" }] }),
        "/container/docker/network",
    );
    wrong(
        &json!({
            "container": { "docker": { "image": "a", "network": "BRIDGE", "portMappings": [] }, "portMappings": [] },
        }),
        "/container/portMappings",
    );
    let (_, paths) = mistakes(&json!({ "ipAddress": {}, "networks": [{ "mode": "host" }] }));
    assert_eq!(paths, ["/ipAddress"]);
    misshapen(&json!({ "ports": 80 }), &["/ports"]);
    wrong(
        &json!({ "container": { "docker": { "image": "a", "network": "NONE" } } }),
        "/container/docker/network",
    );
}
