//! Who may be sent traffic: one key for each instance, which templates read with `{{#each (service "web")}}`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Engine;
use crate::app::{CheckPort, CheckProtocol, HealthCheck};
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
    ports: &'a [u16],
    service_ports: Vec<u16>,
    state: State,
    version: String,
    task: String,
    /// Those that are about load balancers.
    labels: BTreeMap<&'a str, &'a str>,
    /// How its first port is asked whether it is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Check<'a>>,
}

/// For the load balancer's own checks.
#[derive(Debug, Serialize)]
struct Check<'a> {
    path: &'a str,
    interval_ms: u128,
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
    let own = instance.addresses.first().filter(|_| !app.is_on_host());
    let service = Service {
        app: app.id.as_str(),
        host: own.unwrap_or(&instance.host),
        port: instance.ports.first().copied(),
        ports: &instance.ports,
        service_ports: app.service_ports(),
        state,
        version: instance.version.to_string(),
        task: instance.task().0,
        check: app.health_checks.iter().find_map(check),
        labels: labels.map(|(name, text)| (name.as_str(), text.as_str())).collect(),
    };
    serde_json::to_vec(&service).ok()
}

fn check(check: &HealthCheck) -> Option<Check<'_>> {
    match (&check.protocol, check.port) {
        (CheckProtocol::Http { path }, Some(CheckPort::Index(0))) => Some(Check {
            path,
            interval_ms: check.interval.as_millis(),
        }),
        _ => None,
    }
}
