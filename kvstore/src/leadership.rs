//! Who leads, as this server knows it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::{Instant, timeout_at};
use crate::raft::{NodeId, Raft};

/// See the module. Clones are the same.
#[derive(Clone)]
pub(crate) struct Leadership {
    raft: Raft,
    /// While this server hands over, what is to be decided waits as if nobody led.
    handing_over: Arc<watch::Sender<bool>>,
}

/// Who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leader {
    Me,
    Other(NodeId),
}

/// This server hands over, until it is dropped: then it leads on, if nobody else does.
pub(crate) struct HandingOver(Leadership);

impl HandingOver {
    /// The others hear nothing of this server from now on, until they have elected another.
    pub(crate) fn fall_silent(&self) {
        self.0.raft.runtime_config().heartbeat(false);
    }
}

impl Drop for HandingOver {
    fn drop(&mut self) {
        self.0.raft.runtime_config().heartbeat(true);
        self.0.handing_over.send_replace(false);
    }
}

impl Leadership {
    pub(crate) fn new(raft: Raft) -> Self {
        Self {
            raft,
            handing_over: Arc::new(watch::Sender::new(false)),
        }
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.raft
    }

    /// Who leads, if anybody is known to.
    pub(crate) fn leader(&self) -> Option<Leader> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow();
        match metrics.current_leader? {
            id if id != metrics.id => Some(Leader::Other(id)),
            _ if *self.handing_over.borrow() => None,
            _ => Some(Leader::Me),
        }
    }

    /// Whether this server leads.
    pub(crate) fn is_mine(&self) -> bool {
        self.leader() == Some(Leader::Me)
    }

    /// Whether it leads, or will once nobody takes over from it.
    pub(crate) fn is_held(&self) -> bool {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow();
        metrics.current_leader == Some(metrics.id)
    }

    /// Whether nobody else votes.
    pub(crate) fn is_alone(&self) -> bool {
        let metrics = self.raft.server_metrics();
        metrics.borrow().membership_config.voter_ids().count() == 1
    }

    /// Who leads, once anybody is known to; `None` if nobody was until the deadline.
    pub(crate) async fn known(&self, deadline: Instant) -> Option<Leader> {
        timeout_at(deadline, self.wait_for(Option::is_some)).await.ok()??
    }

    /// Waits until this server leads; `false` if Raft has ended.
    pub(crate) async fn begins(&self) -> bool {
        self.wait_for(|leader| *leader == Some(Leader::Me)).await.is_some()
    }

    /// Waits until this server does not lead, or Raft has ended.
    pub(crate) async fn ends(&self) {
        let _ = self.wait_for(|leader| *leader != Some(Leader::Me)).await;
    }

    /// Waits until somebody else leads, or Raft has ended.
    pub(crate) async fn passes(&self) -> Option<NodeId> {
        let other = self.wait_for(|leader| matches!(leader, Some(Leader::Other(_)))).await;
        match other {
            Some(Some(Leader::Other(id))) => Some(id),
            _ => None,
        }
    }

    /// From now on, until what is returned is dropped, nobody leads here.
    pub(crate) fn hand_over(&self) -> HandingOver {
        self.handing_over.send_replace(true);
        HandingOver(self.clone())
    }

    /// Who leads, once it is as wanted; `None` if Raft has ended.
    async fn wait_for(&self, wanted: impl Fn(&Option<Leader>) -> bool) -> Option<Option<Leader>> {
        let mut metrics = self.raft.server_metrics();
        let mut handing_over = self.handing_over.subscribe();
        loop {
            metrics.borrow_and_update();
            handing_over.borrow_and_update();
            let leader = self.leader();
            if wanted(&leader) {
                return Some(leader);
            }
            tokio::select! {
                changed = metrics.changed() => changed.ok()?,
                _ = handing_over.changed() => {}
            }
        }
    }
}
