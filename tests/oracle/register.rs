//! Whether what happened to a key can be put in one order that time allows: linearizability, by porcupine.

use std::time::Duration;

use porcupine_rs::{CheckResult, Model, Operation as Call, check_operations_timeout};

use super::history::{Answer, Asked, Operation, Value, by_key};

/// A search that takes longer is a failure to be looked at, as is a wrong history.
const PATIENCE: Duration = Duration::from_secs(60);

/// One key: a value, or nothing.
#[derive(Debug, Clone)]
struct Register;

#[derive(Debug, Clone, Copy)]
enum Step {
    Read(Option<Value>),
    Write(Option<Value>),
    Swap {
        expected: Option<Value>,
        value: Value,
        /// `None` if nobody knows.
        done: Option<bool>,
    },
}

impl Model for Register {
    type State = Option<Value>;
    type Op = Step;
    type Metadata = ();

    fn init() -> Self::State {
        None
    }

    fn step(state: &Self::State, step: &Step) -> (bool, Self::State) {
        match *step {
            Step::Read(seen) => (*state == seen, *state),
            Step::Write(value) => (true, value),
            Step::Swap { expected, value, done } => {
                let wins = *state == expected;
                let after = if wins { Some(value) } else { *state };
                (done.is_none_or(|done| done == wins), after)
            }
        }
    }
}

fn step(operation: &Operation) -> Option<Step> {
    Some(match operation.asked {
        Asked::ReadStale(_) => return None,
        Asked::Read(seen) => Step::Read(seen.map(|seen| seen.value)),
        Asked::Put(value) => Step::Write(Some(value)),
        Asked::Delete => Step::Write(None),
        Asked::Swap { expected, value } => Step::Swap {
            expected: expected.map(|seen| seen.value),
            value,
            done: operation.answer.map(|answer| answer.done),
        },
    })
}

fn judge(operations: &[Operation]) -> CheckResult {
    let time = |at: u64| i64::try_from(at).unwrap_or(i64::MAX);
    let calls: Vec<Call<Register>> = operations
        .iter()
        .filter_map(|operation| {
            Some(Call {
                client_id: None,
                call_time: time(operation.called),
                return_time: operation.answer.map_or(i64::MAX, |answer| time(answer.at)),
                op: step(operation)?,
                metadata: None,
            })
        })
        .collect();
    check_operations_timeout(&calls, PATIENCE)
}

/// What was known at that time: what had been called, and answered.
fn until(operations: &[Operation], now: u64) -> Vec<Operation> {
    let called = operations.iter().filter(|operation| operation.called <= now);
    called
        .filter_map(|operation| {
            let answer = operation.answer.filter(|answer| answer.at <= now);
            (answer.is_some() || operation.writes().is_some()).then(|| Operation {
                answer,
                ..operation.clone()
            })
        })
        .collect()
}

/// The answers up to the first after which the history is wrong, in the order in which they came.
fn first_wrong(operations: &[Operation]) -> Vec<Operation> {
    let mut ends: Vec<u64> = operations.iter().filter_map(|o| Some(o.answer?.at)).collect();
    ends.sort_unstable();
    let at = ends.partition_point(|end| judge(&until(operations, *end)) != CheckResult::Illegal);
    let mut wrong = until(operations, ends.get(at).copied().unwrap_or(u64::MAX));
    wrong.sort_by_key(|operation| operation.answer.map_or(u64::MAX, |answer: Answer| answer.at));
    wrong
}

/// The keys whose history cannot have happened one after the other, each with the last of what proves it.
pub(crate) fn not_linearizable(operations: &[Operation]) -> Vec<String> {
    let mut found = Vec::new();
    for (key, operations) in by_key(operations) {
        let operations: Vec<Operation> = operations.into_iter().cloned().collect();
        match judge(&operations) {
            CheckResult::Ok => {}
            CheckResult::Unknown => found.push(format!("{key}: {} operations took too long", operations.len())),
            CheckResult::Illegal => {
                let wrong = first_wrong(&operations);
                let shown = wrong.iter().rev().take(24).rev();
                let shown: Vec<String> = shown
                    .map(|o| format!("  {} {:?} {} -> {:?}", o.client, o.asked, o.called, o.answer))
                    .collect();
                found.push(format!("{key} is not linearizable:\n{}", shown.join("\n")));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::{operation, seen, unanswered};
    use super::*;

    fn wrong(operations: &[Operation]) -> bool {
        !not_linearizable(operations).is_empty()
    }

    fn lost(mut operation: Operation) -> Operation {
        operation.answer = operation.answer.map(|answer| Answer { done: false, ..answer });
        operation
    }

    #[test]
    fn what_may_have_happened_is_taken() {
        let swap = Asked::Swap {
            expected: seen(1),
            value: 2,
        };
        let other = Asked::Swap {
            expected: seen(1),
            value: 3,
        };
        let history = [
            operation(0, 1, Asked::Read(None)),
            operation(2, 5, Asked::Put(1)),
            // While it is written, each may see it or not, in this order.
            operation(3, 4, Asked::Read(None)),
            operation(3, 6, Asked::Read(seen(1))),
            operation(7, 8, swap),
            lost(operation(9, 10, other)),
            operation(11, 12, Asked::Read(seen(2))),
            operation(13, 14, Asked::Delete),
            operation(15, 16, Asked::Read(None)),
        ];
        assert_eq!(not_linearizable(&history), [] as [&str; 0]);
    }

    #[test]
    fn an_acknowledged_write_that_is_lost_is_found() {
        assert!(wrong(&[
            operation(1, 2, Asked::Put(1)),
            operation(3, 4, Asked::Read(None))
        ]));
    }

    #[test]
    fn a_read_of_the_past_is_found_and_shown() {
        let history = [
            operation(1, 2, Asked::Put(1)),
            operation(3, 4, Asked::Put(2)),
            operation(5, 6, Asked::Read(seen(1))),
            operation(7, 8, Asked::Read(seen(2))),
        ];
        let said = not_linearizable(&history);
        assert_eq!(said.len(), 1);
        let last = said[0].lines().last().unwrap_or_default();
        assert!(last.contains("Read(Some(Seen { value: 1"), "{said:?}");
    }

    #[test]
    fn what_was_seen_by_one_is_seen_by_all_who_ask_later() {
        // The write goes on all the while.
        let history = [
            unanswered(1, Asked::Put(1)),
            operation(2, 3, Asked::Read(seen(1))),
            operation(4, 5, Asked::Read(None)),
        ];
        assert!(wrong(&history));
    }

    #[test]
    fn a_write_without_an_answer_may_happen_late_or_never_but_once() {
        let late = |value| operation(10, 11, Asked::Read(value));
        let put = unanswered(1, Asked::Put(1));
        assert!(!wrong(&[put.clone(), late(seen(1))]));
        assert!(!wrong(&[put.clone(), late(None)]));
        let overwritten = [
            put,
            operation(2, 3, Asked::Put(2)),
            operation(4, 5, Asked::Read(seen(1))),
            operation(6, 7, Asked::Put(3)),
            operation(8, 9, Asked::Read(seen(1))),
        ];
        assert!(wrong(&overwritten));
    }

    #[test]
    fn of_two_swaps_from_one_value_one_wins() {
        let swap = |value| {
            let expected = seen(1);
            Asked::Swap { expected, value }
        };
        let put = operation(1, 2, Asked::Put(1));
        let both = [put.clone(), operation(3, 9, swap(2)), operation(3, 9, swap(3))];
        assert!(wrong(&both));
        // None of them has a reason to lose.
        assert!(wrong(&[put.clone(), lost(operation(3, 4, swap(2)))]));
        let unknown = [put, unanswered(3, swap(2)), operation(4, 5, swap(3))];
        assert!(!wrong(&unknown));
    }
}
