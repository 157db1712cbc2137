//! Revisions: one for each write, and rising as time goes on, over all keys.
//!
//! What ended before something began has the lower revision; so two clients that never heard of each other
//! agree about what came first.

use std::collections::BTreeMap;

use super::history::{Operation, Seen};

/// What is wrong.
pub(crate) fn check(operations: &[Operation]) -> Vec<String> {
    let mut found = of_values(operations);
    found.extend(out_of_order(operations));
    found
}

/// A value has one revision, whoever tells it, and no two have the same in one key.
fn of_values(operations: &[Operation]) -> Vec<String> {
    let mut values: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    let mut revisions: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    let mut found = Vec::new();
    for operation in operations {
        let took = operation.answer.filter(|answer| answer.done);
        let took = took
            .and_then(|answer| answer.revision)
            .zip(operation.writes().flatten());
        let told = took.map(|(revision, value)| Seen { value, revision });
        for Seen { value, revision } in told.into_iter().chain(operation.saw()) {
            let key = operation.key.as_str();
            let first = *values.entry((key, value)).or_insert(revision);
            let other = *revisions.entry((key, revision)).or_insert(value);
            if first != revision || other != value {
                found.push(format!(
                    "{key}: {value} at {revision}, but {value} is at {first} and {other} at {revision}"
                ));
            }
        }
    }
    found
}

/// Writes whose revision is not above all that were told before they were called.
fn out_of_order(operations: &[Operation]) -> Vec<String> {
    let mut told: Vec<(u64, u64)> = operations
        .iter()
        .filter_map(|operation| {
            let answer = operation.answer?;
            let revision = answer
                .revision
                .into_iter()
                .chain(operation.saw().map(|seen| seen.revision));
            Some((answer.at, revision.max()?))
        })
        .collect();
    told.sort_unstable();
    let mut writes: Vec<(u64, u64, &Operation)> = operations
        .iter()
        .filter(|operation| !operation.changed_nothing())
        .filter_map(|operation| Some((operation.called, operation.answer?.revision?, operation)))
        .collect();
    writes.sort_unstable_by_key(|write| write.0);
    let mut told = told.into_iter().peekable();
    let mut highest = 0;
    let mut found = Vec::new();
    for (called, revision, operation) in writes {
        while let Some((_, revision)) = told.next_if(|(at, _)| *at < called) {
            highest = highest.max(revision);
        }
        if revision <= highest {
            found.push(format!("{highest} was told before this was called: {operation:?}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::history::Asked;
    use super::super::history::tests::{operation, seen};
    use super::*;

    fn at(mut operation: Operation, key: &str, revision: u64) -> Operation {
        operation.key = key.into();
        if let Some(answer) = &mut operation.answer {
            answer.revision = Some(revision);
        }
        operation
    }

    #[test]
    fn revisions_that_rise_are_taken_and_those_that_fall_are_found() {
        let first = at(operation(1, 2, Asked::Put(5)), "a", 5);
        let second = |revision| at(operation(3, 4, Asked::Put(6)), "b", revision);
        let beside = at(operation(1, 9, Asked::Put(7)), "c", 4);
        assert_eq!(check(&[first.clone(), second(6), beside]), [] as [&str; 0]);
        assert_eq!(check(&[first, second(4)]).len(), 1);
    }

    #[test]
    fn a_write_below_what_a_read_had_shown_is_found() {
        let read = operation(1, 2, Asked::Read(seen(9)));
        assert_eq!(check(&[read, at(operation(3, 4, Asked::Put(1)), "b", 9)]).len(), 1);
    }

    #[test]
    fn a_value_at_two_revisions_and_two_values_at_one_are_found() {
        let put = at(operation(1, 2, Asked::Put(3)), "k", 4);
        assert_eq!(check(&[put.clone(), operation(3, 4, Asked::Read(seen(3)))]).len(), 1);
        assert_eq!(check(&[put, operation(3, 4, Asked::Read(seen(4)))]).len(), 1);
    }
}
