//! Replacing a file, so that a reader sees the old contents or the new and never a part.
//!
//! In two parts, so that a set's slow part (write, fsync) is over before its first rename:
//! [`prepare`] makes everything that is needed and says by which [`Step`]s it is put in place, and by
//! which the old file comes back. The old file gets a second name for that, so the way back needs no
//! room on the disk. A symlink is followed, mode and owner are kept unless others are asked for, and a
//! file that is as wanted keeps its mtime.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, fchown};
use tempfile::{TempDir, TempPath};

use crate::config::Looks;
use crate::owner::Wanted;
use crate::step::{self, Step};

/// The mode of a file that did not exist, unless another is asked for.
const NEW_MODE: u32 = 0o644;

/// What is complete and durable beside the files that it concerns.
#[derive(Debug, Default)]
pub struct Pending {
    /// What puts it in place.
    pub forward: Vec<Step>,
    /// What brings back what was there.
    pub back: Vec<Step>,
    /// What goes, unless a step has taken it away.
    pub made: Vec<Made>,
}

/// A file or a folder under a name that was made up.
#[derive(Debug)]
pub enum Made {
    /// A file.
    File(TempPath),
    /// A folder.
    Folder(TempDir),
}

impl Pending {
    /// What both do.
    pub fn extend(&mut self, other: Self) {
        self.forward.extend(other.forward);
        self.back.extend(other.back);
        self.made.extend(other.made);
    }

    /// Leaves all of it where it is.
    pub fn leave(&mut self) {
        for made in self.made.drain(..) {
            match made {
                Made::File(path) => drop(path.keep()),
                Made::Folder(dir) => drop(dir.keep()),
            }
        }
    }

    /// A file, complete under another name, is to take the place of this one.
    fn replace(&mut self, new: TempPath, path: &Path) -> io::Result<()> {
        match fs::symlink_metadata(path) {
            Ok(_) => {
                let kept = again(path, &kept(path))?;
                self.back.push(Step::Replace {
                    new: kept.to_path_buf(),
                    path: path.to_owned(),
                });
                self.made.push(Made::File(kept));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.back.push(Step::Remove { path: path.to_owned() }),
            Err(e) => return Err(e),
        }
        self.forward.push(Step::Replace {
            new: new.to_path_buf(),
            path: path.to_owned(),
        });
        self.made.push(Made::File(new));
        Ok(())
    }
}

/// Writes the new contents beside `path` (absolute); `None` if the file is as wanted already.
pub fn prepare(path: &Path, contents: &[u8], looks: &Looks) -> io::Result<Option<Pending>> {
    let path = follow(path)?;
    let wanted = Wanted::of(looks)?;
    let Some(old) = differs(&path, contents, &wanted)? else {
        return Ok(None);
    };
    let folder = folder(&path)?;
    make_folder(folder, looks)?;
    let new = fresh(&path, contents, &wanted, old.as_ref())?;
    let mut pending = Pending::default();
    if looks.backup && old.is_some() {
        let backup = backup(&path);
        pending.replace(again(&path, &unfinished(&backup))?, &backup)?;
    }
    pending.replace(new, &path)?;
    Ok(Some(pending))
}

/// What is there instead of what is wanted; `None` if that is there.
fn differs(path: &Path, contents: &[u8], wanted: &Wanted) -> io::Result<Option<Option<Metadata>>> {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Some(None)),
        Err(e) => return Err(e),
    };
    ordinary(&meta)?;
    let same_size = meta.len() == contents.len() as u64;
    let same = same_size && wanted.drift(&meta).is_empty() && fs::read(path)? == contents;
    Ok((!same).then_some(Some(meta)))
}

/// What else than a file is never replaced: it is there for somebody.
pub(crate) fn ordinary(meta: &Metadata) -> io::Result<()> {
    let kind = match meta.file_type() {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "a folder; name the file in it",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device; a template alone, without a destination, is printed by `agent render`",
    };
    Err(io::Error::other(format!("it is no file but {kind}")))
}

/// A complete, durable file beside `path`.
fn fresh(path: &Path, contents: &[u8], wanted: &Wanted, old: Option<&Metadata>) -> io::Result<TempPath> {
    // A rename is atomic only within one file system, so not in /tmp; the dot keeps the file
    // out of patterns such as `conf.d/*`.
    let mut temp = tempfile::Builder::new()
        .prefix(&unfinished(path))
        .tempfile_in(folder(path)?)?;
    temp.write_all(contents)?;
    wanted.give(temp.as_file(), old, NEW_MODE)?;
    temp.as_file().sync_all()?;
    Ok(temp.into_temp_path())
}

/// Writes a file where nobody looks yet; durable with its folder.
pub(crate) fn first(path: &Path, contents: &[u8], looks: &Looks) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    file.write_all(contents)?;
    Wanted::of(looks)?.give(&file, None, NEW_MODE)?;
    file.sync_all()
}

/// The same file under a second name: a link, or a copy where links cannot be made.
fn again(path: &Path, prefix: &str) -> io::Result<TempPath> {
    let folder = folder(path)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    if let Ok(link) = builder.make_in(folder, |name| fs::hard_link(path, name)) {
        return Ok(link.into_temp_path());
    }
    let meta = fs::metadata(path)?;
    let mut copy = builder.tempfile_in(folder)?;
    io::copy(&mut File::open(path)?, &mut copy)?;
    let _ = fchown(
        copy.as_file(),
        Some(Uid::from_raw(meta.uid())),
        Some(Gid::from_raw(meta.gid())),
    );
    copy.as_file()
        .set_permissions(Permissions::from_mode(meta.mode() & 0o7777))?;
    copy.as_file().sync_all()?;
    Ok(copy.into_temp_path())
}

/// Makes the folder of a file, and those above it.
pub(crate) fn make_folder(folder: &Path, looks: &Looks) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if !looks.create_dirs {
        let told = format!(
            "the folder {} is not there, and create_dirs = false: make it, or leave that out",
            folder.display()
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, told));
    }
    let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(folder)?;
    if let Some(mode) = looks.dir_mode {
        // Not as the umask would have it.
        for folder in missing {
            fs::set_permissions(folder, Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

/// What the name of a file or folder begins with that is being made to replace this one.
#[must_use]
pub fn unfinished(path: &Path) -> String {
    hidden(path, "new")
}

/// What the second name of a file begins with, while it may have to come back.
#[must_use]
pub fn kept(path: &Path) -> String {
    hidden(path, "old")
}

fn hidden(path: &Path, what: &str) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.keyway-{what}-")
}

/// The file that keeps what was there before.
#[must_use]
pub fn backup(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".bak");
    path.with_file_name(name)
}

/// Whether a name is one that was made up from this prefix.
#[must_use]
pub fn is_made(name: &OsStr, prefix: &str) -> bool {
    made_from(name) == Some(prefix)
}

/// What a name was made up from, if it was: nothing follows that but the six letters and digits of chance.
#[must_use]
pub fn made_from(name: &OsStr) -> Option<&str> {
    let (prefix, chance) = name
        .to_str()
        .and_then(|name| name.split_at_checked(name.len().checked_sub(6)?))?;
    chance
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric())
        .then_some(prefix)
}

/// Replaces one file and returns when that is durable; whether anything changed.
pub fn atomic(path: &Path, contents: &[u8], mode: Option<u32>) -> io::Result<bool> {
    let looks = Looks {
        mode,
        ..Looks::default()
    };
    let (path, wanted) = (follow(path)?, Wanted::of(&looks)?);
    let Some(old) = differs(&path, contents, &wanted)? else {
        return Ok(false);
    };
    let folder = folder(&path)?;
    make_folder(folder, &looks)?;
    let new = fresh(&path, contents, &wanted, old.as_ref())?;
    step::replace(&new, &path)?;
    sync_folder(folder)?;
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
    use crate::step::Time;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.conf");
        (dir, path)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn looks(mode: u32) -> Looks {
        Looks {
            mode: Some(mode),
            ..Looks::default()
        }
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
    fn what_was_there_comes_back_as_the_same_file() {
        let (dir, path) = place();
        let pending = prepare(&path, b"one", &Looks::default()).unwrap().unwrap();
        step::take(&pending.forward, Time::First).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        step::take_each(&pending.back).unwrap();
        assert!(!path.exists());

        atomic(&path, b"one", Some(0o600)).unwrap();
        let before = fs::metadata(&path).unwrap();
        let pending = prepare(&path, b"two", &looks(0o644)).unwrap().unwrap();
        step::take(&pending.forward, Time::First).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"two".to_vec(), 0o644));
        step::take_each(&pending.back).unwrap();

        let after = fs::metadata(&path).unwrap();
        assert_eq!((after.ino(), mode(&path)), (before.ino(), 0o600));
        assert_eq!(fs::read(&path).unwrap(), b"one");
        drop(pending);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_backup_is_the_file_before_and_comes_back_with_it() {
        let (dir, path) = place();
        let looks = Looks {
            backup: true,
            ..Looks::default()
        };
        let next = |text: &str| {
            let pending = prepare(&path, text.as_bytes(), &looks).unwrap().unwrap();
            step::take(&pending.forward, Time::First).unwrap();
            pending
        };
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        drop(next("one"));
        assert!(!backup(&path).exists(), "there was nothing before");
        drop(next("two"));
        assert_eq!((read("app.conf"), read("app.conf.bak")), ("two".into(), "one".into()));

        let pending = next("three");
        assert_eq!((read("app.conf"), read("app.conf.bak")), ("three".into(), "two".into()));
        step::take_each(&pending.back).unwrap();
        drop(pending);

        assert_eq!((read("app.conf"), read("app.conf.bak")), ("two".into(), "one".into()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left behind");
    }

    #[test]
    fn folders_are_made_with_their_mode_or_not_at_all() {
        let (dir, _) = place();
        let path = dir.path().join("a/b/app.conf");
        let none = Looks {
            create_dirs: false,
            ..Looks::default()
        };
        let told = prepare(&path, b"one", &none).unwrap_err().to_string();
        assert!(told.contains("a/b is not there, and create_dirs = false"), "{told}");
        assert!(!dir.path().join("a").exists());

        let looks = Looks {
            dir_mode: Some(0o2750),
            ..Looks::default()
        };
        drop(prepare(&path, b"one", &looks).unwrap());

        assert_eq!(
            (mode(&dir.path().join("a")), mode(&dir.path().join("a/b"))),
            (0o2750, 0o2750)
        );
    }

    #[test]
    fn an_owner_is_given_kept_and_drift_of_it_is_a_change() {
        if !Uid::effective().is_root() {
            return;
        }
        let (_dir, path) = place();
        let owners = |path: &Path| fs::metadata(path).map(|meta| (meta.uid(), meta.gid())).unwrap();
        let given = Looks {
            user: Some("123".parse().unwrap()),
            group: Some("45".parse().unwrap()),
            ..Looks::default()
        };
        let put = |text: &str, looks: &Looks| {
            let pending = prepare(&path, text.as_bytes(), looks).unwrap();
            let changes = pending.is_some();
            pending
                .iter()
                .for_each(|one| step::take(&one.forward, Time::First).unwrap());
            changes
        };
        assert!(put("one", &given));
        assert_eq!(owners(&path), (123, 45));
        assert!(put("two", &Looks::default()));
        assert_eq!(owners(&path), (123, 45), "kept");
        std::os::unix::fs::chown(&path, Some(7), None).unwrap();

        assert!(put("two", &given) && !put("two", &given));

        assert_eq!(owners(&path), (123, 45));
        let nobody = Looks {
            user: Some("no-such-user".parse().unwrap()),
            ..Looks::default()
        };
        let told = prepare(&path, b"two", &nobody).unwrap_err().to_string();
        assert!(told.contains("no user `no-such-user`"), "{told}");
    }
}
