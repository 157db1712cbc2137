//! What definitions were before Marathon 1.5, in today's words: `ports`, `uris`, `ipAddress`, `docker.network`,
//! `docker.portMappings`.
//!
//! JSON becomes JSON, so that a part of a definition can be translated before it is laid over another.

use serde_json::{Map, Value, json};

use super::node::Findings;

/// The same in today's words. What is wrong with the old ones is noted.
pub(in crate::app) fn translate(mut app: Map<String, Value>, findings: &Findings) -> Map<String, Value> {
    app.retain(|_, value| !value.is_null());
    ports(&mut app, findings);
    uris(&mut app, findings);
    networks(&mut app, findings);
    app
}

fn ports(app: &mut Map<String, Value>, findings: &Findings) {
    let Some(ports) = app.remove("ports") else { return };
    let Some(ports) = ports.as_array() else {
        return findings.misshapen("/ports", "has to be a list");
    };
    let Some(definitions) = app.get("portDefinitions").and_then(Value::as_array) else {
        let definitions = ports.iter().map(|port| json!({ "port": port })).collect();
        app.insert("portDefinitions".into(), definitions);
        return;
    };
    let defined = definitions
        .iter()
        .map(|definition| definition.get("port").unwrap_or(&Value::Null));
    if !defined.eq(ports) {
        findings.wrong("/ports", "says something else than portDefinitions: leave it out");
    }
}

fn uris(app: &mut Map<String, Value>, findings: &Findings) {
    let Some(uris) = app.remove("uris") else { return };
    let Some(uris) = uris.as_array() else {
        return findings.misshapen("/uris", "has to be a list");
    };
    if uris.is_empty() {
        app.entry("fetch").or_insert_with(|| json!([]));
        return;
    }
    if app
        .get("fetch")
        .and_then(Value::as_array)
        .is_some_and(|fetch| !fetch.is_empty())
    {
        return findings.wrong("/uris", "stands beside fetch: write all of it in fetch");
    }
    let fetch = |uri: &Value| json!({ "uri": uri, "extract": uri.as_str().is_some_and(is_archive) });
    app.insert("fetch".into(), uris.iter().map(fetch).collect());
}

/// By its name, as it always was for `uris`.
fn is_archive(uri: &str) -> bool {
    let ends = [".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".zip"];
    ends.iter().any(|end| uri.ends_with(end))
}

fn networks(app: &mut Map<String, Value>, findings: &Findings) {
    let (mode, mappings) = docker(app);
    let address = app.remove("ipAddress");
    let (network, address) = (mode.as_ref(), address.as_ref());
    if app.contains_key("networks") {
        let both = "stands beside networks: say it there alone";
        network
            .into_iter()
            .for_each(|_| findings.wrong("/container/docker/network", both));
        address.into_iter().for_each(|_| findings.wrong("/ipAddress", both));
    } else if let Some(mode) = network {
        translated(app, mode, address, findings);
    } else if let Some(address) = address {
        app.insert("networks".into(), json!([named(address)]));
        app.entry("container").or_insert_with(|| json!({ "type": "MESOS" }));
    }
    if let Some(mappings) = mappings.or_else(|| discovered(address?)) {
        let Some(container) = app.get_mut("container").and_then(Value::as_object_mut) else {
            return;
        };
        match container.get("portMappings").filter(|given| !given.is_null()) {
            Some(_) => findings.wrong(
                "/container/portMappings",
                "are said twice, here and in the old way: say them here alone",
            ),
            None => drop(container.insert("portMappings".into(), mappings)),
        }
    }
}

/// The old fields of `container.docker`, taken out.
fn docker(app: &mut Map<String, Value>) -> (Option<Value>, Option<Value>) {
    let docker = app
        .get_mut("container")
        .and_then(|container| container.get_mut("docker"))
        .and_then(Value::as_object_mut);
    let mut take = docker.map(|docker| move |name: &str| docker.remove(name).filter(|value| !value.is_null()));
    match &mut take {
        Some(take) => (take("network"), take("portMappings")),
        None => (None, None),
    }
}

fn translated(app: &mut Map<String, Value>, mode: &Value, address: Option<&Value>, findings: &Findings) {
    let network = match mode.as_str() {
        Some("HOST") => json!({ "mode": "host" }),
        Some("BRIDGE") => json!({ "mode": "container/bridge" }),
        Some("USER") => address.map_or_else(|| json!({ "mode": "container" }), named),
        Some("NONE") => {
            return findings.wrong(
                "/container/docker/network",
                "NONE cannot be done: take a named network that leads nowhere",
            );
        }
        _ => return findings.misshapen("/container/docker/network", "has to be one of HOST, BRIDGE, USER"),
    };
    app.insert("networks".into(), json!([network]));
}

/// A network with the name and the labels of an old `ipAddress`.
fn named(address: &Value) -> Value {
    let mut network = json!({ "mode": "container" });
    for (old, new) in [("networkName", "name"), ("labels", "labels")] {
        if let Some(value) = address.get(old).filter(|value| !value.is_null()) {
            network[new] = value.clone();
        }
    }
    network
}

fn discovered(address: &Value) -> Option<Value> {
    let ports = address.get("discovery")?.get("ports")?.as_array()?;
    let mapping =
        |port: &Value| json!({ "containerPort": port["number"], "name": port["name"], "protocol": port["protocol"] });
    (!ports.is_empty()).then(|| ports.iter().map(mapping).collect())
}
