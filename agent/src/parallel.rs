//! Something is done with each of many, side by side.
//!
//! A start with hundreds of templates compiles, renders and writes them all; later it is one or two, and
//! no thread is worth its start.

use std::panic::resume_unwind;
use std::thread::{self, ScopedJoinHandle};

use crate::render::STACK;

/// No thread has less to do than this.
const FEW: usize = 8;

/// How many threads are at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What waits for the disk, which writes many files in the time of one: several for each processor.
    Disk,
    /// What computes, on stacks that suffice for any template. The caller's has to, too: one share is its own.
    Template,
}

/// Does it. What comes of it stands in the same order.
pub fn each<I: Sync, T: Send>(items: &[I], kind: Kind, work: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let at_once = match kind {
        Kind::Disk => 8,
        Kind::Template if items.len() <= FEW => 1,
        Kind::Template => thread::available_parallelism().map_or(1, |all| all.get().min(8)),
    };
    let share = items.len().div_ceil(at_once).max(FEW);
    let (first, others) = items.split_at(share.min(items.len()));
    let all = |items: &[I]| -> Vec<T> { items.iter().map(&work).collect() };
    thread::scope(|scope| {
        let all = &all;
        let start = |items| {
            let thread = thread::Builder::new().name("share".into());
            let thread = match kind {
                Kind::Disk => thread,
                Kind::Template => thread.stack_size(STACK),
            };
            (items, thread.spawn_scoped(scope, move || all(items)))
        };
        let others: Vec<_> = others.chunks(share).map(start).collect();
        let mut done = all(first);
        for (items, thread) in others {
            done.extend(match thread.map(ScopedJoinHandle::join) {
                Ok(share) => share.unwrap_or_else(|panic| resume_unwind(panic)),
                // There may be as many threads as there can be.
                Err(_) => all(items),
            });
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn everything_is_done_once_and_stands_in_order() {
        for kind in [Kind::Disk, Kind::Template] {
            for count in [0, 1, 8, 9, 64, 65, 500] {
                let items: Vec<usize> = (0..count).collect();
                assert_eq!(
                    each(&items, kind, |item| item * 2),
                    items.iter().map(|item| item * 2).collect::<Vec<_>>()
                );
            }
        }
    }

    #[test]
    fn a_panic_is_the_callers() {
        let items: Vec<usize> = (0..100).collect();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            each(&items, Kind::Disk, |item| assert_ne!(*item, 99))
        }));
        assert!(caught.is_err());
    }
}
