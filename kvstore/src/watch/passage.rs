//! A large change on its way to one watcher, piece by piece.
//!
//! It holds neither the event nor its text, only how far it is. Each piece is made of what the ring
//! has, or else the history; if both have let go of the revision, the watcher is cut off in the middle
//! of the event, which no client takes for its end, and comes back to a snapshot. So a watcher that
//! stops reading keeps nothing in memory but the pieces that wait for it, however large the event is
//! and however many others do the same.

use std::sync::Arc;

use bytes::Bytes;
use kvapi::{Key, Revision};

use super::frame;
use super::hub::Subscription;
use super::patterns::Patterns;
use crate::held::Cut;
use crate::state::Entry;
use crate::state::history::smallest;
use crate::view::Views;

/// What a piece comes to.
pub(super) const PIECE: usize = 16 << 10;

/// See the module.
pub(super) struct Passage {
    revision: Revision,
    started: bool,
    /// Everything up to this key is written.
    last: Option<Key>,
    /// And so much of the long value behind it.
    offset: usize,
    ended: bool,
}

/// Who made a revision, when and why.
struct Head<'a> {
    at: u64,
    author: Option<&'a str>,
    message: Option<&'a str>,
}

impl Passage {
    pub(super) const fn of(revision: Revision) -> Self {
        Self {
            revision,
            started: false,
            last: None,
            offset: 0,
            ended: false,
        }
    }

    /// `None` behind the last piece.
    pub(super) fn next_piece(&mut self, subscription: &Subscription, views: &Views) -> Option<Result<Bytes, Cut>> {
        if self.ended {
            return None;
        }
        let patterns = subscription.patterns();
        if let Some(event) = subscription.hub().event(self.revision) {
            let head = Head {
                at: event.at,
                author: event.author.as_deref(),
                message: event.message.as_deref(),
            };
            let last = self.last.clone();
            let from = event
                .changes
                .partition_point(|(key, _)| last.as_ref().is_some_and(|last| key <= last));
            let changes = event.changes[from..].iter().map(|(key, entry)| (key, entry.as_ref()));
            return Some(Ok(self.write(patterns, &head, changes)));
        }
        let view = views.current();
        let history = view.history();
        let kept = history.floor() < self.revision && !patterns.wants_own();
        let Some(record) = history.record(self.revision).filter(|_| kept) else {
            self.ended = true;
            return Some(Err(Cut));
        };
        let head = Head {
            at: record.at,
            author: record.author.as_deref(),
            message: record.message.as_deref(),
        };
        let last = self.last.clone();
        let from = (self.revision, last.clone().unwrap_or_else(smallest));
        let changes = history
            .versions_from(&from)
            .take_while(|(revision, ..)| *revision == from.0)
            .skip_while(|(_, key, _)| last.as_ref().is_some_and(|last| *key <= last))
            .map(|(_, key, version)| (key, version.as_ref()));
        Some(Ok(self.write(patterns, &head, changes)))
    }

    fn write<'a>(
        &mut self,
        patterns: &Patterns,
        head: &Head<'_>,
        changes: impl Iterator<Item = (&'a Key, Option<&'a Arc<Entry>>)>,
    ) -> Bytes {
        let mut out = Vec::with_capacity(PIECE + PIECE / 4);
        if !std::mem::replace(&mut self.started, true) {
            frame::change_start(&mut out, self.revision, head.at, head.author, head.message);
        }
        for (key, entry) in changes {
            if !patterns.matches(key.as_str()) {
                continue;
            }
            if out.len() >= PIECE {
                return out.into();
            }
            let offset = std::mem::take(&mut self.offset);
            if offset == 0 && self.last.is_some() {
                out.push(b',');
            }
            if let Some(offset) = frame::key_change(&mut out, key, entry.map(|entry| &**entry), offset, PIECE) {
                self.offset = offset;
                return out.into();
            }
            self.last = Some(key.clone());
        }
        out.extend_from_slice(frame::CHANGE_END);
        self.ended = true;
        out.into()
    }
}
