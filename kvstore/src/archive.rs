//! Backups: the whole state in the envelope that Consul's snapshots have.
//!
//! ```text
//! gzip( tar( meta.json, state.bin, SHA256SUMS ) )
//! ```
//!
//! | file | what it holds |
//! | --- | --- |
//! | `envelope` | writes one as it is sent; reads and checks one piece by piece |
//! | `meta` | `meta.json` and `SHA256SUMS`, in Consul's form |
//! | `ours` | `state.bin` as we write it: a snapshot file |
//! | `consul`, `pack` | `state.bin` as Consul writes it, of which the keys are read |
//!
//! Nothing here is ever in memory as a whole, however large the store is.

mod consul;
mod envelope;
mod meta;
mod ours;
mod pack;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use kvapi::Revision;

pub use envelope::{Stamp, read, write};
pub use meta::Meta;

use crate::state::sessions::Terms;
use crate::state::staged::Kept;

/// What a backup holds that can be restored.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A key.
    Key(Kept),
    /// A session, by its id.
    Session(std::sync::Arc<str>, Terms),
}

/// Is given what is found, in order; it may end the reading.
pub type Visit<'a> = &'a mut dyn FnMut(Item) -> ControlFlow<()>;

/// Whose backup it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// Ours, of the cluster with this id.
    Keyway { cluster: String },
    /// Consul's.
    Consul,
}

/// How much there is of a kind of record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records.
    pub count: u64,
    /// Their bytes in `state.bin`.
    pub bytes: u64,
}

/// What a backup says of itself and what was found in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    pub meta: Meta,
    pub format: Format,
    /// No index in it is higher.
    pub revision: Revision,
    /// Keys that can be restored.
    pub keys: u64,
    /// By the names of the kinds.
    pub kinds: BTreeMap<String, Tally>,
    /// The checksum of `state.bin`, which names the backup.
    pub sha256: String,
}

impl Contents {
    /// How many records there are of a kind.
    #[must_use]
    pub fn count(&self, kind: &str) -> u64 {
        self.kinds.get(kind).map_or(0, |tally| tally.count)
    }

    /// What of it is not restored and why, if it is Consul's and holds more than keys.
    #[must_use]
    pub fn left_out(&self) -> Option<String> {
        let sessions = self.count("Session");
        let others = self
            .kinds
            .iter()
            .filter(|(name, _)| *name != "KVS" && *name != "Session");
        let (kinds, records) = others.fold((0, 0), |(kinds, records), (_, tally)| {
            (kinds + 1, records + tally.count)
        });
        if self.format != Format::Consul || (sessions == 0 && records == 0) {
            return None;
        }
        Some(format!(
            "left out: {sessions} sessions, whose clients begin new ones, so that no key is locked; and {records} records of \
             {kinds} kinds that are no settings"
        ))
    }
}

/// Why a backup cannot be used. As far as Consul checks the same, in its words.
#[derive(Debug, thiserror::Error)]
pub enum BadArchive {
    /// It is not compressed as it should be.
    #[error("failed to decompress snapshot: {0}")]
    NotGzip(&'static str),
    /// The envelope is not whole.
    #[error("failed to read snapshot file: {0}")]
    Envelope(String),
    /// The envelope is good, and what is in it is not.
    #[error("failed to restore snapshot: {0}")]
    State(String),
    /// Whoever is given the contents wants no more.
    #[error("stopped")]
    Stopped,
}

#[cfg(test)]
mod tests;
