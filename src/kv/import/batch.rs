//! How many operations go into one transaction. Pure.

use std::collections::VecDeque;

use kvapi::limits::Limits;
use kvapi::types::TxnOp;

/// Learns from the text of a 413 that a server takes less than it says; whether there was something to learn.
pub(super) fn learn(limits: &mut Limits, text: &str) -> bool {
    let number = |after: &str, end: char| {
        let rest = text.split_once(after)?.1;
        rest.split_once(end)?.0.trim().parse::<usize>().ok().filter(|&n| n > 0)
    };
    let before = *limits;
    if let Some(ops) = number(" > ", ')') {
        limits.txn_ops = limits.txn_ops.min(ops);
    }
    if let Some(bytes) = number("max size: ", 'b') {
        limits.txn_bytes = limits.txn_bytes.min(bytes);
    }
    *limits != before
}

/// The bytes of an operation in a body.
pub(super) fn size(op: &TxnOp) -> usize {
    /// `{"KV":` and `},`.
    const AROUND: usize = 8;
    serde_json::to_vec(op).map_or(0, |json| json.len()) + AROUND
}

/// How many from the front go together: at least one, if there is one.
pub(super) fn fitting(queue: &VecDeque<TxnOp>, limits: Limits) -> usize {
    let mut bytes = 2;
    let mut count = 0;
    for op in queue.iter().take(limits.txn_ops) {
        bytes += size(op);
        if bytes > limits.txn_bytes {
            break;
        }
        count += 1;
    }
    count.max(queue.len().min(1))
}

/// How an import will be cut, counted while it is read: the cuts that [`fitting`] makes.
pub(super) struct Plan {
    pub(super) limits: Limits,
    pub(super) transactions: u64,
    /// Operations and bytes of the last one.
    ops: usize,
    bytes: usize,
}

impl Plan {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            transactions: 0,
            ops: 0,
            bytes: 0,
        }
    }

    pub(super) fn add(&mut self, op: &TxnOp) {
        let size = size(op);
        let is_full = self.ops >= self.limits.txn_ops || self.bytes + size > self.limits.txn_bytes;
        if self.transactions == 0 || is_full {
            self.transactions += 1;
            (self.ops, self.bytes) = (0, 2);
        }
        self.ops += 1;
        self.bytes += size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_refusal_says_what_fits() {
        let mut limits = Limits::default();

        assert!(learn(
            &mut limits,
            "Transaction contains too many operations (128 > 64)"
        ));
        let bytes = "Request body(9 bytes) too large, max size: 4096 bytes. See https://x.";
        assert!(learn(&mut limits, bytes));
        assert!(!learn(
            &mut limits,
            "Transaction contains too many operations (65 > 64)"
        ));
        assert!(!learn(&mut limits, "no"));

        assert_eq!((limits.txn_ops, limits.txn_bytes), (64, 4096));
    }

    proptest! {
        #[test]
        fn a_batch_fits_and_the_next_would_not_and_the_plan_knew(
            sizes in proptest::collection::vec(0_usize..400, 0..20),
            txn_ops in 1_usize..10,
            txn_bytes in 100_usize..2_000,
        ) {
            let mut queue: VecDeque<TxnOp> = sizes.iter().map(|&n| TxnOp::set("k", vec![b'x'; n])).collect();
            let limits = Limits { txn_ops, txn_bytes, ..Limits::default() };
            let mut plan = Plan::new(limits);
            queue.iter().for_each(|op| plan.add(op));

            let mut batches = 0;
            while !queue.is_empty() {
                let count = fitting(&queue, limits);
                let body = |count: usize| 2 + queue.iter().take(count).map(size).sum::<usize>();
                let fits = |count: usize| body(count) <= txn_bytes && count <= txn_ops;
                prop_assert!(fits(count) || count == 1);
                prop_assert!(count == queue.len() || !fits(count + 1));
                queue.drain(..count);
                batches += 1;
            }
            prop_assert_eq!(plan.transactions, batches);
        }

        #[test]
        fn a_body_is_never_longer_than_it_is_taken_for(
            key in any::<String>(), value in any::<Vec<u8>>(), flags in any::<u64>(), index in any::<u64>(),
        ) {
            let op = TxnOp { value: value.into(), flags, index, ..TxnOp::new("cas", key) };
            let body = serde_json::to_vec(&serde_json::json!([{"KV": op}])).unwrap();
            prop_assert!(body.len() <= 2 + size(&op));
        }
    }
}
