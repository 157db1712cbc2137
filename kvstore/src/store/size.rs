//! How long the log is in bytes, so that it can be kept short by bytes as well as by entries.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts what is written, and remembers where. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct LogSize {
    sizes: Arc<Mutex<Sizes>>,
}

#[derive(Debug, Default)]
struct Sizes {
    /// Bytes written since the log began, or since it was opened.
    written: u64,
    /// The same when the last snapshot was taken.
    at_snapshot: u64,
    /// The index at which each so many bytes had been written, oldest first.
    marks: VecDeque<(u64, u64)>,
}

impl LogSize {
    /// Bytes of entries between two marks.
    const STEP: u64 = 1 << 20;

    /// Bytes of log that no snapshot makes superfluous.
    #[must_use]
    pub fn since_snapshot(&self) -> u64 {
        let sizes = self.lock();
        sizes.written - sizes.at_snapshot
    }

    /// Up to which index the log must be purged so that about `keep` bytes of it remain; `None`
    /// if no more is there.
    #[must_use]
    pub fn surplus(&self, keep: u64) -> Option<u64> {
        let sizes = self.lock();
        let from = sizes.written.checked_sub(keep)?;
        sizes
            .marks
            .iter()
            .take_while(|(_, written)| *written <= from)
            .last()
            .map(|(index, _)| *index)
    }

    /// The sizes of entries from before the start are not known: they are taken to be equal.
    pub(super) fn start_at(&self, bytes: u64, first: u64, last: u64) {
        let mut sizes = self.lock();
        let steps = bytes / Self::STEP;
        let index = |step: u64| first + last.saturating_sub(first).saturating_mul(step) / steps;
        sizes.marks = (1..=steps).map(|step| (index(step), step * Self::STEP)).collect();
        sizes.written = bytes;
    }

    pub(super) fn add(&self, index: u64, bytes: usize) {
        let mut sizes = self.lock();
        sizes.written += bytes as u64;
        let written = sizes.written;
        if sizes.marks.back().is_none_or(|(_, at)| written - at >= Self::STEP) {
            sizes.marks.push_back((index, written));
        }
    }

    pub(super) fn purged(&self, upto: u64) {
        let mut sizes = self.lock();
        while sizes.marks.front().is_some_and(|(index, _)| *index <= upto) {
            sizes.marks.pop_front();
        }
    }

    /// What to give to [`LogSize::snapshot_taken`] when the snapshot of this moment is complete.
    pub(super) fn now(&self) -> u64 {
        self.lock().written
    }

    pub(super) fn snapshot_taken(&self, at: u64) {
        let mut sizes = self.lock();
        sizes.at_snapshot = sizes.at_snapshot.max(at);
    }

    fn lock(&self) -> MutexGuard<'_, Sizes> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn what_is_too_much_is_counted_from_the_end_over_a_restart() {
        let size = LogSize::default();
        // A log of entries 101 to 110, of 1 MiB each, is opened, and as many follow.
        size.start_at(10 << 20, 100, 110);
        (111..=120).for_each(|index| size.add(index, MIB));

        assert_eq!(size.surplus(20 << 20), None);
        assert_eq!(size.surplus(15 << 20), Some(105));
        assert_eq!(size.surplus(5 << 20), Some(115));
        size.purged(115);
        assert_eq!(size.surplus(5 << 20), None);
        assert_eq!(size.surplus(4 << 20), Some(116));
    }

    #[test]
    fn a_snapshot_makes_superfluous_what_was_written_before_it_was_begun() {
        let size = LogSize::default();
        size.add(1, MIB);
        let begun = size.now();
        size.add(2, 2 * MIB);

        size.snapshot_taken(begun);

        assert_eq!(size.since_snapshot(), 2 << 20);
    }
}
