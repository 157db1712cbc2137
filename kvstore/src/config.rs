//! What a server is started with, checked before anything is opened.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use kvapi::Address;
use kvapi::limits::Limits;

use crate::raft::Pace;

/// See [`Config::min_free`]: four files of the log, or a good part of a snapshot.
pub const MIN_FREE: u64 = 64 << 20;

/// See [`Config::snapshot_every`].
pub const SNAPSHOT_EVERY: u64 = 20_000;

/// How far [`Limits`] can be raised. A body is in memory whole, a transaction is one log entry, and a
/// value is in memory for as long as it is the newest; some of it must go into the room for waiting
/// writes, and a snapshot's block holds any row.
pub const MOST: Limits = Limits {
    value_bytes: 16 << 20,
    txn_ops: 16_384,
    txn_bytes: 16 << 20,
};

fn check_limits(limits: Limits) -> Result<(), BadConfig> {
    for (flag, given, most) in [
        ("--max-value-size", limits.value_bytes, MOST.value_bytes),
        ("--max-txn-ops", limits.txn_ops, MOST.txn_ops),
        ("--max-txn-size", limits.txn_bytes, MOST.txn_bytes),
    ] {
        if given == 0 || given > most {
            return Err(BadConfig::Limit { flag, given, most });
        }
    }
    Ok(())
}

/// How long a blocking query waits (Consul's `default_query_time` and `max_query_time`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// If it does not say.
    pub default: Duration,
    /// At most, whatever it says.
    pub most: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            default: Duration::from_secs(300),
            most: Duration::from_secs(600),
        }
    }
}

impl Waits {
    fn check(&self) -> Result<(), BadConfig> {
        for (flag, wait) in [("--default-query-time", self.default), ("--max-query-time", self.most)] {
            if wait.is_zero() {
                return Err(BadConfig::NoWait(flag));
            }
        }
        Ok(())
    }
}

/// Settings of a server. [`Config::check`] says what is wrong with them.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// This server's number in the cluster, from 1.
    pub node_id: u64,
    /// Where clients connect; port 0 takes a free one.
    pub http_addrs: Vec<Address>,
    /// Where the other servers connect, as `HOST:PORT`.
    pub raft_addr: String,
    /// A second unix socket for containers, with few rights.
    pub agent_socket: Option<PathBuf>,
    /// Make a new cluster if the data folder is new.
    pub bootstrap: bool,
    /// Join the cluster of these servers if the data folder is new.
    pub join: Vec<Address>,
    /// Wait until somebody says which cluster to join, if the data folder is new.
    pub await_join: bool,
    /// Where the other servers reach this one, as `HOST:PORT`, if not where it listens.
    pub advertise_raft: Option<String>,
    /// Listen beyond this machine although nobody is asked for a token yet.
    pub insecure_listen: bool,
    /// Names beside `localhost` under which clients on this machine may address the server.
    pub allowed_hosts: Vec<String>,
    /// Writes are refused while less than this is free on the data folder's disk, in bytes; 0
    /// never refuses them.
    pub min_free: u64,
    /// Log entries after which a snapshot is made.
    pub snapshot_every: u64,
    /// How much time the servers give each other.
    pub pace: Pace,
    pub limits: Limits,
    pub waits: Waits,
    /// Connections in all; `None` is as many as the open files allow.
    pub max_connections: Option<usize>,
    /// Connections from one address; `None` leaves an eighth to the others.
    pub max_connections_per_client: Option<usize>,
}

/// What is wrong with the settings, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    #[error(
        "{0} is reachable from other machines, and there are no tokens yet; listen on 127.0.0.1 or a unix socket, or accept the risk with --insecure-listen"
    )]
    BeyondLoopback(String),
    #[error(
        "`{0}` is not an address to listen on; give one such as 127.0.0.1:8500, [::1]:8500 or unix:///run/keyway.sock"
    )]
    NoAddress(String),
    #[error("node id 0 is not allowed; number the servers of a cluster from 1")]
    NodeZero,
    #[error(
        "--raft-addr {0} is every address of this machine, and the other servers need one: name it with --advertise-raft HOST:PORT"
    )]
    Everywhere(String),
    #[error(
        "--advertise-raft `{0}` is not HOST:PORT; give what the other servers can connect to, such as 10.0.0.1:8300"
    )]
    NoAdvertised(String),
    #[error("{0} is 0, and blocking queries would not wait at all; give a duration such as 5m")]
    NoWait(&'static str),
    #[error("{flag} is {given}, and it can be from 1 to {most}; give less, or split what is written")]
    Limit {
        flag: &'static str,
        given: usize,
        most: usize,
    },
}

impl Config {
    /// One server on the usual ports of this machine, which makes its own cluster.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            node_id: 1,
            http_addrs: vec![Address::Tcp("127.0.0.1:8500".into())],
            raft_addr: "127.0.0.1:8300".into(),
            agent_socket: None,
            bootstrap: true,
            join: Vec::new(),
            await_join: false,
            advertise_raft: None,
            insecure_listen: false,
            allowed_hosts: Vec::new(),
            min_free: MIN_FREE,
            snapshot_every: SNAPSHOT_EVERY,
            pace: Pace::USUAL,
            limits: Limits::default(),
            waits: Waits::default(),
            max_connections: None,
            max_connections_per_client: None,
        }
    }

    /// Refuses what could not work or would expose the store.
    pub fn check(&self) -> Result<(), BadConfig> {
        if self.node_id == 0 {
            return Err(BadConfig::NodeZero);
        }
        check_limits(self.limits)?;
        self.waits.check()?;
        for address in &self.http_addrs {
            if let Address::Tcp(authority) = address {
                self.check_listen(authority)?;
            }
        }
        self.check_listen(&self.raft_addr)?;
        self.check_advertised()
    }

    /// The others must be able to find this server.
    fn check_advertised(&self) -> Result<(), BadConfig> {
        let Some(advertised) = &self.advertise_raft else {
            let everywhere = socket_addr(&self.raft_addr).is_some_and(|address| address.ip().is_unspecified());
            return match everywhere && (self.await_join || !self.join.is_empty()) {
                true => Err(BadConfig::Everywhere(self.raft_addr.clone())),
                false => Ok(()),
            };
        };
        let port = advertised.rsplit_once(':').and_then(|(host, port)| {
            let port: u16 = port.parse().ok()?;
            (!host.is_empty() && !host.contains(['/', ' ', ';'])).then_some(port)
        });
        match port {
            Some(1..) => Ok(()),
            _ => Err(BadConfig::NoAdvertised(advertised.clone())),
        }
    }

    fn check_listen(&self, authority: &str) -> Result<(), BadConfig> {
        let address = socket_addr(authority).ok_or_else(|| BadConfig::NoAddress(authority.to_owned()))?;
        if self.insecure_listen || address.ip().is_loopback() {
            return Ok(());
        }
        Err(BadConfig::BeyondLoopback(authority.to_owned()))
    }
}

/// The address in `HOST:PORT`, where the host is an address or `localhost`. Names that would
/// have to be looked up are not for listening.
#[must_use]
pub fn socket_addr(authority: &str) -> Option<SocketAddr> {
    if let Some(port) = authority.strip_prefix("localhost:") {
        return Some(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port.parse().ok()?));
    }
    authority.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening_on(authority: &str) -> Config {
        Config {
            http_addrs: vec![Address::Tcp(authority.into())],
            ..Config::new("/nowhere")
        }
    }

    #[test]
    fn beyond_this_machine_only_when_asked_for() {
        for authority in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:8500", "localhost:8500"] {
            listening_on(authority).check().unwrap();
        }
        for authority in ["0.0.0.0:8500", "[::]:8500", "10.0.0.1:8500"] {
            assert!(
                matches!(listening_on(authority).check(), Err(BadConfig::BeyondLoopback(_))),
                "{authority}"
            );
            Config {
                insecure_listen: true,
                ..listening_on(authority)
            }
            .check()
            .unwrap();
        }
        assert!(matches!(
            listening_on("example.org:8500").check(),
            Err(BadConfig::NoAddress(_))
        ));
    }

    #[test]
    fn limits_can_be_raised_so_far_and_no_further() {
        let with = |limits| Config {
            limits,
            ..Config::new("/nowhere")
        };
        with(MOST).check().unwrap();
        for limits in [
            Limits {
                value_bytes: MOST.value_bytes + 1,
                ..Limits::default()
            },
            Limits {
                txn_ops: 0,
                ..Limits::default()
            },
        ] {
            assert!(matches!(with(limits).check(), Err(BadConfig::Limit { .. })));
        }
    }

    #[test]
    fn servers_are_numbered_from_one() {
        assert!(matches!(
            Config {
                node_id: 0,
                ..Config::new("/nowhere")
            }
            .check(),
            Err(BadConfig::NodeZero)
        ));
    }
}
