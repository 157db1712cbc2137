//! Notices when template files change.
//!
//! Folders are watched, not files: editors and Kubernetes replace files instead of writing them. Every
//! symlink on the way to a file is watched too, and what is not there yet in the last folder that is; after
//! each event the way is gone again, so a folder may vanish and come back. Where nothing is to watch there
//! is no inotify instance, of which a system has few; where none can be had, files are looked at in
//! intervals. It only says *that* something may have changed; whoever reads the files finds out what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::load::Program;

/// What the watcher may log. Of each event it would log something, which is an event again where the log is a file
/// in a watched folder.
pub const LOGGED: &str = "notify=info";

/// How often files are looked at that the system does not watch.
const LOOK: Duration = Duration::from_secs(2);

/// So many symlinks one path may lead through.
const LINKS: usize = 40;

/// What identifies a folder, whatever is its name.
type Id = (u64, u64);

/// What leads to files.
#[derive(Debug, Default)]
struct Ways {
    /// The names that lead there, each in a folder without symlinks; and folders of which every name counts.
    names: BTreeSet<PathBuf>,
    /// Folders further up. What is in them counts for nothing, but each may get another name.
    above: BTreeSet<PathBuf>,
}

/// See the module.
#[derive(Debug)]
pub struct Sources {
    watcher: Option<RecommendedWatcher>,
    /// What is to be noticed.
    wanted: BTreeSet<PathBuf>,
    ways: Arc<Mutex<Ways>>,
    watched: BTreeMap<PathBuf, Id>,
    /// Looks in intervals, if the system does not watch.
    looking: Option<JoinHandle<()>>,
    sender: mpsc::Sender<()>,
    changed: mpsc::Receiver<()>,
}

impl Sources {
    /// Watches the sources of a program.
    #[must_use]
    pub fn watch(program: &Program) -> Self {
        // One message is as good as many: it only says that it is time to look.
        let (sender, changed) = mpsc::channel(1);
        let mut sources = Self {
            watcher: None,
            wanted: BTreeSet::new(),
            ways: Arc::default(),
            watched: BTreeMap::new(),
            looking: None,
            sender,
            changed,
        };
        sources.adopt(program);
        sources
    }

    /// Watches what this program is made of as well, and the files that its templates show.
    pub fn adopt(&mut self, program: &Program) {
        let before = self.wanted.len();
        self.wanted.extend(program.sources().map(Path::to_owned));
        let files = program.files.known();
        self.wanted.extend(files.keys().map(|wanted| wanted.path.clone()));
        if self.wanted.len() == before {
            return;
        }
        match self.looking.take() {
            Some(looking) => {
                looking.abort();
                self.look();
            }
            None => self.go_again(),
        }
    }

    /// Something may have changed. Never ends. Cancel-safe.
    pub async fn next(&mut self) {
        if self.changed.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        self.go_again();
    }

    /// Goes the way to everything that is wanted, and watches what it leads through.
    fn go_again(&mut self) {
        if self.wanted.is_empty() || self.looking.is_some() {
            return;
        }
        let mut ways = Ways::default();
        for path in &self.wanted {
            way(path, &mut ways);
        }
        let mut folders = BTreeMap::new();
        let mut add = |folder: &Path| {
            if let Ok(meta) = fs::metadata(folder) {
                folders.insert(folder.to_owned(), (meta.dev(), meta.ino()));
            }
        };
        for name in &ways.names {
            let whole = fs::symlink_metadata(name).is_ok_and(|meta| meta.is_dir());
            let folder = whole.then_some(name.as_path());
            folder.into_iter().chain(name.parent()).for_each(&mut add);
        }
        ways.above.iter().for_each(|folder| add(folder));
        *self.ways.lock().unwrap_or_else(PoisonError::into_inner) = ways;
        if let Err(error) = self.point(&folders) {
            tracing::warn!(%error, "the system watches no more files; templates are looked at every {}", kvapi::duration::format(LOOK));
            self.watcher = None;
            self.watched.clear();
            self.look();
        }
    }

    fn look(&mut self) {
        self.looking = Some(tokio::spawn(look(self.wanted.clone(), self.sender.clone())));
    }

    fn point(&mut self, folders: &BTreeMap<PathBuf, Id>) -> notify::Result<()> {
        if self.watcher.is_none() {
            let (ways, sender) = (Arc::clone(&self.ways), self.sender.clone());
            self.watcher = Some(notify::recommended_watcher(move |event: notify::Result<Event>| {
                let ways = ways.lock().unwrap_or_else(PoisonError::into_inner);
                let ours = |path: &PathBuf| concerns(path, &ways);
                if event.map_or(true, |event| !event.kind.is_access() && event.paths.iter().any(ours)) {
                    let _ = sender.try_send(());
                }
            })?);
        }
        let Some(watcher) = &mut self.watcher else {
            return Ok(());
        };
        self.watched.retain(|folder, id| {
            let stays = folders.get(folder) == Some(id);
            if !stays {
                // The system may have let go of it already.
                let _ = watcher.unwatch(folder);
            }
            stays
        });
        for (folder, id) in folders {
            if self.watched.contains_key(folder) {
                continue;
            }
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(folder.clone(), *id)),
                // Gone since it was seen: look once more.
                Err(_) if !folder.exists() => {}
                Err(error) => return Err(error),
            }
            // What happened before the watch began is not told by it.
            let _ = self.sender.try_send(());
        }
        Ok(())
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        if let Some(looking) = self.looking.take() {
            looking.abort();
        }
    }
}

/// Whether a change of this path is one of a name on the way, of the folder that it is in or one further up, or
/// inside of a folder that counts as a whole.
fn concerns(path: &Path, ways: &Ways) -> bool {
    let names = &ways.names;
    let inside = path.parent().is_some_and(|folder| names.contains(folder));
    inside || names.contains(path) || ways.above.contains(path) || names.iter().any(|name| name.parent() == Some(path))
}

/// Every name that decides where a path leads: the symlinks on the way and the end; or the first that is
/// not there. Each is in a folder without symlinks. And the folders above: not those that lie in the root, which
/// have much going on in them and keep their names.
fn way(path: &Path, ways: &mut Ways) {
    let mut here = PathBuf::from("/");
    let mut rest: Vec<std::ffi::OsString> = parts(path);
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&part);
        match fs::symlink_metadata(&next) {
            Ok(meta) if meta.is_symlink() && links < LINKS => {
                links += 1;
                let Ok(target) = fs::read_link(&next) else { break };
                ways.names.insert(next);
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                rest.extend(parts(&target));
            }
            Ok(_) if !rest.is_empty() => {
                if here.parent().is_some() {
                    ways.above.insert(next.clone());
                }
                here = next;
            }
            Ok(_) | Err(_) => {
                ways.names.insert(next);
                break;
            }
        }
    }
}

/// The parts of a path, last first.
fn parts(path: &Path) -> Vec<std::ffi::OsString> {
    let parts = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    parts.collect()
}

/// Says when something is different from the last look.
async fn look(wanted: BTreeSet<PathBuf>, sender: mpsc::Sender<()>) {
    let mut before = None;
    loop {
        let paths = wanted.clone();
        let now = tokio::task::spawn_blocking(move || prints(&paths)).await.ok();
        if before.is_some() && before != now {
            let _ = sender.try_send(());
        }
        before = now;
        tokio::time::sleep(LOOK).await;
    }
}

/// What tells two states of a file apart.
type Print = (u64, u64, u64, (i64, i64), (i64, i64));

/// What is at each path, and in those that are folders.
fn prints(paths: &BTreeSet<PathBuf>) -> BTreeMap<PathBuf, Print> {
    let inside = paths.iter().filter_map(|path| fs::read_dir(path).ok());
    let inside = inside.flatten().flatten().map(|entry| entry.path());
    let print = |meta: Metadata| {
        let times = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
        (meta.dev(), meta.ino(), meta.size(), times.0, times.1)
    };
    let all = paths.iter().cloned().chain(inside);
    all.filter_map(|path| Some((path.clone(), print(fs::metadata(path).ok()?))))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_way_to_a_file_has_every_link_and_ends_where_nothing_is() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let at = |name: &str| root.join(name);
        fs::create_dir_all(at("v1/sub")).unwrap();
        crate::write::atomic(&at("v1/sub/t"), b"1", None).unwrap();
        symlink("v1", at("..data")).unwrap();
        symlink("..data/sub/t", at("t")).unwrap();
        symlink(at("circle"), at("circle")).unwrap();

        let of = |name: &str| {
            let mut ways = Ways::default();
            way(&at(name), &mut ways);
            ways
        };
        let all = |names: &[&str]| names.iter().map(|name| at(name)).collect::<BTreeSet<_>>();
        assert_eq!(of("t").names, all(&["t", "..data", "v1/sub/t"]));
        assert_eq!(of("v1/../..data/sub/./t").names, all(&["..data", "v1/sub/t"]));
        assert_eq!(of("none/sub/t").names, all(&["none"]));
        assert!(!of("circle").names.is_empty());
        let above = of("t").above;
        assert!(all(&["v1", "v1/sub"]).is_subset(&above), "{above:?}");
        assert!(above.iter().all(|folder| folder.components().count() > 2), "{above:?}");
    }

    #[test]
    fn any_other_file_behind_a_path_is_seen_in_intervals_too() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t");
        let paths = [file.clone(), dir.path().join("folder")].into();
        let mut seen = vec![prints(&paths)];
        crate::write::atomic(&file, b"1", None).unwrap();
        seen.push(prints(&paths));
        crate::write::atomic(&file, b"2", None).unwrap();
        seen.push(prints(&paths));
        fs::create_dir(dir.path().join("folder")).unwrap();
        seen.push(prints(&paths));
        crate::write::atomic(&dir.path().join("folder/p.hbs"), b"1", None).unwrap();
        seen.push(prints(&paths));
        assert!(seen.windows(2).all(|two| two[0] != two[1]), "{seen:?}");
        assert_eq!(prints(&paths), prints(&paths));
    }
}
