//! Settings in files: one that is there as a whole or not at all, and a folder with a file for each key.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use kvapi::Problem;
use kvapi::problem::exit;
use tempfile::NamedTempFile;

use crate::document::Item;

/// A file that appears under its name once it is whole.
pub(super) struct Whole {
    file: NamedTempFile,
    path: PathBuf,
}

impl Whole {
    pub(super) fn begin(path: &Path) -> Result<Self, Problem> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(|e| failed("write", path, &e))?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    pub(super) fn finish(self) -> Result<(), Problem> {
        let path = self.path;
        self.file.as_file().sync_all().map_err(|e| failed("write", &path, &e))?;
        self.file.persist(&path).map_err(|e| failed("write", &path, &e.error))?;
        Ok(())
    }
}

impl Write for Whole {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a file for each key into a folder that is new or empty.
pub(super) fn write_folder(folder: &Path, items: &[Item]) -> Result<(), Problem> {
    let paths = items.iter().map(path_of).collect::<Result<Vec<PathBuf>, Problem>>()?;
    if fs::read_dir(folder).is_ok_and(|mut there| there.next().is_some()) {
        return Err(
            Problem::new(exit::INVALID, format!("`{}` is not empty", folder.display()))
                .help("name a folder that is not there yet"),
        );
    }
    for (path, item) in paths.iter().zip(items) {
        let path = folder.join(path);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            // A key that is a folder too cannot be both; `create_new` never goes over another key.
            File::create_new(&path)?.write_all(&item.value)
        };
        write().map_err(|e| {
            failed("write", &path, &e).help(format!(
                "`{}` may be a folder too; --as consul, json, yaml and toml hold that",
                item.key
            ))
        })?;
    }
    fs::create_dir_all(folder).map_err(|e| failed("make", folder, &e))
}

/// The file of a key.
fn path_of(item: &Item) -> Result<PathBuf, Problem> {
    let refuse = |why: &str| {
        Err(Problem::new(exit::INVALID, format!("`{}` cannot be a file: {why}", item.key)).help("use another form"))
    };
    if item.flags != 0 {
        return refuse("it has flags");
    }
    let path = Path::new(&item.key);
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    // What components pass over: doubled slashes, a dot in the middle, a slash at the end.
    let is_exact = item
        .key
        .split('/')
        .all(|part| !part.is_empty() && part != "." && part != "..");
    match is_plain && is_exact && !item.key.contains('\0') {
        true => Ok(path.to_owned()),
        false => refuse("it is no path of plain names"),
    }
}

/// The files of a folder as settings, named by their paths below it.
pub(super) fn read_folder(folder: &Path) -> Result<Vec<Item>, Problem> {
    let mut items = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(place) = left.pop() {
        for entry in fs::read_dir(&place).map_err(|e| failed("read", &place, &e))? {
            let path = entry.map_err(|e| failed("read", &place, &e))?.path();
            let kind = fs::symlink_metadata(&path)
                .map_err(|e| failed("read", &path, &e))?
                .file_type();
            if kind.is_dir() {
                left.push(path);
            } else if kind.is_file() {
                let key = path.strip_prefix(folder).ok().and_then(Path::to_str);
                let key =
                    key.ok_or_else(|| Problem::new(exit::INVALID, format!("the name {} is no text", path.display())))?;
                let value = fs::read(&path).map_err(|e| failed("read", &path, &e))?;
                items.push(Item {
                    key: key.to_owned(),
                    value: Bytes::from(value),
                    flags: 0,
                });
            } else {
                return Err(Problem::new(
                    exit::INVALID,
                    format!("{} is neither a file nor a folder", path.display()),
                )
                .help("links are not followed; copy what they point to"));
            }
        }
    }
    items.sort();
    Ok(items)
}

pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> Problem {
    Problem::new(exit::INVALID, format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(key: &str, flags: u64) -> Item {
        Item {
            key: key.into(),
            value: Bytes::from_static(b"\xff\0"),
            flags,
        }
    }

    #[test]
    fn a_folder_of_files_comes_back() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("new");
        let items = [item("a", 0), item("b/c", 0), item("b/d.e", 0)];

        write_folder(&folder, &items).unwrap();

        assert_eq!(read_folder(&folder).unwrap(), items);
        assert!(write_folder(&folder, &items).unwrap_err().what.contains("not empty"));
    }

    #[test]
    fn what_is_no_file_is_refused_before_anything_is_written() {
        for key in ["a/../b", "a//b", "/a", "a/", ".", "a/./b", ""] {
            let place = tempfile::tempdir().unwrap();
            let problem = write_folder(place.path(), &[item("good", 0), item(key, 0)]).unwrap_err();
            assert!(problem.what.starts_with(&format!("`{key}`")), "{problem}");
            assert!(fs::read_dir(place.path()).unwrap().next().is_none());
        }
        let place = tempfile::tempdir().unwrap();
        assert!(write_folder(place.path(), &[item("a", 7)]).is_err());
        assert!(write_folder(place.path(), &[item("a", 0), item("a/b", 0)]).is_err());
    }
}
