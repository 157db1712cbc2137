//! A restore: keys and sessions of a backup take the place of those that there are, at one revision.
//!
//! To the cluster it is one more change, so everything that is promised of changes holds: the revision rises, above
//! the backup's too; a key that is the same before and after keeps its indexes, any other is at the new revision;
//! the history tells what was there before. What is not a setting or a session stays the cluster's own: its
//! history, its limits, the answers that it remembers, and [`SERVERS`].

use std::collections::BTreeMap;
use std::sync::Arc;

use kvapi::{Key, Revision};

use super::SERVERS;
use super::State;
use super::entry::{Entry, Event};
use super::history::Version;
use super::rows::Row;
use super::sessions::Terms;
use super::staged::{Kept, Part, Piece};
use crate::command::{Command, Outcome};

impl State {
    /// Puts a piece of a backup aside.
    pub(super) fn stage(&mut self, restore: &Arc<str>, part: u64, piece: &Arc<Piece>, rows: &mut Vec<Row>) -> Outcome {
        let staged = Part {
            restore: Arc::clone(restore),
            at: self.at,
            piece: Arc::clone(piece),
        };
        match self.staged.put(part, staged, rows) {
            Ok(()) => Outcome::Done(true),
            Err(why) => Outcome::Refused(why.to_string()),
        }
    }

    /// Has all that was put aside take the place of what is there. `newest` is the backup's own revision.
    pub(super) fn restore(
        &mut self,
        restore: &str,
        parts: u64,
        newest: Revision,
        command: &Command,
        rows: &mut Vec<Row>,
    ) -> (Outcome, Option<Arc<Event>>) {
        let parts = match self.staged.take(restore, parts, rows) {
            Ok(parts) => parts,
            Err(why) => return (Outcome::Refused(why.to_string()), None),
        };
        let revision = self.revision.max(newest).next();
        let sessions: BTreeMap<Arc<str>, &Terms> = parts
            .iter()
            .flat_map(|part| &part.piece.sessions)
            .map(|(id, terms)| (id.to_ascii_lowercase().into(), terms))
            .collect();
        let kept = parts.iter().flat_map(|part| &part.piece.keys);
        let kept = kept.filter(|kept| !kept.key.as_str().starts_with(SERVERS));
        let kept: BTreeMap<&Key, &Kept> = kept.map(|kept| (&kept.key, kept)).collect();
        let changes = self.differences(&kept, &sessions, revision);

        // Whoever held a key through a session that is not there any more may not have noticed.
        let gone = self.sessions.iter().map(|(id, _)| id);
        let gone = gone.filter(|id| !sessions.contains_key(*id));
        let gone: Vec<(Arc<str>, Vec<Key>)> = gone
            .map(|id| (Arc::clone(id), self.sessions.held_by(id).cloned().collect()))
            .collect();

        let before: Vec<Version> = changes
            .iter()
            .map(|(key, now)| match now {
                Some(entry) => self.entries.insert(key.clone(), Arc::clone(entry)),
                None => self.entries.remove(key),
            })
            .collect();
        let event = Arc::new(Event {
            revision,
            at: self.at,
            author: command.author.clone(),
            message: command.message.clone(),
            changes,
        });
        self.take(&event, &before, rows);
        self.settings = revision;
        for (id, keys) in gone {
            self.sessions.end(&id, keys, revision, self.at, rows);
        }
        self.sessions.resume(&sessions, revision, rows);
        (Outcome::Done(true), Some(event))
    }

    /// What is another with the backup's keys, in byte order.
    fn differences(
        &self,
        kept: &BTreeMap<&Key, &Kept>,
        sessions: &BTreeMap<Arc<str>, &Terms>,
        revision: Revision,
    ) -> Vec<(Key, Version)> {
        let gone = self.entries.keys().filter(|key| !key.as_str().starts_with(SERVERS));
        let gone = gone.filter(|key| !kept.contains_key(key));
        let mut changes: Vec<(Key, Version)> = gone.map(|key| (key.clone(), None)).collect();
        for (key, kept) in kept {
            let current = self.entries.get(*key);
            // Nobody holds a key in the name of a session that there is not.
            let session = kept.session.clone();
            let session = session.filter(|id| sessions.contains_key(id.to_ascii_lowercase().as_str()));
            let is_same = current.is_some_and(|current| {
                current.value == kept.value
                    && current.flags == kept.flags
                    && current.lock_index == kept.lock_index
                    && current.session == session
            });
            if is_same {
                continue;
            }
            let entry = Entry {
                value: kept.value.clone(),
                flags: kept.flags,
                create: current.map_or(revision, |current| current.create),
                modify: revision,
                lock_index: kept.lock_index,
                session,
            };
            changes.push(((*key).clone(), Some(Arc::new(entry))));
        }
        changes.sort_by(|a, b| a.0.cmp(&b.0));
        changes
    }
}
