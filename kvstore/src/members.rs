//! Which servers there are, as the log has it, and how far each is with it.

use crate::raft::{self, Raft};

/// The servers at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// Rises with every change of the servers, on every server alike; never 0.
    pub index: u64,
    /// How often there was an election.
    pub term: u64,
    /// Who leads, if anyone is known to.
    pub leader: Option<u64>,
    /// Whether no change of them is under way: all that is shown is agreed on.
    pub settled: bool,
    /// By their numbers.
    pub servers: Vec<Member>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: u64,
    pub node: raft::Node,
    pub votes: bool,
    /// The last entry of its log, as far as the server that was asked knows: its own it does, another's
    /// only if it leads.
    pub last_index: Option<u64>,
}

impl Members {
    pub(crate) fn of(raft: &Raft) -> Self {
        let metrics = raft.metrics();
        let metrics = metrics.borrow();
        let membership = &metrics.membership_config;
        // While it is changed who votes, a majority is needed of those before and of those after.
        let majorities = membership.membership().get_joint_config();
        let votes = |id: &u64| majorities.iter().all(|majority| majority.contains(id));
        let matched = |id: &u64| {
            metrics
                .replication
                .as_ref()?
                .get(id)
                .copied()?
                .map(|log_id| log_id.index)
        };
        let servers = membership.nodes().map(|(id, node)| Member {
            id: *id,
            node: node.clone(),
            votes: votes(id),
            last_index: if *id == metrics.id {
                metrics.last_log_index
            } else {
                matched(id)
            },
        });
        Self {
            index: index(membership.log_id().map(|log_id| log_id.index)),
            term: metrics.current_term,
            leader: metrics.current_leader,
            settled: majorities.len() == 1 && *membership.log_id() <= metrics.last_applied,
            servers: servers.collect(),
        }
    }

    /// The one with this number.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&Member> {
        self.servers.iter().find(|member| member.id == id)
    }
}

/// Returns once the servers are others than at an index, or Raft has ended.
pub(crate) async fn changed(raft: &Raft, after: u64) {
    let mut metrics = raft.server_metrics();
    let at = |log_id: &Option<raft::LogId>| index(log_id.map(|log_id| log_id.index));
    let _ = metrics
        .wait_for(|metrics| at(metrics.membership_config.log_id()) > after)
        .await;
}

/// The first entry of a log stands at 0, which is no index for Consul's clients.
fn index(log_index: Option<u64>) -> u64 {
    log_index.map_or(1, |index| index + 1)
}
