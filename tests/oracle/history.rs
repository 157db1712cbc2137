//! What clients asked of keys, what they were answered, and when.
//!
//! No two writes of a history write the same value, so a value tells who wrote it. A read without an answer is
//! not part of a history; a write without one is, with an open end: it may have happened at any time after its
//! call, or never. A write that certainly was not done is not part of it either.

use std::collections::BTreeMap;

/// What a write writes.
pub(crate) type Value = u64;

/// What a read shows of a key that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) value: Value,
    pub(crate) revision: u64,
}

/// What was asked, and of a read what it showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A read that must show all that was acknowledged before it.
    Read(Option<Seen>),
    /// A read that may be old.
    ReadStale(Option<Seen>),
    Put(Value),
    Delete,
    /// A put of `value` if the key is still as it was seen.
    Swap {
        expected: Option<Seen>,
        value: Value,
    },
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    /// In nanoseconds since the beginning.
    pub(crate) at: u64,
    /// `false` if a swap lost.
    pub(crate) done: bool,
    /// The revision that a write took.
    pub(crate) revision: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) client: usize,
    pub(crate) key: String,
    pub(crate) asked: Asked,
    /// In nanoseconds since the beginning.
    pub(crate) called: u64,
    /// `None` if its answer was lost.
    pub(crate) answer: Option<Answer>,
}

impl Operation {
    /// What it writes if it is done; `Some(None)` for a deletion.
    pub(crate) const fn writes(&self) -> Option<Option<Value>> {
        match self.asked {
            Asked::Read(_) | Asked::ReadStale(_) => None,
            Asked::Put(value) | Asked::Swap { value, .. } => Some(Some(value)),
            Asked::Delete => Some(None),
        }
    }

    /// What it showed, if it was a read of something that is there.
    pub(crate) const fn saw(&self) -> Option<Seen> {
        match self.asked {
            Asked::Read(seen) | Asked::ReadStale(seen) => seen,
            _ => None,
        }
    }

    /// Whether it certainly changed nothing.
    pub(crate) fn changed_nothing(&self) -> bool {
        self.writes().is_none() || self.answer.is_some_and(|answer| !answer.done)
    }
}

/// The operations by key, in the order of their calls.
pub(crate) fn by_key(operations: &[Operation]) -> BTreeMap<&str, Vec<&Operation>> {
    let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        keys.entry(&operation.key).or_default().push(operation);
    }
    for operations in keys.values_mut() {
        operations.sort_by_key(|operation| operation.called);
    }
    keys
}

/// What is wrong with the reads that may be old: what they show was written, and not later than they ended.
pub(crate) fn stale_reads(operations: &[Operation]) -> Vec<String> {
    let mut found = Vec::new();
    for (key, operations) in by_key(operations) {
        for read in &operations {
            let (Asked::ReadStale(Some(seen)), Some(ended)) = (read.asked, read.answer) else {
                continue;
            };
            let written = operations.iter().any(|write| {
                write.writes() == Some(Some(seen.value)) && !write.changed_nothing() && write.called < ended.at
            });
            if !written {
                found.push(format!("{key}: a stale read shows what nobody had written: {read:?}"));
            }
        }
    }
    found
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An operation by its times and what it was.
    pub(crate) fn operation(called: u64, at: u64, asked: Asked) -> Operation {
        Operation {
            client: 0,
            key: "k".into(),
            asked,
            called,
            answer: Some(Answer {
                at,
                done: true,
                revision: None,
            }),
        }
    }

    pub(crate) fn unanswered(called: u64, asked: Asked) -> Operation {
        Operation {
            answer: None,
            ..operation(called, 0, asked)
        }
    }

    pub(crate) const fn seen(value: Value) -> Option<Seen> {
        Some(Seen { value, revision: value })
    }

    #[test]
    fn a_stale_read_may_be_old_and_may_show_a_write_that_was_not_answered() {
        let mut all = vec![
            operation(1, 2, Asked::Put(1)),
            operation(3, 4, Asked::Put(2)),
            unanswered(5, Asked::Put(3)),
            operation(6, 7, Asked::ReadStale(seen(1))),
            operation(8, 9, Asked::ReadStale(None)),
            operation(8, 9, Asked::ReadStale(seen(3))),
        ];
        assert_eq!(stale_reads(&all), [] as [&str; 0]);

        all.push(operation(8, 9, Asked::ReadStale(seen(4))));
        all.push(operation(10, 11, Asked::Put(4)));
        assert_eq!(stale_reads(&all).len(), 1, "what is written later only");
    }

    #[test]
    fn a_stale_read_of_a_swap_that_lost_is_found() {
        let expected = seen(1);
        let mut swap = operation(1, 2, Asked::Swap { expected, value: 2 });
        swap.answer = swap.answer.map(|answer| Answer { done: false, ..answer });
        assert_eq!(
            stale_reads(&[swap, operation(3, 4, Asked::ReadStale(seen(2)))]).len(),
            1
        );
    }
}
