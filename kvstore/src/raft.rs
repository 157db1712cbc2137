//! openraft's types with ours filled in, so that no other file spells generics.
//!
//! openraft's names stay inside this file, `store/`, `network.rs` and `node.rs`: the version is
//! pinned, and the next one is another API.

use std::time::Duration;

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

/// How much time servers give each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// As many times the usual.
    multiplier: u8,
}

impl Pace {
    /// For servers near each other: an answer takes a few milliseconds.
    pub const USUAL: Self = Self { multiplier: 1 };

    /// The slowest.
    pub const MOST: u8 = 10;

    /// So many times slower than the usual; `None` beyond 1 to [`Pace::MOST`].
    #[must_use]
    pub const fn new(multiplier: u8) -> Option<Self> {
        match multiplier {
            1..=Self::MOST => Some(Self { multiplier }),
            _ => None,
        }
    }

    /// So many times the usual.
    #[must_use]
    pub const fn multiplier(self) -> u8 {
        self.multiplier
    }

    const fn times(self, ms: u64) -> Duration {
        Duration::from_millis(ms * self.multiplier as u64)
    }

    /// How often a leader is heard of, and how long an answer to it may take.
    #[must_use]
    pub const fn heartbeat(self) -> Duration {
        self.times(100)
    }

    /// How long a write or a read is held while nobody leads: an election is long over by then.
    #[must_use]
    pub const fn hold(self) -> Duration {
        self.times(3000)
    }

    /// So long the others stay true to a leader that they have heard.
    #[must_use]
    pub const fn lease(self) -> Duration {
        self.times(1000)
    }
}

pub type NodeId = u64;
pub type Raft = openraft::Raft<TypeConfig>;
pub type Entry = openraft::Entry<TypeConfig>;
pub type LogId = openraft::LogId<NodeId>;
pub type Vote = openraft::Vote<NodeId>;
pub type StorageError = openraft::StorageError<NodeId>;
pub type Snapshot = openraft::Snapshot<TypeConfig>;
pub type SnapshotMeta = openraft::SnapshotMeta<NodeId, Node>;
pub type StoredMembership = openraft::StoredMembership<NodeId, Node>;
