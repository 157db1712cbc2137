//! openraft's types with ours filled in, so that no other file spells generics.
//!
//! openraft's names stay inside this file, `store/`, `network.rs` and `node.rs`: the version is
//! pinned, and the next one is another API.

use serde::{Deserialize, Serialize};

use crate::clock::Runtime;
use crate::command::{Proposal, Reply};
use crate::store::snapshot::SnapshotFile;

/// Where a server is reached: by its peers, and by those who forward a request to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub raft_addr: String,
    pub http_addr: String,
}

impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.raft_addr)
    }
}

openraft::declare_raft_types!(
    /// One entry is one [`Proposal`]; its answer is one [`Reply`] for each command.
    pub TypeConfig:
        D = Proposal,
        R = Vec<Reply>,
        NodeId = u64,
        Node = Node,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = SnapshotFile,
        AsyncRuntime = Runtime,
);

/// How often a leader is heard of, in milliseconds.
pub const HEARTBEAT_MS: u64 = 100;

/// How long nobody has heard of it when another stands for election, in milliseconds: at least, and at most. As
/// long as the greatest, the others stay true to a leader that they have heard.
pub const ELECTION_MS: (u64, u64) = (500, 1000);

pub type NodeId = u64;
pub type Raft = openraft::Raft<TypeConfig>;
pub type Entry = openraft::Entry<TypeConfig>;
pub type LogId = openraft::LogId<NodeId>;
pub type Vote = openraft::Vote<NodeId>;
pub type StorageError = openraft::StorageError<NodeId>;
pub type Snapshot = openraft::Snapshot<TypeConfig>;
pub type SnapshotMeta = openraft::SnapshotMeta<NodeId, Node>;
pub type StoredMembership = openraft::StoredMembership<NodeId, Node>;
