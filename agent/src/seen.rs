//! What was found in place, so that a file which nobody has touched since is not read again.
//!
//! A set looks at the files of others as well, so that what somebody else has changed is put right with the
//! next one. With hundreds of files of which one changes, that would be most of the work: so they are looked
//! at again only when that takes a small part of the time, and who a file was when it was read is kept: one
//! that is still the same is believed to hold the same.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::config::Looks;

/// A file that changed less than this ago may change again within one tick of its file system's clock, and look
/// the same.
const TICK: Duration = Duration::from_secs(2);

/// How long for each of them all files are not looked at again. To look at one takes some 2 us.
const PAUSE: Duration = Duration::from_micros(500);

/// See the module.
#[derive(Debug, Default)]
pub struct Seen(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    files: HashMap<PathBuf, Known>,
    /// When all files may be looked at again.
    all_at: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    who: Who,
    text: Arc<str>,
    looks: Looks,
}

/// Who a file is. Every change of its contents, mode or owner shows in the last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Who {
    /// A file as it is now; none if it is not there or not plain.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        let meta = fs::symlink_metadata(path).ok()?;
        meta.is_file().then(|| Self::of(&meta))
    }

    fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Whether its last change is so long ago that the next one will show.
    fn is_old(&self, now: SystemTime) -> bool {
        let seconds = u64::try_from(self.changed.0).unwrap_or(u64::MAX);
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        at.and_then(|at| now.duration_since(at).ok())
            .is_some_and(|age| age > TICK)
    }
}

impl Seen {
    /// Whether a set with so many files is to look at all of them now, and not only at those that it has rendered.
    #[must_use]
    pub fn looks_at_all(&self, files: usize, now: Instant) -> bool {
        let mut seen = self.state();
        let due = seen.all_at.is_none_or(|at| at <= now);
        if due {
            let pause = PAUSE.saturating_mul(u32::try_from(files).unwrap_or(u32::MAX));
            seen.all_at = now.checked_add(pause);
        }
        due
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the file is still who it was when it held this text and looked so.
    #[must_use]
    pub fn holds(&self, path: &Path, who: Who, text: &Arc<str>, looks: &Looks) -> bool {
        let seen = self.state();
        seen.files
            .get(path)
            .is_some_and(|known| known.who == who && known.looks == *looks && same(&known.text, text))
    }

    /// The file was found to hold this text after it was looked at as `who`.
    pub fn note(&self, path: &Path, who: Who, text: &Arc<str>, looks: &Looks) {
        if !who.is_old(SystemTime::now()) {
            return;
        }
        let known = Known {
            who,
            text: Arc::clone(text),
            looks: looks.clone(),
        };
        self.state().files.insert(path.to_owned(), known);
    }
}

/// Whether two texts are the same, which most often they are because they are one.
#[must_use]
pub fn same(one: &Arc<str>, other: &Arc<str>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "what others do to a file")]

    use std::fs::{File, FileTimes, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn old(path: &Path) -> Who {
        // Only the clock gives a file its last time, so it is the clock that is moved.
        let mut who = Who::at(path).unwrap();
        who.changed.0 -= 10;
        who
    }

    #[test]
    fn all_files_are_looked_at_as_often_as_that_takes_little_of_the_time() {
        let (few, many, start) = (Seen::default(), Seen::default(), Instant::now());
        let after = |millis: u64| start + Duration::from_millis(millis);
        assert!(few.looks_at_all(3, start) && few.looks_at_all(3, after(2)));
        assert!(many.looks_at_all(500, start) && !many.looks_at_all(500, after(2)));
        assert!(!many.looks_at_all(500, after(249)) && many.looks_at_all(500, after(250)));
        assert!(!many.looks_at_all(500, after(499)) && many.looks_at_all(500, after(501)));
    }

    #[test]
    fn a_file_is_known_while_it_is_the_same_and_the_same_is_asked_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "one").unwrap();
        let (seen, text, looks) = (Seen::default(), Arc::from("one"), Looks::default());
        let who = old(&path);
        assert!(!seen.holds(&path, who, &text, &looks));

        seen.note(&path, who, &text, &looks);

        assert!(seen.holds(&path, who, &text, &looks));
        assert!(!seen.holds(&path, who, &Arc::from("two"), &looks));
        let other = Looks {
            mode: Some(0o600),
            ..Looks::default()
        };
        assert!(!seen.holds(&path, who, &text, &other));
        assert!(!seen.holds(&dir.path().join("b"), who, &text, &looks));
    }

    #[test]
    fn whatever_is_done_to_a_file_makes_it_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let changes: [fn(&Path); 4] = [
            |path| fs::write(path, "two").unwrap(),
            |path| fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap(),
            |path| {
                fs::write(path.with_extension("new"), "one").unwrap();
                fs::rename(path.with_extension("new"), path).unwrap();
            },
            |path| {
                // The same length, and its time set back.
                let before = fs::metadata(path).unwrap().modified().unwrap();
                fs::write(path, "eno").unwrap();
                let times = FileTimes::new().set_modified(before);
                File::options()
                    .write(true)
                    .open(path)
                    .unwrap()
                    .set_times(times)
                    .unwrap();
            },
        ];
        for change in changes {
            fs::write(&path, "one").unwrap();
            let before = Who::at(&path).unwrap();
            // A clock's tick later.
            while {
                fs::write(dir.path().join("clock"), "").unwrap();
                Who::at(&dir.path().join("clock")).unwrap().changed == before.changed
            } {}
            change(&path);
            assert_ne!(Who::at(&path), Some(before));
        }
    }

    #[test]
    fn what_changed_just_now_and_what_is_no_plain_file_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "one").unwrap();
        let (seen, text, looks) = (Seen::default(), Arc::from("one"), Looks::default());
        let who = Who::at(&path).unwrap();

        seen.note(&path, who, &text, &looks);
        assert!(!seen.holds(&path, who, &text, &looks));

        symlink(&path, dir.path().join("link")).unwrap();
        assert_eq!(Who::at(&dir.path().join("link")), None);
        assert_eq!(Who::at(dir.path()), None);
        assert_eq!(Who::at(&dir.path().join("none")), None);
    }
}
