//! How a server stands, as it knows itself.

use std::time::Duration;

use super::Node;
use crate::members::{Member, Members};
use crate::raft;

/// A leader that no majority has answered for so long is not believed to be one.
const SILENT: Duration = Duration::from_millis(raft::ELECTION_MS.1 * 2);

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
    /// How the server stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let metrics = self.inner.raft.metrics().borrow().clone();
        let me = self.inner.node_id;
        let Members {
            servers: members,
            settled,
            ..
        } = self.members();
        let node = |id: u64| {
            members
                .iter()
                .find(|member| member.id == id)
                .map(|member| member.node.clone())
        };
        let is_leader = metrics.current_leader == Some(me);
        let alone = members.iter().filter(|member| member.votes).count() < 2;
        let last_contact_ms = match metrics.millis_since_quorum_ack {
            _ if !is_leader => self.inner.contact.ms(),
            Some(ms) if !alone && Duration::from_millis(ms) > SILENT => ms,
            _ => 0,
        };
        let leader = metrics.current_leader.filter(|_| !is_leader || last_contact_ms == 0);
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
            is_leader: is_leader && leader.is_some(),
            last_contact_ms,
            peers: (members.iter().filter(|member| member.votes))
                .map(|member| (member.id, member.node.clone()))
                .collect(),
            leader,
            members,
            settled,
            term: metrics.current_term,
            applied: metrics.last_applied.map_or(0, |id| id.index),
            not_ready,
        }
    }
}
