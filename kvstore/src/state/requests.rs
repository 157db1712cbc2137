//! Answers of the writes that carried a request id, so that a write asked twice happens once.

use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::Gone;
use super::rows::Row;
use crate::command::{Fingerprint, Outcome, Reply, RequestId};

/// How long an answer is remembered, in log time.
pub const KEPT_MS: u64 = 600_000;

/// How many answers are remembered.
pub const KEPT: usize = 100_000;

/// How much memory the answers may take; the newest is always remembered.
pub const KEPT_BYTES: usize = 64 << 20;

/// How large an answer may be to be remembered. Of a larger one only that it was given, and at
/// which revision: else a few would push out the many small ones, whose writes could happen twice.
pub const REMEMBERED_BYTES: usize = 1 << 20;

/// An answer, with what decides when it is forgotten.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// Counts up: the order in which answers are forgotten.
    pub order: u64,
    /// Log time.
    pub at: u64,
    /// Of the action that was answered.
    pub action: Fingerprint,
    pub reply: Reply,
}

/// What is known of a request id.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Known<'a> {
    /// It has not been seen, or is forgotten.
    New,
    /// The same action was answered with this.
    Answered(&'a Reply),
    /// It was given to another action.
    Reused,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Requests {
    by_id: OrdMap<RequestId, Arc<Remembered>>,
    /// Derived.
    by_order: OrdMap<u64, RequestId>,
    /// Derived.
    bytes: usize,
    gone: Gone,
}

impl Requests {
    /// What is known of a request.
    #[must_use]
    pub fn look_up(&self, id: &RequestId, action: impl FnOnce() -> Fingerprint) -> Known<'_> {
        match self.by_id.get(id) {
            None => Known::New,
            Some(remembered) if remembered.action == action() => Known::Answered(&remembered.reply),
            Some(_) => Known::Reused,
        }
    }

    /// The remembered answer of a request.
    #[must_use]
    pub fn get(&self, id: &RequestId) -> Option<&Arc<Remembered>> {
        self.by_id.get(id)
    }

    /// Answers that have been forgotten since the state was loaded, in bytes.
    pub(super) const fn gone(&self) -> u64 {
        self.gone.0
    }

    pub(super) fn insert(&mut self, id: RequestId, at: u64, action: Fingerprint, reply: Reply, rows: &mut Vec<Row>) {
        let reply = if reply.weight() > REMEMBERED_BYTES {
            Reply {
                revision: reply.revision,
                outcome: Outcome::Forgotten {
                    done: !matches!(reply.outcome, Outcome::Failed(_)),
                },
            }
        } else {
            reply
        };
        let order = self.by_order.get_max().map_or(0, |(order, _)| order + 1);
        let remembered = Arc::new(Remembered {
            order,
            at,
            action,
            reply,
        });
        rows.push(Row::Request(id.clone(), Some(Arc::clone(&remembered))));
        self.restore(id, remembered);
    }

    /// Forgets what is too old at `now`, or too much.
    pub(super) fn expire(&mut self, now: u64, rows: &mut Vec<Row>) {
        while let Some((order, id)) = self.by_order.get_min() {
            let old = self
                .by_id
                .get(id)
                .is_none_or(|remembered| remembered.at + KEPT_MS < now);
            let many = self.by_id.len() > KEPT || (self.bytes > KEPT_BYTES && self.by_id.len() > 1);
            if !old && !many {
                return;
            }
            let (order, id) = (*order, id.clone());
            self.by_order.remove(&order);
            if let Some(remembered) = self.by_id.remove(&id) {
                let weight = weight(&id, &remembered);
                self.bytes -= weight;
                self.gone.0 += weight as u64;
            }
            rows.push(Row::Request(id, None));
        }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.by_id
            .iter()
            .map(|(id, remembered)| Row::Request(id.clone(), Some(Arc::clone(remembered))))
    }

    pub(super) fn restore(&mut self, id: RequestId, remembered: Arc<Remembered>) {
        self.bytes += weight(&id, &remembered);
        self.by_order.insert(remembered.order, id.clone());
        self.by_id.insert(id, remembered);
    }
}

fn weight(id: &RequestId, remembered: &Remembered) -> usize {
    id.0.len() + remembered.reply.weight()
}
