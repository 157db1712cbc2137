//! How Raft's membership is changed, in the words of this crate.

use std::collections::{BTreeMap, BTreeSet};

use openraft::ChangeMembers;
use openraft::error::{ClientWriteError, RaftError};

use crate::members::{self, Member, Members};
use crate::peer::ask::Told;
use crate::raft::{Node, Raft};

/// So many entries a learner may be behind and yet be made to vote.
const CAUGHT_UP: u64 = 200;

/// See the module.
#[derive(Clone)]
pub(super) struct Membership {
    raft: Raft,
}

type Changed<T> = Result<T, RaftError<u64, ClientWriteError<u64, Node>>>;

impl Membership {
    pub(super) const fn new(raft: Raft) -> Self {
        Self { raft }
    }

    /// All of them.
    pub(super) fn all(&self) -> Members {
        Members::of(&self.raft)
    }

    /// Where each of them is.
    pub(super) fn nodes(&self) -> BTreeMap<u64, Node> {
        let metrics = self.raft.server_metrics();
        let nodes: BTreeMap<_, _> = (metrics.borrow().membership_config.nodes())
            .map(|(id, node)| (*id, node.clone()))
            .collect();
        nodes
    }

    /// Waits until they are others.
    pub(super) async fn changed(&self, known: &Members) {
        members::changed(&self.raft, known.index).await;
    }

    /// A new one, which does not vote yet.
    pub(super) async fn learn(&self, id: u64, node: Node) -> Result<(), Told> {
        told(self.raft.add_learner(id, node, false).await)
    }

    /// One that is elsewhere now.
    pub(super) async fn move_to(&self, id: u64, node: Node) -> Result<(), Told> {
        tracing::info!(server = id, at = %node, "a server has moved");
        let change = ChangeMembers::SetNodes(BTreeMap::from([(id, node)]));
        told(self.raft.change_membership(change, true).await)
    }

    /// One less, whether it votes or not.
    pub(super) async fn remove(&self, id: u64) -> Result<(), Told> {
        let ids = BTreeSet::from([id]);
        let voters: BTreeSet<u64> = self
            .raft
            .server_metrics()
            .borrow()
            .membership_config
            .voter_ids()
            .collect();
        let change = if voters.contains(&id) {
            ChangeMembers::RemoveVoters(ids)
        } else {
            ChangeMembers::RemoveNodes(ids)
        };
        told(self.raft.change_membership(change, false).await)
    }

    /// Makes those vote that have caught up.
    pub(super) async fn promote(&self) {
        let last = self.raft.data_metrics().borrow().last_log.map_or(0, |id| id.index);
        let caught_up =
            |member: &Member| !member.votes && member.last_index.is_some_and(|index| index + CAUGHT_UP >= last);
        let ids: BTreeSet<u64> = self
            .all()
            .servers
            .into_iter()
            .filter(caught_up)
            .map(|member| member.id)
            .collect();
        if ids.is_empty() {
            return;
        }
        match self
            .raft
            .change_membership(ChangeMembers::AddVoterIds(ids.clone()), true)
            .await
        {
            Ok(_) => tracing::info!(servers = ?ids, "servers have caught up and vote now"),
            Err(error) => tracing::warn!(%error, servers = ?ids, "servers have caught up and do not vote yet"),
        }
    }
}

fn told<T>(changed: Changed<T>) -> Result<(), Told> {
    match changed {
        Ok(_) => Ok(()),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
            Err(Told::Unknown("the leader changed meanwhile".into()))
        }
        Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(e))) => Err(Told::Refused(e.to_string())),
        Err(RaftError::Fatal(e)) => Err(Told::Unknown(e.to_string())),
    }
}
