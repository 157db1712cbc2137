//! A pass of writes, cut into batches; and rows as sled holds them, each behind its checksum.

use std::time::Duration;

use serde::Serialize;
use sled::Batch;

use super::{APPLIED, Mark, PIECES, WHOLE, WRITING};
use crate::{clock, failpoint};

/// Rows of one batch; sled needs much memory for larger ones.
const BATCH_ROWS: usize = 250;

/// Bytes of one batch.
const BATCH_BYTES: usize = 4 << 20;

/// A pass of writes, cut into batches.
pub(super) struct Pass<'a> {
    db: &'a sled::Db,
    batch: Batch,
    rows: usize,
    bytes: usize,
    /// Called between two batches with the time that the first has taken.
    between: &'a mut dyn FnMut(Duration),
}

impl<'a> Pass<'a> {
    pub(super) fn begin(db: &'a sled::Db, mark: &Mark, between: &'a mut dyn FnMut(Duration)) -> sled::Result<Self> {
        let mut pass = Self {
            between,
            db,
            batch: Batch::default(),
            rows: 0,
            bytes: 0,
        };
        pass.insert(WRITING, WHOLE, &packed(&mark.last_log_id))?;
        Ok(pass)
    }

    pub(super) fn insert(&mut self, key: &[u8], kind: u8, content: &[u8]) -> sled::Result<()> {
        self.make_room(key.len() + content.len())?;
        self.batch.insert(key, sealed(key, kind, content));
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> sled::Result<()> {
        self.make_room(key.len())?;
        self.batch.remove(key);
        Ok(())
    }

    fn make_room(&mut self, bytes: usize) -> sled::Result<()> {
        if self.rows == BATCH_ROWS || self.bytes + bytes > BATCH_BYTES {
            let start = clock::now();
            self.apply()?;
            (self.between)(start.elapsed());
            // What is not flushed would die with the process, and with it the cut.
            failpoint::hit_after("sled-between-batches", || drop(self.db.flush()));
            failpoint::slow("sled-between-batches");
        }
        self.rows += 1;
        self.bytes += bytes;
        Ok(())
    }

    pub(super) fn apply(&mut self) -> sled::Result<()> {
        self.rows = 0;
        self.bytes = 0;
        self.db.apply_batch(std::mem::take(&mut self.batch))
    }

    pub(super) fn end(mut self, mark: &Mark) -> sled::Result<()> {
        self.insert(APPLIED, WHOLE, &packed(mark))?;
        self.apply()
    }
}

/// Where a piece lies. The length keeps the pieces of one key apart from those of another.
pub(super) fn piece_key(key: &[u8], number: u32) -> Vec<u8> {
    let length = u16::try_from(key.len()).expect("keys and request ids are far shorter than 64 KiB");
    [&[PIECES], &length.to_be_bytes()[..], key, &number.to_be_bytes()].concat()
}

pub(super) fn sealed(key: &[u8], kind: u8, content: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(content.len() + 5);
    row.extend_from_slice(&checksum(key, kind, content).to_le_bytes());
    row.push(kind);
    row.extend_from_slice(content);
    row
}

/// The kind and the content, if the row is as it was written.
pub(super) fn unsealed<'a>(key: &[u8], row: &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (sum, row) = row.split_first_chunk::<4>()?;
    let (kind, content) = row.split_first()?;
    (checksum(key, *kind, content) == u32::from_le_bytes(*sum)).then_some((*kind, content))
}

fn checksum(key: &[u8], kind: u8, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(&[kind]);
    hasher.update(content);
    hasher.finalize()
}

fn packed(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("marks are made of numbers, texts and maps")
}
