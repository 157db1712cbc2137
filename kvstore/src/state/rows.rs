//! The state as rows of typed tables: the form it has on disk, in snapshots and in its digest.
//!
//! Applying a command gives the rows that it changed, so that the disk follows without looking
//! at the whole; [`State::rows`](super::State::rows) gives all of them, and
//! [`State::load`](super::State::load) builds the state from them again. Tables may be added;
//! a table's bytes are part of the format.

use std::sync::Arc;

use kvapi::{Key, Revision};
use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::history::{Record, Version};
use super::requests::Remembered;
use super::sessions::Session;
use super::staged::Part;
use crate::command::{Limits, RequestId};

/// The tables, in the order of a snapshot's sections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    Counters,
    Keys,
    Versions,
    Records,
    Tombstones,
    Sessions,
    Requests,
    Delays,
    Staged,
}

impl Table {
    pub const ALL: [Self; 9] = [
        Self::Counters,
        Self::Keys,
        Self::Versions,
        Self::Records,
        Self::Tombstones,
        Self::Sessions,
        Self::Requests,
        Self::Delays,
        Self::Staged,
    ];

    /// The name of the table's tree and section.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counters => "counters",
            Self::Keys => "keys",
            Self::Versions => "versions",
            Self::Records => "records",
            Self::Tombstones => "tombstones",
            Self::Sessions => "sessions",
            Self::Requests => "requests",
            Self::Delays => "delays",
            Self::Staged => "staged",
        }
    }

    /// The table of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }
}

/// The numbers of the state, all in one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    pub revision: Revision,
    /// The last revision that changed a setting.
    pub settings: Revision,
    /// The last revision that changed one of Keyway's own keys.
    pub own: Revision,
    /// The last entry's time.
    pub at: u64,
    pub limits: Limits,
    pub history_floor: Revision,
    pub tombstone_floor: Revision,
    /// Rows from before there were reads of the past do not say: nothing is promised of that time.
    #[serde(default = "unknown")]
    pub history_whole: Revision,
    /// The last revision that began or ended a session.
    #[serde(default = "first")]
    pub sessions: Revision,
}

const fn unknown() -> Revision {
    Revision(u64::MAX)
}

const fn first() -> Revision {
    Revision(1)
}

/// One row, as it is from now on; without content it is to be deleted.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    Counters(Counters),
    Key(Key, Option<Arc<Entry>>),
    Version(Revision, Key, Option<Version>),
    Record(Revision, Option<Arc<Record>>),
    Tombstone(Key, Option<Revision>),
    Request(RequestId, Option<Arc<Remembered>>),
    Session(Arc<str>, Option<Arc<Session>>),
    /// Until when, in log time, the key may not be locked.
    Delay(Key, Option<u64>),
    /// A part of what is to be restored, by its number.
    Staged(u64, Option<Arc<Part>>),
}

/// A row that does not read.
#[derive(Debug, thiserror::Error)]
#[error("a row of table `{}` cannot be read: {reason}", table.name())]
pub struct BadRow {
    pub table: Table,
    pub reason: String,
}

/// Which row it is, without what is in it. Their order is that of the tables and of their bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowId {
    Counters,
    Key(Key),
    Version(Revision, Key),
    Record(Revision),
    Tombstone(Key),
    Session(Arc<str>),
    Request(RequestId),
    Delay(Key),
    Staged(u64),
}

impl Row {
    /// Which row it is.
    #[must_use]
    pub fn id(&self) -> RowId {
        self.clone().into_id()
    }

    /// Which row it was, without its content.
    #[must_use]
    pub fn into_id(self) -> RowId {
        match self {
            Self::Counters(_) => RowId::Counters,
            Self::Key(key, _) => RowId::Key(key),
            Self::Version(revision, key, _) => RowId::Version(revision, key),
            Self::Record(revision, _) => RowId::Record(revision),
            Self::Tombstone(key, _) => RowId::Tombstone(key),
            Self::Request(id, _) => RowId::Request(id),
            Self::Session(id, _) => RowId::Session(id),
            Self::Delay(key, _) => RowId::Delay(key),
            Self::Staged(number, _) => RowId::Staged(number),
        }
    }

    #[must_use]
    pub const fn table(&self) -> Table {
        match self {
            Self::Counters(_) => Table::Counters,
            Self::Key(..) => Table::Keys,
            Self::Version(..) => Table::Versions,
            Self::Record(..) => Table::Records,
            Self::Tombstone(..) => Table::Tombstones,
            Self::Request(..) => Table::Requests,
            Self::Session(..) => Table::Sessions,
            Self::Delay(..) => Table::Delays,
            Self::Staged(..) => Table::Staged,
        }
    }

    /// The row's key within its table. Byte order is the table's order.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        match self {
            Self::Counters(_) => Vec::new(),
            Self::Key(key, _) | Self::Tombstone(key, _) | Self::Delay(key, _) => key.as_str().as_bytes().to_vec(),
            Self::Version(revision, key, _) => [&revision.0.to_be_bytes(), key.as_str().as_bytes()].concat(),
            Self::Record(revision, _) => revision.0.to_be_bytes().to_vec(),
            Self::Request(id, _) => id.0.as_bytes().to_vec(),
            Self::Session(id, _) => id.as_bytes().to_vec(),
            Self::Staged(number, _) => number.to_be_bytes().to_vec(),
        }
    }

    /// The row's content; `None` if it is to be deleted.
    #[must_use]
    pub fn content(&self) -> Option<Vec<u8>> {
        match self {
            Self::Counters(counters) => Some(encode(counters)),
            Self::Key(_, entry) => entry.as_deref().map(encode),
            Self::Version(_, _, version) => version.as_ref().map(encode),
            Self::Record(_, record) => record.as_deref().map(encode),
            Self::Tombstone(_, revision) => revision.as_ref().map(encode),
            Self::Request(_, remembered) => remembered.as_deref().map(encode),
            Self::Session(_, session) => session.as_deref().map(encode),
            Self::Delay(_, end) => end.as_ref().map(encode),
            Self::Staged(_, part) => part.as_deref().map(encode),
        }
    }

    /// The row that [`Row::key`] and [`Row::content`] were taken from.
    pub fn decode(table: Table, key: &[u8], content: &[u8]) -> Result<Self, BadRow> {
        let bad = |reason: String| BadRow { table, reason };
        Ok(match table {
            Table::Counters => Self::Counters(decode(content).map_err(bad)?),
            Table::Keys => Self::Key(text_key(key).map_err(bad)?, Some(decode(content).map_err(bad)?)),
            Table::Versions => {
                let (revision, key) = key
                    .split_at_checked(8)
                    .ok_or_else(|| bad("its key is too short".into()))?;
                Self::Version(
                    revision_key(revision).map_err(bad)?,
                    text_key(key).map_err(bad)?,
                    Some(decode(content).map_err(bad)?),
                )
            }
            Table::Records => Self::Record(revision_key(key).map_err(bad)?, Some(decode(content).map_err(bad)?)),
            Table::Tombstones => Self::Tombstone(text_key(key).map_err(bad)?, Some(decode(content).map_err(bad)?)),
            Table::Sessions => Self::Session(text(key).map_err(bad)?, Some(decode(content).map_err(bad)?)),
            Table::Requests => Self::Request(RequestId(text(key).map_err(bad)?), Some(decode(content).map_err(bad)?)),
            Table::Delays => Self::Delay(text_key(key).map_err(bad)?, Some(decode(content).map_err(bad)?)),
            Table::Staged => Self::Staged(revision_key(key).map_err(bad)?.0, Some(decode(content).map_err(bad)?)),
        })
    }
}

fn encode<T: Serialize>(content: &T) -> Vec<u8> {
    rmp_serde::to_vec(content).expect("our own types have no map keys or lengths that MessagePack lacks")
}

fn decode<T: for<'de> Deserialize<'de>>(content: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(content).map_err(|e| e.to_string())
}

fn text(bytes: &[u8]) -> Result<Arc<str>, String> {
    std::str::from_utf8(bytes).map(Arc::from).map_err(|e| e.to_string())
}

fn text_key(bytes: &[u8]) -> Result<Key, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
    Key::new(text).map_err(|e| e.to_string())
}

fn revision_key(bytes: &[u8]) -> Result<Revision, String> {
    let bytes: [u8; 8] = bytes.try_into().map_err(|_| "its key is not a number".to_owned())?;
    Ok(Revision(u64::from_be_bytes(bytes)))
}
