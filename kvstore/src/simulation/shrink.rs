//! Makes a schedule shorter that something is found with.

use super::schedule::Schedule;

/// A schedule with which it is found still, though no step of it can be left out any more: half of the steps at a
/// time, then a quarter, and so on down to one.
pub(super) fn shrink(schedule: &Schedule, mut is_found: impl FnMut(&Schedule) -> bool) -> Schedule {
    let mut least = schedule.clone();
    let mut count = least.steps.len();
    while count > 0 {
        let mut from = 0;
        let mut shorter = false;
        while from < least.steps.len() {
            let without = least.without(from, count);
            if is_found(&without) {
                least = without;
                shorter = true;
            } else {
                from += count;
            }
        }
        // What one step needed may have gone with a later one.
        if !shorter || count > 1 {
            count /= 2;
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::super::schedule::{Fault, Who};
    use super::*;

    #[test]
    fn what_it_needs_is_left_and_nothing_else() {
        let needed = [Fault::PowerCutAll, Fault::Kill(Who::Next)];
        let has = |schedule: &Schedule| {
            let place = |fault: &Fault| schedule.steps.iter().position(|(_, step)| step == fault);
            matches!((place(&needed[0]), place(&needed[1])), (Some(first), Some(second)) if first < second)
        };
        let mut schedule = Schedule::random(3);
        schedule.steps.retain(|(_, fault)| !needed.contains(fault));
        let middle = schedule.steps.len() / 2;
        schedule.steps.insert(middle, (4000, needed[0]));
        schedule.steps.push((9000, needed[1]));

        let least = shrink(&schedule, has);

        assert_eq!(least.steps, [(4000, needed[0]), (9000, needed[1])]);
    }

    #[test]
    fn what_needs_no_step_is_left_without_one() {
        assert_eq!(shrink(&Schedule::random(1), |_| true).steps, []);
    }

    #[test]
    fn what_is_not_found_with_less_stays() {
        let schedule = Schedule::random(2);
        assert_eq!(shrink(&schedule, |_| false), schedule);
    }
}
