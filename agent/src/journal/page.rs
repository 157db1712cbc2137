//! A note, and one of the journal's two files: there it can be told from what is left of another.
//!
//! It is written over what is there. The first line says how long the note is and what it has to sum up
//! to, so that one that was cut off, between any two bytes, is not taken for a note. The file has whole
//! blocks and keeps its length, so writing it changes nothing else on the disk.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::helpers::encode::hex;
use crate::step::Step;
use crate::view::Revisions;
use crate::write;

const FORMAT: u32 = 3;

/// What the disk writes at once.
const BLOCK: usize = 4096;

/// A note.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The cluster that the files are of.
    pub cluster: String,
    /// The revisions that the files are of.
    pub revisions: Revisions,
    /// Whether the program uses them.
    pub applied: bool,
    /// The files that the program has not been told of; all of them if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owed: Vec<String>,
    /// What puts the files in place, if that may not be over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) steps: Vec<Step>,
}

impl Record {
    /// What is left when another run has left that of the same files: nothing that it owes is lost, and nothing
    /// older than either is rendered.
    pub(super) fn and(self, other: Self) -> Self {
        let owed = match (self.applied, other.applied) {
            (true, _) => other.owed,
            (_, true) => self.owed,
            // No names are all of them.
            _ if self.owed.is_empty() || other.owed.is_empty() => Vec::new(),
            _ => [self.owed, other.owed].concat(),
        };
        let same = self.cluster == other.cluster;
        Self {
            revisions: if same {
                self.revisions.later(other.revisions)
            } else {
                self.revisions
            },
            cluster: self.cluster,
            applied: self.applied && other.applied,
            owed,
            steps: Vec::new(),
        }
    }
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    number: u64,
    bytes: usize,
    sum: String,
}

/// A note and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// The higher one is the later one.
    pub(super) number: u64,
    pub(super) record: Record,
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// A newer agent has written it, in this format.
    Newer(u32),
    /// It is not whole.
    Damaged,
}

impl Page {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Unread> {
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let head: Head = serde_json::from_slice(line).map_err(|_| Unread::Damaged)?;
        if head.format > FORMAT {
            return Err(Unread::Newer(head.format));
        }
        let note = bytes
            .get(line.len() + 1..)
            .and_then(|rest| rest.get(..head.bytes))
            .filter(|note| sum(head.number, note) == head.sum)
            .ok_or(Unread::Damaged)?;
        Ok(Self {
            number: head.number,
            record: serde_json::from_slice(note).map_err(|_| Unread::Damaged)?,
        })
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        let note = serde_json::to_vec(&self.record)?;
        let head = Head {
            format: FORMAT,
            number: self.number,
            bytes: note.len(),
            sum: sum(self.number, &note),
        };
        let mut bytes = serde_json::to_vec(&head)?;
        bytes.push(b'\n');
        bytes.extend(note);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), b'\n');
        Ok(bytes)
    }

    /// Writes it over what is in the file.
    pub(super) fn write(&self, path: &Path, durable: bool) -> io::Result<()> {
        let bytes = self.bytes()?;
        let mut options = File::options();
        options.write(true).mode(0o600);
        let (mut file, new) = match options.open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().unwrap_or(Path::new("/"));
                fs::create_dir_all(folder)?;
                (options.create_new(true).open(path)?, Some(folder))
            }
            opened => (opened?, None),
        };
        file.write_all(&bytes)?;
        if durable {
            file.sync_data()?;
        }
        new.map_or(Ok(()), write::sync_folder)
    }
}

/// A number is part of what is summed up: the rest of another note has another.
fn sum(number: u64, note: &[u8]) -> String {
    let sum = Sha256::new().chain_update(number.to_le_bytes()).chain_update(note);
    hex(&sum.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(number: u64, files: usize) -> Page {
        let step = |file: usize| Step::Remove {
            path: format!("/{number}/{file}").into(),
        };
        Page {
            number,
            record: Record {
                steps: (0..files).map(step).collect(),
                ..Record::default()
            },
        }
    }

    #[test]
    fn a_note_that_was_cut_off_anywhere_is_no_note_and_a_whole_one_is_read() {
        for (old, new) in [
            (page(1, 3), page(3, 3)),
            (page(1, 200), page(3, 1)),
            (page(1, 1), page(3, 200)),
        ] {
            let (before, after) = (old.bytes().unwrap(), new.bytes().unwrap());
            for cut in 0..=after.len() {
                let mut torn = after[..cut].to_vec();
                torn.extend(before.iter().skip(cut));
                let read = Page::read(&torn);
                match &read {
                    Ok(page) => assert!(*page == old || *page == new, "{cut}: {page:?}"),
                    Err(why) => assert_eq!(*why, Unread::Damaged, "{cut}"),
                }
                assert!(cut < after.len() || read.as_ref() == Ok(&new));
                assert!(cut > 0 || read.as_ref() == Ok(&old));
            }
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let text = String::from_utf8(page(1, 1).bytes().unwrap()).unwrap();
        let newer = text.replacen(&format!("\"format\":{FORMAT}"), "\"format\":9", 1);
        assert_eq!(Page::read(newer.as_bytes()), Err(Unread::Newer(9)));
        assert_eq!(Page::read(b""), Err(Unread::Damaged));
        assert_eq!(Page::read(&[0; BLOCK]), Err(Unread::Damaged));
    }

    #[test]
    fn a_note_is_written_over_a_longer_one_and_the_file_keeps_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/page");
        page(1, 400).write(&path, true).unwrap();
        let length = fs::metadata(&path).unwrap().len();
        assert!(length > BLOCK as u64);

        page(2, 1).write(&path, false).unwrap();

        assert_eq!(Page::read(&fs::read(&path).unwrap()), Ok(page(2, 1)));
        assert_eq!(fs::metadata(&path).unwrap().len(), length);
    }
}
