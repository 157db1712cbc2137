//! Harm that is done to the files of a folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::write_file;

pub(crate) fn names(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut names = fs::read_dir(dir)?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    names.retain(|path| !path.to_string_lossy().ends_with(".unfinished"));
    names.sort();
    Ok(names)
}

pub(crate) fn last(dir: &Path, end: &str) -> anyhow::Result<PathBuf> {
    let found = names(dir)?
        .into_iter()
        .rfind(|path| path.to_string_lossy().ends_with(end));
    found.with_context(|| format!("a {end} in {}", dir.display()))
}

pub(crate) fn first(dir: &Path, end: &str) -> anyhow::Result<PathBuf> {
    let found = names(dir)?
        .into_iter()
        .find(|path| path.to_string_lossy().ends_with(end));
    found.with_context(|| format!("a {end} in {}", dir.display()))
}

pub(crate) fn each(dir: &Path, harm: impl Fn(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let files = names(dir)?;
    anyhow::ensure!(files.len() == 2, "{files:?}");
    files.iter().try_for_each(|file| harm(file))
}

pub(crate) fn flip(file: &Path, at: fn(usize) -> usize) -> anyhow::Result<()> {
    let mut bytes = fs::read(file)?;
    let at = at(bytes.len());
    bytes[at] ^= 0x55;
    Ok(write_file(file, bytes)?)
}

pub(crate) fn cut(file: &Path, to: fn(usize) -> usize) -> anyhow::Result<()> {
    let mut bytes = fs::read(file)?;
    bytes.truncate(to(bytes.len()));
    Ok(write_file(file, bytes)?)
}

pub(crate) fn replace(file: &Path, from: &str, to: &str) -> anyhow::Result<()> {
    let text = fs::read_to_string(file)?;
    anyhow::ensure!(text.contains(from), "{text}");
    Ok(write_file(file, text.replacen(from, to, 1))?)
}

pub(crate) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Every file with its contents and the time of its last change.
pub(crate) fn contents(dir: &Path) -> anyhow::Result<BTreeMap<PathBuf, (std::time::SystemTime, Vec<u8>)>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(contents(&path)?);
        }
        let modified = fs::metadata(&path)?.modified()?;
        let bytes = if path.is_dir() { Vec::new() } else { fs::read(&path)? };
        found.insert(path, (modified, bytes));
    }
    Ok(found)
}
