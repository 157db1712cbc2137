//! The ports of an app, whichever network it is on.

use super::{App, Protocol};

/// One port of an app. Its index is its place in [`App::ports`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port<'a> {
    pub name: Option<&'a str>,
    pub protocol: Protocol,
    /// The number by which its author knows it: the container's port, or on the host's network the port itself. 0 is none.
    pub declared: u16,
    pub host: HostPort,
    /// 0 until one is assigned.
    pub service: u16,
}

/// Which port of the host a port takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostPort {
    /// Any that is free.
    Any,
    Fixed(u16),
    /// It is reached at the container's own address.
    Unpublished,
}

impl App {
    /// Its ports, in the order of their indexes.
    #[must_use]
    pub fn ports(&self) -> Vec<Port<'_>> {
        let defined = self.port_definitions.iter().map(|port| Port {
            name: port.name.as_deref(),
            protocol: port.protocol,
            declared: port.port,
            host: match self.require_ports {
                true => HostPort::of(port.port),
                false => HostPort::Any,
            },
            service: port.port,
        });
        let mappings = self
            .container
            .iter()
            .filter_map(|container| container.port_mappings.as_ref());
        let mapped = mappings.flatten().map(|port| Port {
            name: port.name.as_deref(),
            protocol: port.protocol,
            declared: port.container_port,
            host: port.host_port.map_or(HostPort::Unpublished, HostPort::of),
            service: port.service_port,
        });
        match self.is_on_host() {
            true => defined.collect(),
            false => mapped.collect(),
        }
    }

    /// Each port's service port.
    #[must_use]
    pub fn service_ports(&self) -> Vec<u16> {
        self.ports().iter().map(|port| port.service).collect()
    }
}

impl HostPort {
    fn of(number: u16) -> Self {
        match number {
            0 => Self::Any,
            number => Self::Fixed(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::HostPort::{Any, Fixed, Unpublished};
    use crate::app::tests::app;

    #[test]
    fn an_app_on_the_hosts_network_takes_any_port_unless_it_requires_its_own() {
        let mut web = app(&json!({ "portDefinitions": [{ "port": 80, "name": "http" }, { "port": 0 }] }));
        let hosts = |web: &crate::app::App| web.ports().iter().map(|port| port.host).collect::<Vec<_>>();

        assert_eq!((web.service_ports(), hosts(&web)), (vec![80, 0], vec![Any, Any]));
        assert_eq!(web.ports()[0].name, Some("http"));
        web.require_ports = true;
        assert_eq!(hosts(&web), [Fixed(80), Any]);
    }

    #[test]
    fn an_app_on_another_network_has_the_ports_of_its_container() {
        let web = app(&json!({
            "container": {
                "docker": { "image": "nginx" },
                "portMappings": [
                    { "containerPort": 80, "servicePort": 10_001 },
                    { "containerPort": 81, "hostPort": 0 },
                    { "containerPort": 82, "hostPort": 31_000 },
                ],
            },
            "networks": [{ "mode": "container", "name": "backend" }],
        }));
        let ports: Vec<_> = web
            .ports()
            .iter()
            .map(|port| (port.declared, port.host, port.service))
            .collect();
        assert_eq!(ports, [(80, Unpublished, 10_001), (81, Any, 0), (82, Fixed(31_000), 0)]);
    }
}
