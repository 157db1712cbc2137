//! What the fields of an app mean together: rules that no field can break alone.

use std::collections::BTreeSet;

use kvapi::key::{self, Key};

use super::node::Findings;
use crate::app::{App, CheckPort, ContainerKind, EnvValue, Network, VolumeFrom};
use crate::keys;

/// With it there is never more than one instance, also while a new version comes.
const SINGLE_INSTANCE: &str = "MARATHON_SINGLE_INSTANCE_APP";

/// The options of `docker run` that a definition may name.
const DOCKER_OPTIONS: &[&str] = &[
    "add-host",
    "cap-add",
    "cap-drop",
    "dns",
    "entrypoint",
    "hostname",
    "init",
    "label",
    "log-driver",
    "log-opt",
    "memory-swap",
    "security-opt",
    "shm-size",
    "tmpfs",
    "ulimit",
    "user",
    "workdir",
];

pub(super) fn check(app: &App, findings: &Findings) {
    started(app, findings);
    networks(app, findings);
    ports(app, findings);
    health(app, findings);
    secrets(app, findings);
    single(app, findings);
    docker(app, findings);
    fetch(app, findings);
}

fn started(app: &App, findings: &Findings) {
    if app.command.is_none() && app.image().is_none() {
        findings.wrong(
            "/cmd",
            "nothing is to be started: say cmd, args, or a container with an image",
        );
    }
}

fn networks(app: &App, findings: &Findings) {
    let containers = app
        .networks
        .iter()
        .filter(|network| matches!(network, Network::Container { .. }))
        .count();
    if containers < app.networks.len() && app.networks.len() > 1 {
        findings.wrong("/networks", "of mode host and container/bridge stand alone");
    }
    let is_docker = app
        .container
        .as_ref()
        .is_some_and(|container| container.kind == ContainerKind::Docker);
    if containers > 1 && is_docker {
        findings.wrong(
            "/networks",
            "of mode container may be one at most with a container of type DOCKER",
        );
    }
    if !app.is_on_host() && app.image().is_none() {
        findings.wrong(
            "/networks",
            "of a plain process are the host's: leave networks out, or say an image",
        );
    }
}

fn ports(app: &App, findings: &Findings) {
    let place = match app.is_on_host() {
        true => "/portDefinitions",
        false => "/container/portMappings",
    };
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in app.ports().into_iter().enumerate() {
        let path = format!("{place}/{index}");
        if let Some(name) = port.name {
            if !is_name(name) {
                findings.wrong(
                    &format!("{path}/name"),
                    "has to be of a-z, 0-9 and -, and neither begin nor end with -",
                );
            }
            if !names.insert(name) {
                findings.wrong(&format!("{path}/name"), "is another port's name too");
            }
        }
        if app.is_on_host() && port.declared != 0 && !numbers.insert(port.declared) {
            findings.wrong(&format!("{path}/port"), "is another port's number too");
        }
    }
}

fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn health(app: &App, findings: &Findings) {
    let ports = app.ports();
    for (index, check) in app.health_checks.iter().enumerate() {
        let path = format!("/healthChecks/{index}");
        match check.port {
            Some(CheckPort::Index(_)) if ports.is_empty() => {
                findings.wrong(
                    &format!("{path}/portIndex"),
                    "the app has no port: define one, or say a port",
                );
            }
            Some(CheckPort::Index(port)) if port as usize >= ports.len() => {
                let last = ports.len() - 1;
                findings.wrong(
                    &format!("{path}/portIndex"),
                    format!("there is no such port: the last one is {last}"),
                );
            }
            _ => {}
        }
        let kind = app.container.as_ref().map(|container| container.kind);
        if check.ipv6 && (kind != Some(ContainerKind::Docker) || !check.mesos) {
            let error = "IPv6 is for MESOS_ checks of containers of type DOCKER";
            findings.wrong(&format!("{path}/ipProtocol"), error);
        }
    }
    let of_mesos = app
        .health_checks
        .iter()
        .filter(|check| check.mesos && check.port.is_some())
        .count();
    if of_mesos > 1 {
        findings.wrong(
            "/healthChecks",
            "may have one check at most whose protocol begins with MESOS_",
        );
    }
    let portless = |name: &str| !ports.iter().any(|port| port.name == Some(name));
    if app
        .readiness_check
        .as_ref()
        .is_some_and(|check| portless(&check.port_name))
    {
        findings.wrong("/readinessChecks/0/portName", "is the name of none of the app's ports");
    }
}

fn secrets(app: &App, findings: &Findings) {
    let unknown = |secret: &String| !app.secrets.contains_key(secret);
    for (name, source) in &app.secrets {
        let key = keys::secret(source);
        let is_path = key::reachable(&key) == key && !key.ends_with('/');
        if !is_path || Key::new(&key).is_err() {
            let error = format!("has to be the rest of a key below {}, such as shop/db", keys::SECRETS);
            findings.wrong(&format!("/secrets/{name}/source"), error);
        }
    }
    for (name, value) in &app.env {
        let EnvValue::Secret(secret) = value else {
            continue;
        };
        if unknown(secret) {
            findings.wrong(&format!("/env/{name}"), "is a secret that secrets does not name");
        }
        // What the system says of such a one shows its value.
        if name.is_empty() || name.contains(['=', '\0']) {
            findings.wrong(&format!("/env/{name}"), "cannot be the name of a variable");
        }
    }
    for (index, volume) in app
        .container
        .iter()
        .flat_map(|container| &container.volumes)
        .enumerate()
    {
        let VolumeFrom::Secret(secret) = &volume.from else {
            continue;
        };
        let wrong = |field: &str, error: &str| findings.wrong(&format!("/container/volumes/{index}/{field}"), error);
        if unknown(secret) {
            wrong("secret", "is a secret that secrets does not name");
        }
        let path = volume.container_path.as_str();
        let is_file = |path: &str| path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        match app.image() {
            _ if !is_file(path.trim_start_matches('/')) => wrong("containerPath", "has to be the path of a file"),
            Some(_) if !path.starts_with('/') => wrong("containerPath", "has to begin with / beside an image"),
            _ => {}
        }
    }
}

fn single(app: &App, findings: &Findings) {
    if app.labels.get(SINGLE_INSTANCE).is_none_or(|value| value != "true") {
        return;
    }
    if app.instances > 1 {
        findings.wrong("/instances", format!("is 1 at most with the label {SINGLE_INSTANCE}"));
    }
    if app.upgrade.minimum_health.get() > 0.0 || app.upgrade.maximum_over.get() > 0.0 {
        let error =
            format!("needs a minimumHealthCapacity and a maximumOverCapacity of 0 with the label {SINGLE_INSTANCE}");
        findings.wrong("/upgradeStrategy", error);
    }
}

fn docker(app: &App, findings: &Findings) {
    for (index, (key, _)) in app.image().iter().flat_map(|image| &image.parameters).enumerate() {
        if !DOCKER_OPTIONS.contains(&key.as_str()) {
            let error = format!(
                "{key} cannot be done here: the options are {}",
                DOCKER_OPTIONS.join(", ")
            );
            findings.wrong(&format!("/container/docker/parameters/{index}/key"), error);
        }
    }
}

/// Plain processes are given files of this machine and of servers that speak HTTP. The credentials of a registry are the
/// only files that old definitions with an image fetch: the container engine has its own, so they are given back and not used.
fn fetch(app: &App, findings: &Findings) {
    let of_registry = |uri: &str| uri.ends_with(".dockercfg") || uri.ends_with("docker.tar.gz");
    for (index, fetch) in app.fetch.iter().enumerate() {
        let is_known = ["http://", "https://", "file:///", "/"]
            .iter()
            .any(|start| fetch.uri.starts_with(start));
        let (field, error) = match app.image() {
            Some(_) if of_registry(&fetch.uri) => continue,
            Some(_) => ("uri", "cannot be done here: have the file in the image or in a volume"),
            None if !is_known => (
                "uri",
                "has to begin with http://, https://, file:/// or /: have other files in place",
            ),
            None if fetch.name().is_some() => continue,
            None if fetch.dest_path.is_some() => ("destPath", "has to be a path within the task's folder"),
            None => ("uri", "names no file: say destPath"),
        };
        findings.wrong(&format!("/fetch/{index}/{field}"), error);
    }
}
