//! The revisioned map: what every replica holds, and the one way to change it.
//!
//! A command and a time go in; a reply, an event and the changed rows come out. Equal states
//! given equal commands stay equal on every replica; a command that changes nothing takes no
//! revision. A clone is cheap and never changes, so a reader holds one for as long as it likes.
//! Behaviour of single operations: Consul's KV, reference sections 1.2, 2.3 and 3.

pub mod delays;
mod draft;
mod entry;
pub mod history;
mod past;
pub mod requests;
mod restore;
pub mod rows;
pub mod sessions;
pub mod staged;
#[cfg(test)]
pub(crate) mod tests;
pub mod tombstones;
mod whole;

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use kvapi::key::is_own;
use kvapi::{Key, Revision};

use crate::command::{Action, Command, Outcome, Reply};
use draft::Draft;
pub use entry::{Entry, Event};
use history::{History, Version};
pub use past::Unreadable;
use requests::{Known, Requests};
use rows::Row;
use sessions::Sessions;
use staged::Staged;
use tombstones::Tombstones;

/// Rows that a write of one key changes: its own, its version and record, those of a version that
/// goes, and the counters.
const ROWS: usize = 8;

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    entries: OrdMap<Key, Arc<Entry>>,
    revision: Revision,
    settings: Revision,
    own: Revision,
    at: u64,
    tombstones: Tombstones,
    history: History,
    requests: Requests,
    sessions: Sessions,
    staged: Staged,
    sums: Sums,
}

/// Numbers beside the map, in bytes. Derived, and no part of what two states are compared by.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    /// Keys and values of the map.
    held: u64,
    /// Those that were replaced or deleted, since the state was loaded.
    replaced: u64,
    /// Not bytes: how many keys were changed since then.
    changes: u64,
}

impl PartialEq for Sums {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Bytes that have left a part of the state since it was loaded; no part of what two states are compared by.
#[derive(Debug, Clone, Copy, Default)]
struct Gone(u64);

impl PartialEq for Gone {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// What an older state keeps of the map's inner order for each key that was changed since, at most.
const LEAF: u64 = 1024;

/// What came of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    pub reply: Reply,
    /// `None` if nothing changed.
    pub event: Option<Arc<Event>>,
    /// Whether so much may be another that everybody has to look at the whole state again, and nobody at the event.
    pub replaced: bool,
    /// The rows that are different now.
    pub rows: Vec<Row>,
}

impl Default for State {
    /// An empty store is at revision 1: Consul's clients take index 0 for "do not block", so
    /// they must never see it, and the first change must be news to those who saw 1.
    fn default() -> Self {
        Self {
            entries: OrdMap::default(),
            revision: Revision(1),
            settings: Revision(1),
            own: Revision(1),
            at: 0,
            tombstones: Tombstones::default(),
            history: History::with(crate::command::Limits::default(), Revision(1), Revision(1)),
            requests: Requests::default(),
            sessions: Sessions::default(),
            staged: Staged::default(),
            sums: Sums::default(),
        }
    }
}

impl State {
    /// Applies one committed command of an entry that the leader made at `at`.
    pub fn apply(&mut self, at: u64, command: &Command) -> Applied {
        let mut rows = Vec::with_capacity(ROWS);
        self.at = self.at.max(at);
        self.requests.expire(self.at, &mut rows);
        self.sessions.expire_delays(self.at, &mut rows);
        self.staged.expire(self.at, &mut rows);
        let known = match &command.request {
            Some(id) => self.requests.look_up(id, || command.action.fingerprint()),
            None => Known::New,
        };
        let answered = match known {
            Known::New => None,
            Known::Answered(reply) => Some(reply.clone()),
            Known::Reused => Some(Reply {
                revision: self.revision,
                outcome: Outcome::RequestReused,
            }),
        };
        if let Some(reply) = answered {
            rows.push(Row::Counters(self.counters()));
            return Applied {
                reply,
                event: None,
                replaced: false,
                rows,
            };
        }
        let (outcome, event) = self.perform(command, &mut rows);
        let reply = Reply {
            revision: event.as_ref().map_or(self.revision, |event| event.revision),
            outcome,
        };
        if let Some(id) = &command.request {
            let action = command.action.fingerprint();
            self.requests
                .insert(id.clone(), self.at, action, reply.clone(), &mut rows);
        }
        rows.push(Row::Counters(self.counters()));
        let replaced = event.is_some() && matches!(command.action, Action::Restore { .. });
        Applied {
            reply,
            event,
            replaced,
            rows,
        }
    }

    fn perform(&mut self, command: &Command, rows: &mut Vec<Row>) -> (Outcome, Option<Arc<Event>>) {
        match &command.action {
            Action::Keep(limits) => {
                self.history.keep(*limits, rows);
                return (Outcome::Done(true), None);
            }
            Action::Compact { revision } => {
                self.history.compact(self.revision.min(*revision), rows);
                return (Outcome::Done(true), None);
            }
            Action::Retain(retain) => {
                let now = self.history.limits();
                let limits = retain.limits(now);
                if limits != now {
                    self.history.keep(limits, rows);
                }
                if let Some(revision) = retain.compact_to {
                    self.history.compact(self.revision.min(revision), rows);
                }
                return (Outcome::Done(true), None);
            }
            Action::CreateSession { id, terms } => return self.create_session(id, terms, command, rows),
            Action::EndSession { id } => return self.end_session(id, command, rows),
            Action::Stage { restore, part, piece } => return (self.stage(restore, *part, piece, rows), None),
            Action::Restore { restore, parts, newest } => {
                return self.restore(restore, *parts, *newest, command, rows);
            }
            _ => {}
        }
        let mut draft = Draft::new(&mut self.entries, self.revision.next(), &self.sessions, self.at);
        let outcome = draft.perform(&command.action);
        let (changes, before) = draft.finish(&outcome);
        if changes.is_empty() {
            return (outcome, None);
        }
        let event = self.event(command, changes);
        self.take(&event, &before, rows);
        (outcome, Some(event))
    }

    /// The news of the next revision.
    fn event(&self, command: &Command, changes: Vec<(Key, Version)>) -> Arc<Event> {
        Arc::new(Event {
            revision: self.revision.next(),
            at: self.at,
            author: command.author.clone(),
            message: command.message.clone(),
            changes,
        })
    }

    /// Takes the news of a revision into everything that is not the map itself.
    fn take(&mut self, event: &Event, before: &[Version], rows: &mut Vec<Row>) {
        self.revision = event.revision;
        for ((key, entry), before) in event.changes.iter().zip(before) {
            self.sums.change(key, before.as_deref(), entry.as_deref());
            let holder = |version: &'_ Version| version.as_ref().and_then(|entry| entry.session.clone());
            self.sessions
                .passed(key, holder(before).as_ref(), holder(entry).as_ref());
            if key.is_own() {
                self.own = event.revision
            } else {
                self.settings = event.revision
            }
            rows.push(Row::Key(key.clone(), entry.clone()));
            match entry {
                Some(_) => self.tombstones.remove(key, rows),
                None => self.tombstones.insert(key.clone(), event.revision, rows),
            }
        }
        self.history.push(event, before, rows);
    }

    /// The last revision taken.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// The time of the last entry, milliseconds since 1970.
    #[must_use]
    pub const fn at(&self) -> u64 {
        self.at
    }

    /// What is stored under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Arc<Entry>> {
        self.entries.get(key)
    }

    /// All keys that begin with `prefix`, in byte order; Keyway's own only if the prefix is theirs.
    pub fn range<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a Key, &'a Arc<Entry>)> {
        range(&self.entries, prefix)
    }

    /// How many keys there are, Keyway's own included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keys and values, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.sums.held
    }

    /// About how many bytes stay in memory because an older state is held beside this one, or that and any
    /// number of states between them: what has been replaced since, and has left the history or the
    /// remembered answers.
    #[must_use]
    pub fn cost_of_holding(&self, older: &Self) -> u64 {
        let since = |now: u64, then: u64| now.checked_sub(then).unwrap_or(u64::MAX);
        since(self.sums.replaced, older.sums.replaced)
            .saturating_add(since(self.sums.changes, older.sums.changes).saturating_mul(LEAF))
            .saturating_add(since(self.history.gone(), older.history.gone()))
            .saturating_add(since(self.requests.gone(), older.requests.gone()))
    }

    /// The index that a read of one key reports: its own, or the newest change around it.
    #[must_use]
    pub fn index_of_key(&self, key: &str) -> Revision {
        self.get(key)
            .map_or_else(|| self.newest_change(key), |entry| entry.modify)
    }

    /// The index that a list reports: the newest change or deletion under the prefix; of a
    /// prefix that never held anything, and of the root, the newest change at all.
    ///
    /// It rises whenever the list changes and never falls.
    #[must_use]
    pub fn index_of_prefix(&self, prefix: &str) -> Revision {
        if prefix.is_empty() {
            return self.settings;
        }
        match self.range(prefix).map(|(_, entry)| entry.modify).max() {
            Some(newest) => newest.max(self.tombstones.newest(prefix)),
            None => match self.tombstones.newest(prefix) {
                deleted if deleted > self.tombstones.floor() => deleted,
                _ => self.newest_change(prefix),
            },
        }
    }

    /// The index that a part of a list reports, or a number about it: the newest change among all
    /// settings, or among Keyway's own keys. It costs nothing and is never lower than the list's;
    /// who waits behind it misses no change.
    #[must_use]
    pub fn index_of_page(&self, prefix: &str) -> Revision {
        self.newest_change(prefix)
    }

    /// The newest change of a setting, or of one of Keyway's own keys if `text` is among them.
    const fn newest_change_of(&self, own: bool) -> Revision {
        if own { self.own } else { self.settings }
    }

    fn newest_change(&self, text: &str) -> Revision {
        self.newest_change_of(is_own(text))
    }

    /// The past.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Remembered answers.
    #[must_use]
    pub const fn requests(&self) -> &Requests {
        &self.requests
    }

    /// What is put aside for a restore.
    #[must_use]
    pub const fn staged(&self) -> &Staged {
        &self.staged
    }

    /// Who may hold keys.
    #[must_use]
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }
}

impl Sums {
    fn change(&mut self, key: &Key, before: Option<&Entry>, now: Option<&Entry>) {
        let bytes = |entry: Option<&Entry>| entry.map_or(0, |entry| (key.as_str().len() + entry.value.len()) as u64);
        self.held = self.held + bytes(now) - bytes(before);
        self.replaced += bytes(before);
        self.changes += 1;
    }
}

/// What the servers of a cluster keep of each other: no backup has a say in it, and nothing that deletes what
/// lies around it takes it along.
pub const SERVERS: &str = "_keyway/servers/";

/// The part of a map whose keys begin with `prefix`, without Keyway's own keys unless the prefix
/// is theirs.
fn range<'a, V>(map: &'a OrdMap<Key, V>, prefix: &'a str) -> impl Iterator<Item = (&'a Key, &'a V)> {
    map.range::<_, str>((Bound::Included(prefix), Bound::Unbounded))
        .take_while(move |(key, _)| key.as_str().starts_with(prefix))
        .filter(move |(key, _)| kvapi::key::shows(prefix, key.as_str()))
}
