//! An app: what is to run, how often, and how it is kept well. Marathon's app definition, read, checked and canonical.

pub mod change;
pub mod environment;
pub mod group;
pub mod id;
pub mod invalid;
pub mod merge;
pub mod ports;
pub mod read;
pub mod select;
pub mod service_ports;
mod write;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use id::AppId;

use crate::share::Share;
use crate::time::Timestamp;

/// An app's definition, checked: what is in here can be carried out, unless this machine cannot.
#[derive(Debug, Clone, PartialEq)]
pub struct App {
    pub id: AppId,
    /// What is started. `None` is what the image starts by itself.
    pub command: Option<Command>,
    pub instances: u32,
    pub resources: Resources,
    pub env: BTreeMap<String, EnvValue>,
    pub labels: BTreeMap<String, String>,
    pub container: Option<Container>,
    /// Never empty.
    pub networks: Vec<Network>,
    /// With the host's network only.
    pub port_definitions: Vec<PortDefinition>,
    /// The ports defined are the host's own.
    pub require_ports: bool,
    pub health_checks: Vec<HealthCheck>,
    pub readiness_check: Option<ReadinessCheck>,
    pub upgrade: UpgradeStrategy,
    pub backoff: Backoff,
    pub kill_selection: KillSelection,
    /// Between TERM and KILL.
    pub kill_grace: Option<Duration>,
    pub constraints: Vec<Constraint>,
    pub dependencies: BTreeSet<AppId>,
    pub fetch: Vec<Fetch>,
    pub user: Option<String>,
    /// A terminal in the container.
    pub tty: bool,
    /// Where each secret that the environment names is kept.
    pub secrets: BTreeMap<String, String>,
    /// What is taken, given back and has no effect here, by the name of its field.
    pub echoed: BTreeMap<String, serde_json::Value>,
    pub version: Timestamp,
    pub last_scaling: Timestamp,
    pub last_config_change: Timestamp,
}

impl App {
    /// Whether anything says that an instance is well. Without, one that runs is.
    #[must_use]
    pub fn has_health(&self) -> bool {
        !self.health_checks.is_empty()
    }

    /// The image that its instances run in; without, they are plain processes.
    #[must_use]
    pub fn image(&self) -> Option<&Image> {
        self.container.as_ref()?.image.as_ref()
    }

    #[must_use]
    pub fn is_on_host(&self) -> bool {
        self.networks.iter().all(|network| *network == Network::Host)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A line for `/bin/sh -c`.
    Shell(String),
    /// A program and its arguments; in a container, the arguments of its entry point.
    Args(Vec<String>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Resources {
    pub cpus: f64,
    /// In MiB.
    pub mem: f64,
    /// In MiB.
    pub disk: f64,
    pub gpus: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvValue {
    Text(String),
    /// The name of one of the app's secrets.
    Secret(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    pub kind: ContainerKind,
    pub image: Option<Image>,
    pub volumes: Vec<Volume>,
    /// `None` on the host's network.
    pub port_mappings: Option<Vec<PortMapping>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerKind {
    Docker,
    /// Without an image, a plain process.
    Mesos,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    pub name: String,
    pub force_pull: bool,
    pub privileged: bool,
    /// Options of `docker run`, in order.
    pub parameters: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    pub container_path: String,
    pub from: VolumeFrom,
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeFrom {
    Host(String),
    Secret(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    Host,
    Bridge,
    Container {
        name: String,
        labels: BTreeMap<String, String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    UdpTcp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortDefinition {
    /// The service port, and with `requirePorts` the host's own. 0 until one is assigned.
    pub port: u16,
    pub protocol: Protocol,
    pub name: Option<String>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortMapping {
    /// 0 is the same as the host's port.
    pub container_port: u16,
    /// 0 is any that is free; `None` is not published.
    pub host_port: Option<u16>,
    /// 0 until one is assigned.
    pub service_port: u16,
    pub protocol: Protocol,
    pub name: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub network_names: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    pub protocol: CheckProtocol,
    /// `None` with a command.
    pub port: Option<CheckPort>,
    /// Counted and timed as Mesos does: the `max_failures`-th failure kills, `delay` counts, and the container's own port
    /// is asked. `COMMAND` always is.
    pub mesos: bool,
    pub grace: Duration,
    pub interval: Duration,
    pub timeout: Duration,
    pub max_failures: u32,
    pub delay: Duration,
    pub ignore_1xx: bool,
    pub ipv6: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckProtocol {
    Http {
        path: String,
    },
    Https {
        path: String,
    },
    Tcp,
    /// A line for `/bin/sh -c`.
    Command(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckPort {
    Index(u32),
    Number(u16),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadinessCheck {
    pub name: String,
    pub https: bool,
    pub path: String,
    pub port_name: String,
    pub interval: Duration,
    pub timeout: Duration,
    pub ready_statuses: BTreeSet<u16>,
    pub preserve_last_response: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpgradeStrategy {
    pub minimum_health: Share,
    pub maximum_over: Share,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    pub first: Duration,
    pub factor: f64,
    pub max: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillSelection {
    YoungestFirst,
    OldestFirst,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    pub field: String,
    pub operator: Operator,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    Unique,
    Cluster(Option<String>),
    GroupBy(Option<u32>),
    Like(String),
    Unlike(String),
    MaxPer(u32),
    Is(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    pub uri: String,
    pub extract: bool,
    pub executable: bool,
    pub cache: bool,
    pub dest_path: Option<String>,
}

impl Fetch {
    /// Where it is to be in the task's folder: never outside of it. `None` if nothing says so.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let of_uri = || {
            let path = self.uri.split(['?', '#']).next()?;
            let path = path
                .split_once("://")
                .map_or(Some(path), |(_, rest)| Some(rest.split_once('/')?.1))?;
            path.rsplit('/').next()
        };
        let name = self.dest_path.as_deref().or_else(of_uri)?;
        let is_plain = |part: &str| !matches!(part, "" | "." | "..");
        name.split('/').all(is_plain).then_some(name)
    }
}
