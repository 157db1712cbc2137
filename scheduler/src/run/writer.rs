//! What is decided, into the store, before it is done.
//!
//! Turns are written in order, and as many together as fit into one transaction. Each checks that its writer still leads. A
//! value is written as a whole and by one writer only, so a transaction whose answer was lost is simply written again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http::StatusCode;
use kvapi::client::WriteOptions;
use kvapi::types::TxnOp;
use kvapi::{Client, Error};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::Answer;
use super::batch::batches;
use crate::engine::{Act, Turn};
use crate::keys;
use crate::limits;
use crate::world::World;

/// The most values of one transaction: Consul's limit, less the check.
const MOST_ROWS: usize = 120;

/// How many acts are done at once: among them are events, and whoever listens must be able to keep up.
const MOST_ACTS: usize = 256;

/// Before it is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// A turn, and what is to be done when it is written.
pub(super) struct Decided {
    pub(super) turn: Turn,
    pub(super) answers: Vec<Answer>,
    /// What is known then.
    pub(super) world: World,
}

/// See the module.
pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) session: String,
}

/// What is done once it is written.
pub(super) trait Perform {
    fn act(&mut self, act: Act);
    fn publish(&mut self, world: Arc<World>);
}

impl Writer {
    /// Writes and has done whatever is decided, until it leads no more. `Err` if the store refuses what is written.
    pub(super) async fn run(
        self,
        mut decided: mpsc::Receiver<Decided>,
        mut perform: impl Perform,
    ) -> anyhow::Result<()> {
        while let Some(first) = decided.recv().await {
            let mut rows = BTreeMap::new();
            let mut all = vec![first];
            while all.iter().map(|decided| decided.turn.rows.len()).sum::<usize>() < MOST_ROWS
                && let Ok(next) = decided.try_recv()
            {
                all.push(next);
            }
            for decided in &mut all {
                rows.append(&mut decided.turn.rows);
            }
            if !self.write(rows).await? {
                return Ok(());
            }
            for decided in all {
                for (at, act) in decided.turn.acts.into_iter().enumerate() {
                    if at % MOST_ACTS == MOST_ACTS - 1 {
                        tokio::task::yield_now().await;
                    }
                    perform.act(act);
                }
                perform.publish(Arc::new(decided.world));
                for answer in decided.answers {
                    answer();
                }
            }
        }
        Ok(())
    }

    /// Writes one key by itself. Whether it still leads.
    pub(super) async fn put(&self, key: &str, value: &impl Serialize) -> anyhow::Result<bool> {
        let value = serde_json::to_vec(value)?;
        self.write([(key.to_owned(), Some(value))].into()).await
    }

    /// Whether it still leads.
    async fn write(&self, rows: BTreeMap<String, Option<Vec<u8>>>) -> anyhow::Result<bool> {
        for batch in batches(rows, MOST_ROWS, limits::TRANSACTION) {
            let mut ops = vec![TxnOp {
                session: self.session.clone(),
                ..TxnOp::new("check-session", keys::LEADER)
            }];
            ops.extend(batch.into_iter().map(|(key, value)| match value {
                Some(value) => TxnOp::set(key, value),
                None => TxnOp::new("delete", key),
            }));
            if !self.write_together(&ops).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Until it is known what became of it. It is the same request each time: one that was held up somewhere and comes
    /// late puts nothing back that was written since.
    async fn write_together(&self, ops: &[TxnOp]) -> anyhow::Result<bool> {
        let options = || WriteOptions {
            author: Some("keyway scheduler".into()),
            request: Some(uuid::Uuid::new_v4().to_string()),
            ..WriteOptions::default()
        };
        let mut request = options();
        loop {
            match self.client.txn(ops, &request).await {
                Ok(Ok(_)) | Err(Error::Ended { done: true, .. }) => return Ok(true),
                Ok(Err(errors)) if errors.iter().any(|error| error.op_index == 0) => return Ok(false),
                Ok(Err(errors)) => {
                    let what = errors
                        .iter()
                        .map(|error| error.what.as_str())
                        .collect::<Vec<_>>()
                        .join("; ");
                    anyhow::bail!("the store takes none of what is decided: {what}");
                }
                // Nothing was changed, and the store has forgotten why: another request is told.
                Err(Error::Ended { done: false, .. }) => request = options(),
                Err(error) if is_for_good(&error) => {
                    return Err(error).context("the store takes none of what is decided");
                }
                Err(error) => {
                    // The session's time decides how long this may go on.
                    tracing::info!(%error, "what is decided is not written yet; trying again");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Whether the store would refuse it each time.
pub(super) fn is_for_good(error: &Error) -> bool {
    matches!(error, Error::Refused { status, .. } if status.is_client_error() && *status != StatusCode::TOO_MANY_REQUESTS)
}
