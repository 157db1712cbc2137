//! How a server stands, as it knows itself.

use super::Node;
use crate::members::{Member, Members};
use crate::raft;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub node_id: u64,
    pub cluster_id: String,
    /// Who leads, if anyone is known to.
    pub leader: Option<(u64, raft::Node)>,
    pub is_leader: bool,
    /// Milliseconds since the leader was heard of; on the leader, since a majority was, and 0 while that is as
    /// it should be.
    pub last_contact_ms: u64,
    /// The voting servers, this one included, by their numbers.
    pub peers: Vec<(u64, raft::Node)>,
    /// All members, also those that do not vote yet.
    pub members: Vec<Member>,
    /// Whether no change of them is under way.
    pub settled: bool,
    /// Raft's term.
    pub term: u64,
    /// The last entry of the log that is applied here.
    pub applied: u64,
    /// Why the server takes no traffic, if it does not: each condition that fails, by its name.
    pub not_ready: Vec<(&'static str, String)>,
}

impl Node {
    /// Who leads, if anyone is known to, and [`Status::last_contact_ms`]. Every stale read says it, so it copies
    /// nothing.
    #[must_use]
    pub fn contact(&self) -> (Option<u64>, u64) {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow();
        if metrics.current_leader != Some(self.inner.node_id) {
            let leader = metrics.current_leader.filter(|_| self.inner.leadership.is_heard());
            return (leader, self.inner.contact.ms());
        }
        if self.inner.leadership.is_answered() {
            return (metrics.current_leader, 0);
        }
        let silence = metrics.millis_since_quorum_ack;
        (None, silence.unwrap_or_else(|| self.inner.contact.ms()))
    }

    /// How the server stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let me = self.inner.node_id;
        let (leader, last_contact_ms) = self.contact();
        let Members {
            servers: members,
            settled,
            term,
            ..
        } = self.members();
        let node = |id: u64| {
            members
                .iter()
                .find(|member| member.id == id)
                .map(|member| member.node.clone())
        };
        let leader = leader.and_then(|id| Some((id, node(id)?)));
        let mut not_ready = Vec::new();
        if self.inner.stopping.is_cancelled() {
            not_ready.push(("stopping", "the server is stopping".to_owned()));
        }
        if leader.is_none() {
            not_ready.push(("leader", "no leader is known".to_owned()));
        }
        if members.iter().any(|member| member.id == me && !member.votes) {
            let text = "the server is catching up with the cluster and does not vote yet";
            not_ready.push(("member", text.to_owned()));
        }
        if let Some(refusal) = self.inner.room.refusal() {
            not_ready.push(("disk", refusal.to_string()));
        }
        Status {
            node_id: me,
            cluster_id: self.inner.cluster_id.clone(),
            is_leader: leader.as_ref().is_some_and(|(id, _)| *id == me),
            last_contact_ms,
            peers: (members.iter().filter(|member| member.votes))
                .map(|member| (member.id, member.node.clone()))
                .collect(),
            leader,
            members,
            settled,
            term,
            applied: self
                .inner
                .raft
                .data_metrics()
                .borrow()
                .last_applied
                .map_or(0, |id| id.index),
            not_ready,
        }
    }
}
