//! Notices when template files change.
//!
//! Folders are watched, not files: editors and Kubernetes replace files instead of writing them.
//! It only says *that* something may have changed; whoever reads the files finds out what.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use crate::load::Program;

/// See the module.
#[derive(Debug)]
pub struct Sources {
    watcher: Option<RecommendedWatcher>,
    /// The sources themselves; their folders hold strangers too.
    ours: Arc<Mutex<BTreeSet<PathBuf>>>,
    watched: BTreeSet<PathBuf>,
    changed: mpsc::Receiver<()>,
}

impl Sources {
    /// Watches the sources of a program. If the system allows no watching, that is said once and
    /// templates are read at start and after SIGHUP.
    #[must_use]
    pub fn watch(program: &Program) -> Self {
        // One message is as good as many: it only says that it is time to look.
        let (sender, changed) = mpsc::channel(1);
        let ours = Arc::new(Mutex::new(BTreeSet::new()));
        let known = Arc::clone(&ours);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if event.is_ok_and(|event| !event.kind.is_access() && event.paths.iter().any(|path| concerns(path, &known)))
            {
                let _ = sender.try_send(());
            }
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "template files are not watched; send HUP after a change"))
            .ok();
        let mut sources = Self {
            watcher,
            ours,
            watched: BTreeSet::new(),
            changed,
        };
        sources.adopt(program);
        sources
    }

    /// Watches what this program is made of as well, and the files that its templates show.
    pub fn adopt(&mut self, program: &Program) {
        for path in program.sources() {
            self.watch_path(path);
        }
        for wanted in program.files.known().keys() {
            self.watch_path(&wanted.path);
        }
    }

    fn watch_path(&mut self, path: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        self.ours
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(path.to_owned());
        let folder = if path.is_dir() {
            path
        } else {
            path.parent().unwrap_or(Path::new("/"))
        };
        if !self.watched.insert(folder.to_owned()) {
            return;
        }
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            tracing::warn!(folder = %folder.display(), %error, "files are not watched; send HUP after a change");
        }
    }

    /// Something may have changed. Never ends. Cancel-safe.
    pub async fn next(&mut self) {
        if self.changed.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// Whether a change of this path is one of a source, of a partial, or of the symlink behind which
/// Kubernetes swaps the files of a config map.
fn concerns(path: &Path, ours: &BTreeSet<PathBuf>) -> bool {
    let inside = path.parent().is_some_and(|folder| ours.contains(folder));
    inside || ours.contains(path) || path.file_name().is_some_and(|name| name == "..data")
}
