//! A whole server: a node and its doors. Starts everything, says where it listens, stops in order.

use std::sync::Arc;
use std::time::Duration;

use kvapi::Address;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Config;
use crate::folder::Folder;
use crate::http::budget::Budgets;
use crate::http::caller::Door;
use crate::http::{self, Doors};
use crate::net::{self, Listener, Places};
use crate::node::Node;

/// How long requests that are under way may take to end once the server stops.
const GRACE: Duration = Duration::from_millis(1200);

/// A running server. Dropping it does not stop it; [`Server::stop`] does.
pub struct Server {
    node: Node,
    addresses: Vec<Address>,
    doors: JoinSet<()>,
    /// Cancelled when doors are to close at once.
    close: CancellationToken,
}

impl Server {
    /// Takes the addresses first, since a port in use is the likeliest trouble, then recovers the
    /// store and opens the doors.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        config.check()?;
        let mut listeners = Vec::new();
        for address in &config.http_addrs {
            let door = if matches!(address, Address::Unix(_)) {
                Door::Unix
            } else {
                Door::Tcp
            };
            listeners.push((door, Listener::bind(address).await?));
        }
        let addresses: Vec<Address> = listeners
            .iter()
            .map(|(_, listener)| listener.address().clone())
            .collect();
        if let Some(path) = &config.agent_socket {
            let listener = Listener::bind(&Address::Unix(path.clone())).await?;
            listeners.push((Door::AgentSocket, listener.for_everybody()?));
        }
        let connections = connections(config.max_connections);
        let places = Places::new(connections, config.max_connections_per_client);
        let join = if config.await_join && !Folder::is_begun(&config.data_dir)? {
            http::waiting::wait_for_cluster(&listeners, &config.allowed_hosts, &places).await
        } else {
            config.join
        };
        let config = Config {
            http_addrs: addresses.clone(),
            join,
            ..config
        };
        let node = Node::open(&config).await?;
        let close = CancellationToken::new();
        let mut doors = JoinSet::new();
        let settings = Arc::new(Doors {
            node: node.clone(),
            allowed_hosts: config.allowed_hosts,
            places,
            budgets: Budgets::default(),
        });
        for (door, listener) in listeners {
            doors.spawn(http::serve(listener, door, Arc::clone(&settings), close.clone()));
        }
        Ok(Self {
            node,
            addresses,
            doors,
            close,
        })
    }

    /// Where clients connect, with the ports that were really taken.
    #[must_use]
    pub fn http_addrs(&self) -> &[Address] {
        &self.addresses
    }

    /// Where the other servers connect, as `HOST:PORT`, with the port that was really taken.
    #[must_use]
    pub fn raft_addr(&self) -> String {
        match self.node.raft_addr() {
            Address::Tcp(authority) => authority.clone(),
            Address::Unix(path) => path.display().to_string(),
        }
    }

    /// The id of the cluster.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        self.node.cluster_id()
    }

    /// What the doors ask.
    #[cfg(test)]
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// Waits for a failure that the server cannot go on with, such as a disk that fails.
    pub async fn failed(&self) -> anyhow::Error {
        self.node.failed().await
    }

    /// Has another server lead, if this one does. Then takes no new writes, ends streams with a last event, waits for what is under way, and
    /// closes the store. Under two seconds; a leader takes a second and a half more to be followed, and what is being written to the
    /// state on disk up to six to be there.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.node.step_down().await;
        self.node.stopping().cancel();
        let all_out = async { while self.doors.join_next().await.is_some() {} };
        if clock::timeout(GRACE, all_out).await.is_err() {
            tracing::warn!("requests were still under way after {GRACE:?}; their connections are cut");
            self.close.cancel();
            self.doors.shutdown().await;
        }
        self.node.close().await
    }
}

/// How many connections there may be: as many as are asked for, if the open files allow it.
fn connections(asked: Option<usize>) -> usize {
    let most = net::max_connections();
    match asked {
        Some(asked) if asked > most => {
            tracing::warn!("{most} connections are possible, not {asked}: raise the limit of open files (ulimit -n)");
            most
        }
        asked => asked.unwrap_or(most),
    }
}
