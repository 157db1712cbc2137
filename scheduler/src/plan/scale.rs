//! Another number of instances, of whatever configuration they have.

use std::collections::BTreeSet;

use super::{Moves, Seen, count};
use crate::app::KillSelection;
use crate::instance::InstanceId;

/// What is safe to do now towards `target` instances. `sentenced` were asked for by name; `balancing` are those that a
/// constraint would rather lose. Nothing starts before those that go are gone.
#[must_use]
pub fn moves(
    target: u32,
    selection: KillSelection,
    sentenced: &BTreeSet<InstanceId>,
    balancing: &[InstanceId],
    seen: &[Seen],
) -> Moves {
    let mut wanted: Vec<&Seen> = seen.iter().filter(|seen| seen.wanted).collect();
    let there = count(wanted.len());
    let named = count(wanted.iter().filter(|seen| sentenced.contains(&seen.id)).count());
    let surplus = there.saturating_sub(target).max(named);
    wanted.sort_by_key(|seen| order(seen, selection, sentenced, balancing));
    let stop: Vec<InstanceId> = wanted
        .iter()
        .take(surplus as usize)
        .map(|seen| seen.id.clone())
        .collect();
    let leaving = !stop.is_empty() || seen.iter().any(|seen| !seen.wanted);
    let missing = target.saturating_sub(there - surplus);
    Moves {
        start: if leaving { 0 } else { missing },
        done: !leaving && missing == 0,
        stop,
    }
}

/// Which goes first: the smallest.
fn order(
    seen: &Seen,
    selection: KillSelection,
    sentenced: &BTreeSet<InstanceId>,
    balancing: &[InstanceId],
) -> impl Ord + use<> {
    let balance = balancing
        .iter()
        .position(|id| *id == seen.id)
        .unwrap_or(balancing.len());
    let age = match selection {
        KillSelection::YoungestFirst => u64::MAX - seen.since,
        KillSelection::OldestFirst => seen.since,
    };
    (
        !sentenced.contains(&seen.id),
        balance,
        seen.condition,
        // Marathon does not look, and may take away the only ones that are well.
        seen.may_be_well(),
        age,
        seen.id.clone(),
    )
}

#[cfg(test)]
#[path = "scale/tests.rs"]
mod tests;
