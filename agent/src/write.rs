//! Replacing a file, so that a reader sees the old contents or the new and never a part.
//!
//! In two steps, so that a set's slow part (write, fsync) is over before its first rename:
//! [`Pending::prepare`], then [`Pending::promote`]; [`Undo`] brings the old file back. A symlink
//! is followed, mode and owner are kept, and equal contents leave the file and its mtime alone.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, fchown};
use tempfile::NamedTempFile;

/// The mode of a file that did not exist, unless another is asked for.
const NEW_MODE: u32 = 0o644;

/// A new file, complete and durable beside the one that it will replace.
#[derive(Debug)]
pub struct Pending {
    path: PathBuf,
    temp: NamedTempFile,
    undo: Undo,
}

/// What was there before.
#[derive(Debug)]
pub struct Undo {
    path: PathBuf,
    old: Option<(Vec<u8>, u32)>,
}

impl Pending {
    /// Writes the new contents beside `path` (absolute); `None` if the file is as wanted already.
    pub fn prepare(path: &Path, contents: &[u8], mode: Option<u32>) -> io::Result<Option<Self>> {
        let path = follow(path)?;
        let old = match fs::metadata(&path) {
            Ok(meta) => Some((fs::read(&path)?, meta)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        let old_mode = old.as_ref().map(|(_, meta)| meta.mode() & 0o7777);
        let mode = mode.or(old_mode).unwrap_or(NEW_MODE);
        if old.as_ref().is_some_and(|(bytes, _)| bytes == contents) && old_mode == Some(mode) {
            return Ok(None);
        }
        let folder = folder(&path)?;
        fs::create_dir_all(folder)?;
        // A rename is atomic only within one file system, so not in /tmp; the dot keeps the file
        // out of patterns such as `conf.d/*`.
        let mut temp = tempfile::Builder::new()
            .prefix(&unfinished(&path))
            .tempfile_in(folder)?;
        temp.write_all(contents)?;
        if let Some((_, meta)) = &old {
            // Only root may give files away; for others the owner is their own anyway.
            let _ = fchown(
                temp.as_file(),
                Some(Uid::from_raw(meta.uid())),
                Some(Gid::from_raw(meta.gid())),
            );
        }
        temp.as_file().set_permissions(Permissions::from_mode(mode))?;
        temp.as_file().sync_all()?;
        let undo = Undo {
            path: path.clone(),
            old: old.map(|(bytes, meta)| (bytes, meta.mode() & 0o7777)),
        };
        Ok(Some(Self { path, temp, undo }))
    }

    /// Puts the new file in place. Durable after [`sync_folder`] of its folder.
    pub fn promote(self) -> Result<Undo, (io::Error, Undo)> {
        match self.temp.persist(&self.path) {
            Ok(_) => Ok(self.undo),
            // A file that is mounted by itself cannot be replaced, only written.
            Err(e) if e.error.raw_os_error() == Some(nix::libc::EBUSY) => {
                let written = fs::read(e.file.path()).and_then(|bytes| overwrite(&self.path, &bytes));
                match written {
                    Ok(()) => {
                        tracing::warn!(path = %self.path.display(), "mounted by itself: written in place, not replaced");
                        Ok(self.undo)
                    }
                    Err(error) => Err((error, self.undo)),
                }
            }
            Err(e) => Err((e.error, self.undo)),
        }
    }

    /// The folder that has to be synced after the promotion.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.path.parent()
    }
}

impl Undo {
    /// Brings back what was there.
    pub fn put_back(&self) -> io::Result<()> {
        match &self.old {
            None => match fs::remove_file(&self.path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                Ok(()) | Err(_) => {}
            },
            Some((bytes, mode)) => {
                if let Some(pending) = Pending::prepare(&self.path, bytes, Some(*mode))? {
                    pending.promote().map_err(|(error, _)| error)?;
                }
            }
        }
        sync_folder(folder(&self.path)?)
    }
}

/// What the name of a file or folder begins with that is being made to replace this one.
#[must_use]
pub fn unfinished(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.keyway-new-")
}

/// Whether a name is one that was made up from this prefix: nothing follows it but the six letters
/// and digits of chance.
#[must_use]
pub fn is_made(name: &OsStr, prefix: &str) -> bool {
    let chance = name.to_str().and_then(|name| name.strip_prefix(prefix));
    chance.is_some_and(|chance| chance.len() == 6 && chance.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Replaces one file and returns when that is durable; whether anything changed.
pub fn atomic(path: &Path, contents: &[u8], mode: Option<u32>) -> io::Result<bool> {
    let Some(pending) = Pending::prepare(path, contents, mode)? else {
        return Ok(false);
    };
    let undo = pending.promote().map_err(|(error, _)| error)?;
    sync_folder(folder(&undo.path)?)?;
    Ok(true)
}

/// Makes renames in a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn folder(path: &Path) -> io::Result<&Path> {
    path.parent()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))
}

fn overwrite(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).truncate(true).open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

/// Where a symlink leads, be something there or not yet; a path that is none stays as it is.
pub fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    while fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink()) {
        match fs::canonicalize(&path) {
            // One step of a chain whose end is missing. A circle is an error of its own.
            Err(e) if e.kind() == io::ErrorKind::NotFound => path = folder(&path)?.join(fs::read_link(&path)?),
            end => return end,
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.conf");
        (dir, path)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn equal_contents_leave_the_file_alone() {
        let (dir, path) = place();
        assert!(atomic(&path, b"one", None).unwrap());
        let before = fs::metadata(&path).unwrap();

        assert!(!atomic(&path, b"one", None).unwrap());

        assert_eq!(fs::metadata(&path).unwrap().ino(), before.ino());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn the_mode_is_kept_or_set() {
        let (_dir, path) = place();
        atomic(&path, b"one", None).unwrap();
        assert_eq!(mode(&path), NEW_MODE);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();

        atomic(&path, b"two", None).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(
            atomic(&path, b"two", Some(0o640)).unwrap(),
            "a mode that drifted is a change"
        );
        assert_eq!(mode(&path), 0o640);
    }

    #[test]
    fn a_symlink_stays_one() {
        let (dir, path) = place();
        let link = dir.path().join("link");
        atomic(&path, b"one", None).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();

        atomic(&link, b"two", None).unwrap();

        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }

    #[test]
    fn a_symlink_may_lead_to_a_file_that_is_not_there_yet() {
        let (dir, path) = place();
        let link = |name: &str, target: &str| {
            let link = dir.path().join(name);
            std::os::unix::fs::symlink(target, &link).unwrap();
            link
        };
        let first = link("first", "second");
        link("second", "app.conf");

        atomic(&first, b"one", None).unwrap();

        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert!(fs::symlink_metadata(&first).unwrap().is_symlink());
        assert!(atomic(&link("circle", "circle"), b"one", None).is_err());
    }

    #[test]
    fn what_was_there_comes_back() {
        let (_dir, path) = place();
        let undo = Pending::prepare(&path, b"one", None)
            .unwrap()
            .unwrap()
            .promote()
            .unwrap();
        undo.put_back().unwrap();
        assert!(!path.exists());

        atomic(&path, b"one", Some(0o600)).unwrap();
        let undo = Pending::prepare(&path, b"two", Some(0o644))
            .unwrap()
            .unwrap()
            .promote()
            .unwrap();
        undo.put_back().unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"one".to_vec(), 0o600));
    }
}
