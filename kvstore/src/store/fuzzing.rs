//! What is read from the disk, tried with anything at all: nothing panics, nothing asks for memory
//! that the bytes do not fill, and what is taken is whole.
//!
//! `fuzz/` runs these for as long as one likes; the tests below run them on a few thousand inputs
//! with every `cargo test`. Checksums stop most of what is random, so an input may also stand for
//! what lies behind a good checksum.

use std::path::Path;
use std::sync::Arc;

use codeq::{Decode as _, Encode as _};
use openraft::{CommittedLeaderId, EntryPayload};
use raft_log::{RaftLogAction, RaftLogRecord, WALRecord};

use super::codec::{LogId, Payload, Vote};
use super::log::Types;
use super::machine::{News, Replica};
use super::scan::Scanned;
use super::snapshot::{self, Header, Kind, write_block};
use super::tail;
use crate::raft::{self, Entry, StoredMembership};

/// A snapshot: the bytes themselves, or, behind a 1, blocks whose checksums are good.
pub fn snapshot(bytes: &[u8]) {
    let framed = match bytes.split_first() {
        Some((1, rest)) => blocks(rest),
        _ => bytes.to_vec(),
    };
    if let Ok((header, state)) = snapshot::read(&framed) {
        let mut again = Vec::new();
        snapshot::write_all(&mut again, &header, &state).expect("memory takes everything");
        let (_, read) = snapshot::read(&again).expect("what we write we read");
        assert_eq!(read.digest(), state.digest(), "a state is written as another");
    }
}

/// What an entry of the log carries; what can be read can also be applied.
pub fn log_payload(bytes: &[u8]) {
    let Ok(payload) = Payload::decode(bytes) else { return };
    let mut again = Vec::new();
    payload.encode(&mut again).expect("memory takes everything");
    let read = Payload::decode(&again[..]).expect("what we write we read");
    assert_eq!(read.0, payload.0, "a payload is written as another");
    let entry = Entry {
        log_id: log_id(1, 0),
        payload: Arc::unwrap_or_clone(payload.0),
    };
    // One of a newer format is refused.
    let _ = Replica::default().apply(entry, &mut News::default());
}

/// A file of the log: the bytes themselves, or, behind a 1, good records that are then cut off, or
/// behind a 2, damaged at a place.
pub fn log_file(bytes: &[u8]) {
    match bytes.split_first() {
        Some((1, rest)) => {
            let (whole, seed) = records(rest);
            let cut = seed % (whole.len() + 1);
            let at = tail::whole(&whole[..cut]).expect("a crash leaves no later record");
            assert!(at <= cut);
            scan(&whole[..at]);
        }
        Some((2, rest)) => {
            let (mut damaged, seed) = records(rest);
            if !damaged.is_empty() {
                let at = seed % damaged.len();
                damaged[at] ^= 0x55;
                judge(&damaged);
            }
        }
        _ => judge(bytes),
    }
}

/// The end of a file is whole, torn or damaged; up to there it can be read.
fn judge(content: &[u8]) {
    match tail::whole(content) {
        Ok(at) => scan(&content[..at]),
        Err((at, later)) => {
            assert!(at < later && later < content.len());
            scan(&content[..at]);
        }
    }
}

/// Whole records can be read; whether they follow one another is another matter.
fn scan(content: &[u8]) {
    let scanned = Scanned::default().read_file(Path::new("in memory"), content);
    if let Err(error) = scanned {
        assert!(error.to_string().contains("is damaged at byte"), "{error}");
    }
}

/// Blocks with good checksums out of any bytes: a kind, a length, and content for each.
fn blocks(bytes: &[u8]) -> Vec<u8> {
    let (revision, mut rest) = bytes.split_first().map_or((0, bytes), |(first, rest)| (*first, rest));
    let header = Header {
        cluster_id: "c".into(),
        revision: u64::from(revision),
        last_log_id: None,
        membership: StoredMembership::default(),
        snapshot_id: "s".into(),
    };
    let mut out = Vec::new();
    snapshot::begin(&mut out, &header).expect("memory takes everything");
    while let [kind, length, tail @ ..] = rest {
        let (content, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        let kind = match kind % 4 {
            0 => Kind::Section,
            1 | 2 => Kind::Rows,
            _ => Kind::End,
        };
        write_block(&mut out, kind, content).expect("memory takes everything");
        rest = tail;
    }
    out
}

/// Good records out of any bytes, and what is left of them as a number.
fn records(bytes: &[u8]) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let [kind, term, index, tail @ ..] = rest {
        let id = LogId(log_id(u64::from(*term), u64::from(*index)));
        let action = match kind % 6 {
            0 => RaftLogAction::SaveVote(Vote(raft::Vote::new(u64::from(*term), u64::from(*index)))),
            1 => RaftLogAction::Append(id, Payload(Arc::new(EntryPayload::Blank))),
            2 => RaftLogAction::Commit(id),
            3 => RaftLogAction::TruncateAfter(Some(id)),
            4 => RaftLogAction::PurgeUpto(id),
            _ => RaftLogAction::TruncateAfter(None),
        };
        let record: RaftLogRecord<Types> = WALRecord::Action(action);
        record.encode(&mut out).expect("memory takes everything");
        rest = tail;
    }
    let seed = bytes.iter().fold(7usize, |seed, byte| {
        seed.wrapping_mul(31).wrapping_add(usize::from(*byte))
    });
    (out, seed)
}

fn log_id(term: u64, index: u64) -> raft::LogId {
    raft::LogId {
        leader_id: CommittedLeaderId::new(term, 1),
        index,
    }
}

#[cfg(test)]
mod tests {
    use kvapi::Key;
    use proptest::prelude::*;

    use super::*;
    use crate::command::{Action, Command, FORMAT, Op, Proposal};

    fn proposal() -> Proposal {
        let key = || Key::new("app/port").unwrap();
        let actions = [
            Action::Put {
                key: key(),
                value: "8080".into(),
                flags: 7,
                cas: Some(0),
            },
            Action::Txn {
                ops: vec![
                    Op::Get { key: key() },
                    Op::DeleteTree { prefix: "a".into() },
                    Op::Set {
                        key: key(),
                        value: vec![1; 300].into(),
                        flags: 0,
                    },
                ],
            },
            Action::Delete { key: key(), cas: None },
        ];
        let commands = actions.map(|action| Command {
            request: None,
            author: Some("ann".into()),
            message: Some("why".into()),
            action,
        });
        Proposal {
            format: FORMAT,
            at: 17,
            commands: commands.into(),
        }
    }

    fn good_payload() -> Vec<u8> {
        let mut bytes = Vec::new();
        Payload(Arc::new(EntryPayload::Normal(proposal())))
            .encode(&mut bytes)
            .unwrap();
        bytes
    }

    fn good_snapshot() -> Vec<u8> {
        let mut replica = Replica::default();
        let entry = Entry {
            log_id: log_id(1, 0),
            payload: EntryPayload::Normal(proposal()),
        };
        replica.apply(entry, &mut News::default()).unwrap();
        let header = Header {
            cluster_id: "c".into(),
            revision: replica.state.revision().0,
            last_log_id: replica.last_log_id,
            membership: replica.membership,
            snapshot_id: "s".into(),
        };
        let mut bytes = Vec::new();
        snapshot::write_all(&mut bytes, &header, &replica.state).unwrap();
        bytes
    }

    /// Some bytes changed, and perhaps the end cut off.
    fn mutated(good: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
        let length = good.len();
        let changes = proptest::collection::vec((0..length, any::<u8>()), 0..6);
        (changes, 0..=length, any::<bool>()).prop_map(move |(changes, end, cut)| {
            let mut bytes = good.clone();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            if cut {
                bytes.truncate(end);
            }
            bytes
        })
    }

    /// Anything, mostly behind a byte that stands for good checksums.
    fn anything() -> impl Strategy<Value = Vec<u8>> {
        (0..4u8, proptest::collection::vec(any::<u8>(), 0..2_000)).prop_map(|(first, mut bytes)| {
            bytes.insert(0, first);
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_a_snapshot_that_panics(bytes in anything(), bad in mutated(good_snapshot())) {
            snapshot(&bytes);
            snapshot(&bad);
        }

        #[test]
        fn no_bytes_make_a_payload_that_panics(bytes in anything(), bad in mutated(good_payload())) {
            log_payload(&bytes);
            log_payload(&bad);
        }

        #[test]
        fn no_bytes_make_a_log_file_that_panics(bytes in anything()) {
            log_file(&bytes);
        }
    }

    #[test]
    fn a_snapshot_torn_at_any_byte_is_refused_and_a_whole_one_is_not() {
        let good = good_snapshot();

        snapshot::read(&good).unwrap();
        for end in 0..good.len() {
            let error = snapshot::read(&good[..end]).unwrap_err().to_string();
            assert!(error.contains("it ends too early"), "cut at {end}: {error}");
        }
    }
}
