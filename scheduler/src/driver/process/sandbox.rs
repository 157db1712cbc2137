//! A task's folder: where it starts, and what it writes.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::super::TaskId;
use super::super::kept::OUTPUTS;
use super::user::User;

/// All folders of tasks.
#[derive(Debug, Clone)]
pub(super) struct Sandboxes {
    folder: PathBuf,
}

/// The files that a task's program writes to.
#[derive(Debug)]
pub(super) struct Outputs {
    pub(super) stdout: File,
    pub(super) stderr: File,
}

impl Sandboxes {
    /// The folder has to be as the kernel names it: it is compared with what processes have in their environment.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.canonicalize()?,
        })
    }

    pub(super) fn of(&self, task: &TaskId) -> PathBuf {
        self.folder.join(&task.0)
    }

    /// Makes a task's folder; an error if there is one, since a task is started once.
    pub(super) fn create(&self, task: &TaskId, user: Option<&User>) -> io::Result<Outputs> {
        let folder = self.of(task);
        fs::DirBuilder::new().mode(0o750).create(&folder)?;
        let open = |name: &str| {
            // Appending, so that what is written after a rotation begins at the beginning.
            let mut options = OpenOptions::new();
            options.append(true).create(true).mode(0o640);
            options.open(folder.join(name))
        };
        let [stdout, stderr] = OUTPUTS;
        let outputs = Outputs {
            stdout: open(stdout)?,
            stderr: open(stderr)?,
        };
        if let Some(user) = user {
            for path in [folder.clone(), folder.join(stdout), folder.join(stderr)] {
                std::os::unix::fs::chown(path, Some(user.user), Some(user.group))?;
            }
        }
        Ok(outputs)
    }

    pub(super) fn outputs(&self, task: &TaskId) -> Vec<PathBuf> {
        OUTPUTS.map(|name| self.of(task).join(name)).into()
    }

    /// Of whom there is a folder.
    pub(super) fn tasks(&self) -> io::Result<Vec<TaskId>> {
        let names = fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.file_name()));
        let names: Vec<_> = names.collect::<io::Result<_>>()?;
        Ok(names
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .map(TaskId)
            .collect())
    }

    pub(super) fn remove(&self, task: &TaskId) -> io::Result<()> {
        match fs::remove_dir_all(self.of(task)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

/// Whether a name can be that of a folder, and of no other than its own.
pub(super) fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && text.len() <= 255 && text.bytes().all(is_plain) && !text.starts_with('.')
}
