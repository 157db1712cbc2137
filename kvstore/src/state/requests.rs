//! Answers of the writes that carried a request id, so that a write asked twice happens once.

use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::rows::Row;
use crate::command::{Reply, RequestId};

/// How long an answer is remembered, in log time.
pub const KEPT_MS: u64 = 600_000;

/// How many answers are remembered.
pub const KEPT: usize = 100_000;

/// An answer, with what decides when it is forgotten.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// Counts up: the order in which answers are forgotten.
    pub order: u64,
    /// Log time.
    pub at: u64,
    pub reply: Reply,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Requests {
    by_id: OrdMap<RequestId, Arc<Remembered>>,
    /// Derived.
    by_order: OrdMap<u64, RequestId>,
}

impl Requests {
    /// The first answer to this request, while it is remembered.
    #[must_use]
    pub fn get(&self, id: &RequestId) -> Option<&Reply> {
        self.by_id.get(id).map(|remembered| &remembered.reply)
    }

    pub(super) fn insert(&mut self, id: RequestId, at: u64, reply: Reply, rows: &mut Vec<Row>) {
        let order = self.by_order.get_max().map_or(0, |(order, _)| order + 1);
        let remembered = Arc::new(Remembered { order, at, reply });
        rows.push(Row::Request(id.clone(), Some(Arc::clone(&remembered))));
        self.restore(id, remembered);
    }

    /// Forgets what is too old at `now`, or too much.
    pub(super) fn expire(&mut self, now: u64, rows: &mut Vec<Row>) {
        while let Some((order, id)) = self.by_order.get_min().cloned() {
            let old = self
                .by_id
                .get(&id)
                .is_none_or(|remembered| remembered.at + KEPT_MS < now);
            if !old && self.by_id.len() <= KEPT {
                return;
            }
            self.by_order.remove(&order);
            self.by_id.remove(&id);
            rows.push(Row::Request(id, None));
        }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.by_id
            .iter()
            .map(|(id, remembered)| Row::Request(id.clone(), Some(Arc::clone(remembered))))
    }

    pub(super) fn restore(&mut self, id: RequestId, remembered: Arc<Remembered>) {
        self.by_order.insert(remembered.order, id.clone());
        self.by_id.insert(id, remembered);
    }
}
