//! What a task is given and nobody is shown, in files that their owner may read.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, chown};
use std::path::{Component, Path, PathBuf};

use super::{Launch, Refusal, TaskId};

/// A user and a group, in numbers.
type Owner = (u32, u32);

/// Writes a file below a folder, which it does not leave; an error if there is one.
pub(super) fn write_below(folder: &Path, path: &str, value: &[u8], owner: Option<Owner>) -> io::Result<()> {
    let relative = Path::new(path.trim_start_matches('/'));
    let is_plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    let (Some(name), true) = (relative.file_name(), is_plain) else {
        return Err(io::Error::other(format!(
            "{path} is no path of a file within its folder"
        )));
    };
    let mut parent = folder.to_owned();
    for part in relative.parent().into_iter().flat_map(Path::components) {
        parent.push(part);
        match fs::DirBuilder::new().mode(0o750).create(&parent) {
            Ok(()) => give(&parent, owner)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && parent.is_dir() => {}
            Err(error) => return Err(at(path, &error)),
        }
    }
    write(&parent.join(name), value, owner).map_err(|error| at(path, &error))
}

fn at(path: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("the secret at {path} cannot be written: {error}"))
}

fn write(file: &Path, value: &[u8], owner: Option<Owner>) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut open = options.write(true).create_new(true).mode(0o400).open(file)?;
    open.write_all(value)?;
    give(file, owner)
}

fn give(path: &Path, owner: Option<Owner>) -> io::Result<()> {
    match owner {
        Some((user, group)) => chown(path, Some(user), Some(group)),
        None => Ok(()),
    }
}

/// The files that containers see, each in the folder of its task.
#[derive(Debug)]
pub(super) struct SecretFiles {
    folder: PathBuf,
}

impl SecretFiles {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Writes those of a task, for the user that its container starts as. Each, and where the container sees it.
    pub(super) fn write(&self, launch: &Launch, user: Option<&str>) -> Result<Vec<(PathBuf, String)>, Refusal> {
        let mut files = Vec::new();
        let mut all = launch.secret_files().enumerate().peekable();
        if all.peek().is_none() {
            return Ok(files);
        }
        let folder = self.folder.join(&launch.task.0);
        let owner = owner(user)?;
        let written = || -> io::Result<()> {
            // Of a start that is tried again.
            self.clear(&launch.task)?;
            fs::DirBuilder::new().mode(0o700).recursive(true).create(&folder)?;
            for (number, (path, value)) in all {
                let file = folder.join(number.to_string());
                write(&file, value, owner)?;
                files.push((file, path.to_owned()));
            }
            Ok(())
        };
        written().map_err(|error| Refusal::Other(format!("its secrets cannot be written: {error}")))?;
        Ok(files)
    }

    pub(super) fn remove(&self, task: &TaskId) {
        if let Err(error) = self.clear(task) {
            tracing::warn!(task = %task.0, "its secrets cannot be removed: {error}");
        }
    }

    /// Removes those of all others.
    pub(super) fn keep_only<'a>(&self, tasks: impl Iterator<Item = &'a TaskId>) -> io::Result<()> {
        let kept: BTreeSet<&str> = tasks.map(|task| task.0.as_str()).collect();
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_name().to_str().is_none_or(|name| !kept.contains(name)) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    fn clear(&self, task: &TaskId) -> io::Result<()> {
        match fs::remove_dir_all(self.folder.join(&task.0)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

/// Who is to own files that a container's user reads. `None` is whoever writes them, as root in a container is.
fn owner(user: Option<&str>) -> Result<Option<Owner>, Refusal> {
    let Some(text) = user.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let (user, group) = text.split_once(':').unwrap_or((text, "0"));
    match (user, user.parse(), group.parse()) {
        ("root" | "0", _, _) => Ok(None),
        (_, Ok(user), Ok(group)) => Ok(Some((user, group))),
        _ => Err(Refusal::Other(format!(
            "its container starts as `{text}`, whose number only the image knows: say user by its number, so that the files \
             with its secrets can be given to it"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_its_owners_alone_and_below_its_folder() {
        let home = tempfile::tempdir().unwrap();

        write_below(home.path(), "/etc/app/key", b"\0\xff", None).unwrap();

        let file = home.path().join("etc/app/key");
        assert_eq!(fs::read(&file).unwrap(), b"\0\xff");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o400);
        for (path, why) in [
            ("/etc/app/key", "exists"),
            ("../key", "within its folder"),
            ("/", "within its folder"),
            ("etc/app/key/more", "cannot be written"),
        ] {
            let error = write_below(home.path(), path, b"marked", None).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("marked"), "{path}: {error}");
        }
    }

    #[test]
    fn files_are_given_to_users_whose_number_is_known() {
        for (user, is) in [
            (None, None),
            (Some(""), None),
            (Some("root:staff"), None),
            (Some("1000"), Some((1000, 0))),
            (Some("1000:7"), Some((1000, 7))),
        ] {
            assert_eq!(owner(user), Ok(is), "{user:?}");
        }
        for user in ["app", "1000:app"] {
            assert!(owner(Some(user)).unwrap_err().to_string().contains(user));
        }
    }
}
