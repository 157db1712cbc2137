//! How many operations go into one transaction. Pure.

use std::collections::VecDeque;

use kvapi::types::{MAX_VALUE_BYTES, TxnOp};

/// What a server takes in one transaction, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Not known before a server has refused one.
    pub(super) ops: Option<usize>,
    /// Bytes of the body.
    pub(super) bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ops: None,
            bytes: MAX_VALUE_BYTES,
        }
    }
}

impl Limits {
    /// Learns from the text of a 413; whether there was something to learn.
    pub(super) fn learn(&mut self, text: &str) -> bool {
        let number = |after: &str, end: char| {
            let rest = text.split_once(after)?.1;
            rest.split_once(end)?.0.trim().parse::<usize>().ok().filter(|&n| n > 0)
        };
        let before = *self;
        if let Some(ops) = number(" > ", ')') {
            self.ops = Some(self.ops.map_or(ops, |known| known.min(ops)));
        }
        if let Some(bytes) = number("max size: ", 'b') {
            self.bytes = self.bytes.min(bytes);
        }
        *self != before
    }
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
    for op in queue.iter().take(limits.ops.unwrap_or(usize::MAX)) {
        bytes += size(op);
        if bytes > limits.bytes {
            break;
        }
        count += 1;
    }
    count.max(queue.len().min(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_refusal_says_what_fits() {
        let mut limits = Limits::default();

        assert!(limits.learn("Transaction contains too many operations (8000 > 128)"));
        assert!(limits.learn("Request body(9 bytes) too large, max size: 4096 bytes. See https://x."));
        assert!(!limits.learn("Transaction contains too many operations (129 > 128)"));
        assert!(!limits.learn("no"));

        assert_eq!(
            limits,
            Limits {
                ops: Some(128),
                bytes: 4096
            }
        );
    }

    proptest! {
        #[test]
        fn a_batch_fits_and_the_next_would_not(
            sizes in proptest::collection::vec(0_usize..400, 0..20),
            ops in proptest::option::of(1_usize..10),
            bytes in 100_usize..2_000,
        ) {
            let queue: VecDeque<TxnOp> = sizes.iter().map(|&n| TxnOp::set("k", vec![b'x'; n])).collect();
            let limits = Limits { ops, bytes };

            let count = fitting(&queue, limits);

            let body = |count: usize| 2 + queue.iter().take(count).map(size).sum::<usize>();
            let fits = |count: usize| body(count) <= bytes && count <= ops.unwrap_or(usize::MAX);
            prop_assert!(fits(count) || count == 1);
            prop_assert!(count == queue.len() || !fits(count + 1));
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
