//! Somebody who forgets the past now and then while others write, and knows from where on it must be kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kvapi::client::WriteOptions;
use kvapi::types::HistoryChange;
use kvapi::{Client, Consistency, Error, Revision};

use super::record::{PARTS, Shared};

/// So many revisions pass between two times, and so many are kept. Far fewer than a server keeps by
/// itself, so that nothing else forgets.
const EVERY: u64 = 40;
const KEPT: u64 = 15;

/// Between two looks at how far the writers are, and whether a full disk takes something again.
const LOOK: Duration = Duration::from_millis(2);

/// The revision before which the past is forgotten: that of the last time that was acknowledged, or one
/// that was sent after it.
#[derive(Debug, Default)]
pub(crate) struct Compactor {
    acknowledged: u64,
    sent: u64,
}

impl Compactor {
    /// Forgets until told to stop or the server is gone.
    pub(super) async fn compact(mut self, client: Client, shared: Arc<Shared>) -> Self {
        while !shared.stop.load(Ordering::Relaxed) {
            let newest = shared.shown.load(Ordering::Relaxed);
            if newest < self.sent + EVERY {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            let before = self.sent;
            self.sent = newest - KEPT;
            let change = HistoryChange {
                compact_to: Some(Revision(self.sent)),
                ..HistoryChange::default()
            };
            match client.change_history(&change, &WriteOptions::default()).await {
                Ok(_) => self.acknowledged = self.sent,
                Err(Error::Refused { status, .. }) if status == 507 => {
                    self.sent = before;
                    tokio::time::sleep(LOOK).await;
                }
                // It may be done.
                Err(_) => break,
            }
        }
        self
    }

    /// Whether it was done at least once.
    pub(super) const fn has_compacted(&self) -> bool {
        self.acknowledged > 0
    }

    /// The past is kept from there on and no further back; and there it is what it was: `known` has what
    /// each writer had written at its revisions.
    pub(super) async fn check(
        &mut self,
        client: &Client,
        known: &[(String, &BTreeMap<u64, usize>)],
    ) -> anyhow::Result<()> {
        let oldest = client.history_limits().await?.oldest;
        if self.sent == 0 {
            return Ok(());
        }
        let may_be = [self.acknowledged, self.sent];
        anyhow::ensure!(
            oldest.0 == self.acknowledged || oldest.0 == self.sent || self.acknowledged == 0,
            "the past is kept from {oldest} on, and it must be one of {may_be:?}"
        );
        if oldest.0 != self.acknowledged && oldest.0 != self.sent {
            return Ok(());
        }
        (self.acknowledged, self.sent) = (oldest.0, oldest.0);
        for (prefix, written) in known {
            let then = written.range(..=oldest.0).next_back().map(|(_, number)| *number);
            let prefix = format!("{prefix}/part/");
            let parts = client.list_at(&prefix, Some(oldest), Consistency::Default).await?.value;
            let whole = parts.len() == if then.is_some() { PARTS } else { 0 };
            let same = parts.iter().all(|part| {
                let text = String::from_utf8_lossy(&part.value);
                text.parse().ok() == then
            });
            anyhow::ensure!(
                whole && same,
                "{prefix} at {oldest}: {} parts, and not {then:?}",
                parts.len()
            );
            let before = client.list_at(&prefix, Some(Revision(oldest.0 - 1)), Consistency::Default);
            let before = before.await.map(|found| found.value.len());
            anyhow::ensure!(
                matches!(before, Err(Error::Compacted { .. })),
                "{prefix} before {oldest}: {before:?}"
            );
        }
        Ok(())
    }
}
