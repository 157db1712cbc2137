//! The end of the log at a start: tells the record that a crash cut off from damage before it.
//!
//! `raft-log` drops whatever follows the first record that ends too early. After a crash that is
//! the record that was being written, of which nobody had been told. But a record whose length is
//! damaged ends too early as well, and entries after it may have been acknowledged: then the log
//! must not be opened. Reads only; to be asked before `raft-log` opens the folder.

use std::io;
use std::path::{Path, PathBuf};

use codeq::Decode as _;
use raft_log::{RaftLogAction, RaftLogRecord, WALRecord};

use super::codec::{LogId, Vote};
use super::log::Types;
use super::sums::Sums;
use crate::disk;

/// The longest log id or vote, in bytes; what claims to be longer is neither.
const MAX_ID_BYTES: u32 = 64;

/// An incomplete last record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Torn {
    pub file: PathBuf,
    /// Where in the file it begins.
    pub at: usize,
    pub bytes: usize,
}

/// Looks at the log in a folder. `None` if it ends with a whole record; an error if a record is
/// damaged and later ones follow it.
pub(super) fn look(dir: &Path) -> io::Result<Option<Torn>> {
    let mut torn = None;
    let files = disk::list(dir)?.into_iter().rev();
    for file in files.filter(|file| file.extension().is_some_and(|end| end == "wal")) {
        let content = disk::read(&file)?.unwrap_or_default();
        let at = whole(&content).map_err(|(at, later)| damaged(&file, at, later))?;
        if at < content.len() {
            let bytes = content.len() - at;
            torn = Some(Torn { file, at, bytes });
        }
        // A file without a single whole record is removed, and then the one before it is the last.
        if at > 0 {
            break;
        }
    }
    Ok(torn)
}

/// How much of a file's content is whole records, if nothing but a torn one follows; else where the
/// damage is, and where a later record.
pub(super) fn whole(content: &[u8]) -> Result<usize, (usize, usize)> {
    let mut newest = Newest::default();
    let at = newest.take_whole(content);
    newest.find_later(content, at).map_or(Ok(at), |later| Err((at, later)))
}

/// The newest entry and vote that were read.
#[derive(Debug, Default)]
struct Newest {
    log_id: Option<LogId>,
    vote: Option<Vote>,
}

impl Newest {
    /// Reads whole records from the beginning; returns where the first one begins that is not.
    fn take_whole(&mut self, content: &[u8]) -> usize {
        let mut rest = content;
        loop {
            let at = content.len() - rest.len();
            match RaftLogRecord::<Types>::decode(&mut rest) {
                Ok(record) => self.take(record),
                Err(_) => return at,
            }
        }
    }

    fn take(&mut self, record: RaftLogRecord<Types>) {
        let (log_id, vote) = match record {
            WALRecord::Action(action) => said_by(action),
            WALRecord::Checkpoint(state) => (state.last().cloned(), state.vote().cloned()),
        };
        self.log_id = log_id.max(self.log_id.take());
        if vote > self.vote {
            self.vote = vote;
        }
    }

    /// Where after `at` a whole record begins that tells of something newer. What is not newer
    /// may be part of a value: somebody may keep a piece of a log in the store.
    ///
    /// A value may be made so that a record seems to begin everywhere and to reach to the end. So the
    /// checksum of what seems one is worked out from sums of the whole, and nothing is read twice.
    fn find_later(&self, content: &[u8], at: usize) -> Option<usize> {
        let mut sums = None;
        (at + 1..content.len()).find(|from| {
            let Some(seeming) = Seeming::at(&content[*from..]) else {
                return false;
            };
            if seeming.log_id <= self.log_id && seeming.vote <= self.vote {
                return false;
            }
            let sums = sums.get_or_insert_with(|| Sums::of(content));
            u64::from(sums.sum(*from..*from + seeming.bytes)) == seeming.checksum
        })
    }
}

/// What may be a vote, an entry, a commit position or a purge: its checksum is not known to be right.
struct Seeming {
    log_id: Option<LogId>,
    vote: Option<Vote>,
    /// How many bytes the checksum is of.
    bytes: usize,
    checksum: u64,
}

impl Seeming {
    /// Of the kind, then the length of a vote or log id and itself, then, in an entry, the length of
    /// what it carries and that.
    fn at(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        let kind = number(0).filter(|kind| matches!(kind, 0 | 1 | 2 | 4))?;
        let length = number(4).filter(|length| *length <= MAX_ID_BYTES)?;
        let mut end = 8 + usize::try_from(length).ok()?;
        let id = bytes.get(8..end)?;
        if kind == 1 {
            end = (end + 4).checked_add(usize::try_from(number(end)?).ok()?)?;
        }
        let checksum = bytes.get(end..end.checked_add(8)?)?.try_into().ok()?;
        let (log_id, vote) = match kind {
            0 => (None, Some(rmp_serde::from_slice(id).ok()?)),
            _ => (Some(rmp_serde::from_slice(id).ok()?), None),
        };
        Some(Self {
            log_id,
            vote,
            bytes: end,
            checksum: u64::from_be_bytes(checksum),
        })
    }
}

/// The entry or the vote that an action tells of.
fn said_by(action: RaftLogAction<Types>) -> (Option<LogId>, Option<Vote>) {
    match action {
        RaftLogAction::SaveVote(vote) => (None, Some(vote)),
        RaftLogAction::Append(log_id, _) | RaftLogAction::Commit(log_id) | RaftLogAction::PurgeUpto(log_id) => {
            (Some(log_id), None)
        }
        RaftLogAction::TruncateAfter(_) => (None, None),
    }
}

fn damaged(file: &Path, at: usize, later: usize) -> io::Error {
    let file = file.display();
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{file} is damaged at byte {at}, and what was acknowledged may follow it, from byte {later} on"),
    )
}

#[cfg(test)]
mod tests {
    use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _};
    use openraft::{CommittedLeaderId, EntryPayload};

    use super::*;
    use crate::raft::{self, Entry};
    use crate::store::{Fatal, LogStore};

    /// A log of a vote and some entries, each committed; where its records begin, and its bytes.
    async fn written(dir: &Path) -> (PathBuf, Vec<usize>, Vec<u8>) {
        let mut log = LogStore::open(dir, Fatal::default()).unwrap();
        log.save_vote(&raft::Vote::new(1, 1)).await.unwrap();
        for index in 0..4 {
            let log_id = raft::LogId {
                leader_id: CommittedLeaderId::new(1, 1),
                index,
            };
            let payload = EntryPayload::Blank;
            log.blocking_append([Entry { log_id, payload }]).await.unwrap();
            log.save_committed(Some(log_id)).await.unwrap();
        }
        log.close();
        let files = disk::list(dir).unwrap();
        let file = files.into_iter().find(|file| file.extension().is_some()).unwrap();
        let content = disk::read(&file).unwrap().unwrap();
        let mut rest = &content[..];
        let mut starts = Vec::new();
        while !rest.is_empty() {
            starts.push(content.len() - rest.len());
            RaftLogRecord::<Types>::decode(&mut rest).unwrap();
        }
        (file, starts, content)
    }

    #[tokio::test]
    async fn a_log_cut_off_anywhere_has_at_most_one_incomplete_record() {
        let dir = tempfile::tempdir().unwrap();
        let (file, starts, content) = written(dir.path()).await;
        assert_eq!(look(dir.path()).unwrap(), None);

        for end in 0..content.len() {
            disk::replace(&file, &content[..end]).unwrap();
            let torn = look(dir.path()).unwrap();
            let at = *starts.iter().rfind(|start| **start <= end).unwrap();
            let expected = (at < end).then(|| Torn {
                file: file.clone(),
                at,
                bytes: end - at,
            });
            assert_eq!(torn, expected, "cut at {end}");
        }
    }

    #[tokio::test]
    async fn damage_before_the_last_record_is_never_taken_for_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let (file, starts, content) = written(dir.path()).await;

        for at in 0..*starts.last().unwrap() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = content.clone();
                bad[at] ^= flip;
                disk::replace(&file, &bad).unwrap();
                let error = look(dir.path()).unwrap_err().to_string();
                let start = starts.iter().rfind(|start| **start <= at).unwrap();
                assert!(error.contains(&format!("is damaged at byte {start},")), "{error}");
                LogStore::open(dir.path(), Fatal::default()).unwrap_err();
                assert_eq!(disk::read(&file).unwrap().unwrap(), bad);
            }
        }
    }

    /// Somebody may store that, and then the server may crash: nothing is damaged, and nothing is read
    /// for ever.
    #[tokio::test]
    async fn a_value_in_which_a_record_seems_to_begin_everywhere_is_no_damage() {
        use codeq::Encode as _;

        let id = raft::LogId {
            leader_id: CommittedLeaderId::new(1, 1),
            index: 7,
        };
        let mut seeming = 1_u32.to_be_bytes().to_vec();
        super::super::codec::LogId(id).encode(&mut seeming).unwrap();
        seeming.extend_from_slice(&(128_u32 << 10).to_be_bytes());
        let mut content = seeming.repeat((512 << 10) / seeming.len());

        assert_eq!(whole(&content), Ok(0));
        assert_eq!(whole(&vec![0; 100_000]), Ok(0));
        // What does follow it is found all the same.
        let dir = tempfile::tempdir().unwrap();
        let (_, starts, log) = written(dir.path()).await;
        let before = content.len();
        content.extend_from_slice(&log[starts[1]..]);
        assert_eq!(whole(&content), Err((0, before)));
    }
}
