//! Health checks and readiness checks as they are written.

use std::collections::BTreeSet;
use std::time::Duration;

use super::node::{Node, Object};
use crate::app::{CheckPort, CheckProtocol, HealthCheck, ReadinessCheck};

pub(super) fn health(node: &Node<'_>) -> Option<HealthCheck> {
    let mut check = node.object()?;
    let protocol = check.take("protocol");
    let name = protocol.as_ref().map_or(Some("HTTP"), Node::text)?;
    let (mesos, plain) = match name.strip_prefix("MESOS_") {
        Some(plain) => (true, plain),
        None => (name == "COMMAND", name),
    };
    let protocol = match (plain, protocol) {
        ("HTTP", _) => CheckProtocol::Http { path: path(&mut check) },
        ("HTTPS", _) => CheckProtocol::Https { path: path(&mut check) },
        ("TCP", _) => CheckProtocol::Tcp,
        ("COMMAND", _) if name == plain => CheckProtocol::Command(command(&mut check)?),
        (_, node) => {
            // It says what there is to choose from.
            let names = [
                "HTTP",
                "HTTPS",
                "TCP",
                "COMMAND",
                "MESOS_HTTP",
                "MESOS_HTTPS",
                "MESOS_TCP",
            ];
            return node?.choice(&names.map(|name| (name, None)))?;
        }
    };
    Some(HealthCheck {
        port: port(&mut check, &protocol),
        protocol,
        mesos,
        grace: seconds(&mut check, "gracePeriodSeconds", 0, 300),
        interval: seconds(&mut check, "intervalSeconds", 1, 60),
        timeout: seconds(&mut check, "timeoutSeconds", 1, 20),
        max_failures: check.whole("maxConsecutiveFailures", u32::MAX).unwrap_or(3),
        delay: seconds(&mut check, "delaySeconds", 0, 15),
        ignore_1xx: check.boolean("ignoreHttp1xx"),
        ipv6: plain != "COMMAND" && version_6(&mut check),
    })
}

fn seconds(check: &mut Object<'_>, name: &str, least: u64, default: u64) -> Duration {
    check.seconds(name, least).unwrap_or(Duration::from_secs(default))
}

/// A missing slash in front is added.
fn path(check: &mut Object<'_>) -> String {
    let path = check.text("path").unwrap_or_default();
    match path.starts_with('/') {
        true => path,
        false => format!("/{path}"),
    }
}

fn command(check: &mut Object<'_>) -> Option<String> {
    let mut command = check.need("command")?.object()?;
    let line = command.need("value")?.text()?;
    if line.is_empty() {
        command.wrong("is empty");
    }
    Some(line.into())
}

/// A number wins over an index, and the first port over none. Whether the app has that port is asked later.
fn port(check: &mut Object<'_>, protocol: &CheckProtocol) -> Option<CheckPort> {
    let number = check.whole("port", u16::MAX);
    let index = check.whole("portIndex", u32::MAX);
    match protocol {
        CheckProtocol::Command(_) => None,
        _ => Some(number.map_or(CheckPort::Index(index.unwrap_or(0)), CheckPort::Number)),
    }
}

fn version_6(check: &mut Object<'_>) -> bool {
    let read = check
        .take("ipProtocol")
        .and_then(|node| node.choice(&[("IPv4", false), ("IPv6", true)]));
    read.unwrap_or(false)
}

pub(super) fn readiness(node: &Node<'_>) -> Option<ReadinessCheck> {
    let mut check = node.object()?;
    let https = check
        .take("protocol")
        .and_then(|node| node.choice(&[("HTTP", false), ("HTTPS", true)]));
    let read = ReadinessCheck {
        name: check.words("name").unwrap_or_else(|| "readinessCheck".into()),
        https: https.unwrap_or(false),
        path: path(&mut check),
        port_name: check.words("portName").unwrap_or_else(|| "http-api".into()),
        interval: seconds(&mut check, "intervalSeconds", 1, 30),
        timeout: seconds(&mut check, "timeoutSeconds", 1, 10),
        ready_statuses: statuses(&mut check),
        preserve_last_response: check.boolean("preserveLastResponse"),
    };
    if read.timeout >= read.interval {
        node.wrong("needs a timeoutSeconds below its intervalSeconds");
    }
    Some(read)
}

fn statuses(check: &mut Object<'_>) -> BTreeSet<u16> {
    let read = check.list("httpStatusCodesForReady", |node| node.whole(100, 599u16));
    match read {
        Some(statuses) if !statuses.is_empty() => statuses.into_iter().collect(),
        _ => [200].into(),
    }
}
