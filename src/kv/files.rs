//! Settings in files: one that is there as a whole or not at all, and a folder with a file for each key.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use kvapi::Problem;
use kvapi::codes;
use kvapi::problem::exit;
use tempfile::NamedTempFile;

use agent::document::Item;

/// A file that appears under its name once it is whole.
pub(crate) struct Whole {
    file: NamedTempFile,
    path: PathBuf,
}

impl Whole {
    pub(crate) fn begin(path: &Path) -> Result<Self, Problem> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(|e| failed("write", path, &e))?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Where it is until then.
    pub(crate) fn so_far(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn finish(self) -> Result<(), Problem> {
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

/// The longest name of a file, and the longest path that can be opened, in bytes.
const LONGEST: (usize, usize) = (255, 4_095);

/// Writes a file for each key into a folder that is new or empty: all of them or, as far as what was
/// written can be taken away again, none.
pub(super) fn write_folder(folder: &Path, items: &[Item]) -> Result<(), Problem> {
    let paths = paths(folder, items)?;
    let is_new = match fs::read_dir(folder) {
        Ok(mut there) => match there.next() {
            None => false,
            Some(_) => {
                return Err(
                    Problem::new(exit::INVALID, format!("`{}` is not empty", folder.display()))
                        .help("name a folder that is not there yet"),
                );
            }
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => true,
        Err(e) => return Err(failed("make", folder, &e).help("name a folder that is not there yet")),
    };
    fs::create_dir_all(folder).map_err(|e| failed("make", folder, &e))?;
    fill(folder, is_new, &paths, items)
}

fn fill(folder: &Path, is_new: bool, paths: &[PathBuf], items: &[Item]) -> Result<(), Problem> {
    for (done, (path, item)) in paths.iter().zip(items).enumerate() {
        // A file that somebody else has put there meanwhile is theirs.
        let mut ours = done;
        let mut write = || {
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            let mut file = File::create_new(path)?;
            ours += 1;
            file.write_all(&item.value)
        };
        if let Err(error) = write() {
            take_away(folder, is_new, &paths[..=done], ours);
            return Err(failed("write", path, &error).help("nothing of the export was left there"));
        }
    }
    Ok(())
}

/// As many of the files as are ours, the folders of all that are empty then, and the folder itself if it
/// was ours.
fn take_away(folder: &Path, is_new: bool, files: &[PathBuf], ours: usize) {
    for (i, file) in files.iter().enumerate().rev() {
        if i < ours {
            let _ = fs::remove_file(file);
        }
        let above = file.ancestors().skip(1).take_while(|above| *above != folder);
        for above in above {
            let _ = fs::remove_dir(above);
        }
    }
    if is_new {
        let _ = fs::remove_dir(folder);
    }
}

/// The file of each key, or why one of them has none; nothing is touched.
fn paths(folder: &Path, items: &[Item]) -> Result<Vec<PathBuf>, Problem> {
    let keys: HashSet<&str> = items.iter().map(|item| item.key.as_str()).collect();
    let path = |item: &Item| {
        let refuse = |why: &str| {
            let what = format!("`{}` cannot be a file: {why}, so nothing was written", item.key);
            Problem::of(&codes::NOT_IN_THIS_FORM, what).help(OTHER_FORMS)
        };
        if let Some(why) = no_file(item) {
            return Err(refuse(&why));
        }
        let above = item.key.match_indices('/').map(|(at, _)| &item.key[..at]);
        if let Some(above) = above.into_iter().find(|above| keys.contains(above)) {
            return Err(refuse(&format!(
                "`{above}` is a key too, and one name cannot be a file and a folder"
            )));
        }
        let path = folder.join(&item.key);
        match path.as_os_str().len() > LONGEST.1 {
            true => Err(refuse(&format!("its path would have more than {} bytes", LONGEST.1))),
            false => Ok(path),
        }
    };
    items.iter().map(path).collect()
}

const OTHER_FORMS: &str = "--as consul holds every key; so do json, yaml and toml";

/// Why a setting by itself has no file.
fn no_file(item: &Item) -> Option<String> {
    let parts: Vec<&str> = item.key.split('/').collect();
    if item.flags != 0 {
        Some("it has flags".to_owned())
    } else if item.key.contains('\0') {
        Some("no name of a file has a NUL byte".to_owned())
    } else if parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
        Some("an empty part, `.` and `..` are no names of files".to_owned())
    } else if parts.iter().any(|part| part.len() > LONGEST.0) {
        Some(format!("a part of it has more than {} bytes", LONGEST.0))
    } else {
        None
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

pub(crate) fn failed(what: &str, path: &Path, error: &io::Error) -> Problem {
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
        let refused = |items: &[Item]| {
            let place = tempfile::tempdir().unwrap();
            let folder = place.path().join("new");
            let problem = write_folder(&folder, items).unwrap_err();
            assert!(!folder.exists(), "{problem}");
            assert!(problem.help[0].contains("--as consul"), "{problem}");
            problem.what
        };
        let long = format!("a/{}", "x".repeat(256));
        let deep = ["x"; 2_100].join("/");
        for key in ["a/../b", "a//b", "/a", "a/", ".", "a/./b", "", "nul\0", &long, &deep] {
            let what = refused(&[item("good", 0), item(key, 0)]);
            assert!(what.starts_with(&format!("`{key}` cannot be a file")), "{what}");
        }
        assert!(refused(&[item("a", 7)]).contains("flags"));
        // Between a key and what is below it others may stand.
        let both = refused(&[item("a/b", 0), item("a/b-c", 0), item("a/b/c/d", 0)]);
        assert!(
            both.contains("`a/b/c/d`") && both.contains("`a/b` is a key too"),
            "{both}"
        );
        let longest = "x".repeat(255);
        let place = tempfile::tempdir().unwrap();
        write_folder(place.path(), &[item(&longest, 0), item("...", 0)]).unwrap();
    }

    #[test]
    fn what_was_written_before_a_failure_is_taken_away() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("new");
        let files = ["a", "b/c/d", "b/e"].map(|name| folder.join(name));
        for file in &files {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            File::create(file).unwrap();
        }
        let strange = folder.join("b/strange");
        File::create(&strange).unwrap();

        take_away(&folder, true, &files, 3);
        assert!(strange.exists(), "only what is ours goes");
        assert!(!folder.join("b/c").exists() && !folder.join("a").exists());
        fs::remove_file(strange).unwrap();
        take_away(&folder, true, &files, 3);
        assert!(!folder.exists());
    }

    #[test]
    fn a_file_that_somebody_else_has_put_there_meanwhile_stays() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        let items = [item("a/x", 0), item("b/theirs", 0), item("c", 0)];
        let paths = paths(folder, &items).unwrap();
        fs::create_dir(folder.join("b")).unwrap();
        File::create(&paths[1]).unwrap().write_all(b"theirs").unwrap();

        let problem = fill(folder, false, &paths, &items).unwrap_err();

        assert!(problem.what.contains("b/theirs"), "{problem}");
        assert_eq!(fs::read(&paths[1]).unwrap(), b"theirs");
        assert!(!folder.join("a").exists() && !folder.join("c").exists());
    }
}
