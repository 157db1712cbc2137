//! State folders of other lists of files: an agent writes one of our files, or did.
//!
//! A state folder is named after all files of its configuration. So a configuration that has changed has another one,
//! and what the old one has left would be lost, or completed over newer files some day.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::STATE;
use crate::write;

/// What a state folder belongs to: all files that its agent writes.
const FILES: &str = "files";

/// See the module.
#[derive(Debug)]
pub(super) struct Neighbour {
    pub(super) folder: PathBuf,
    /// A file that both write.
    pub(super) shared: PathBuf,
}

/// Notes whose files the folder is about.
pub(super) fn tell(folder: &Path, files: &BTreeSet<PathBuf>) -> io::Result<()> {
    let text = serde_json::to_string(files)?;
    write::atomic(&folder.join(FILES), text.as_bytes(), None).map(drop)
}

/// Those beside these files that are about one of them, but for `own`.
pub(super) fn of(own: &Path, files: &BTreeSet<PathBuf>) -> Vec<Neighbour> {
    let beside: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    let mut found = Vec::new();
    for entry in beside
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten()
    {
        let folder = entry.path();
        if folder == own || !entry.file_name().to_string_lossy().starts_with(STATE) {
            continue;
        }
        let told = fs::read(folder.join(FILES)).unwrap_or_default();
        let theirs: BTreeSet<PathBuf> = serde_json::from_slice(&told).unwrap_or_default();
        if let Some(shared) = theirs.intersection(files).next().cloned() {
            found.push(Neighbour { folder, shared });
        }
    }
    found
}
