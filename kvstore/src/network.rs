//! openraft's network trait, over the connections to the [peers](crate::peer).

use std::io;
use std::time::Duration;

use openraft::error::{
    Fatal, NetworkError, RPCError, RaftError, RemoteError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::peer::links::{Links, PeerError, Purpose, whole};
use crate::peer::{decode, encode, path, transfer};
use crate::raft::{Node, NodeId, Snapshot, TypeConfig, Vote};

/// How soon a peer is tried again that could not be reached.
const AGAIN: Duration = Duration::from_millis(100);

/// Gives connections to peers.
#[derive(Clone)]
pub struct Network(pub(crate) Links);

/// One peer.
pub struct Peer {
    links: Links,
    id: NodeId,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: NodeId, node: &Node) -> Peer {
        self.0.learn(target, node);
        Peer {
            links: self.0.clone(),
            id: target,
        }
    }
}

impl Peer {
    async fn send<A, E>(&self, path: &str, request: &impl Serialize) -> Result<A, RPCError<NodeId, Node, E>>
    where
        A: DeserializeOwned,
        E: DeserializeOwned + std::error::Error,
    {
        let sent = self.links.send(self.id, Purpose::Raft, path, whole(encode(request)));
        let answer = sent.await.map_err(|e| rpc_error(&e))?;
        let answer: Result<A, E> = decode(&answer).map_err(|e| NetworkError::new(&io::Error::other(e)))?;
        answer.map_err(|e| RemoteError::new(self.id, e).into())
    }
}

/// Whoever cannot be reached is tried less often than one that did not answer.
fn rpc_error<E: std::error::Error>(error: &PeerError) -> RPCError<NodeId, Node, E> {
    match error {
        PeerError::Lost { .. } => NetworkError::new(error).into(),
        PeerError::Unreachable { .. } => Unreachable::new(error).into(),
        PeerError::Refused { .. } => {
            tracing::warn!(%error, "a server is not heard");
            Unreachable::new(error).into()
        }
    }
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, RPCError<NodeId, Node, RaftError<NodeId>>> {
        self.send(path::APPEND, &request).await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<NodeId>,
        _: RPCOption,
    ) -> Result<VoteResponse<NodeId>, RPCError<NodeId, Node, RaftError<NodeId>>> {
        self.send(path::VOTE, &request).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + openraft::OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<NodeId>, StreamingError<TypeConfig, Fatal<NodeId>>> {
        let sent = tokio::select! {
            sent = transfer::send(&self.links, self.id, vote, snapshot) => sent,
            closed = cancel => return Err(closed.into()),
        };
        let answer = sent.map_err(|error| match error {
            PeerError::Lost { .. } => StreamingError::Network(NetworkError::new(&error)),
            PeerError::Unreachable { .. } | PeerError::Refused { .. } => {
                StreamingError::Unreachable(Unreachable::new(&error))
            }
        })?;
        let answer: Result<_, Fatal<NodeId>> =
            decode(&answer).map_err(|e| StreamingError::Network(NetworkError::new(&io::Error::other(e))))?;
        answer.map_err(|e| RemoteError::new(self.id, e).into())
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(AGAIN))
    }
}
