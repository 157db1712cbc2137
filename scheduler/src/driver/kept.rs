//! What ended tasks wrote, kept for a while: of each app the last few, so that somebody can still see why they ended.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::timeout;

use super::TaskId;

/// Of how many ended tasks of an app the logs are kept.
const TASKS: usize = 5;

/// The outputs of a task, by the names of their files.
pub(super) const OUTPUTS: [&str; 2] = ["stdout", "stderr"];

/// How long somebody who asks waits for what is on its way here.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    folder: PathBuf,
    coming: Arc<watch::Sender<BTreeSet<TaskId>>>,
}

/// The outputs of a task are on their way here, until this is dropped.
#[derive(Debug)]
pub(super) struct Coming {
    task: TaskId,
    all: Arc<watch::Sender<BTreeSet<TaskId>>>,
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.all.send_modify(|all| {
            all.remove(&self.task);
        });
    }
}

impl Kept {
    pub(super) fn new(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self {
            folder,
            coming: Arc::new(watch::Sender::new(BTreeSet::new())),
        })
    }

    /// To be held from the moment on in which nobody can be asked for a task's outputs any more, until they are here.
    pub(super) fn coming(&self, task: &TaskId) -> Coming {
        self.coming.send_modify(|all| {
            all.insert(task.clone());
        });
        Coming {
            task: task.clone(),
            all: Arc::clone(&self.coming),
        }
    }

    /// Waits until a task's outputs are not on their way any more, unless that takes long.
    pub(super) async fn arrived(&self, task: &TaskId) {
        let mut coming = self.coming.subscribe();
        let here = coming.wait_for(|all| !all.contains(task));
        // What is not here by then is told as missing.
        let _ = timeout(PATIENCE, here).await;
    }

    /// Where the outputs of a task are, if they are kept.
    pub(super) fn of(&self, task: &TaskId) -> Option<PathBuf> {
        let folder = self.folder.join(&task.0);
        folder.is_dir().then_some(folder)
    }

    /// Takes the outputs out of the folder where a task had them. Older ones of its app go.
    pub(super) fn keep(&self, task: &TaskId, from: &Path) -> io::Result<()> {
        let folder = self.folder.join(&task.0);
        fs::create_dir_all(&folder)?;
        for name in OUTPUTS {
            match fs::rename(from.join(name), folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        self.trim(task.app())
    }

    fn trim(&self, app: &str) -> io::Result<()> {
        let mut all: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry
                .file_name()
                .to_str()
                .is_some_and(|name| TaskId(name.into()).app() == app)
            {
                match entry.metadata() {
                    Ok(metadata) => all.push((metadata.modified()?, entry.path())),
                    // Another task of the app is trimming too.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        all.sort();
        let surplus = all.len().saturating_sub(TASKS);
        for (_, folder) in all.drain(..surplus) {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_asks_waits_for_what_is_on_its_way() {
        let home = tempfile::tempdir().unwrap();
        let kept = Kept::new(home.path().join("ended")).unwrap();
        let task = TaskId("web.instance-1._app.1".into());
        let coming = kept.coming(&task);
        let mut asks = Box::pin(kept.arrived(&task));
        assert!(futures_util::poll!(&mut asks).is_pending());

        drop(coming);

        assert!(futures_util::poll!(&mut asks).is_ready());
        assert!(futures_util::poll!(Box::pin(kept.arrived(&task))).is_ready());
    }

    #[test]
    fn of_each_app_the_last_few_are_kept() {
        let home = tempfile::tempdir().unwrap();
        let kept = Kept::new(home.path().join("ended")).unwrap();
        let task = |app: &str, n: usize| TaskId(format!("{app}.instance-{n}._app.1"));
        let keep = |task: &TaskId| {
            let from = home.path().join(&task.0);
            fs::create_dir(&from).unwrap();
            fs::File::create(from.join("stdout")).unwrap();
            kept.keep(task, &from).unwrap();
        };
        keep(&task("db", 0));
        for n in 0..TASKS + 2 {
            keep(&task("web", n));
        }
        let web: Vec<bool> = (0..TASKS + 2).map(|n| kept.of(&task("web", n)).is_some()).collect();
        assert_eq!(web, [false, false, true, true, true, true, true]);
        assert!(kept.of(&task("db", 0)).unwrap().join("stdout").exists());
    }
}
