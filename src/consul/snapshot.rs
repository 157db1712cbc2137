//! `consul snapshot save`, `restore`, `inspect`: everything in a file, and back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Method, StatusCode};
use kvapi::types::header;
use kvstore::archive::{self, Contents};

use super::ask::expect;
use super::go::columns::aligned;
use super::go::errno;
use super::go::flags::{Flag, Parsed};
use super::{Done, Stop, print, server, stale, stop};

pub(super) const INSPECT: &[Flag] = &[Flag::text("format", "How to show it: pretty")];

/// The one word.
fn file(parsed: &Parsed) -> Result<&Path, Stop> {
    match parsed.words.as_slice() {
        [] => stop("Missing FILE argument"),
        [word] => Ok(Path::new(std::ffi::OsStr::from_bytes(word))),
        several => stop(format!("Too many arguments (expected 1, got {})", several.len())),
    }
}

/// What Go says of a file that it cannot have.
fn path_error(what: &str, path: &Path, e: &io::Error) -> String {
    format!("{what} {}: {}", path.display(), errno(e))
}

pub(super) async fn save(parsed: &Parsed) -> Done {
    let path = file(parsed)?;
    let mut server = server(parsed)?;
    let query: Vec<_> = stale(parsed).into_iter().collect();
    let answer = server.call(&Method::GET, "/v1/snapshot", &query, Bytes::new()).await;
    let answer = answer.and_then(|answer| expect(answer, &[StatusCode::OK]));
    let answer = answer.or_else(|why| stop(format!("Error saving snapshot: {why}")))?;
    let index = answer.headers.get(header::INDEX).and_then(|index| index.to_str().ok());
    let index = index.unwrap_or("0").to_owned();
    let unverified = Unverified::of(path);
    unverified
        .write(&answer.body)
        .or_else(|why| stop(format!("Error writing unverified snapshot file: {why}")))?;
    let checked = archive::read(&*answer.body, &mut |_| ControlFlow::Continue(()));
    if let Err(why) = checked {
        return stop(format!("Error verifying snapshot file: {why}"));
    }
    if let Err(why) = unverified.rename(path) {
        let (from, to, why) = (unverified.0.display(), path.display(), errno(&why));
        return stop(format!(
            "Error renaming \"{from}\" to \"{to}\": rename {from} {to}: {why}"
        ));
    }
    print(format!("Saved and verified snapshot to index {index}").as_bytes())
}

/// A file beside the one that is meant, until it is known to be good.
struct Unverified(PathBuf);

impl Unverified {
    fn of(path: &Path) -> Self {
        let mut name = path.as_os_str().to_owned();
        name.push(".unverified");
        Self(name.into())
    }

    fn write(&self, bytes: &[u8]) -> Result<(), String> {
        let mut options = OpenOptions::new();
        let opened = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.0);
        let mut file = opened.map_err(|e| path_error("open", &self.0, &e))?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(|e| path_error("write", &self.0, &e))
    }

    fn rename(&self, path: &Path) -> io::Result<()> {
        fs::rename(&self.0, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Unverified {
    fn drop(&mut self) {
        // After a rename there is nothing of that name.
        let _ = fs::remove_file(&self.0);
    }
}

pub(super) async fn restore(parsed: &Parsed) -> Done {
    let path = file(parsed)?;
    let mut server = server(parsed)?;
    let bytes = fs::read(path).or_else(|e| {
        let why = path_error("open", path, &e);
        stop(format!("Error opening snapshot file: {why}"))
    })?;
    let answer = server.call(&Method::PUT, "/v1/snapshot", &[], bytes).await;
    let answer = answer.and_then(|answer| expect(answer, &[StatusCode::OK]));
    answer.or_else(|why| stop(format!("Error restoring snapshot: {why}")))?;
    print(b"Restored snapshot")
}

pub(super) fn inspect(parsed: &Parsed) -> Done {
    let path = file(parsed)?;
    match parsed.text("format") {
        None | Some(b"" | b"pretty") => {}
        Some(_) => return stop("Error: the format is pretty; for JSON use   keyway cluster snapshot inspect -o json"),
    }
    let file = File::open(path).or_else(|e| {
        let why = path_error("open", path, &e);
        stop(format!("Error opening snapshot file: {why}"))
    })?;
    let found = archive::read(file, &mut |_| ControlFlow::Continue(()));
    match found {
        Ok(found) => print(&shown(&found)),
        Err(why) => stop(format!("Error reading snapshot: {why}")),
    }
}

/// Five numbers, and the kinds of records, what takes most of it first.
fn shown(found: &Contents) -> Vec<u8> {
    use std::fmt::Write as _;
    let meta = &found.meta;
    let mut text = format!(
        " ID\t{}\n Size\t{}\n Index\t{}\n Term\t{}\n Version\t{}\n\n Type\tCount\tSize\n ----\t----\t----",
        meta.id, meta.size, meta.index, meta.term, meta.version
    );
    let mut kinds: Vec<_> = found.kinds.iter().collect();
    kinds.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.bytes));
    for (name, tally) in kinds {
        let _ = write!(text, "\n {name}\t{}\t{}", tally.count, size(tally.bytes));
    }
    let total = found.kinds.values().map(|tally| tally.bytes).sum();
    let _ = write!(text, "\n ----\t----\t----\n Total\t\t{}", size(total));
    aligned(text.as_bytes())
}

/// A number of bytes as Consul rounds it.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TB", 40), ("GB", 30), ("MB", 20), ("KB", 10)];
    let Some((unit, shift)) = UNITS.into_iter().find(|(_, shift)| bytes >= 1 << shift) else {
        return match bytes {
            0 => "0".into(),
            bytes => format!("{bytes}B"),
        };
    };
    let tenths = (u128::from(bytes) * 10 + (1 << shift) / 2) >> shift;
    match tenths % 10 {
        0 => format!("{}{unit}", tenths / 10),
        tenth => format!("{}.{tenth}{unit}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_to_a_tenth() {
        for (bytes, text) in [
            (0, "0"),
            (7, "7B"),
            (1024, "1KB"),
            (4915, "4.8KB"),
            (3 << 20, "3MB"),
            (1_600_000, "1.5MB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
