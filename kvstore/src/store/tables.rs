//! The state on disk: its rows in one tree of sled.
//!
//! It follows the log and is never the promise: it may be behind, and when it is damaged it is
//! rebuilt. What is needed is that it never passes for good when it is not. So a pass of writes
//! begins with the mark `writing` and ends with the mark `applied`, both the log id that the pass
//! goes to; if they differ, the pass was cut in two. Each row carries a checksum over its key
//! and content, and the mark says what the whole must add up to.
//!
//! ```text
//! 00 'w'                        the log id that a pass goes to
//! 00 'a'                        the mark of the last complete pass
//! table u8 | row key            crc32 | 00 | content            a row; of the history, a page
//!                               crc32 | 01 | count u32          a row whose content is in pieces
//! f0 | length u16 | the above's key | number u32                crc32 | 00 | piece
//! ```
//!
//! One tree, because sled's batches are atomic within a tree: a pass of up to `BATCH_ROWS`
//! rows is whole or absent. Rows stay below 64 KiB, because sled puts larger pages into files
//! of their own, which it never syncs. `flush` of sled is no fsync on Linux, so a checkpoint is
//! its flush and an fdatasync of its file.

mod pass;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::pages::{self, Pages, Start};
use super::unwritten::Unwritten;
use crate::raft::{LogId, StoredMembership};
use crate::state::State;
use crate::state::history::History;
use crate::state::rows::{BadRow, Row, Table};
use crate::{clock, disk};
use pass::{Pass, piece_key, unsealed};

/// Content beyond this is cut into pieces of this.
const PIECE_BYTES: usize = 60 << 10;

/// Changing it makes existing folders unreadable to sled.
const SEGMENT_BYTES: usize = 8 << 20;

/// sled takes about 2.7 times this.
const CACHE_BYTES: u64 = 64 << 20;

/// How often and how long to wait for sled's lock.
const LOCK_TRIES: u32 = 400;
const LOCK_WAIT: Duration = Duration::from_millis(5);

const WRITING: &[u8] = b"\0w";
const APPLIED: &[u8] = b"\0a";
const PIECES: u8 = 0xf0;

const WHOLE: u8 = 0;
const PIECED: u8 = 1;

/// Where a complete pass has come to, and what everything adds up to there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub last_log_id: Option<LogId>,
    pub membership: StoredMembership,
    keys: u64,
    history_bytes: u64,
    /// Marks from before there were sessions do not say.
    #[serde(default)]
    sessions: u64,
    #[serde(default)]
    delays: u64,
}

impl Mark {
    pub(super) fn of(state: &State, last_log_id: Option<LogId>, membership: StoredMembership) -> Self {
        Self {
            last_log_id,
            membership,
            keys: state.len() as u64,
            history_bytes: state.history().bytes(),
            sessions: state.sessions().len() as u64,
            delays: state.sessions().delays().len() as u64,
        }
    }
}

/// Why the state on disk cannot be used. It is rebuilt then.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error(transparent)]
    Sled(#[from] sled::Error),
    #[error("sled panicked: {0}")]
    Panic(String),
    #[error("the server ended in the middle of a write to it")]
    CutInTwo,
    #[error("its mark cannot be read: {0}")]
    BadMark(String),
    #[error(transparent)]
    BadRow(#[from] BadRow),
    #[error("rows are missing")]
    RowsMissing,
    #[error("sled found it damaged while it was in use")]
    FoundDamaged,
}

/// The state on disk, opened.
pub(super) struct Tables {
    db: sled::Db,
    dir: PathBuf,
    /// How many pieces the rows have that are in pieces; by sled's key.
    pieced: HashMap<Vec<u8>, u32>,
    /// The pages of the history.
    pages: Pages,
    /// Whether the files' names are durable.
    names_durable: bool,
}

impl Tables {
    /// Opens or makes the files. Blocks for a while if sled has not let go of them yet, as its own
    /// threads do it some time after it was closed.
    pub(super) fn open(dir: &Path) -> Result<Self, Unusable> {
        if disk::exists(&dir.join(DAMAGED)) {
            return Err(Unusable::FoundDamaged);
        }
        let config = sled::Config::new()
            .path(dir)
            .mode(sled::Mode::LowSpace)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(CACHE_BYTES)
            // Every error comes back to us instead of to a thread of sled's.
            .flush_every_ms(None);
        let mut tries = 0;
        let db = loop {
            match config.open() {
                Err(sled::Error::Io(e)) if is_locked(&e) && tries < LOCK_TRIES => {
                    tries += 1;
                    clock::block(LOCK_WAIT);
                }
                opened => break opened?,
            }
        };
        let pieced = HashMap::new();
        let dir = dir.to_owned();
        Ok(Self {
            db,
            dir,
            pieced,
            pages: Pages::default(),
            names_durable: false,
        })
    }

    /// Where the files are.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The state and its mark; `None` if none was ever written.
    pub(super) fn load(&mut self) -> Result<Option<(Mark, State)>, Unusable> {
        let writing = self.db.get(WRITING)?;
        let Some(writing) = writing else { return Ok(None) };
        let mark = self.db.get(APPLIED)?.ok_or(Unusable::CutInTwo)?;
        let mark: Mark = unmarked(&mark)?;
        let writing: Option<LogId> = unmarked(&writing)?;
        if writing != mark.last_log_id {
            return Err(Unusable::CutInTwo);
        }
        let mut pieced = HashMap::new();
        let mut starts = Vec::new();
        let found = Table::ALL
            .into_iter()
            .flat_map(|table| self.db.scan_prefix([id_of(table)]).map(move |found| (table, found)));
        let state = State::load(found.flat_map(|(table, found)| {
            let read = found.map_err(|e| bad(table, &e)).and_then(|(key, row)| {
                let content = self.content(table, &key, &row, &mut pieced)?;
                rows_of(table, &key[1..], &content, &mut starts)
            });
            match read {
                Ok(rows) => rows.into_iter().map(Ok).collect(),
                Err(e) => vec![Err(e)],
            }
        }))?;
        self.pieced = pieced;
        self.pages = Pages::found(starts, state.revision());
        if mark != Mark::of(&state, mark.last_log_id, mark.membership.clone()) {
            return Err(Unusable::RowsMissing);
        }
        Ok(Some((mark, state)))
    }

    /// What is in a row, put together again.
    fn content(
        &self,
        table: Table,
        key: &[u8],
        row: &[u8],
        pieced: &mut HashMap<Vec<u8>, u32>,
    ) -> Result<Vec<u8>, BadRow> {
        let (kind, content) = unsealed(key, row).ok_or_else(|| damaged(table))?;
        if kind == WHOLE {
            return Ok(content.to_vec());
        }
        let count = content.try_into().map(u32::from_le_bytes).map_err(|_| damaged(table))?;
        let mut whole = Vec::new();
        for number in 0..count {
            let key = piece_key(key, number);
            let piece = self
                .db
                .get(&key)
                .map_err(|e| bad(table, &e))?
                .ok_or_else(|| damaged(table))?;
            let (_, piece) = unsealed(&key, &piece).ok_or_else(|| damaged(table))?;
            whole.extend_from_slice(piece);
        }
        pieced.insert(key.to_vec(), count);
        Ok(whole)
    }

    /// The pages of the history that are on disk, or are when the pass under way is through.
    pub(super) const fn pages(&self) -> &Pages {
        &self.pages
    }

    /// Writes what is different, as it is in `state`, and the mark of that state.
    ///
    /// `between` is called between two batches with the time that the first has taken.
    pub(super) fn write(
        &mut self,
        changed: Unwritten,
        state: &State,
        mark: &Mark,
        between: &mut dyn FnMut(Duration),
    ) -> sled::Result<()> {
        let db = self.db.clone();
        let mut pass = Pass::begin(&db, mark, between)?;
        let (rows, mut pages) = changed.into_parts();
        for row in &rows {
            self.put(&mut pass, &state.row(row))?;
        }
        pages.extend(self.pages.extend(state.history(), state.revision()));
        for start in &pages {
            self.put_page(&mut pass, start, state.history())?;
        }
        pass.end(mark)
    }

    /// Removes everything and writes another state.
    pub(super) fn replace(&mut self, state: &State, mark: &Mark) -> sled::Result<()> {
        let db = self.db.clone();
        let mut between = |_| {};
        let mut pass = Pass::begin(&db, mark, &mut between)?;
        for table in Table::ALL {
            for key in db.scan_prefix([id_of(table)]).keys() {
                self.delete(&mut pass, &key?)?;
            }
        }
        for row in state.rows().filter(|row| !is_in_pages(row.table())) {
            self.put(&mut pass, &row)?;
        }
        self.pages = Pages::default();
        for start in &self.pages.extend(state.history(), state.revision()) {
            self.put_page(&mut pass, start, state.history())?;
        }
        pass.end(mark)
    }

    fn put(&mut self, pass: &mut Pass, row: &Row) -> sled::Result<()> {
        debug_assert!(!is_in_pages(row.table()), "the history is written in pages");
        self.put_content(pass, row.table(), &row.key(), row.content().as_deref())
    }

    fn put_page(&mut self, pass: &mut Pass, start: &Start, history: &History) -> sled::Result<()> {
        let content = self.pages.content(start, history);
        if content.is_none() {
            self.pages.remove(start);
        }
        self.put_content(pass, PAGES, &pages::name(start), content.as_deref())
    }

    fn put_content(&mut self, pass: &mut Pass, table: Table, key: &[u8], content: Option<&[u8]>) -> sled::Result<()> {
        let key = [&[id_of(table)], key].concat();
        let Some(content) = content else {
            return self.delete(pass, &key);
        };
        let before = self.pieced.remove(&key).unwrap_or(0);
        let mut count = 0;
        if content.len() <= PIECE_BYTES {
            pass.insert(&key, WHOLE, content)?;
        } else {
            for piece in content.chunks(PIECE_BYTES) {
                pass.insert(&piece_key(&key, count), WHOLE, piece)?;
                count += 1;
            }
            pass.insert(&key, PIECED, &count.to_le_bytes())?;
            self.pieced.insert(key.clone(), count);
        }
        (count..before).try_for_each(|number| pass.remove(&piece_key(&key, number)))
    }

    fn delete(&mut self, pass: &mut Pass, key: &[u8]) -> sled::Result<()> {
        let pieces = self.pieced.remove(key).unwrap_or(0);
        (0..pieces).try_for_each(|number| pass.remove(&piece_key(key, number)))?;
        pass.remove(key)
    }

    /// Gives everything written to the system, so that the end of this process does it no harm.
    pub(super) fn flush(&self) -> sled::Result<()> {
        self.db.flush().map(drop)
    }

    /// Makes everything written durable. Blocks for an fdatasync.
    pub(super) fn checkpoint(&mut self) -> sled::Result<()> {
        self.flush()?;
        disk::sync_data(&self.dir.join("db"))?;
        if !self.names_durable {
            for path in [self.dir.join("db"), self.dir.join("conf"), self.dir.clone()] {
                disk::sync_all(&path)?;
            }
            if let Some(parent) = self.dir.parent() {
                disk::sync_all(parent)?;
            }
            self.names_durable = true;
        }
        Ok(())
    }
}

/// A file in the folder that says that sled has given up on it.
const DAMAGED: &str = "damaged";

/// Has the next start rebuild the state: sled does not find every damage when it opens.
pub(super) fn mark_damaged(dir: &Path) {
    // If even this fails, the disk is full or gone, and the start will tell.
    let _ = disk::replace(&dir.join(DAMAGED), b"");
}

/// sled makes its own text of the error that says so, and keeps only the text.
pub(super) fn is_locked(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::WouldBlock || e.to_string().contains("could not acquire lock")
}

/// The table in whose place the pages of the history lie; its records are in them too.
const PAGES: Table = Table::Versions;

const fn is_in_pages(table: Table) -> bool {
    matches!(table, Table::Versions | Table::Records)
}

/// The rows that something on disk holds, and where it begins if it is a page.
fn rows_of(table: Table, key: &[u8], content: &[u8], starts: &mut Vec<Start>) -> Result<Vec<Row>, BadRow> {
    if table != PAGES {
        return Ok(vec![Row::decode(table, key, content)?]);
    }
    starts.push(pages::named(key).ok_or_else(|| damaged(table))?);
    pages::rows(content).map_err(|reason| BadRow { table, reason })
}

/// The table's first byte. Part of the format.
const fn id_of(table: Table) -> u8 {
    match table {
        Table::Counters => 1,
        Table::Keys => 2,
        Table::Versions => 3,
        Table::Records => 4,
        Table::Tombstones => 5,
        Table::Sessions => 6,
        Table::Requests => 7,
        Table::Delays => 8,
        Table::Staged => 9,
    }
}

fn unmarked<T: for<'de> Deserialize<'de>>(row: &[u8]) -> Result<T, Unusable> {
    let content = row.get(5..).unwrap_or_default();
    rmp_serde::from_slice(content).map_err(|e| Unusable::BadMark(e.to_string()))
}

fn damaged(table: Table) -> BadRow {
    BadRow {
        table,
        reason: "it is damaged".into(),
    }
}

fn bad(table: Table, e: &sled::Error) -> BadRow {
    BadRow {
        table,
        reason: e.to_string(),
    }
}

#[cfg(test)]
mod tests;
