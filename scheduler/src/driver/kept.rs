//! What ended tasks wrote, kept for a while: of each app the last few, so that somebody can still see why they ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::TaskId;

/// Of how many ended tasks of an app the logs are kept.
const TASKS: usize = 5;

/// The outputs of a task, by the names of their files.
pub(super) const OUTPUTS: [&str; 2] = ["stdout", "stderr"];

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    folder: PathBuf,
}

impl Kept {
    pub(super) fn new(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
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
                all.push((entry.metadata()?.modified()?, entry.path()));
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
