//! Reads a log without opening it: `raft-log` cuts off a torn end and may begin a file when it opens
//! a folder, and a look must change nothing.
//!
//! Every record's checksum is looked at, and that entries, votes and files follow one another. What
//! an entry holds is read again when it is replayed, so that a long log needs little memory.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use codeq::Decode as _;
use openraft::EntryPayload;
use raft_log::chunked_wal::Config;
use raft_log::{RaftLogAction, RaftLogRecord, WALRecord};

use super::codec::{LogId, Vote};
use super::log::Types;
use super::machine::{News, Replica};
use super::tail::{self, Torn};
use crate::command::FORMAT;
use crate::disk;
use crate::raft::{self, Entry};

/// What a log holds.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub files: Vec<PathBuf>,
    pub bytes: u64,
    /// The record that a crash cut off, which the next start removes.
    pub torn: Option<Torn>,
    pub vote: Option<Vote>,
    pub purged: Option<raft::LogId>,
    pub last: Option<raft::LogId>,
    /// An entry that this version cannot apply: its index and format.
    pub newer: Option<(u64, u16)>,
    /// Where the entries are: which file, and where in it.
    entries: BTreeMap<u64, (usize, Range<usize>)>,
}

/// Reads the log in a folder; none at all is an empty one. An error says what is damaged.
pub(super) fn scan(dir: &Path) -> io::Result<Scanned> {
    let mut scanned = Scanned {
        torn: tail::look(dir)?,
        ..Scanned::default()
    };
    let files: Vec<PathBuf> = disk::list(dir)?
        .into_iter()
        .filter(|file| file.extension().is_some_and(|end| end == "wal"))
        .collect();
    let mut end = None;
    for file in files {
        let content = disk::read(&file)?.unwrap_or_default();
        let whole = match &scanned.torn {
            Some(torn) if torn.file == file => torn.at,
            _ => content.len(),
        };
        // Behind the torn record nothing counts: `tail::look` has made sure that it is the end.
        if whole == 0 {
            continue;
        }
        let begin = offset(&file)?;
        if end.is_some_and(|end| end != begin) {
            return Err(bad(&file, 0, "it does not follow the file before it: one is missing"));
        }
        scanned.read_file(&file, &content[..whole])?;
        end = Some(begin + whole as u64);
        scanned.bytes += whole as u64;
    }
    Ok(scanned)
}

impl Scanned {
    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes the whole records of one file.
    pub(super) fn read_file(&mut self, file: &Path, content: &[u8]) -> io::Result<()> {
        self.files.push(file.to_owned());
        let number = self.files.len() - 1;
        let mut rest = content;
        while !rest.is_empty() {
            let at = content.len() - rest.len();
            let record = RaftLogRecord::<Types>::decode(&mut rest).map_err(|e| bad(file, at, &e.to_string()))?;
            let range = at..content.len() - rest.len();
            self.take(record, number, range).map_err(|e| bad(file, at, &e))?;
        }
        Ok(())
    }

    fn take(&mut self, record: RaftLogRecord<Types>, file: usize, range: Range<usize>) -> Result<(), String> {
        match record {
            WALRecord::Action(RaftLogAction::SaveVote(vote)) => {
                if self.vote.as_ref().is_some_and(|known| vote < *known) {
                    return Err("a vote is older than the one before it".into());
                }
                self.vote = Some(vote);
            }
            WALRecord::Action(RaftLogAction::Append(LogId(log_id), payload)) => {
                if self
                    .last
                    .is_some_and(|last| log_id <= last || log_id.index != last.index + 1)
                {
                    return Err(format!("entry {} does not follow the one before it", log_id.index));
                }
                if let EntryPayload::Normal(proposal) = &*payload.0
                    && proposal.format > FORMAT
                {
                    self.newer.get_or_insert((log_id.index, proposal.format));
                }
                self.entries.insert(log_id.index, (file, range));
                self.last = Some(log_id);
            }
            WALRecord::Action(RaftLogAction::Commit(_)) => {}
            WALRecord::Action(RaftLogAction::TruncateAfter(log_id)) => {
                self.last = log_id.map(|id| id.0);
                self.entries.split_off(&next(self.last));
            }
            WALRecord::Action(RaftLogAction::PurgeUpto(LogId(log_id))) => self.purge(Some(log_id)),
            // Every file begins with one: what the files before it came to.
            WALRecord::Checkpoint(state) => {
                self.vote = state.vote().cloned().max_by_order(self.vote.take());
                self.purge(state.purged().map(|id| id.0));
                let last = state.last().map(|id| id.0);
                if self.files.len() > 1 && last != self.last {
                    return Err("it does not begin where the file before it ends".into());
                }
                self.last = last;
            }
        }
        Ok(())
    }

    fn purge(&mut self, upto: Option<raft::LogId>) {
        self.purged = self.purged.max(upto);
        self.last = self.last.max(upto);
        self.entries = self.entries.split_off(&next(self.purged));
    }

    /// Whether it has this very entry, or begins behind it.
    pub(super) fn has(&self, id: raft::LogId) -> Result<bool, String> {
        let Some((file, range)) = self.entries.get(&id.index) else {
            return Ok(self.purged == Some(id));
        };
        let content = self.content(*file)?;
        let record = RaftLogRecord::<Types>::decode(content.get(range.clone()).unwrap_or_default());
        let record = record.map_err(|e| e.to_string())?;
        Ok(matches!(record, WALRecord::Action(RaftLogAction::Append(LogId(found), _)) if found == id))
    }

    fn content(&self, file: usize) -> Result<Vec<u8>, String> {
        let path = &self.files[file];
        let content = disk::read(path).map_err(|e| e.to_string())?;
        content.ok_or_else(|| format!("{} has gone", path.display()))
    }

    /// Applies what follows the replica's last entry, up to `upto`.
    pub(super) fn replay(&self, mut replica: Replica, upto: u64) -> Result<Replica, String> {
        let mut current: Option<(usize, Vec<u8>)> = None;
        let from = next(replica.last_log_id);
        for (index, (file, range)) in self
            .entries
            .range(from..=upto.max(from))
            .filter(|entry| *entry.0 <= upto)
        {
            if *index != next(replica.last_log_id) {
                return Err(format!("entry {} is missing", next(replica.last_log_id)));
            }
            let content = match &mut current {
                Some((number, content)) if number == file => content,
                other => &mut other.insert((*file, self.content(*file)?)).1,
            };
            let record = content.get(range.clone()).unwrap_or_default();
            let record = RaftLogRecord::<Types>::decode(record).map_err(|e| e.to_string())?;
            if let WALRecord::Action(RaftLogAction::Append(log_id, payload)) = record {
                let entry = Entry {
                    log_id: log_id.0,
                    payload: Arc::unwrap_or_clone(payload.0),
                };
                // Rows and events are for a server.
                replica.apply(entry, &mut News::default()).map_err(|e| e.to_string())?;
            }
        }
        Ok(replica)
    }
}

/// The larger of two that are only partly in order.
trait MaxByOrder {
    fn max_by_order(self, other: Self) -> Self;
}

impl MaxByOrder for Option<Vote> {
    fn max_by_order(self, other: Self) -> Self {
        if other > self { other } else { self }
    }
}

fn next(log_id: Option<raft::LogId>) -> u64 {
    log_id.map_or(0, |id| id.index + 1)
}

/// Where in the whole log a file begins, which is its name.
fn offset(file: &Path) -> io::Result<u64> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    Config::parse_chunk_file_name(&name).map_err(|e| bad(file, 0, &e.to_string()))
}

fn bad(file: &Path, at: usize, reason: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{} is damaged at byte {at}: {reason}", file.display()),
    )
}
