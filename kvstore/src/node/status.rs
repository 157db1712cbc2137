//! How a server stands, as it knows itself, and what it has done.

use std::time::Duration;

use super::Node;
use crate::clock;
use crate::members::{Member, Members};
use crate::raft;
use crate::room::RoomStatus;

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

    /// How much room the disk has, and whether writes are refused for it.
    #[must_use]
    pub fn room(&self) -> RoomStatus {
        self.inner.room.status()
    }

    /// See [`Batcher::waiting`](crate::batch::Batcher::waiting).
    #[must_use]
    pub fn waiting_writes(&self) -> (usize, usize) {
        self.inner.batcher.waiting()
    }

    /// See [`Batcher::made`](crate::batch::Batcher::made).
    #[must_use]
    pub fn batches(&self) -> (u64, u64) {
        self.inner.batcher.made()
    }

    /// How many snapshots were taken since the start, and how long the newest is.
    #[must_use]
    pub fn snapshots(&self) -> (u64, u64) {
        (self.inner.log_size.snapshots(), self.inner.log_size.snapshot_bytes())
    }

    /// How old the newest snapshot is.
    #[must_use]
    pub fn snapshot_age(&self) -> Option<Duration> {
        let at = self.inner.log_size.snapshot_at_ms()?;
        Some(Duration::from_millis(clock::wall_ms().saturating_sub(at)))
    }

    /// Bytes of changes that are not in the state on disk yet.
    #[must_use]
    pub fn unwritten_bytes(&self) -> usize {
        self.inner.closing.unwritten_bytes()
    }

    /// Bytes of log after the newest snapshot.
    #[must_use]
    pub fn log_since_snapshot(&self) -> u64 {
        self.inner.log_size.since_snapshot()
    }

    /// When the server was started, milliseconds since 1970.
    #[must_use]
    pub fn started_ms(&self) -> u64 {
        self.inner.started_ms
    }

    /// The index of the last log entry. It grows slower than the revision: one entry holds all
    /// the writes that were waiting.
    #[must_use]
    pub fn log_index(&self) -> u64 {
        self.inner
            .raft
            .data_metrics()
            .borrow()
            .last_log
            .map_or(0, |log_id| log_id.index)
    }
}
