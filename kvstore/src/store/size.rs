//! How long the log is in bytes, and up to where it can be done without.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts what is written, and remembers what the snapshots make superfluous. Clones share it.
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
    /// See [`LogSize::superfluous`].
    superfluous: Option<u64>,
    /// See [`LogSize::snapshot_bytes`].
    snapshot_bytes: u64,
    /// See [`LogSize::snapshot_at_ms`].
    snapshot_at_ms: Option<u64>,
    /// See [`LogSize::snapshots`].
    snapshots: u64,
}

impl LogSize {
    /// Bytes of log after the last snapshot.
    #[must_use]
    pub fn since_snapshot(&self) -> u64 {
        let sizes = self.lock();
        sizes.written - sizes.at_snapshot
    }

    /// The index up to which the log may be purged: where the **older** of the two kept snapshots
    /// stands, so that either of them and the log make the whole state. `None` until there are two.
    #[must_use]
    pub fn superfluous(&self) -> Option<u64> {
        self.lock().superfluous
    }

    /// How long the newest snapshot is; 0 if there is none.
    #[must_use]
    pub fn snapshot_bytes(&self) -> u64 {
        self.lock().snapshot_bytes
    }

    /// When the newest snapshot was taken, milliseconds since 1970; `None` if there is none.
    #[must_use]
    pub fn snapshot_at_ms(&self) -> Option<u64> {
        self.lock().snapshot_at_ms
    }

    /// How many snapshots were taken since the start.
    #[must_use]
    pub fn snapshots(&self) -> u64 {
        self.lock().snapshots
    }

    /// The newest snapshot: how long it is, and when it was taken.
    pub(super) fn snapshot_is(&self, bytes: u64, at_ms: u64) {
        let mut sizes = self.lock();
        sizes.snapshot_bytes = bytes;
        sizes.snapshot_at_ms = Some(at_ms);
    }

    /// The log as it was found: so many bytes for the entries from `first` to `last`, and the
    /// newest snapshot at an index. Where in the bytes that is, is not known: entries are taken
    /// to be of equal size.
    pub(super) fn found(&self, bytes: u64, (first, last): (u64, u64), snapshot: Option<u64>) {
        let entries = (last + 1).saturating_sub(first).max(1);
        let behind = snapshot.map_or(0, |index| (index + 1).saturating_sub(first).min(entries));
        let share = u128::from(bytes) * u128::from(behind) / u128::from(entries);
        let mut sizes = self.lock();
        sizes.written = bytes;
        sizes.at_snapshot = u64::try_from(share).unwrap_or(bytes);
    }

    pub(super) fn add(&self, bytes: usize) {
        self.lock().written += bytes as u64;
    }

    pub(super) fn superfluous_to(&self, index: Option<u64>) {
        self.lock().superfluous = index;
    }

    /// What to give to [`LogSize::snapshot_taken`] when the snapshot of this moment is complete.
    pub(super) fn now(&self) -> u64 {
        self.lock().written
    }

    pub(super) fn snapshot_taken(&self, at: u64) {
        let mut sizes = self.lock();
        sizes.at_snapshot = sizes.at_snapshot.max(at);
        sizes.snapshots += 1;
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
    fn what_follows_the_snapshot_is_known_about_over_a_restart() {
        let size = LogSize::default();

        size.found(10 << 20, (101, 110), Some(107));
        size.add(MIB);

        assert_eq!(size.since_snapshot(), 4 << 20);
        size.found(10 << 20, (101, 110), None);
        assert_eq!(size.since_snapshot(), 10 << 20);
        size.found(10 << 20, (101, 110), Some(110));
        assert_eq!(size.since_snapshot(), 0);
        // The log begins and ends where a snapshot of another server does.
        size.found(100, (200, 199), Some(199));
        assert_eq!(size.since_snapshot(), 100);
    }

    #[test]
    fn a_snapshot_makes_superfluous_what_was_written_before_it_was_begun() {
        let size = LogSize::default();
        size.add(MIB);
        let begun = size.now();
        size.add(2 * MIB);

        size.snapshot_taken(begun);

        assert_eq!(size.since_snapshot(), 2 << 20);
    }
}
