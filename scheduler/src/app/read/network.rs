//! Networks and ports as they are written.

use super::node::{Findings, Node, Object};
use crate::app::{App, Network, PortDefinition, PortMapping, Protocol};

const PROTOCOLS: &[(&str, Protocol)] = &[
    ("tcp", Protocol::Tcp),
    ("udp", Protocol::Udp),
    ("udp,tcp", Protocol::UdpTcp),
    ("tcp,udp", Protocol::UdpTcp),
];

/// The name of a port that nobody asked for.
const DEFAULT_PORT: &str = "default";

/// Never empty: the host's network is the default.
pub(super) fn networks(app: &mut Object<'_>) -> Vec<Network> {
    let networks = app.list("networks", |node| network(&node)).unwrap_or_default();
    match networks.is_empty() {
        true => vec![Network::Host],
        false => networks,
    }
}

fn network(node: &Node<'_>) -> Option<Network> {
    let mut network = node.object()?;
    match network
        .need("mode")?
        .choice(&[("host", 0), ("container/bridge", 1), ("container", 2)])?
    {
        0 => Some(Network::Host),
        1 => Some(Network::Bridge),
        _ => {
            let name = network.text("name").filter(|name| !name.is_empty());
            if name.is_none() {
                network.wrong("needs a name: that of a network of the container engine");
            }
            let labels = network.texts("labels");
            Some(Network::Container {
                name: name.unwrap_or_default(),
                labels,
            })
        }
    }
}

pub(super) fn definitions(app: &mut Object<'_>) -> Option<Vec<PortDefinition>> {
    app.list("portDefinitions", |node| {
        let mut port = node.object()?;
        Some(PortDefinition {
            port: port.whole("port", u16::MAX).unwrap_or(0),
            protocol: protocol(&mut port),
            name: port.text("name"),
            labels: port.texts("labels"),
        })
    })
}

pub(super) fn mappings(container: &mut Object<'_>) -> Option<Vec<PortMapping>> {
    container.list("portMappings", |node| {
        let mut port = node.object()?;
        Some(PortMapping {
            container_port: port.whole("containerPort", u16::MAX).unwrap_or(0),
            host_port: port.whole("hostPort", u16::MAX),
            service_port: port.whole("servicePort", u16::MAX).unwrap_or(0),
            protocol: protocol(&mut port),
            name: port.text("name"),
            labels: port.texts("labels"),
            network_names: port
                .list("networkNames", |node| node.text().map(Into::into))
                .unwrap_or_default(),
        })
    })
}

fn protocol(port: &mut Object<'_>) -> Protocol {
    let read = port.take("protocol").and_then(|node| node.choice(PROTOCOLS));
    read.unwrap_or(Protocol::Tcp)
}

/// Each network has its own way to say which ports there are: what is said in the other's is ignored, and an app of which
/// nothing is said has one port.
pub(super) fn settle(app: &mut App, definitions: Option<Vec<PortDefinition>>, findings: &Findings) {
    if app.is_on_host() {
        app.port_definitions = definitions.unwrap_or_else(|| vec![default_definition()]);
        let mappings = app
            .container
            .as_mut()
            .and_then(|container| container.port_mappings.take());
        if mappings.is_some_and(|mappings| !mappings.is_empty()) {
            findings.ignore("/container/portMappings");
        }
        return;
    }
    if definitions.is_some_and(|definitions| !definitions.is_empty()) {
        findings.ignore("/portDefinitions");
    }
    app.require_ports = false;
    let bridge = app.networks.contains(&Network::Bridge);
    let container = app.container.get_or_insert_with(super::container::imageless);
    let mappings = container.port_mappings.get_or_insert_with(|| vec![default_mapping()]);
    for mapping in mappings.iter_mut().filter(|_| bridge) {
        mapping.host_port.get_or_insert(0);
    }
}

fn default_definition() -> PortDefinition {
    PortDefinition {
        port: 0,
        protocol: Protocol::Tcp,
        name: Some(DEFAULT_PORT.into()),
        labels: Default::default(),
    }
}

fn default_mapping() -> PortMapping {
    PortMapping {
        container_port: 0,
        host_port: None,
        service_port: 0,
        protocol: Protocol::Tcp,
        name: Some(DEFAULT_PORT.into()),
        labels: Default::default(),
        network_names: Vec::new(),
    }
}
