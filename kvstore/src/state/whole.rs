//! The state as a whole: into rows, out of rows, and what tells two states apart.

use std::sync::Arc;

use super::State;
use super::history::History;
use super::rows::{BadRow, Counters, Row, RowId, Table};
use super::sessions::Sessions;
use super::staged::Staged;
use super::tombstones::Tombstones;

impl State {
    /// One row as it is now; without content if it is not there.
    #[must_use]
    pub fn row(&self, id: &RowId) -> Row {
        match id {
            RowId::Counters => Row::Counters(self.counters()),
            RowId::Key(key) => Row::Key(key.clone(), self.entries.get(key).cloned()),
            RowId::Version(revision, key) => {
                Row::Version(*revision, key.clone(), self.history.version(*revision, key).cloned())
            }
            RowId::Record(revision) => Row::Record(*revision, self.history.record(*revision).cloned()),
            RowId::Tombstone(key) => Row::Tombstone(key.clone(), self.tombstones.get(key)),
            RowId::Request(id) => Row::Request(id.clone(), self.requests.get(id).cloned()),
            RowId::Session(id) => {
                let session = self.sessions.get(id).map(|(_, session)| Arc::clone(session));
                Row::Session(Arc::clone(id), session)
            }
            RowId::Staged(number) => Row::Staged(*number, self.staged.get(*number).cloned()),
            RowId::Delay(key) => Row::Delay(key.clone(), self.sessions.delays().get(key)),
        }
    }

    pub(super) const fn counters(&self) -> Counters {
        Counters {
            revision: self.revision,
            settings: self.settings,
            own: self.own,
            at: self.at,
            limits: self.history.limits(),
            history_floor: self.history.floor(),
            tombstone_floor: self.tombstones.floor(),
            history_whole: self.history.whole(),
            sessions: self.sessions.index(),
        }
    }

    /// The whole state as rows, table by table, each in the order of its keys. The counters come
    /// first: [`State::load`] wants them so.
    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        std::iter::once(Row::Counters(self.counters()))
            .chain(
                self.entries
                    .iter()
                    .map(|(key, entry)| Row::Key(key.clone(), Some(Arc::clone(entry)))),
            )
            .chain(self.history.rows())
            .chain(self.tombstones.rows())
            .chain(self.sessions.rows())
            .chain(self.requests.rows())
            .chain(self.sessions.delays().rows())
            .chain(self.staged.rows())
    }

    /// Builds the state that gave these rows. No rows are the empty store.
    pub fn load(rows: impl IntoIterator<Item = Result<Row, BadRow>>) -> Result<Self, BadRow> {
        let mut state = Self::default();
        let mut counted = false;
        for row in rows {
            let row = row?;
            let table = row.table();
            if !counted && table != Table::Counters {
                return Err(BadRow {
                    table: row.table(),
                    reason: "the counters must come first".into(),
                });
            }
            match row {
                Row::Counters(row) => {
                    state.revision = row.revision;
                    state.settings = row.settings;
                    state.own = row.own;
                    state.at = row.at;
                    state.history = History::with(row.limits, row.history_floor, row.history_whole.min(row.revision));
                    state.tombstones = Tombstones::with(row.tombstone_floor);
                    state.sessions = Sessions::with(row.sessions);
                    counted = true;
                }
                Row::Key(key, Some(entry)) => {
                    state.sums.change(&key, None, Some(&entry));
                    state.sessions.passed(&key, None, entry.session.as_ref());
                    state.entries.insert(key, entry);
                }
                Row::Version(revision, key, Some(version)) => state.history.restore(revision, key, version),
                Row::Record(revision, Some(record)) => state.history.restore_record(revision, record),
                Row::Tombstone(key, Some(revision)) => state.tombstones.restore(key, revision),
                Row::Request(id, Some(remembered)) => state.requests.restore(id, remembered),
                Row::Session(id, Some(session)) => state.sessions.restore(id, session),
                Row::Delay(key, Some(end)) => state.sessions.restore_delay(key, end),
                Row::Staged(number, Some(part)) => state.staged.restore(number, part),
                Row::Key(_, None)
                | Row::Version(_, _, None)
                | Row::Record(_, None)
                | Row::Tombstone(_, None)
                | Row::Request(_, None)
                | Row::Session(_, None)
                | Row::Delay(_, None)
                | Row::Staged(_, None) => {
                    return Err(BadRow {
                        table,
                        reason: "it has no content".into(),
                    });
                }
            }
        }
        Ok(state)
    }

    /// The state without what is put aside for a restore, as a backup has it.
    #[must_use]
    pub fn without_staged(&self) -> Self {
        Self {
            staged: Staged::default(),
            ..self.clone()
        }
    }

    /// A hash of everything: equal on equal states, on every replica and after every restart.
    #[must_use]
    pub fn digest(&self) -> String {
        use sha2::{Digest as _, Sha256};
        let mut hash = Sha256::new();
        for row in self.rows() {
            for part in [
                row.table().name().as_bytes(),
                &row.key(),
                &row.content().unwrap_or_default(),
            ] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
