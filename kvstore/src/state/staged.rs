//! What is put aside for a restore, piece by piece, until one command takes all of it.
//!
//! A log entry is small and a backup is not, so it comes in parts. Until the last command nobody sees anything
//! of them. They are forgotten when another restore begins, and when nothing has come for [`KEPT_MS`].

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use kvapi::Key;
use serde::{Deserialize, Serialize};

use super::rows::Row;
use super::sessions::Terms;
use crate::command::FRAME;

/// How long parts are kept after the last one, in log time.
pub const KEPT_MS: u64 = 600_000;

/// A key as a backup keeps it: all but its indexes, which are those of the cluster that it was of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub key: Key,
    pub value: Bytes,
    pub flags: u64,
    pub lock_index: u64,
    /// The session that holds its lock.
    pub session: Option<Arc<str>>,
}

/// A piece of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    pub keys: Vec<Kept>,
    /// By their ids.
    pub sessions: Vec<(Arc<str>, Terms)>,
}

impl Kept {
    /// About how many bytes it takes in the log and in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        FRAME + self.key.as_str().len() + self.value.len() + self.session.as_ref().map_or(0, |id| id.len())
    }
}

impl Piece {
    /// About how many bytes it takes in the log and in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        let sessions = self
            .sessions
            .iter()
            .map(|(id, terms)| FRAME + id.len() + terms.weight());
        self.keys.iter().map(Kept::weight).sum::<usize>() + sessions.sum::<usize>()
    }
}

/// A piece that was put aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The restore that it belongs to.
    pub restore: Arc<str>,
    /// Log time.
    pub at: u64,
    pub piece: Arc<Piece>,
}

/// Why a part, or the whole, was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another restore has begun, or too much time has passed since this one; begin again")]
pub struct Superseded;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Staged {
    parts: OrdMap<u64, Arc<Part>>,
    /// When the last part came.
    newest: u64,
}

impl Staged {
    /// How many parts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn get(&self, number: u64) -> Option<&Arc<Part>> {
        self.parts.get(&number)
    }

    fn belongs_to(&self, restore: &str) -> bool {
        self.parts.get_min().is_some_and(|(_, part)| *part.restore == *restore)
    }

    /// Puts a part aside. The first one of another restore has the place of all that there were.
    pub(super) fn put(&mut self, number: u64, part: Part, rows: &mut Vec<Row>) -> Result<(), Superseded> {
        if !self.belongs_to(&part.restore) {
            if number > 0 {
                return Err(Superseded);
            }
            self.clear(rows);
        }
        let part = Arc::new(part);
        rows.push(Row::Staged(number, Some(Arc::clone(&part))));
        self.restore(number, part);
        Ok(())
    }

    /// Takes all parts of a restore, if all are there.
    pub(super) fn take(
        &mut self,
        restore: &str,
        parts: u64,
        rows: &mut Vec<Row>,
    ) -> Result<Vec<Arc<Part>>, Superseded> {
        let numbers = self.parts.keys().copied();
        if parts == 0 || !self.belongs_to(restore) || !numbers.eq(0..parts) {
            return Err(Superseded);
        }
        let taken = self.parts.values().cloned().collect();
        self.clear(rows);
        Ok(taken)
    }

    pub(super) fn expire(&mut self, now: u64, rows: &mut Vec<Row>) {
        if !self.is_empty() && self.newest.saturating_add(KEPT_MS) < now {
            self.clear(rows);
        }
    }

    fn clear(&mut self, rows: &mut Vec<Row>) {
        rows.extend(self.parts.keys().map(|number| Row::Staged(*number, None)));
        *self = Self::default();
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.parts
            .iter()
            .map(|(number, part)| Row::Staged(*number, Some(Arc::clone(part))))
    }

    /// Puts back what [`Staged::rows`] gave.
    pub(super) fn restore(&mut self, number: u64, part: Arc<Part>) {
        self.newest = self.newest.max(part.at);
        self.parts.insert(number, part);
    }
}
