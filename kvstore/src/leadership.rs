//! Who leads, as this server knows it.

use crate::clock::{Instant, timeout_at};
use crate::raft::Raft;

/// Whether this server leads.
pub(crate) fn is_mine(raft: &Raft) -> bool {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow();
    metrics.current_leader == Some(metrics.id)
}

/// Waits until this server leads; `false` if it did not until the deadline.
pub(crate) async fn wait_until_mine(raft: &Raft, deadline: Instant) -> bool {
    let mut metrics = raft.server_metrics();
    let led = metrics.wait_for(|metrics| metrics.current_leader == Some(metrics.id));
    matches!(timeout_at(deadline, led).await, Ok(Ok(_)))
}

/// Waits until this server leads; `false` if Raft has ended.
pub(crate) async fn begins(raft: &Raft) -> bool {
    let mut metrics = raft.server_metrics();
    let led = metrics
        .wait_for(|metrics| metrics.current_leader == Some(metrics.id))
        .await;
    led.is_ok()
}

/// Waits until this server does not lead, or Raft has ended.
pub(crate) async fn ends(raft: &Raft) {
    let mut metrics = raft.server_metrics();
    let _ = metrics
        .wait_for(|metrics| metrics.current_leader != Some(metrics.id))
        .await;
}
