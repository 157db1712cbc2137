//! What a server says of its cluster, and how one joins it.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::client::{Client, Error, Reply};
use crate::types::header;

/// A cluster, as one of its servers knows it (`GET /v1/cluster`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ClusterStatus {
    /// The id that it got when it was made.
    #[serde(rename = "ClusterID")]
    pub cluster_id: String,
    /// The server that answers.
    #[serde(rename = "NodeID")]
    pub node_id: u64,
    /// Who leads, if anyone is known to.
    pub leader: Option<u64>,
    /// Raft's term.
    pub term: u64,
    /// The last entry of the log of the server that answers.
    pub log_index: u64,
    /// The last entry of it that is applied there.
    pub applied_index: u64,
    /// The revision there.
    pub revision: u64,
    /// Whether no change of the members is under way. Until then a server that votes already may be needed still
    /// for the change, and the loss of one more stops the cluster.
    pub settled: bool,
    /// A hash of all that is stored there, the history too, if it was asked for: equal on servers that have
    /// applied the same entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// All members, by their numbers.
    pub servers: Vec<ServerStatus>,
}

/// One member of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServerStatus {
    /// Its number.
    #[serde(rename = "ID")]
    pub id: u64,
    /// Where the other servers reach it, as `HOST:PORT`.
    pub raft_addr: String,
    /// Where clients reach it.
    #[serde(rename = "HTTPAddr")]
    pub http_addr: String,
    /// Whether it votes; else it still learns.
    pub voter: bool,
    /// Whether it leads.
    pub leader: bool,
    /// The last entry of its log, as far as the server that answers knows: its own it does, another's only if it
    /// leads.
    #[serde(default)]
    pub last_index: Option<u64>,
}

/// What a server says that wants to join (`PUT /v1/cluster/join`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Join {
    /// The cluster that its data folder is of.
    #[serde(rename = "ClusterID")]
    pub cluster_id: String,
    /// Its number.
    #[serde(rename = "NodeID")]
    pub node_id: u64,
    /// Its data folder.
    pub instance: String,
    /// Where the other servers reach it, as `HOST:PORT`.
    pub raft_addr: String,
    /// Where clients reach it.
    #[serde(rename = "HTTPAddr")]
    pub http_addr: String,
}

/// Where a server that waits for its cluster is told of it.
pub const JOIN_CLUSTER_OF: &str = "/v1/cluster/join-cluster-of";

/// What a server is told that waits to be told which cluster to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct JoinClusterOf {
    /// Addresses of some servers of that cluster.
    pub servers: Vec<String>,
}

impl Client {
    /// The cluster, as the server that is asked knows it.
    pub async fn cluster_status(&self) -> Result<ClusterStatus, Error> {
        self.read("/v1/cluster").await?.json()
    }

    /// The same, with a hash of all that is stored there. It reads everything, so it is not for every day.
    pub async fn cluster_digest(&self) -> Result<ClusterStatus, Error> {
        self.read("/v1/cluster?digest").await?.json()
    }

    /// Has a server be a member no more, for ever. `false` if it was none.
    pub async fn remove_server(&self, server: u64) -> Result<bool, Error> {
        if !self
            .cluster_status()
            .await?
            .servers
            .iter()
            .any(|member| member.id == server)
        {
            return Ok(false);
        }
        let path = format!("/v1/operator/raft/peer?id={server}");
        let reply = self.send_again(Method::DELETE, &path, Bytes::new()).await?;
        // Asked again after a lost answer, it is not there any more: that is what was wanted.
        let gone = || reply.body.ends_with(b"was not found in the Raft configuration");
        match reply.status {
            StatusCode::OK => Ok(true),
            _ if gone() => Ok(true),
            _ => Err(reply.refused()),
        }
    }

    /// Has another server lead: this one, or the one that has most of the log.
    pub async fn transfer_leader(&self, to: Option<u64>) -> Result<(), Error> {
        let path = match to {
            Some(to) => format!("/v1/operator/raft/transfer-leader?id={to}"),
            None => "/v1/operator/raft/transfer-leader".to_owned(),
        };
        let reply = self.send_again(Method::POST, &path, Bytes::new()).await?;
        match reply.status {
            StatusCode::OK => Ok(()),
            _ => Err(reply.refused()),
        }
    }

    /// Has the server that is asked, which waits for it, join the cluster of these.
    pub async fn join_cluster_of(&self, servers: &[Address]) -> Result<(), Error> {
        let join = JoinClusterOf {
            servers: servers.iter().map(ToString::to_string).collect(),
        };
        let body = serde_json::to_vec(&join).expect("texts have a JSON form");
        let reply = self.send_again(Method::PUT, JOIN_CLUSTER_OF, body.into()).await?;
        match reply.status {
            StatusCode::OK => Ok(()),
            _ => Err(reply.refused()),
        }
    }

    /// A request that may be sent twice, since the second time changes nothing.
    pub async fn send_again(&self, method: Method, path: &str, body: Bytes) -> Result<Reply, Error> {
        let mut headers = HeaderMap::new();
        if let Ok(id) = uuid::Uuid::new_v4().to_string().parse() {
            headers.insert(header::REQUEST, id);
        }
        self.send(method, path, body, headers).await
    }
}
