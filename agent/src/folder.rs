//! Replacing all files of a folder at once.
//!
//! For programs that read at any time: the files lie in a fresh folder, and the path that programs
//! know is a symlink to it, swapped by one rename. The folder before stays for whoever is still
//! reading in it, until the next swap. Until it is swapped in, a folder has another name, so that
//! one that was never finished can be told from one that is still read.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::write;

/// One file: its path in the folder, contents, mode.
pub type Member<'a> = (&'a Path, &'a str, Option<u32>);

/// A complete, durable folder that nobody looks at yet.
#[derive(Debug)]
pub struct Pending {
    link: PathBuf,
    fresh: TempDir,
    /// Its name once it is swapped in.
    name: PathBuf,
}

/// Where the symlink led before; `None` if there was none.
#[derive(Debug)]
pub struct Undo {
    link: PathBuf,
    target: Option<PathBuf>,
    /// Where it leads once it is swapped.
    fresh: PathBuf,
}

impl Pending {
    /// Writes all files into a fresh folder.
    pub fn prepare(link: &Path, members: &[Member<'_>]) -> io::Result<Self> {
        let (parent, name) = split(link)?;
        if fs::symlink_metadata(link).is_ok_and(|meta| !meta.is_symlink()) {
            let told = format!("{} exists and is not a symlink; move it away", link.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, told));
        }
        fs::create_dir_all(parent)?;
        let fresh = tempfile::Builder::new()
            .prefix(&write::unfinished(link))
            .tempdir_in(parent)?;
        fs::set_permissions(fresh.path(), Permissions::from_mode(0o755))?;
        for (name, text, mode) in members {
            write::atomic(&fresh.path().join(name), text.as_bytes(), *mode)?;
        }
        write::sync_folder(fresh.path())?;
        let own = fresh.path().to_string_lossy();
        let chance = own.rsplit('-').next().unwrap_or_default();
        Ok(Self {
            link: link.to_owned(),
            name: PathBuf::from(format!("{}{chance}", prefix(&name))),
            fresh,
        })
    }

    /// Swaps the symlink, and removes what lies there from before the last swap. After an error
    /// the swap may have happened all the same: the [`Undo`] brings back what was there.
    pub fn promote(self) -> Result<Undo, (io::Error, Undo)> {
        let undo = Undo {
            target: fs::read_link(&self.link).ok(),
            fresh: self.name,
            link: self.link,
        };
        let place = undo.link.with_file_name(&undo.fresh);
        let result = fs::rename(self.fresh.path(), &place).and_then(|()| point(&undo.link, &undo.fresh));
        if undo.swapped() {
            let _ = self.fresh.keep();
        } else {
            let _ = fs::remove_dir_all(&place);
        }
        if let Err(error) = result {
            return Err((error, undo));
        }
        let before = undo.target.as_deref().and_then(Path::file_name);
        let used: Vec<&OsStr> = undo.fresh.file_name().into_iter().chain(before).collect();
        clear(&undo.link, &used);
        Ok(undo)
    }
}

/// Removes the folders that were made for a link, but for those in use (by name). What cannot be removed is
/// left over at worst, and tried again at the next swap.
fn clear(link: &Path, used: &[&OsStr]) {
    let Ok((parent, name)) = split(link) else { return };
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let ours = write::is_made(&file, &prefix(&name)) && entry.file_type().is_ok_and(|kind| kind.is_dir());
        if ours && !used.contains(&file.as_os_str()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Undo {
    fn swapped(&self) -> bool {
        fs::read_link(&self.link).is_ok_and(|target| target == self.fresh)
    }

    /// Swaps back, if it was swapped.
    pub fn put_back(&self) -> io::Result<()> {
        if !self.swapped() {
            return Ok(());
        }
        match &self.target {
            Some(target) => point(&self.link, target),
            None => fs::remove_file(&self.link),
        }
    }
}

/// Whether the folder shows exactly these files and no others.
pub fn shows(link: &Path, members: &[Member<'_>]) -> bool {
    let wanted: BTreeSet<PathBuf> = members.iter().map(|(name, ..)| link.join(name)).collect();
    listing(link).is_ok_and(|found| found == wanted)
        && members.iter().all(|(name, text, mode)| {
            let path = link.join(name);
            let same_mode = |wanted| fs::metadata(&path).is_ok_and(|meta| meta.permissions().mode() & 0o7777 == wanted);
            fs::read(&path).is_ok_and(|old| old == text.as_bytes()) && mode.is_none_or(same_mode)
        })
}

/// Everything below a folder that is no folder itself.
pub(crate) fn listing(folder: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(entry.path());
            }
        }
    }
    Ok(found)
}

fn point(link: &Path, target: &Path) -> io::Result<()> {
    let (parent, name) = split(link)?;
    let temp = parent.join(format!(".{name}.keyway-link"));
    match fs::remove_file(&temp) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    symlink(target, &temp)?;
    fs::rename(&temp, link)?;
    write::sync_folder(parent)
}

fn split(link: &Path) -> io::Result<(&Path, String)> {
    match (link.parent(), link.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, name.to_string_lossy().into_owned())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no folder")),
    }
}

fn prefix(name: &str) -> String {
    format!(".{name}.keyway-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_change_by_one_rename_and_come_back_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("current");
        let (a, b) = (Path::new("a"), Path::new("sub/b"));
        let read = |name: &Path| fs::read_to_string(link.join(name)).unwrap();

        Pending::prepare(&link, &[(a, "1", None), (b, "1", None)])
            .unwrap()
            .promote()
            .unwrap();
        let undo = Pending::prepare(&link, &[(a, "2", None), (b, "2", Some(0o600))])
            .unwrap()
            .promote()
            .unwrap();

        assert_eq!((read(a), read(b)), ("2".into(), "2".into()));
        assert!(shows(&link, &[(a, "2", None), (b, "2", Some(0o600))]) && !shows(&link, &[(a, "1", None)]));

        undo.put_back().unwrap();
        assert_eq!((read(a), read(b)), ("1".into(), "1".into()));

        Pending::prepare(&link, &[(a, "3", None)]).unwrap().promote().unwrap();
        Pending::prepare(&link, &[(a, "4", None)]).unwrap().promote().unwrap();
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            3,
            "the link, its folder and the one before"
        );
    }

    #[test]
    fn a_file_too_many_is_seen_and_a_folder_of_somebody_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("current");
        let foreign = dir.path().join(".current.keyway-by-hand");
        fs::create_dir(&foreign).unwrap();
        let members: &[Member<'_>] = &[(Path::new("sub/a"), "1", None)];
        Pending::prepare(&link, members).unwrap().promote().unwrap();
        assert!(shows(&link, members));

        fs::File::create(link.join("sub/b")).unwrap();
        assert!(!shows(&link, members));
        Pending::prepare(&link, members).unwrap().promote().unwrap();

        assert!(shows(&link, members) && foreign.exists());
    }

    #[test]
    fn a_swap_that_failed_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("current");
        let members: &[Member<'_>] = &[(Path::new("a"), "1", None)];
        let pending = Pending::prepare(&link, members).unwrap();
        // A folder in the place of the link: the rename cannot replace it.
        fs::create_dir(&link).unwrap();

        let (_, undo) = pending.promote().unwrap_err();

        undo.put_back().unwrap();
        assert!(link.is_dir(), "it was not ours to remove");
        let folders = fs::read_dir(dir.path()).unwrap().flatten();
        let folders = folders.filter(|entry| entry.file_type().unwrap().is_dir());
        assert_eq!(folders.count(), 1);
    }

    #[test]
    fn a_real_folder_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let told = Pending::prepare(dir.path(), &[]).unwrap_err().to_string();
        assert!(told.contains("not a symlink"));
    }
}
