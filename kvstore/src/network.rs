//! How servers speak to each other: openraft's network trait.
//!
//! A cluster of one has no peers, and openraft asks for a connection to none. Whoever is asked
//! for all the same is reported as unreachable, which is what it is.

use openraft::error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};

use crate::raft::{Node, NodeId, Snapshot, TypeConfig, Vote};

/// Makes connections to peers.
#[derive(Debug, Clone, Default)]
pub struct Network;

/// A peer that cannot be reached.
#[derive(Debug)]
pub struct Peer(NodeId, Node);

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: NodeId, node: &Node) -> Peer {
        Peer(target, node.clone())
    }
}

impl Peer {
    fn unreachable(&self) -> Unreachable {
        let Self(id, node) = self;
        Unreachable::new(&std::io::Error::other(format!(
            "server {id} at {node}: this version runs one server a cluster"
        )))
    }
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        _: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, RPCError<NodeId, Node, RaftError<NodeId>>> {
        Err(self.unreachable().into())
    }

    async fn vote(
        &mut self,
        _: VoteRequest<NodeId>,
        _: RPCOption,
    ) -> Result<VoteResponse<NodeId>, RPCError<NodeId, Node, RaftError<NodeId>>> {
        Err(self.unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _: Vote,
        _: Snapshot,
        _: impl Future<Output = ReplicationClosed> + openraft::OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<NodeId>, StreamingError<TypeConfig, Fatal<NodeId>>> {
        Err(self.unreachable().into())
    }
}
