//! Who may be sent traffic: one key for each instance, which templates read with `{{#each (service "web")}}`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Engine;
use crate::app::{App, CheckPort, CheckProtocol};
use crate::instance::{Instance, InstanceId, Stage};
use crate::keys;
use crate::world::World;

/// What is registered.
#[derive(Debug, Serialize)]
struct Service<'a> {
    app: &'a str,
    /// Where it is reached.
    host: &'a str,
    /// Its first port.
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    ports: Vec<u16>,
    service_ports: Vec<u16>,
    state: State,
    version: String,
    task: String,
    /// Those that are about load balancers.
    labels: BTreeMap<&'a str, &'a str>,
    /// How its first port is asked whether it is well, if by plain HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<&'a Check<'a>>,
    /// How each of its ports is asked; nothing if none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<&'a [Option<Check<'a>>]>,
}

/// For the load balancer's own checks.
#[derive(Debug, Serialize)]
struct Check<'a> {
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    interval_ms: u128,
    timeout_ms: u128,
    /// With so many failures it is left out.
    fall: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Up,
    /// Its checks fail.
    Down,
    /// It is about to stop: finish what is under way, and send nothing new.
    Draining,
}

impl Engine {
    /// Registers an instance as it is now, or takes it out.
    pub(super) fn register(&mut self, id: &InstanceId) {
        let instance = self.world.instances.get(id);
        let service = instance.and_then(|instance| service(&self.world, instance));
        if service.as_deref() == self.world.services.get(id).map(AsRef::as_ref) {
            return;
        }
        let key = keys::service(id);
        match service {
            Some(service) => {
                self.world.services.insert(id.clone(), service.as_slice().into());
                self.turn.rows.insert(key, Some(service));
            }
            None => {
                self.world.services.remove(id);
                self.erase(key);
            }
        }
    }
}

fn service(world: &World, instance: &Instance) -> Option<Vec<u8>> {
    let state = match instance.stage {
        _ if !instance.proved => return None,
        Stage::Running { .. } if instance.health.is_healthy() == Some(false) => State::Down,
        Stage::Running { .. } => State::Up,
        Stage::Stopping { .. } => State::Draining,
        Stage::Scheduled | Stage::Staging { .. } => return None,
    };
    let app = world.spec(instance)?;
    let labels = app.labels.iter().filter(|(name, _)| name.starts_with("HAPROXY_"));
    // At an address of its own it is reached where none of its ports is published on this machine.
    let own = instance.addresses.first();
    let own = own.filter(|_| !app.is_on_host() && instance.ports.iter().all(|port| *port == 0));
    let ports = instance.ports.iter().zip(app.ports());
    let ports: Vec<u16> = ports
        .map(|(port, declared)| if *port == 0 { declared.declared } else { *port })
        .collect();
    let checks: Vec<_> = (0..ports.len()).map(|port| check(app, port)).collect();
    let first = checks.first().and_then(Option::as_ref);
    let service = Service {
        app: app.id.as_str(),
        host: own.unwrap_or(&instance.host),
        port: ports.first().copied(),
        service_ports: app.service_ports(),
        state,
        version: instance.version.to_string(),
        task: instance.task().0,
        check: first.filter(|check| check.protocol == "http"),
        checks: checks.iter().any(Option::is_some).then_some(&checks),
        labels: labels.map(|(name, text)| (name.as_str(), text.as_str())).collect(),
        ports,
    };
    serde_json::to_vec(&service).ok()
}

/// The first check of a port that a load balancer can make, too.
fn check(app: &App, port: usize) -> Option<Check<'_>> {
    let mut of_port = app.health_checks.iter().filter(|check| match check.port {
        Some(CheckPort::Index(index)) => usize::try_from(index) == Ok(port),
        Some(CheckPort::Number(_)) | None => false,
    });
    of_port.find_map(|check| {
        let (protocol, path) = match &check.protocol {
            CheckProtocol::Http { path } => ("http", Some(path.as_str())),
            CheckProtocol::Https { path } => ("https", Some(path.as_str())),
            CheckProtocol::Tcp => ("tcp", None),
            CheckProtocol::Command(_) => return None,
        };
        Some(Check {
            protocol,
            path,
            interval_ms: check.interval.as_millis(),
            timeout_ms: check.timeout.as_millis(),
            fall: check.max_failures.saturating_add(1),
        })
    })
}
