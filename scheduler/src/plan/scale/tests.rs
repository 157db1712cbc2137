use super::*;
use crate::plan::Condition;
use crate::plan::testing::{id, running};

const YOUNGEST: KillSelection = KillSelection::YoungestFirst;

/// Instances 1 to `n`, the last the youngest.
fn there(n: u32) -> Vec<Seen> {
    (1..=n).map(|n| running(n, true, true)).collect()
}

fn ids(numbers: &[u32]) -> Vec<InstanceId> {
    numbers.iter().map(|n| id(*n)).collect()
}

fn plan(target: u32, sentenced: &[u32], balancing: &[u32], seen: &[Seen]) -> (u32, Vec<InstanceId>) {
    let sentenced = ids(sentenced).into_iter().collect();
    let moves = moves(target, YOUNGEST, &sentenced, &ids(balancing), seen);
    (moves.start, moves.stop)
}

#[test]
fn what_is_missing_starts_and_what_is_too_much_goes() {
    assert_eq!(plan(42, &[], &[], &[]), (42, vec![]));
    assert_eq!(plan(0, &[], &[], &there(3)), (0, ids(&[3, 2, 1])));
    assert_eq!(plan(5, &[], &[], &there(3)), (2, vec![]));
    assert!(moves(3, YOUNGEST, &BTreeSet::new(), &[], &there(3)).done);
}

#[test]
fn those_asked_for_by_name_go_and_are_replaced_when_they_are_gone() {
    let (start, stop) = plan(3, &[2, 3, 99], &[], &there(3));

    assert_eq!(
        (start, stop),
        (0, ids(&[3, 2])),
        "they go first, and nothing starts before they are gone"
    );
    assert_eq!(plan(3, &[2, 3, 99], &[], &there(1)), (2, vec![]));
    assert_eq!(
        plan(3, &[99], &[], &there(4)),
        (0, ids(&[4])),
        "one that is not there spares nobody"
    );
    assert_eq!(plan(1, &[2], &[3], &there(4)), (0, ids(&[2, 3, 4])));
}

#[test]
fn nothing_starts_while_one_is_on_its_way_out() {
    let mut seen = there(3);
    seen[0].wanted = false;

    assert_eq!(plan(3, &[], &[], &seen), (0, vec![]));
}

#[test]
fn case_44_the_youngest_go_or_the_oldest_and_what_has_not_started_before_all() {
    let mut seen = there(5);
    assert_eq!(plan(2, &[], &[], &seen).1, ids(&[5, 4, 3]));
    let oldest = moves(2, KillSelection::OldestFirst, &BTreeSet::new(), &[], &seen);
    assert_eq!(oldest.stop, ids(&[1, 2, 3]));

    seen[0].condition = Condition::Staging;
    seen[1].condition = Condition::Unreachable;
    seen[2].condition = Condition::Starting;
    assert_eq!(plan(1, &[], &[], &seen).1, ids(&[2, 1, 3, 5]));
}
