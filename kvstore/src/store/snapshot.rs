//! Snapshots: the whole state as a file, history and request ids included.
//!
//! ```text
//! KEYWSNAP format            8 bytes and a u16
//! block*                     kind u8 | length u32 | crc32 u32 | that many bytes
//!   Header                   MessagePack: format of what follows, cluster, revision, log id, membership
//!   Section                  MessagePack: name and version of the table whose rows follow
//!   Rows                     (length u32, key, length u32, content)*, never split over blocks
//!   End                      number of rows u64; nothing comes after it
//! ```
//!
//! Numbers are little-endian. A checksum covers kind, length and bytes of its block; the end
//! mark tells a file that is whole from one that is not. Sections and formats that this version
//! does not know are refused, not skipped: a state without a part of itself is another state.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::{self, NewFile};
use crate::failpoint;
use crate::raft::{LogId, SnapshotMeta, StoredMembership};
use crate::state::State;
use crate::state::rows::{BadRow, Row, Table};

/// The format of snapshots that this version writes, and the newest that it reads.
pub const FORMAT: u16 = 1;

/// The version of a section's rows that this version writes, and the newest that it reads.
const SECTION_VERSION: u16 = 1;

pub(crate) const MAGIC: &[u8; 8] = b"KEYWSNAP";

/// A block of rows is closed when it has grown to this size.
const BLOCK_BYTES: usize = 256 << 10;

/// No block is longer: a damaged length must not ask for all memory. A row is at most two
/// requests' worth, far below.
const MAX_BLOCK_BYTES: u32 = 256 << 20;

/// A snapshot on disk. openraft hands it about; what is in it is read by [`SnapshotFile::load`].
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    pub(super) path: PathBuf,
}

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub cluster_id: String,
    pub revision: u64,
    pub last_log_id: Option<LogId>,
    pub membership: StoredMembership,
    pub snapshot_id: String,
}

impl Header {
    /// Of a backup: it stands at no entry of any log.
    pub(crate) fn of_backup(cluster_id: &str, revision: u64) -> Self {
        Self {
            cluster_id: cluster_id.to_owned(),
            revision,
            last_log_id: None,
            membership: StoredMembership::default(),
            snapshot_id: "backup".into(),
        }
    }

    /// The header in openraft's form.
    #[must_use]
    pub fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.last_log_id,
            last_membership: self.membership.clone(),
            snapshot_id: self.snapshot_id.clone(),
        }
    }
}

/// Why a snapshot cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BadSnapshot {
    #[error("the snapshot {} is damaged: {reason}; use another one", .path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("the snapshot {} was made by a newer version of keyway ({what}); use that version", .path.display())]
    Newer { path: PathBuf, what: String },
    #[error("the snapshot {} is of cluster {found}, not {own}; use one of this cluster", .path.display())]
    OtherCluster { path: PathBuf, found: String, own: String },
    #[error("cannot {what} the snapshot {}: {source}", .path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Header = 1,
    Section = 2,
    Rows = 3,
    End = 4,
}

#[derive(Debug, Serialize, Deserialize)]
struct Section {
    name: String,
    version: u16,
}

impl SnapshotFile {
    pub(super) const fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a snapshot of the state; when this returns it is durable.
    pub(super) fn write(path: &Path, header: &Header, state: &State) -> io::Result<Self> {
        let mut file = NewFile::create(path)?;
        write_all(&mut file, header, state)?;
        file.commit(|| failpoint::hit("snapshot-before-rename"))?;
        Ok(Self::at(path.to_owned()))
    }

    /// Reads the header alone.
    pub fn header(&self) -> Result<Header, BadSnapshot> {
        Reader::open(&self.path).map(|reader| reader.header)
    }

    /// Reads the whole file and believes none of it: whether it is whole.
    pub fn check(&self) -> Result<Header, BadSnapshot> {
        let mut reader = Reader::open(&self.path)?;
        reader.by_ref().for_each(drop);
        reader.finish()
    }

    /// Reads the whole file and builds the state again.
    pub fn load(&self) -> Result<(Header, State), BadSnapshot> {
        load(Reader::open(&self.path)?)
    }
}

/// Builds the state of a snapshot's bytes, wherever they are from.
pub(super) fn read(bytes: &[u8]) -> Result<(Header, State), BadSnapshot> {
    load(Reader::begin(Path::new("in memory"), bytes)?)
}

fn load(mut reader: Reader<impl Read>) -> Result<(Header, State), BadSnapshot> {
    let path = reader.path.clone();
    let state = State::load(reader.by_ref().map(Ok));
    // What was wrong with the file comes before what was wrong with the rows that were read.
    let header = reader.finish()?;
    let state = state.map_err(|e| damaged(&path, e.to_string()))?;
    if state.revision().0 != header.revision {
        let reason = format!("it is at revision {}, not {}", state.revision(), header.revision);
        return Err(damaged(&path, reason));
    }
    Ok((header, state))
}

pub(crate) fn write_all(out: &mut impl Write, header: &Header, state: &State) -> io::Result<()> {
    begin(out, header)?;
    let mut section = None;
    let mut block = Vec::with_capacity(BLOCK_BYTES * 2);
    let mut count: u64 = 0;
    for row in state.rows() {
        if section != Some(row.table()) {
            flush_rows(out, &mut block)?;
            section = Some(row.table());
            let section = Section {
                name: row.table().name().to_owned(),
                version: SECTION_VERSION,
            };
            write_block(out, Kind::Section, &packed(&section)?)?;
        }
        put_row(&mut block, &row)?;
        count += 1;
        if block.len() >= BLOCK_BYTES {
            flush_rows(out, &mut block)?;
        }
    }
    flush_rows(out, &mut block)?;
    write_block(out, Kind::End, &count.to_le_bytes())
}

/// What comes before the rows.
pub(super) fn begin(out: &mut impl Write, header: &Header) -> io::Result<()> {
    out.write_all(MAGIC)?;
    out.write_all(&FORMAT.to_le_bytes())?;
    write_block(out, Kind::Header, &packed(header)?)
}

fn packed(value: &impl Serialize) -> io::Result<Vec<u8>> {
    rmp_serde::to_vec_named(value).map_err(io::Error::other)
}

fn flush_rows(out: &mut impl Write, block: &mut Vec<u8>) -> io::Result<()> {
    if !block.is_empty() {
        write_block(out, Kind::Rows, block)?;
        block.clear();
    }
    Ok(())
}

fn put_row(block: &mut Vec<u8>, row: &Row) -> io::Result<()> {
    for part in [row.key(), row.content().unwrap_or_default()] {
        block.extend_from_slice(&length(&part)?.to_le_bytes());
        block.extend_from_slice(&part);
    }
    Ok(())
}

pub(super) fn write_block(out: &mut impl Write, kind: Kind, bytes: &[u8]) -> io::Result<()> {
    let length = length(bytes)?;
    out.write_all(&[kind as u8])?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&checksum(kind as u8, length, bytes).to_le_bytes())?;
    out.write_all(bytes)
}

fn length(bytes: &[u8]) -> io::Result<u32> {
    u32::try_from(bytes.len()).map_err(|_| io::Error::other("a row of 4 GiB or more"))
}

fn checksum(kind: u8, length: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&length.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Gives the rows of a file one after the other, a block of them in memory. It ends at the first
/// thing wrong; [`Reader::finish`] says whether it was the end mark.
pub(crate) struct Reader<R> {
    path: PathBuf,
    file: R,
    header: Header,
    table: Option<Table>,
    rows: std::vec::IntoIter<Row>,
    count: u64,
    tally: BTreeMap<Table, (u64, u64)>,
    end: Option<Result<(), BadSnapshot>>,
}

impl Reader<disk::Reading> {
    fn open(path: &Path) -> Result<Self, BadSnapshot> {
        let file = disk::open(path).map_err(|source| BadSnapshot::Io {
            what: "open",
            path: path.to_owned(),
            source,
        })?;
        Self::begin(path, file)
    }
}

impl<R: Read> Reader<R> {
    pub(crate) fn begin(path: &Path, mut file: R) -> Result<Self, BadSnapshot> {
        let mut start = [0; 10];
        read_exact(path, &mut file, &mut start)?;
        let (magic, format) = start.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(damaged(path, "it is not a snapshot of keyway"));
        }
        let format = u16::from_le_bytes([format[0], format[1]]);
        if format > FORMAT {
            return Err(newer(path, format!("format {format}")));
        }
        let (kind, bytes) = read_block(path, &mut file)?;
        if kind != Kind::Header {
            return Err(damaged(path, "it has no header"));
        }
        let header = unpacked(path, &bytes)?;
        let rows = Vec::new().into_iter();
        Ok(Self {
            path: path.to_owned(),
            file,
            header,
            table: None,
            rows,
            count: 0,
            tally: BTreeMap::new(),
            end: None,
        })
    }

    /// Takes the next block. `true` if there are more.
    fn advance(&mut self) -> Result<bool, BadSnapshot> {
        let (kind, bytes) = read_block(&self.path, &mut self.file)?;
        match kind {
            Kind::Header => return Err(damaged(&self.path, "it has two headers")),
            Kind::Section => {
                let section: Section = unpacked(&self.path, &bytes)?;
                let what = || format!("section `{}` version {}", section.name, section.version);
                let table = Table::named(&section.name).filter(|_| section.version <= SECTION_VERSION);
                self.table = Some(table.ok_or_else(|| newer(&self.path, what()))?);
            }
            Kind::Rows => {
                let table = self
                    .table
                    .ok_or_else(|| damaged(&self.path, "rows come before their section"))?;
                let rows = rows_of(table, &bytes).map_err(|e| damaged(&self.path, e.to_string()))?;
                self.count += rows.len() as u64;
                let tally = self.tally.entry(table).or_default();
                *tally = (tally.0 + rows.len() as u64, tally.1 + bytes.len() as u64);
                self.rows = rows.into_iter();
            }
            Kind::End => return self.check_end(&bytes).map(|()| false),
        }
        Ok(true)
    }

    fn check_end(&mut self, bytes: &[u8]) -> Result<(), BadSnapshot> {
        if bytes != self.count.to_le_bytes() {
            return Err(damaged(&self.path, "rows are missing"));
        }
        match self.file.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(damaged(&self.path, "something follows its end")),
            Err(source) => Err(unread(&self.path, source)),
        }
    }

    /// Rows of each table so far, and their bytes.
    pub(crate) const fn tally(&self) -> &BTreeMap<Table, (u64, u64)> {
        &self.tally
    }

    /// The header, if all was read and all was well.
    pub(crate) fn finish(self) -> Result<Header, BadSnapshot> {
        match self.end {
            Some(Ok(())) => Ok(self.header),
            Some(Err(e)) => Err(e),
            None => Err(damaged(&self.path, "its rows do not make a state")),
        }
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        while self.end.is_none() {
            if let Some(row) = self.rows.next() {
                return Some(row);
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => self.end = Some(Ok(())),
                Err(e) => self.end = Some(Err(e)),
            }
        }
        None
    }
}

fn read_block(path: &Path, file: &mut impl Read) -> Result<(Kind, Vec<u8>), BadSnapshot> {
    let mut head = [0; 9];
    read_exact(path, file, &mut head)?;
    let [kind, l0, l1, l2, l3, c0, c1, c2, c3] = head;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    if length > MAX_BLOCK_BYTES {
        return Err(damaged(path, "a block is too long"));
    }
    // As it comes: what a damaged length asks for is not there.
    let mut bytes = Vec::new();
    let read = file.by_ref().take(u64::from(length)).read_to_end(&mut bytes);
    read.map_err(|e| unread(path, e))?;
    if bytes.len() < length as usize {
        return Err(damaged(path, "it ends too early"));
    }
    if checksum(kind, length, &bytes) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(damaged(path, "a checksum does not match"));
    }
    let kind = match kind {
        1 => Kind::Header,
        2 => Kind::Section,
        3 => Kind::Rows,
        4 => Kind::End,
        other => return Err(newer(path, format!("block kind {other}"))),
    };
    Ok((kind, bytes))
}

fn rows_of(table: Table, mut bytes: &[u8]) -> Result<Vec<Row>, BadRow> {
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        let torn = || BadRow {
            table,
            reason: "its length is wrong".into(),
        };
        let key = take(&mut bytes).ok_or_else(torn)?;
        let content = take(&mut bytes).ok_or_else(torn)?;
        rows.push(Row::decode(table, key, content)?);
    }
    Ok(rows)
}

/// Takes a length and that many bytes from the front.
fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *bytes = rest;
    Some(part)
}

fn unpacked<T: for<'de> Deserialize<'de>>(path: &Path, bytes: &[u8]) -> Result<T, BadSnapshot> {
    rmp_serde::from_slice(bytes).map_err(|e| damaged(path, e.to_string()))
}

fn read_exact(path: &Path, file: &mut impl Read, buf: &mut [u8]) -> Result<(), BadSnapshot> {
    file.read_exact(buf).map_err(|source| match source.kind() {
        ErrorKind::UnexpectedEof => damaged(path, "it ends too early"),
        _ => unread(path, source),
    })
}

fn unread(path: &Path, source: io::Error) -> BadSnapshot {
    BadSnapshot::Io {
        what: "read",
        path: path.to_owned(),
        source,
    }
}

fn damaged(path: &Path, reason: impl Into<String>) -> BadSnapshot {
    BadSnapshot::Damaged {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

fn newer(path: &Path, what: String) -> BadSnapshot {
    BadSnapshot::Newer {
        path: path.to_owned(),
        what,
    }
}
