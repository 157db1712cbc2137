//! Reads at a revision: exact or refused, never a guess.
//!
//! From [`History::oldest`](super::history::History::oldest) on every key can be read: the
//! version that stood at a revision is kept, or it is the one in the map, or the key was not
//! there. Before that a single key can be read as long as a version at or before the revision is
//! kept, since of each key an unbroken run of its newest versions is. Keyway's own keys have no
//! history: they can be read from their newest change on.

use std::ops::Bound;
use std::sync::Arc;

use kvapi::key::{is_own, shows};
use kvapi::{Key, Revision};

use super::State;
use super::entry::Entry;
use super::history::smallest;

/// Why there is no answer for a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// No longer kept; from `oldest` on it can be read.
    Gone { oldest: Revision },
    /// Not taken yet.
    Ahead { newest: Revision },
}

impl State {
    /// What was stored under a key at a revision.
    pub fn get_at(&self, key: &Key, revision: Revision) -> Result<Option<&Arc<Entry>>, Unreadable> {
        self.taken(revision)?;
        if let Some(version) = self.history.version_at(key, revision) {
            return Ok(version.as_ref());
        }
        match self.get(key.as_str()) {
            Some(entry) if entry.modify <= revision => Ok(Some(entry)),
            _ => match self.readable(key.as_str(), revision) {
                Ok(()) => Ok(None),
                Err(Unreadable::Gone { oldest }) => {
                    let first = self.history.first_of(key).unwrap_or(oldest);
                    let oldest = first.min(oldest);
                    Err(Unreadable::Gone { oldest })
                }
                Err(ahead) => Err(ahead),
            },
        }
    }

    /// Whether every key that begins with `prefix` can be read at a revision.
    pub fn readable(&self, prefix: &str, revision: Revision) -> Result<(), Unreadable> {
        self.taken(revision)?;
        let oldest = if is_own(prefix) {
            self.own
        } else {
            self.history.oldest()
        };
        if revision < oldest {
            return Err(Unreadable::Gone { oldest });
        }
        Ok(())
    }

    fn taken(&self, revision: Revision) -> Result<(), Unreadable> {
        if revision > self.revision {
            return Err(Unreadable::Ahead { newest: self.revision });
        }
        Ok(())
    }

    /// All keys that begin with `prefix`, from `start` on, in byte order, as they are or as they
    /// were at a revision that is [`State::readable`]; Keyway's own only if the prefix is theirs.
    /// Each costs O(log n) at most.
    pub fn walk<'a>(
        &'a self,
        prefix: &'a str,
        start: Bound<&str>,
        revision: Option<Revision>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Entry>)> {
        let start = match start {
            Bound::Included(key) | Bound::Excluded(key) if key < prefix => Bound::Included(prefix),
            Bound::Unbounded => Bound::Included(prefix),
            start => start,
        };
        let revision = revision.filter(|revision| *revision < self.revision);
        let walk = Walk {
            state: self,
            revision,
            now: self.entries.range::<_, str>((start, Bound::Unbounded)).peekable(),
            old: revision.and_then(|_| self.history.key_from(start.map(cut).as_ref())),
        };
        walk.take_while(move |(key, _)| key.as_str().starts_with(prefix))
            .filter(move |(key, _)| shows(prefix, key.as_str()))
    }

    /// How many keys begin with `prefix`, now or at a revision that is [`State::readable`]. It
    /// looks at each of them, but for all there are.
    #[must_use]
    pub fn count(&self, prefix: &str, revision: Option<Revision>) -> usize {
        if prefix.is_empty() && revision.is_none() {
            return self.len() - self.range(kvapi::key::OWN_PREFIX).count();
        }
        self.walk(prefix, Bound::Unbounded, revision).count()
    }
}

/// A text where keys begin, as a key. One that is too long is cut: no key stands in between but
/// those that begin with it. The empty one is the smallest there is.
fn cut(text: &str) -> Key {
    let end = text.floor_char_boundary(kvapi::key::MAX_KEY_BYTES);
    Key::new(&text[..end]).unwrap_or_else(|_| smallest())
}

/// Two lists side by side: the keys that are there, and those of which there are versions.
struct Walk<'a, I: Iterator<Item = (&'a Key, &'a Arc<Entry>)>> {
    state: &'a State,
    /// Below the state's own, if there is one.
    revision: Option<Revision>,
    now: std::iter::Peekable<I>,
    old: Option<&'a Key>,
}

impl<'a, I: Iterator<Item = (&'a Key, &'a Arc<Entry>)>> Iterator for Walk<'a, I> {
    type Item = (&'a Key, &'a Arc<Entry>);

    fn next(&mut self) -> Option<Self::Item> {
        let Some(revision) = self.revision else {
            return self.now.next();
        };
        let history = &self.state.history;
        loop {
            let now = self.now.peek().map(|(key, _)| *key);
            let key = match (now, self.old) {
                (Some(now), Some(old)) => now.min(old),
                (now, old) => now.or(old)?,
            };
            let entry = self.now.next_if(|(now, _)| *now == key).map(|(_, entry)| entry);
            if self.old == Some(key) {
                self.old = history.key_from(Bound::Excluded(key));
            }
            let then = match entry {
                Some(entry) if entry.modify <= revision => Some(entry),
                _ => history.version_at(key, revision).and_then(Option::as_ref),
            };
            if let Some(entry) = then {
                return Some((key, entry));
            }
        }
    }
}
