//! The steps that put a set in place, or the one before it back.
//!
//! Each is one rename, so a reader sees the old or the new and never a part. They are written down
//! before the first is taken, and whoever finds them after a kill takes those that are left: taken
//! twice they do what they do once. So nobody has to wait until they are on disk, but for who wants to write
//! down something else in their place: [`sync`].

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, fchown};
use serde::{Deserialize, Serialize};

use crate::{failpoint, folder, write};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// What is complete under another name takes the place of `path`.
    Replace {
        /// That name, in the same folder.
        new: PathBuf,
        /// The name that others know.
        path: PathBuf,
    },
    /// Nothing is there any more.
    Remove {
        /// What is removed.
        path: PathBuf,
    },
    /// A symlink leads elsewhere.
    Turn {
        /// The symlink.
        link: PathBuf,
        /// Only if it leads there now.
        from: Option<PathBuf>,
        /// Where it leads then; without it there is no symlink any more.
        to: Option<PathBuf>,
    },
}

/// Whether the steps may have been taken before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// This is the first time.
    First,
    /// Some may have been.
    Again,
}

/// Takes all steps in order.
pub fn take(steps: &[Step], time: Time) -> io::Result<()> {
    for step in steps {
        failpoint::reach("step");
        step.take(time)?;
    }
    failpoint::reach("steps");
    Ok(())
}

/// Takes all steps, whatever becomes of each; the first error.
pub fn take_each(steps: &[Step]) -> io::Result<()> {
    let mut first = Ok(());
    for step in steps {
        failpoint::reach("step back");
        let taken = step.take(Time::Again);
        first = first.and(taken);
    }
    first
}

/// Returns when what was taken of these steps is durable.
pub fn sync(steps: &[Step]) -> io::Result<()> {
    let folders: BTreeSet<&Path> = steps.iter().filter_map(|step| step.path().parent()).collect();
    // In a folder that somebody has removed there is nothing to keep.
    folders
        .into_iter()
        .try_for_each(|folder| gone(write::sync_folder(folder)))
}

impl Step {
    fn path(&self) -> &Path {
        match self {
            Self::Replace { path, .. } | Self::Remove { path } => path,
            Self::Turn { link, .. } => link,
        }
    }

    /// Whether it was not taken yet.
    #[must_use]
    pub fn is_left(&self) -> bool {
        match self {
            Self::Replace { new, .. } => exists(new),
            Self::Remove { path } => exists(path),
            Self::Turn { link, from, to } => {
                let leads = fs::read_link(link).ok();
                leads != *to && (from.is_none() || leads == *from)
            }
        }
    }

    fn take(&self, time: Time) -> io::Result<()> {
        match self {
            Self::Replace { new, path } => match replace(new, path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && time == Time::Again && !exists(new) => Ok(()),
                renamed => renamed,
            },
            Self::Remove { path } => gone(fs::remove_file(path)),
            Self::Turn { link, from, to } => {
                if from.is_some() && fs::read_link(link).ok() != *from {
                    return Ok(());
                }
                match to {
                    Some(to) => folder::point(link, to),
                    None => gone(fs::remove_file(link)),
                }
            }
        }
    }
}

/// What is complete under the name `new` takes the place of `path`.
pub fn replace(new: &Path, path: &Path) -> io::Result<()> {
    match fs::rename(new, path) {
        // A file that is mounted by itself cannot be replaced, only written.
        Err(e) if e.raw_os_error() == Some(nix::libc::EBUSY) => {
            overwrite(new, path)?;
            tracing::warn!(path = %path.display(), "mounted by itself: written in place, not replaced");
            Ok(())
        }
        renamed => renamed,
    }
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// What is not there is removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Gives `path` the contents, the mode and the owner of `new`, which is gone then.
fn overwrite(new: &Path, path: &Path) -> io::Result<()> {
    let (contents, meta) = (fs::read(new)?, fs::metadata(new)?);
    let mut file = File::options().write(true).truncate(true).open(path)?;
    failpoint::reach("overwrite");
    file.write_all(&contents)?;
    let owner = (Some(Uid::from_raw(meta.uid())), Some(Gid::from_raw(meta.gid())));
    let old = file.metadata()?;
    if (old.uid(), old.gid()) != (meta.uid(), meta.gid()) {
        fchown(&file, owner.0, owner.1)?;
    }
    file.set_permissions(meta.permissions())?;
    file.sync_all()?;
    fs::remove_file(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_were_taken_before_are_taken_no_second_time() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        write::atomic(&at("new"), b"2", None).unwrap();
        write::atomic(&at("old"), b"1", None).unwrap();
        let steps = [
            Step::Replace {
                new: at("new"),
                path: at("old"),
            },
            Step::Remove { path: at("other") },
            Step::Turn {
                link: at("link"),
                from: None,
                to: Some("old".into()),
            },
        ];
        take(&steps, Time::First).unwrap();
        assert!(take(&steps, Time::First).is_err(), "the new file is gone");

        take(&steps, Time::Again).unwrap();

        assert_eq!(fs::read_to_string(at("link")).unwrap(), "2");
        let back = |from: &str| Step::Turn {
            link: at("link"),
            from: Some(from.into()),
            to: None,
        };
        take_each(&[back("another")]).unwrap();
        assert!(at("link").exists(), "somebody else has turned it");
        take_each(&[back("old")]).unwrap();
        assert!(!at("link").exists());
    }

    #[test]
    fn one_that_fails_keeps_the_others_from_nothing_on_the_way_back() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("folder")).unwrap();
        write::atomic(&at("file"), b"1", None).unwrap();
        let steps = [Step::Remove { path: at("folder") }, Step::Remove { path: at("file") }];

        assert!(take_each(&steps).is_err());

        assert!(at("folder").exists() && !at("file").exists());
    }
}
