//! What the log keeps, as bytes: MessagePack behind its length. The log adds a checksum to each
//! record, and tells a torn record by an early end, which the length makes certain.

use std::io::{self, Read, Write};
use std::sync::Arc;

use codeq::{Decode, Encode};
use openraft::EntryPayload;
use serde::{Deserialize, Serialize};

use crate::raft::{self, TypeConfig};

/// What an entry or an operation weighs beside its keys and values, in bytes.
const OVERHEAD: usize = 64;

/// A log id, in Raft's order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LogId(pub raft::LogId);

/// A vote, in Raft's order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Vote(pub raft::Vote);

/// What an entry carries. Clones share it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Payload(pub Arc<EntryPayload<TypeConfig>>);

impl Payload {
    /// About how many bytes it takes in memory and in the log.
    pub(super) fn weight(&self) -> usize {
        match &*self.0 {
            EntryPayload::Normal(proposal) => proposal.weight(),
            EntryPayload::Blank | EntryPayload::Membership(_) => OVERHEAD,
        }
    }
}

macro_rules! framed {
    ($($kind:ty),*) => {$(
        impl Encode for $kind {
            fn encode<W: Write>(&self, w: W) -> io::Result<usize> {
                rmp_serde::to_vec(self).map_err(io::Error::other)?.encode(w)
            }
        }

        impl Decode for $kind {
            fn decode<R: Read>(r: R) -> io::Result<Self> {
                let bytes = Vec::<u8>::decode(r)?;
                rmp_serde::from_slice(&bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
            }
        }
    )*};
}

framed!(LogId, Vote, Payload);

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kvapi::Key;

    use super::*;
    use crate::command::{Action, Command, FORMAT, Proposal};

    fn proposal(value: Vec<u8>) -> Proposal {
        let action = Action::Put {
            key: Key::new("a").unwrap(),
            value: Bytes::from(value),
            flags: u64::MAX,
            cas: Some(3),
        };
        let command = Command {
            request: None,
            author: Some("ann".into()),
            message: None,
            action,
        };
        Proposal {
            format: FORMAT,
            at: 17,
            commands: vec![command],
        }
    }

    #[test]
    fn a_payload_reads_back_as_it_was_and_a_torn_one_ends_early() {
        for size in [0, 1, 255, 70_000] {
            let written = proposal((0..size).map(|i| u8::try_from(i % 251).unwrap()).collect());
            let mut bytes = Vec::new();
            Payload(Arc::new(EntryPayload::Normal(written.clone())))
                .encode(&mut bytes)
                .unwrap();

            let EntryPayload::Normal(read) = &*Payload::decode(&bytes[..]).unwrap().0 else {
                panic!("another kind")
            };

            assert_eq!(*read, written);
            let torn = Payload::decode(&bytes[..bytes.len() - 1]).unwrap_err();
            assert_eq!(torn.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    /// A put as it was written before there were sessions.
    const OLDER: &[u8] =
        b"\x00\x00\x00\x29\x81\xa6Normal\x93\x01\x11\x91\x94\xc0\xa3ann\xc0\x81\xa3Put\x94\xa1a\xc4\x02\x01\x02\
        \xcf\xff\xff\xff\xff\xff\xff\xff\xff\x03";

    #[test]
    fn what_an_older_version_wrote_reads_and_a_kind_that_nobody_knows_does_not() {
        let EntryPayload::Normal(read) = &*Payload::decode(OLDER).unwrap().0 else {
            panic!("another kind")
        };
        assert_eq!(*read, proposal(vec![1, 2]));

        let at = OLDER.windows(3).position(|word| word == b"Put").unwrap();
        let mut newer = OLDER.to_vec();
        newer[at..at + 3].copy_from_slice(b"Xyz");
        let refused = Payload::decode(&newer[..]).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        assert!(refused.to_string().contains("Xyz"), "{refused}");
    }

    #[test]
    fn a_value_is_a_byte_string_and_costs_no_more_than_it_is() {
        let mut bytes = Vec::new();
        Payload(Arc::new(EntryPayload::Normal(proposal(vec![0xff; 10_000]))))
            .encode(&mut bytes)
            .unwrap();

        assert!(bytes.len() < 10_100, "{}", bytes.len());
    }
}
