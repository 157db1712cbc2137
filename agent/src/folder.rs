//! Replacing all files of a folder at once.
//!
//! For programs that read at any time: the files lie in a fresh folder, and the path that programs
//! know is a symlink to it, swapped by one rename. The folder before stays for whoever is still
//! reading in it, until the next swap. Until it is swapped in, a folder has another name, so that
//! one that was never finished can be told from one that is still read.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::config::Looks;
use crate::owner::Wanted;
use crate::step::Step;
use crate::write::{self, Made, Pending};

/// The mode of the folders, unless another is asked for.
const DIR_MODE: u32 = 0o755;

/// One file: its path in the folder, contents, looks.
pub type Member<'a> = (&'a Path, &'a str, &'a Looks);

/// A symlink that is to be turned, and the folders behind it that are in use then.
#[derive(Debug)]
pub struct Swap {
    link: PathBuf,
    used: Vec<OsString>,
}

/// Writes all files into a fresh folder that nobody looks at yet, complete and durable.
pub fn prepare(link: &Path, members: &[Member<'_>], dir_mode: Option<u32>) -> io::Result<(Pending, Swap)> {
    let (parent, name) = split(link)?;
    if fs::symlink_metadata(link).is_ok_and(|meta| !meta.is_symlink()) {
        let told = format!("{} exists and is not a symlink; move it away", link.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, told));
    }
    fs::create_dir_all(parent)?;
    let fresh = tempfile::Builder::new()
        .prefix(&write::unfinished(link))
        .tempdir_in(parent)?;
    let folders = fill(fresh.path(), members)?;
    for folder in folders.iter().rev() {
        fs::set_permissions(folder, Permissions::from_mode(dir_mode.unwrap_or(DIR_MODE)))?;
        write::sync_folder(folder)?;
    }
    let own = fresh.path().to_string_lossy();
    let chance = own.rsplit('-').next().unwrap_or_default();
    let name = PathBuf::from(format!("{}{chance}", prefix(&name)));
    let (made, place) = (fresh.path().to_owned(), link.with_file_name(&name));
    let before = fs::read_link(link).ok();
    let used = [Some(name.as_path()), before.as_deref()];
    let swap = Swap {
        link: link.to_owned(),
        used: used
            .iter()
            .flatten()
            .filter_map(|path| Some(path.file_name()?.to_owned()))
            .collect(),
    };
    let turn = |from: Option<&PathBuf>, to: Option<&PathBuf>| Step::Turn {
        link: link.to_owned(),
        from: from.cloned(),
        to: to.cloned(),
    };
    let named = |new: &Path, path: &Path| Step::Replace {
        new: new.to_owned(),
        path: path.to_owned(),
    };
    let pending = Pending {
        forward: vec![named(&made, &place), turn(None, Some(&name))],
        // Under its first name it goes with what was made up.
        back: vec![turn(Some(&name), before.as_ref()), named(&place, &made)],
        made: vec![Made::Folder(fresh)],
    };
    Ok((pending, swap))
}

/// Writes the files; returns the folders, each before those in it.
fn fill(folder: &Path, members: &[Member<'_>]) -> io::Result<BTreeSet<PathBuf>> {
    let mut folders = BTreeSet::from([folder.to_owned()]);
    for (name, text, looks) in members {
        let path = folder.join(name);
        let above = path.ancestors().skip(1).take_while(|above| above.starts_with(folder));
        let above: Vec<PathBuf> = above.map(Path::to_owned).collect();
        if let Some(first) = above.first() {
            fs::create_dir_all(first)?;
        }
        folders.extend(above);
        write::first(&path, text.as_bytes(), looks)?;
    }
    Ok(folders)
}

impl Swap {
    /// The symlink is turned: removes what lies there from before the last swap. What cannot be removed is
    /// left over at worst, and tried again at the next swap.
    pub fn clear(&self) {
        let used: Vec<&OsStr> = self.used.iter().map(OsString::as_os_str).collect();
        clear(&self.link, &used);
    }
}

/// Removes the folders that were made for a link, but for those in use (by name).
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

/// Whether the folder shows exactly these files and no others.
pub fn shows(link: &Path, members: &[Member<'_>]) -> bool {
    let wanted: BTreeSet<PathBuf> = members.iter().map(|(name, ..)| link.join(name)).collect();
    listing(link).is_ok_and(|found| found == wanted)
        && members.iter().all(|(name, text, looks)| {
            let path = link.join(name);
            let wanted = Wanted::of(looks);
            wanted.is_ok_and(|wanted| fs::metadata(&path).is_ok_and(|meta| wanted.drift(&meta).is_empty()))
                && fs::read(&path).is_ok_and(|old| old == text.as_bytes())
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

/// Makes a symlink lead to `target`, by one rename; durable with its folder.
pub(crate) fn point(link: &Path, target: &Path) -> io::Result<()> {
    let (parent, name) = split(link)?;
    let temp = parent.join(format!(".{name}.keyway-link"));
    match fs::remove_file(&temp) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    symlink(target, &temp)?;
    fs::rename(&temp, link)
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
    use crate::step::{self, Time};

    /// Swaps, and keeps the way back as long as it lives.
    fn swap(link: &Path, members: &[Member<'_>]) -> Pending {
        let (pending, swap) = prepare(link, members, None).unwrap();
        step::take(&pending.forward, Time::First).unwrap();
        swap.clear();
        pending
    }

    fn secret() -> Looks {
        Looks {
            mode: Some(0o600),
            ..Looks::default()
        }
    }

    #[test]
    fn all_files_change_by_one_rename_and_come_back_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("current");
        let (a, b) = (Path::new("a"), Path::new("sub/b"));
        let read = |name: &Path| fs::read_to_string(link.join(name)).unwrap();

        let (plain, secret) = (Looks::default(), secret());
        swap(&link, &[(a, "1", &plain), (b, "1", &plain)]);

        let second = swap(&link, &[(a, "2", &plain), (b, "2", &secret)]);
        assert_eq!((read(a), read(b)), ("2".into(), "2".into()));
        assert!(shows(&link, &[(a, "2", &plain), (b, "2", &secret)]) && !shows(&link, &[(a, "1", &plain)]));
        step::take_each(&second.back).unwrap();
        drop(second);
        assert_eq!((read(a), read(b)), ("1".into(), "1".into()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "the link and its folder");

        swap(&link, &[(a, "3", &plain)]);
        swap(&link, &[(a, "4", &plain)]);
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
        let plain = Looks::default();
        let members: &[Member<'_>] = &[(Path::new("sub/a"), "1", &plain)];
        swap(&link, members);
        assert!(shows(&link, members));

        fs::File::create(link.join("sub/b")).unwrap();
        assert!(!shows(&link, members));
        swap(&link, members);

        assert!(shows(&link, members) && foreign.exists());
    }

    #[test]
    fn a_swap_that_failed_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("current");
        let plain = Looks::default();
        let (pending, _) = prepare(&link, &[(Path::new("a"), "1", &plain)], None).unwrap();
        // A folder in the place of the link: the rename cannot replace it.
        fs::create_dir(&link).unwrap();

        assert!(step::take(&pending.forward, Time::First).is_err());
        step::take_each(&pending.back).unwrap();
        drop(pending);

        assert!(link.is_dir(), "it was not ours to remove");
        let folders = fs::read_dir(dir.path()).unwrap().flatten();
        let folders = folders.filter(|entry| entry.file_type().unwrap().is_dir());
        assert_eq!(folders.count(), 1);
    }

    #[test]
    fn a_real_folder_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let told = prepare(dir.path(), &[], None).unwrap_err().to_string();
        assert!(told.contains("not a symlink"));
    }
}
