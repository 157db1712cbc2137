//! An app's definition as canonical JSON: what `/v2` answers, and what is kept in the store.
//!
//! Marathon's clients set what is in here: marathon-python knows a closed set of names and fails on any other, marathon-lb
//! takes `labels` and the fields of health checks for granted. So defaults are written out, and what only newer Marathons
//! have is written when the app says it.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::*;

impl App {
    /// Canonical: equal apps give equal JSON, and [`read::stored`] gives an equal app.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut app = Fields::of(json!({
            "backoffFactor": number(self.backoff.factor),
            "backoffSeconds": self.backoff.first.as_secs(),
            "constraints": self.constraints.iter().map(Constraint::words).collect::<Value>(),
            "cpus": number(self.resources.cpus),
            "dependencies": self.dependencies,
            "disk": number(self.resources.disk),
            "env": self.env.iter().map(|(name, value)| (name.clone(), env(value))).collect::<Value>(),
            "fetch": self.fetch.iter().map(fetch).collect::<Value>(),
            "gpus": self.resources.gpus,
            "healthChecks": self.health_checks.iter().map(health).collect::<Value>(),
            "id": self.id,
            "instances": self.instances,
            "killSelection": kill_selection(self.kill_selection),
            "labels": self.labels,
            "maxLaunchDelaySeconds": self.backoff.max.as_secs(),
            "mem": number(self.resources.mem),
            "networks": self.networks.iter().map(network).collect::<Value>(),
            "readinessChecks": self.readiness_check.iter().map(readiness).collect::<Value>(),
            "requirePorts": self.require_ports,
            "unreachableStrategy": { "inactiveAfterSeconds": 0, "expungeAfterSeconds": 0 },
            "upgradeStrategy": {
                "minimumHealthCapacity": number(self.upgrade.minimum_health.get()),
                "maximumOverCapacity": number(self.upgrade.maximum_over.get()),
            },
            "version": self.version,
            "versionInfo": {
                "lastScalingAt": self.last_scaling,
                "lastConfigChangeAt": self.last_config_change,
            },
        }));
        match &self.command {
            Some(Command::Shell(line)) => app.set("cmd", json!(line)),
            Some(Command::Args(args)) => app.set("args", json!(args)),
            None => {}
        }
        app.set_some("container", self.container.as_ref().map(container));
        if self.is_on_host() {
            app.set(
                "portDefinitions",
                self.port_definitions.iter().map(definition).collect(),
            );
        }
        app.set_some("taskKillGracePeriodSeconds", self.kill_grace.map(seconds));
        app.set_some("user", self.user.as_ref().map(|user| json!(user)));
        app.set_some("tty", self.tty.then_some(Value::Bool(true)));
        if !self.secrets.is_empty() {
            let secret = |(name, source): (&String, &String)| (name.clone(), json!({ "source": source }));
            app.set("secrets", self.secrets.iter().map(secret).collect());
        }
        self.echoed
            .iter()
            .for_each(|(name, value)| app.set(name, value.clone()));
        app.into()
    }
}

/// An object that is being written.
struct Fields(Map<String, Value>);

impl Fields {
    fn of(object: Value) -> Self {
        match object {
            Value::Object(fields) => Self(fields),
            _ => Self(Map::new()),
        }
    }

    fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.into(), value);
    }

    fn set_some(&mut self, name: &str, value: Option<Value>) {
        self.0.extend(value.map(|value| (name.into(), value)));
    }
}

impl From<Fields> for Value {
    fn from(Fields(fields): Fields) -> Self {
        Self::Object(fields)
    }
}

/// A whole number is written as one.
fn number(number: f64) -> Value {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "compared with the number that it was made of"
    )]
    let whole = number as i64;
    #[expect(clippy::cast_precision_loss, reason = "such numbers are not whole ones here")]
    match whole as f64 == number && number.abs() < 1e15 {
        true => json!(whole),
        false => json!(number),
    }
}

fn seconds(duration: Duration) -> Value {
    json!(duration.as_secs())
}

fn env(value: &EnvValue) -> Value {
    match value {
        EnvValue::Text(text) => json!(text),
        EnvValue::Secret(name) => json!({ "secret": name }),
    }
}

fn container(container: &Container) -> Value {
    let mut fields = Fields::of(json!({
        "type": match container.kind {
            ContainerKind::Docker => "DOCKER",
            ContainerKind::Mesos => "MESOS",
        },
        "volumes": container.volumes.iter().map(volume).collect::<Value>(),
    }));
    fields.set_some("docker", container.image.as_ref().map(image));
    let mappings = container.port_mappings.as_ref();
    fields.set_some(
        "portMappings",
        mappings.map(|mappings| mappings.iter().map(mapping).collect()),
    );
    fields.into()
}

fn image(image: &Image) -> Value {
    let parameter = |(key, value): &(String, String)| json!({ "key": key, "value": value });
    json!({
        "image": image.name,
        "forcePullImage": image.force_pull,
        "privileged": image.privileged,
        "parameters": image.parameters.iter().map(parameter).collect::<Value>(),
    })
}

fn volume(volume: &Volume) -> Value {
    let mode = if volume.read_only { "RO" } else { "RW" };
    match &volume.from {
        VolumeFrom::Host(path) => json!({ "containerPath": volume.container_path, "hostPath": path, "mode": mode }),
        VolumeFrom::Secret(name) => json!({ "containerPath": volume.container_path, "secret": name, "mode": mode }),
    }
}

fn network(network: &Network) -> Value {
    match network {
        Network::Host => json!({ "mode": "host" }),
        Network::Bridge => json!({ "mode": "container/bridge" }),
        Network::Container { name, labels } if labels.is_empty() => json!({ "mode": "container", "name": name }),
        Network::Container { name, labels } => json!({ "mode": "container", "name": name, "labels": labels }),
    }
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::UdpTcp => "udp,tcp",
    }
}

fn definition(port: &PortDefinition) -> Value {
    let mut fields = Fields::of(json!({
        "port": port.port,
        "protocol": protocol(port.protocol),
        "labels": port.labels,
    }));
    fields.set_some("name", port.name.as_ref().map(|name| json!(name)));
    fields.into()
}

fn mapping(port: &PortMapping) -> Value {
    let mut fields = Fields::of(json!({
        "containerPort": port.container_port,
        "servicePort": port.service_port,
        "protocol": protocol(port.protocol),
        "labels": port.labels,
    }));
    fields.set_some("hostPort", port.host_port.map(|port| json!(port)));
    fields.set_some("name", port.name.as_ref().map(|name| json!(name)));
    if !port.network_names.is_empty() {
        fields.set("networkNames", json!(port.network_names));
    }
    fields.into()
}

fn health(check: &HealthCheck) -> Value {
    let mut fields = Fields::of(json!({
        "gracePeriodSeconds": check.grace.as_secs(),
        "intervalSeconds": check.interval.as_secs(),
        "timeoutSeconds": check.timeout.as_secs(),
        "maxConsecutiveFailures": check.max_failures,
        "delaySeconds": check.delay.as_secs(),
    }));
    let name = match &check.protocol {
        CheckProtocol::Http { path } => {
            fields.set("path", json!(path));
            "HTTP"
        }
        CheckProtocol::Https { path } => {
            fields.set("path", json!(path));
            "HTTPS"
        }
        CheckProtocol::Tcp => "TCP",
        CheckProtocol::Command(line) => {
            fields.set("command", json!({ "value": line }));
            "COMMAND"
        }
    };
    match check.port {
        Some(CheckPort::Index(index)) => fields.set("portIndex", json!(index)),
        Some(CheckPort::Number(port)) => fields.set("port", json!(port)),
        None => {}
    }
    let is_network = check.port.is_some();
    let prefix = if check.mesos && is_network { "MESOS_" } else { "" };
    fields.set("protocol", json!(format!("{prefix}{name}")));
    if !check.mesos || check.ignore_1xx {
        fields.set("ignoreHttp1xx", json!(check.ignore_1xx));
    }
    if check.mesos && is_network {
        fields.set("ipProtocol", json!(if check.ipv6 { "IPv6" } else { "IPv4" }));
    }
    fields.into()
}

fn readiness(check: &ReadinessCheck) -> Value {
    json!({
        "name": check.name,
        "protocol": if check.https { "HTTPS" } else { "HTTP" },
        "path": check.path,
        "portName": check.port_name,
        "intervalSeconds": check.interval.as_secs(),
        "timeoutSeconds": check.timeout.as_secs(),
        "httpStatusCodesForReady": check.ready_statuses,
        "preserveLastResponse": check.preserve_last_response,
    })
}

fn kill_selection(selection: KillSelection) -> &'static str {
    match selection {
        KillSelection::YoungestFirst => "YOUNGEST_FIRST",
        KillSelection::OldestFirst => "OLDEST_FIRST",
    }
}

impl Constraint {
    /// Its field, its operator, and the value if there is one.
    pub(crate) fn words(&self) -> Vec<String> {
        let (operator, value) = match &self.operator {
            Operator::Unique => ("UNIQUE", None),
            Operator::Cluster(value) => ("CLUSTER", value.clone()),
            Operator::GroupBy(groups) => ("GROUP_BY", groups.map(|groups| groups.to_string())),
            Operator::Like(pattern) => ("LIKE", Some(pattern.clone())),
            Operator::Unlike(pattern) => ("UNLIKE", Some(pattern.clone())),
            Operator::MaxPer(number) => ("MAX_PER", Some(number.to_string())),
            Operator::Is(value) => ("IS", Some(value.clone())),
        };
        [self.field.clone(), operator.into()].into_iter().chain(value).collect()
    }
}

fn fetch(fetch: &Fetch) -> Value {
    let mut fields = Fields::of(json!({
        "uri": fetch.uri,
        "extract": fetch.extract,
        "executable": fetch.executable,
        "cache": fetch.cache,
    }));
    fields.set_some("destPath", fetch.dest_path.as_ref().map(|path| json!(path)));
    fields.into()
}
