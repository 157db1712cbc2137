//! A task's folder: where it starts, and what it writes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::super::kept::OUTPUTS;
use super::super::{End, TaskId};
use super::user::User;

/// What a task's agent leaves in its folder, and how long that is at most.
const EXIT: &str = ".keyway-exit";
const MAX_EXIT: u64 = 64;

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

    /// Where a task's agent writes how it ended.
    pub(super) fn exit_file(&self, task: &TaskId) -> PathBuf {
        self.of(task).join(EXIT)
    }

    /// How a task ended, as its agent wrote it. `None` if it had none, or was killed before it could.
    pub(super) fn told(&self, task: &TaskId) -> Option<End> {
        let mut text = String::new();
        let file = File::open(self.exit_file(task)).ok()?;
        // Whatever else the task has put there.
        file.take(MAX_EXIT).read_to_string(&mut text).ok()?;
        meaning(&text)
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

/// What an agent writes for `--exit-file`.
fn meaning(text: &str) -> Option<End> {
    let (what, number) = text.strip_suffix('\n')?.split_once(' ')?;
    let number = number.parse().ok()?;
    match what {
        "code" => Some(End::Exited(number)),
        "signal" => Some(End::Signalled(number)),
        _ => None,
    }
}

/// Whether a name can be that of a folder, and of no other than its own.
pub(super) fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && text.len() <= 255 && text.bytes().all(is_plain) && !text.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_agent_writes_is_an_end() {
        assert_eq!(meaning("code 3\n"), Some(End::Exited(3)));
        assert_eq!(meaning("signal 15\n"), Some(End::Signalled(15)));
        for text in ["", "code\n", "code 3", "code three\n", "exit 3\n", "3\n"] {
            assert_eq!(meaning(text), None, "{text}");
        }
    }
}
