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

use crate::leadership::Restraint;
use crate::peer::links::{Links, PeerError, Purpose, whole};
use crate::peer::{decode, encode, path, transfer};
use crate::raft::{Node, NodeId, Snapshot, TypeConfig, Vote};

/// How soon a peer is tried again that could not be reached.
const AGAIN: Duration = Duration::from_millis(100);

/// Gives connections to peers.
#[derive(Clone)]
pub struct Network {
    pub(crate) links: Links,
    pub(crate) restraint: Restraint,
}

/// One peer.
pub struct Peer {
    links: Links,
    restraint: Restraint,
    id: NodeId,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: NodeId, node: &Node) -> Peer {
        self.links.learn(target, node);
        Peer {
            links: self.links.clone(),
            restraint: self.restraint.clone(),
            id: target,
        }
    }
}

impl Peer {
    /// What a leader says has the others stay true to it. An error while they are not to.
    fn may_lead(&self) -> Result<(), Unreachable> {
        match self.restraint.is_silent() {
            true => Err(Unreachable::new(&io::Error::other("this leader is silent"))),
            false => Ok(()),
        }
    }

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
        self.may_lead()?;
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
        self.may_lead()?;
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
