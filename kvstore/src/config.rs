//! What a server is started with, checked before anything is opened.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use kvapi::Address;

/// See [`Config::min_free`]: four files of the log, or a good part of a snapshot.
pub const MIN_FREE: u64 = 64 << 20;

/// See [`Config::snapshot_every`].
pub const SNAPSHOT_EVERY: u64 = 20_000;

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
    /// Join the cluster of this server.
    pub join: Option<String>,
    /// Listen beyond this machine although nobody is asked for a token yet.
    pub insecure_listen: bool,
    /// Names beside `localhost` under which clients on this machine may address the server.
    pub allowed_hosts: Vec<String>,
    /// Writes are refused while less than this is free on the data folder's disk, in bytes; 0
    /// never refuses them.
    pub min_free: u64,
    /// Log entries after which a snapshot is made.
    pub snapshot_every: u64,
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
        "joining another server is not possible in this version, which runs one server a cluster; leave --join away"
    )]
    Join,
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
            join: None,
            insecure_listen: false,
            allowed_hosts: Vec::new(),
            min_free: MIN_FREE,
            snapshot_every: SNAPSHOT_EVERY,
        }
    }

    /// Refuses what could not work or would expose the store.
    pub fn check(&self) -> Result<(), BadConfig> {
        if self.node_id == 0 {
            return Err(BadConfig::NodeZero);
        }
        if self.join.is_some() {
            return Err(BadConfig::Join);
        }
        for address in &self.http_addrs {
            if let Address::Tcp(authority) = address {
                self.check_listen(authority)?;
            }
        }
        self.check_listen(&self.raft_addr)
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
