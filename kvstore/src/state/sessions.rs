//! Sessions: who may hold keys, and which keys each of them holds.
//!
//! A session ends because its client says so or because the leader proposes it; here is only what
//! follows. The keys that it held are released or deleted, all in the one revision that ends it, and
//! may not be locked again for its lock-delay. Behaviour: Consul's, reference 3.3 to 3.5.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use kvapi::golang::quote;
use kvapi::{Key, Revision};
use serde::{Deserialize, Serialize};

use super::State;
use super::delays::Delays;
use super::draft::Draft;
use super::entry::Event;
use super::history::smallest;
use super::rows::Row;
use crate::command::{Command, Outcome};

/// The longest lock-delay that is kept; a longer one is shown as it was asked for.
const MOST_DELAY_MS: u64 = 60_000;

/// The longest name that a sentence about a session has in it, in bytes.
const LABEL_BYTES: usize = 256;

/// What becomes of the keys that a session holds when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Behavior {
    /// Nobody holds them any more.
    #[default]
    Release,
    /// They are deleted.
    Delete,
}

/// What a session is to be, as its client asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    pub name: Arc<str>,
    /// The server that it was asked of. The session does not depend on it.
    pub node: Arc<str>,
    /// Nanoseconds.
    pub lock_delay: i64,
    pub behavior: Behavior,
    /// As the client wrote it: clients read it again.
    pub ttl: Arc<str>,
    /// The same in milliseconds; 0 is to live until it is ended.
    pub ttl_ms: u64,
    pub node_checks: Vec<Arc<str>>,
}

impl Terms {
    /// About how many bytes they take in the log and in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        let checks = self.node_checks.iter().map(|check| 16 + check.len()).sum::<usize>();
        self.name.len() + self.node.len() + self.ttl.len() + checks
    }

    /// How long the keys that it held are shut, in milliseconds. What is left of one counts as a whole.
    fn delay_ms(&self) -> u64 {
        u64::try_from(self.lock_delay).map_or(0, |nanos| nanos.div_ceil(1_000_000).min(MOST_DELAY_MS))
    }
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub terms: Terms,
    pub create: Revision,
}

impl Session {
    /// The session in a sentence.
    #[must_use]
    pub fn label(&self, id: &str) -> String {
        match &*self.terms.name {
            "" => format!("session {id}"),
            name if name.len() > LABEL_BYTES => format!("session {id}"),
            name => format!("session {id} ({name})"),
        }
    }
}

/// What became of the sessions between two states.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    pub begun: Vec<(Arc<str>, Arc<Session>)>,
    pub ended: Vec<Arc<str>>,
}

/// Why nothing can be locked in the name of a session: Consul's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSession {
    #[error("missing session")]
    Missing,
    #[error("invalid session {}", quote(.0))]
    Unknown(String),
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Sessions {
    by_id: OrdMap<Arc<str>, Arc<Session>>,
    /// The keys that each session holds. Derived from the map of keys.
    held: OrdMap<(Arc<str>, Key), ()>,
    delays: Delays,
    /// The last revision that began or ended a session.
    newest: Revision,
}

impl Default for Sessions {
    fn default() -> Self {
        Self::with(Revision(1))
    }
}

/// The id that a text means: ids are found in capitals too. Each key keeps the spelling that it was
/// locked with, and whoever holds it has to spell it so again.
fn id_of(text: &str) -> Arc<str> {
    text.to_ascii_lowercase().into()
}

impl Sessions {
    pub(super) fn with(newest: Revision) -> Self {
        Self {
            by_id: OrdMap::default(),
            held: OrdMap::default(),
            delays: Delays::default(),
            newest,
        }
    }

    /// The session that a text names, and its id.
    #[must_use]
    pub fn get(&self, text: &str) -> Option<(&Arc<str>, &Arc<Session>)> {
        self.by_id.get_key_value(&*id_of(text))
    }

    /// The session that wants to lock something.
    pub(super) fn check(&self, text: &str) -> Result<(), NoSession> {
        match text {
            "" => Err(NoSession::Missing),
            text if self.get(text).is_none() => Err(NoSession::Unknown(text.to_owned())),
            _ => Ok(()),
        }
    }

    /// All of them, by their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Session>)> {
        self.by_id.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The index that every read of sessions reports.
    #[must_use]
    pub const fn index(&self) -> Revision {
        self.newest
    }

    #[must_use]
    pub const fn delays(&self) -> &Delays {
        &self.delays
    }

    /// The keys that a session holds, in byte order.
    pub fn held_by(&self, text: &str) -> impl Iterator<Item = &Key> {
        let id = id_of(text);
        let start = (Arc::clone(&id), smallest());
        self.held
            .range((Bound::Included(start), Bound::Unbounded))
            .take_while(move |((holder, _), ())| *holder == id)
            .map(|((_, key), ())| key)
    }

    /// The sessions that are here and not in an `older` state, and those that were there and are gone. What
    /// both share is not looked at.
    #[must_use]
    pub fn changes_since(&self, older: &Self) -> Changes {
        let Changes { mut begun, mut ended } = Changes::default();
        for change in older.by_id.diff(&self.by_id) {
            match change {
                DiffItem::Add(id, session) => begun.push((Arc::clone(id), Arc::clone(session))),
                DiffItem::Remove(id, _) => ended.push(Arc::clone(id)),
                // An id is given once: another session under it is another life.
                DiffItem::Update { old, new } => {
                    if old.1 != new.1 {
                        ended.push(Arc::clone(old.0));
                        begun.push((Arc::clone(new.0), Arc::clone(new.1)));
                    }
                }
            }
        }
        Changes { begun, ended }
    }

    /// A key has changed hands.
    pub(super) fn passed(&mut self, key: &Key, before: Option<&Arc<str>>, now: Option<&Arc<str>>) {
        if before == now {
            return;
        }
        if let Some(holder) = before {
            self.held.remove(&(id_of(holder), key.clone()));
        }
        if let Some(holder) = now {
            self.held.insert((id_of(holder), key.clone()), ());
        }
    }

    pub(super) fn expire_delays(&mut self, now: u64, rows: &mut Vec<Row>) {
        self.delays.expire(now, rows);
    }

    fn begin(&mut self, id: Arc<str>, session: Session, rows: &mut Vec<Row>) {
        self.newest = session.create;
        let session = Arc::new(session);
        rows.push(Row::Session(Arc::clone(&id), Some(Arc::clone(&session))));
        self.by_id.insert(id, session);
    }

    /// The keys that it held are shut from `at` on.
    pub(super) fn end(&mut self, id: &Arc<str>, keys: Vec<Key>, revision: Revision, at: u64, rows: &mut Vec<Row>) {
        self.newest = revision;
        let delay = self.by_id.remove(id).map_or(0, |session| session.terms.delay_ms());
        rows.push(Row::Session(Arc::clone(id), None));
        if delay > 0 {
            for key in keys {
                self.delays.insert(key, at.saturating_add(delay), rows);
            }
        }
    }

    /// Has these sessions there. One that is there already, and the same, goes on; any other begins now.
    pub(super) fn resume(&mut self, wanted: &BTreeMap<Arc<str>, &Terms>, create: Revision, rows: &mut Vec<Row>) {
        for (id, terms) in wanted {
            if self.by_id.get(id).is_some_and(|there| there.terms == **terms) {
                continue;
            }
            let terms = Terms::clone(terms);
            self.begin(Arc::clone(id), Session { terms, create }, rows);
        }
        self.newest = create;
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.by_id
            .iter()
            .map(|(id, session)| Row::Session(Arc::clone(id), Some(Arc::clone(session))))
    }

    pub(super) fn restore(&mut self, id: Arc<str>, session: Arc<Session>) {
        self.by_id.insert(id, session);
    }

    pub(super) fn restore_delay(&mut self, key: Key, end: u64) {
        self.delays.restore(key, end);
    }
}

impl State {
    /// An id that is given already stays with whom it was given to.
    pub(super) fn create_session(
        &mut self,
        id: &str,
        terms: &Terms,
        command: &Command,
        rows: &mut Vec<Row>,
    ) -> (Outcome, Option<Arc<Event>>) {
        let id = id_of(id);
        if self.sessions.get(&id).is_some() {
            return (Outcome::Session(id), None);
        }
        let event = self.event(command, Vec::new());
        self.take(&event, &[], rows);
        let session = Session {
            terms: terms.clone(),
            create: event.revision,
        };
        self.sessions.begin(Arc::clone(&id), session, rows);
        (Outcome::Session(id), Some(event))
    }

    /// One that is not there has ended already.
    pub(super) fn end_session(
        &mut self,
        text: &str,
        command: &Command,
        rows: &mut Vec<Row>,
    ) -> (Outcome, Option<Arc<Event>>) {
        let found = self.sessions.get(text);
        let Some((id, behavior)) = found.map(|(id, session)| (Arc::clone(id), session.terms.behavior)) else {
            return (Outcome::Done(true), None);
        };
        let keys: Vec<Key> = self.sessions.held_by(&id).cloned().collect();
        let mut draft = Draft::new(&mut self.entries, self.revision.next(), &self.sessions, self.at);
        for key in &keys {
            draft.free(key, behavior);
        }
        let outcome = Outcome::Done(true);
        let (changes, before) = draft.finish(&outcome);
        let event = self.event(command, changes);
        self.take(&event, &before, rows);
        self.sessions.end(&id, keys, event.revision, self.at, rows);
        (outcome, Some(event))
    }
}
