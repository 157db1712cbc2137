//! The newest revisions, for those who follow closely.
//!
//! Events go in as they are published, without a gap; what is oldest goes when the ring holds
//! more than its bounds. [`Ring::since`] is exact or says that it cannot be. An event's text is
//! made once, by the first who needs all of it, and shared by everybody else; that of a large one never is.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use kvapi::Revision;

use super::frame;
use crate::state::Event;

/// How much a ring holds at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Keys, values and their text, in bytes.
    pub bytes: usize,
    pub events: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            events: 65_536,
        }
    }
}

/// An event that weighs more than this is large: its text would be much to keep for a watcher that does not
/// take it.
const LARGE: usize = 64 << 10;

/// An event in the ring.
#[derive(Debug)]
pub struct Item {
    pub event: Arc<Event>,
    whole: OnceLock<Bytes>,
    weight: usize,
}

impl Item {
    /// Whether its text is made for each watcher anew, piece by piece, and never as a whole.
    #[must_use]
    pub const fn is_large(&self) -> bool {
        self.weight > LARGE
    }

    /// The frame of the whole event.
    #[must_use]
    pub fn whole(&self) -> Bytes {
        self.whole.get_or_init(|| frame::change(&self.event, |_| true)).clone()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Ring {
    bounds: Bounds,
    items: VecDeque<Arc<Item>>,
    /// Everything after this revision, and nothing before it, is in the ring; `None` until the
    /// first event tells.
    floor: Option<Revision>,
    bytes: usize,
}

impl Ring {
    #[must_use]
    pub const fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            items: VecDeque::new(),
            floor: None,
            bytes: 0,
        }
    }

    /// The last revision put in; the floor if that has gone.
    #[must_use]
    pub fn newest(&self) -> Option<Revision> {
        self.items.back().map(|item| item.event.revision).or(self.floor)
    }

    /// Takes the next event. If there is a gap before it, everything older goes.
    pub fn push(&mut self, event: Arc<Event>) {
        if self.newest().map(Revision::next) != Some(event.revision) {
            self.reset(Revision(event.revision.0.saturating_sub(1)));
        }
        let weight = weight(&event);
        self.bytes += weight;
        self.items.push_back(Arc::new(Item {
            event,
            whole: OnceLock::new(),
            weight,
        }));
        while self.bytes > self.bounds.bytes || self.items.len() > self.bounds.events {
            let Some(oldest) = self.items.pop_front() else { return };
            self.bytes -= oldest.weight;
            self.floor = Some(oldest.event.revision);
        }
    }

    /// Forgets everything; the next event is the one after `revision`.
    pub fn reset(&mut self, revision: Revision) {
        self.items.clear();
        self.bytes = 0;
        self.floor = Some(revision);
    }

    /// At most `most` events after `revision`, oldest first; `None` if the ring does not reach
    /// back that far.
    #[must_use]
    pub fn since(&self, revision: Revision, most: usize) -> Option<Vec<Arc<Item>>> {
        if self.floor.is_none_or(|floor| revision < floor) {
            return None;
        }
        let start = self.items.partition_point(|item| item.event.revision <= revision);
        Some(self.items.range(start..).take(most).cloned().collect())
    }
}

/// [`Item::is_large`], of an event that has left the ring.
pub(super) fn is_large(event: &Event) -> bool {
    weight(event) > LARGE
}

/// What an event counts for, in bytes: its content, and the text that is made of it.
pub(super) fn weight(event: &Event) -> usize {
    const FRAME: usize = 512;
    const CHANGE: usize = 256;
    let changes = event.changes.iter().map(|(key, entry)| {
        let value = entry.as_ref().map_or(0, |entry| entry.value.len());
        // Base64 makes four bytes of three.
        CHANGE + 2 * key.as_str().len() + value + value / 3 * 4
    });
    FRAME + changes.sum::<usize>()
}

#[cfg(test)]
pub(super) mod tests {
    use kvapi::Key;
    use proptest::prelude::*;

    use super::*;
    use crate::state::Entry;

    pub(crate) fn event(revision: u64, keys: &[&str]) -> Arc<Event> {
        let revision = Revision(revision);
        let entry = Entry {
            value: Bytes::from_static(b"v"),
            flags: 0,
            create: revision,
            modify: revision,
            lock_index: 0,
            session: None,
        };
        let entry = Arc::new(entry);
        let changes = keys
            .iter()
            .map(|key| (Key::new(key).unwrap(), Some(Arc::clone(&entry))))
            .collect();
        Arc::new(Event {
            revision,
            at: 1,
            author: None,
            message: None,
            changes,
        })
    }

    fn revisions(items: &[Arc<Item>]) -> Vec<u64> {
        items.iter().map(|item| item.event.revision.0).collect()
    }

    proptest! {
        /// Every event after `since`, in order, once; or "not that far back".
        #[test]
        fn since_is_exact_or_says_that_it_cannot_be(
            first in 2..20_u64, count in 0..40_u64, events in 1..30_usize, since in 0..70_u64,
        ) {
            let mut ring = Ring::new(Bounds { events, ..Bounds::default() });
            for revision in first..first + count {
                ring.push(event(revision, &["a"]));
            }

            let got = ring.since(Revision(since), usize::MAX);

            let last = first + count;
            let oldest_kept = last.saturating_sub(events as u64).max(first);
            if count == 0 || since + 1 < oldest_kept {
                prop_assert!(got.is_none());
            } else {
                prop_assert_eq!(revisions(&got.unwrap()), (since + 1..last).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn bytes_are_bounded_and_the_oldest_go() {
        let mut ring = Ring::new(Bounds {
            bytes: 3 * weight(&event(2, &["a"])),
            events: 100,
        });

        for revision in 2..10 {
            ring.push(event(revision, &["a"]));
        }

        assert_eq!(revisions(&ring.since(Revision(6), 99).unwrap()), [7, 8, 9]);
        assert!(ring.since(Revision(5), 99).is_none());
    }

    #[test]
    fn a_gap_is_never_bridged() {
        let mut ring = Ring::new(Bounds::default());
        ring.push(event(2, &["a"]));

        ring.push(event(4, &["a"]));

        assert!(ring.since(Revision(2), 99).is_none());
        assert_eq!(revisions(&ring.since(Revision(3), 99).unwrap()), [4]);
    }

    #[test]
    fn an_event_too_large_for_the_ring_leaves_an_empty_ring_that_knows_where_it_is() {
        let mut ring = Ring::new(Bounds { bytes: 1, events: 9 });

        ring.push(event(2, &["a"]));

        assert!(ring.since(Revision(1), 9).is_none());
        assert_eq!(ring.since(Revision(2), 9).unwrap().len(), 0);
        assert_eq!(ring.newest(), Some(Revision(2)));
    }
}
