//! The envelope: written as it is sent, read and checked as it comes.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use kvapi::Revision;
use sha2::{Digest as _, Sha256};

use super::meta::{Meta, check_sums, hex, sums};
use super::{BadArchive, Contents, Format, Item, Tally, Visit, consul, ours};
use crate::state::State;
use crate::store::snapshot::{Header, write_all};

const META: &str = "meta.json";
const STATE: &str = "state.bin";
const SUMS: &str = "SHA256SUMS";

/// Files in a tar begin at a multiple of this.
const BLOCK: u64 = 512;

/// The longest `meta.json` and `SHA256SUMS` that are read.
const SMALL: u64 = 1 << 20;

/// An index above this is no index: clients that take numbers for floats would not tell it from the next.
const MOST_INDEX: u64 = 1 << 53;

/// What is said of a backup beside the state.
#[derive(Debug, Clone, Default)]
pub struct Stamp {
    pub cluster_id: String,
    /// Raft's.
    pub term: u64,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The voting servers: id and address.
    pub servers: Vec<(String, String)>,
}

/// Writes a backup of a state. The state is gone through twice, since its length and its checksum come first.
pub fn write<W: Write>(out: W, state: &State, stamp: &Stamp) -> io::Result<W> {
    // What is put aside for a restore is no part of what there is.
    let state = &state.without_staged();
    let revision = state.revision().0;
    let header = Header::of_backup(&stamp.cluster_id, revision);
    let mut counted = Summed::new(io::sink());
    write_all(&mut counted, &header, state)?;
    let meta = Meta {
        version: 1,
        id: format!("{}-{revision}-{}", stamp.term, stamp.at_ms),
        index: revision,
        term: stamp.term,
        size: counted.length,
    };
    let meta = meta.to_json(stamp);
    let sums = sums(&[
        (META, &hex(Sha256::new_with_prefix(&meta))),
        (STATE, &hex(counted.sum.clone())),
    ]);
    let mut gzip = GzEncoder::new(out, Compression::fast());
    let seconds = stamp.at_ms / 1000;
    begin_file(&mut gzip, META, meta.len() as u64, seconds)?;
    gzip.write_all(&meta)?;
    pad(&mut gzip, meta.len() as u64)?;
    begin_file(&mut gzip, STATE, counted.length, seconds)?;
    write_all(&mut gzip, &header, state)?;
    pad(&mut gzip, counted.length)?;
    begin_file(&mut gzip, SUMS, sums.len() as u64, seconds)?;
    gzip.write_all(sums.as_bytes())?;
    pad(&mut gzip, sums.len() as u64)?;
    gzip.write_all(&[0; 2 * BLOCK as usize])?;
    gzip.finish()
}

fn begin_file(out: &mut impl Write, name: &str, length: u64, seconds: u64) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(length);
    header.set_mode(0o600);
    header.set_mtime(seconds);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    out.write_all(header.as_bytes())
}

fn pad(out: &mut impl Write, length: u64) -> io::Result<()> {
    let rest = usize::try_from(length.next_multiple_of(BLOCK) - length).unwrap_or_default();
    out.write_all(&[0; BLOCK as usize][..rest])
}

/// Reads a backup to its end and checks it. Whatever `visit` was given holds only if this returns well.
pub fn read(file: impl Read, visit: Visit<'_>) -> Result<Contents, BadArchive> {
    let mut file = BufReader::new(file);
    check_start(&mut file)?;
    let mut found = Found::default();
    let mut archive = tar::Archive::new(MultiGzDecoder::new(file));
    let entries = archive.entries().map_err(|e| envelope(&e))?;
    for entry in entries {
        let mut entry = entry.map_err(|e| envelope(&e))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        match name.as_str() {
            META => found.meta = Some(small(&mut entry, META)?),
            SUMS => found.sums = Some(small(&mut entry, SUMS)?),
            STATE if found.state.is_none() => found.state = Some(state(entry, visit)?),
            _ => return Err(BadArchive::Envelope(format!("unexpected file \"{name}\" in snapshot"))),
        }
    }
    conclude(archive.into_inner())?;
    found.check()
}

/// Go's gzip tells these three apart.
fn check_start(file: &mut impl BufRead) -> Result<(), BadArchive> {
    let start = file.fill_buf().map_err(|e| envelope(&e))?;
    match start {
        [] => Err(BadArchive::NotGzip("EOF")),
        [0x1f, 0x8b, 8, ..] => Ok(()),
        short if short.len() < 10 => Err(BadArchive::NotGzip("unexpected EOF")),
        _ => Err(BadArchive::NotGzip("gzip: invalid header")),
    }
}

/// Nothing but padding follows the last file, and the checksum of all of it is right.
fn conclude(mut rest: impl Read) -> Result<(), BadArchive> {
    let mut buffer = [0; 4096];
    loop {
        match rest.read(&mut buffer).map_err(|e| envelope(&e))? {
            0 => return Ok(()),
            n if buffer[..n].iter().all(|byte| *byte == 0) => {}
            _ => return Err(BadArchive::Envelope("something follows its end".into())),
        }
    }
}

fn small(entry: &mut impl Read, name: &str) -> Result<Vec<u8>, BadArchive> {
    let mut text = Vec::new();
    entry.take(SMALL + 1).read_to_end(&mut text).map_err(|e| envelope(&e))?;
    if text.len() as u64 > SMALL {
        return Err(BadArchive::Envelope(format!("{name} is longer than {SMALL} bytes")));
    }
    Ok(text)
}

/// `state.bin`, read.
pub(super) struct StateBin {
    pub(super) format: Format,
    pub(super) revision: u64,
    pub(super) kinds: BTreeMap<String, Tally>,
    /// Keys that were given to whoever visits.
    pub(super) keys: u64,
}

fn state(entry: impl Read, visit: Visit<'_>) -> Result<(StateBin, u64, String), BadArchive> {
    let mut keys = 0;
    let visit: Visit<'_> = &mut |item| {
        keys += u64::from(matches!(item, Item::Key(_)));
        visit(item)
    };
    let mut file = BufReader::with_capacity(256 << 10, Summed::new(entry));
    let start = file.fill_buf().map_err(|e| envelope(&e))?;
    let mut found = if start.starts_with(ours::MAGIC) {
        ours::read(&mut file, visit)?
    } else {
        consul::read(&mut file, visit)?
    };
    found.keys = keys;
    if found.revision > MOST_INDEX {
        let reason = format!("its index is {}, which no store comes to", found.revision);
        return Err(BadArchive::State(reason));
    }
    let summed = file.into_inner();
    Ok((found, summed.length, hex(summed.sum)))
}

/// What was in the envelope.
#[derive(Default)]
struct Found {
    meta: Option<Vec<u8>>,
    state: Option<(StateBin, u64, String)>,
    sums: Option<Vec<u8>>,
}

impl Found {
    fn check(self) -> Result<Contents, BadArchive> {
        let missing = |name: &str| BadArchive::Envelope(format!("{name} is missing"));
        let text = self.meta.ok_or_else(|| missing(META))?;
        let (found, length, sha256) = self.state.ok_or_else(|| missing(STATE))?;
        let sums = self.sums.ok_or_else(|| missing(SUMS))?;
        let files = [(META, &*hex(Sha256::new_with_prefix(&text))), (STATE, &*sha256)];
        check_sums(&sums, &files)
            .map_err(|e| BadArchive::Envelope(format!("failed checking integrity of snapshot: {e}")))?;
        let meta: Meta = serde_json::from_slice(&text)
            .map_err(|e| BadArchive::Envelope(format!("failed to decode snapshot metadata: {e}")))?;
        if meta.size != length {
            let reason = format!("{META} says that {STATE} has {} bytes, and it has {length}", meta.size);
            return Err(BadArchive::Envelope(reason));
        }
        Ok(Contents {
            meta,
            format: found.format,
            revision: Revision(found.revision),
            keys: found.keys,
            kinds: found.kinds,
            sha256,
        })
    }
}

fn envelope(e: &io::Error) -> BadArchive {
    BadArchive::Envelope(e.to_string())
}

/// What goes through, counted and summed.
struct Summed<T> {
    inner: T,
    length: u64,
    sum: Sha256,
}

impl<T> Summed<T> {
    fn new(inner: T) -> Self {
        Self {
            inner,
            length: 0,
            sum: Sha256::new(),
        }
    }

    fn take_in(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.sum.update(bytes);
    }
}

impl<T: Write> Write for Summed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.take_in(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Summed<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.take_in(&buffer[..read]);
        Ok(read)
    }
}
