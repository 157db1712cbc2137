//! A new configuration, rolled through the instances of an app.
//!
//! The numbers are Marathon's: how many old instances go at once, how many may be there together, and then one old one for
//! each new one that is well. Where Marathon looks once at the beginning, the floor is looked at again before each instance
//! that is taken away: an instance that is well goes only if enough others are.

use serde::{Deserialize, Serialize};

use super::{Moves, Seen, count};
use crate::app::UpgradeStrategy;
use crate::instance::InstanceId;

/// What was decided when a roll began. It outlives the scheduler that decided it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// The most instances that may be there together.
    pub cap: u32,
    /// How many old ones go before the first new one is well.
    pub first: u32,
    /// How many old ones there were.
    pub old: u32,
}

/// Decides on the numbers of a roll to `target` instances.
#[must_use]
pub fn begin(target: u32, strategy: UpgradeStrategy, seen: &[Seen]) -> Rollout {
    let floor = strategy.minimum_health.ceil_of(target);
    let (cap, first) = numbers(target, floor, strategy.maximum_over.floor_above(target), seen);
    Rollout {
        cap,
        first,
        old: count(seen.iter().filter(|seen| is_old(seen)).count()),
    }
}

/// The most that may be there together, and how many go at once.
fn numbers(target: u32, floor: u32, cap: u32, seen: &[Seen]) -> (u32, u32) {
    let healthy = count(seen.iter().filter(|seen| seen.wanted && seen.may_be_well()).count());
    let spare = healthy.saturating_sub(floor);
    // Neither room for a new one nor one to spare: without one more, nothing would ever move.
    let cap = if floor == cap && cap <= healthy { cap + 1 } else { cap };
    let first = spare.max(count(seen.len()).saturating_sub(target));
    (cap, first)
}

fn is_old(seen: &Seen) -> bool {
    seen.wanted && !seen.current
}

/// What is safe to do now in a roll to `target` instances.
#[must_use]
pub fn moves(target: u32, strategy: UpgradeStrategy, rollout: Rollout, seen: &[Seen]) -> Moves {
    let new: Vec<&Seen> = seen.iter().filter(|seen| seen.wanted && seen.current).collect();
    let well = count(new.iter().filter(|seen| seen.healthy).count());
    let started = count(new.len());
    let old = seen.iter().any(|seen| !seen.current);
    let all_there = count(seen.len());
    let mut moves = Moves {
        start: target
            .saturating_sub(started)
            .min(rollout.cap.saturating_sub(all_there)),
        stop: stop(target, strategy, rollout, well, seen),
        done: !old && well == target && all_there == target,
    };
    let waits = well < started || seen.iter().any(|seen| !seen.wanted || seen.unknown);
    if moves == Moves::default() && old && !waits {
        unstick(target, &mut moves, started, seen);
    }
    moves
}

/// Nothing moves, and nothing that could happen would change that: the cap was decided on while some were ill, or they
/// are ill and stay. An old one that is ill goes, since that costs nothing; if all are well, one more than the cap comes.
fn unstick(target: u32, moves: &mut Moves, started: u32, seen: &[Seen]) {
    match seen.iter().find(|seen| is_old(seen) && !seen.healthy) {
        Some(ill) => moves.stop.push(ill.id.clone()),
        None if started < target => moves.start = 1,
        None => {}
    }
}

fn stop(target: u32, strategy: UpgradeStrategy, rollout: Rollout, well: u32, seen: &[Seen]) -> Vec<InstanceId> {
    let floor = strategy.minimum_health.ceil_of(target);
    let mut old: Vec<&Seen> = seen.iter().filter(|seen| is_old(seen)).collect();
    // Those that are not well cost nothing.
    old.sort_by_key(|seen| (seen.may_be_well(), seen.condition, seen.since));
    let gone = rollout.old.saturating_sub(count(old.len()));
    let allowed = (rollout.first + well).saturating_sub(gone);
    let mut healthy = count(seen.iter().filter(|seen| seen.wanted && seen.healthy).count());
    let mut stop = Vec::new();
    for seen in old.into_iter().take(allowed as usize) {
        if seen.may_be_well() {
            if healthy <= floor {
                break;
            }
            healthy -= 1;
        }
        stop.push(seen.id.clone());
    }
    // New ones beyond the target: it was lowered while they were coming up.
    let new = seen.iter().filter(|seen| seen.wanted && seen.current);
    let mut surplus: Vec<&Seen> = new.collect();
    surplus.sort_by_key(|seen| (!seen.healthy, seen.since));
    stop.extend(surplus.into_iter().skip(target as usize).map(|seen| seen.id.clone()));
    stop
}

#[cfg(test)]
#[path = "replace/tests.rs"]
mod tests;
