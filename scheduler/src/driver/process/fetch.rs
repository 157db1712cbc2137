//! Files that a task is given before it starts: `fetch` of its app.
//!
//! They are gathered in a folder beside those of tasks, and moved into the task's own once all are there: what cannot be had
//! starts nothing.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::Semaphore;

use super::super::starting::Start;
use super::super::{Refusal, TaskId};
use super::download::download;
use super::user::User;
use crate::app::Fetch;

/// How many tasks fetch at once.
const AT_ONCE: usize = 4;

/// Names of files longer than this cannot be.
const NAME: usize = 255;

/// See the module.
#[derive(Debug)]
pub(super) struct Fetcher {
    /// What tasks that have not started have got so far.
    gathered: PathBuf,
    /// What several tasks are given, by its address.
    cache: PathBuf,
    at_once: Semaphore,
}

impl Fetcher {
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        let (gathered, cache) = (folder.join("fetching"), folder.join("cache"));
        // What a scheduler that was killed has left.
        remove(&gathered)?;
        fs::create_dir_all(&gathered)?;
        fs::create_dir_all(&cache)?;
        Ok(Self {
            gathered,
            cache,
            at_once: Semaphore::new(AT_ONCE),
        })
    }

    /// Gathers all that a task is to be given.
    pub(super) async fn gather(&self, task: &TaskId, all: &[Fetch], start: &Start) -> Result<(), Refusal> {
        if all.is_empty() {
            return Ok(());
        }
        let Ok(_slot) = start.unless_called_off(self.at_once.acquire()).await? else {
            return Err(Refusal::Other("the scheduler ends".to_owned()));
        };
        let folder = self.of(task);
        for fetch in all {
            if let Err(error) = self.one(&folder, fetch, start).await {
                self.drop(task);
                return Err(match error.downcast() {
                    Ok(called_off) => called_off,
                    Err(error) => Refusal::Other(format!("{} cannot be fetched: {error:#}", fetch.uri)),
                });
            }
        }
        Ok(())
    }

    /// Moves what was gathered into the task's own folder.
    pub(super) fn hand_over(&self, task: &TaskId, to: &Path, user: Option<&User>) -> io::Result<()> {
        let folder = self.of(task);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if let Some(user) = user {
                give(&entry.path(), user)?;
            }
            let place = to.join(entry.file_name());
            // The outputs are there already.
            if place.exists() {
                return Err(io::Error::other(format!(
                    "{} cannot be fetched: it is the task's own",
                    place.display()
                )));
            }
            fs::rename(entry.path(), place)?;
        }
        fs::remove_dir(folder)
    }

    /// Forgets what was gathered, if anything was.
    pub(super) fn drop(&self, task: &TaskId) {
        if let Err(error) = remove(&self.of(task)) {
            tracing::warn!(task = %task.0, "what was fetched for it cannot be removed: {error}");
        }
    }

    fn of(&self, task: &TaskId) -> PathBuf {
        self.gathered.join(&task.0)
    }

    async fn one(&self, folder: &Path, fetch: &Fetch, start: &Start) -> anyhow::Result<()> {
        let name = fetch.name().context("it names no file")?;
        let file = folder.join(name);
        let parent = file.parent().unwrap_or(folder);
        fs::create_dir_all(parent)?;
        let cached = utf8_percent_encode(&fetch.uri, NON_ALPHANUMERIC).to_string();
        if fetch.cache && cached.len() <= NAME {
            let kept = self.cache.join(cached);
            if !kept.exists() {
                // Under a name of its own until all of it is there.
                get(&fetch.uri, &file, start).await?;
                fs::rename(&file, &kept)?;
            }
            copy(&kept, &file).await?;
        } else {
            get(&fetch.uri, &file, start).await?;
        }
        if fetch.executable {
            let mode = fs::metadata(&file)?.permissions().mode();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode | 0o111))?;
        } else if fetch.extract {
            let parent = parent.to_owned();
            tokio::task::spawn_blocking(move || extract(&file, &parent)).await??;
        }
        Ok(())
    }
}

/// A file, from wherever it is.
async fn get(uri: &str, file: &Path, start: &Start) -> anyhow::Result<()> {
    if uri.starts_with("http://") || uri.starts_with("https://") {
        return start.unless_called_off(download(uri, file)).await?;
    }
    copy(Path::new(uri.strip_prefix("file://").unwrap_or(uri)), file).await
}

async fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let (from, to) = (from.to_owned(), to.to_owned());
    // Its mode goes with it, and its owner does not.
    tokio::task::spawn_blocking(move || fs::copy(from, to)).await??;
    Ok(())
}

/// Unpacks an archive beside itself; what is none is left as it is.
fn extract(file: &Path, folder: &Path) -> anyhow::Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let tars = [".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz"];
    let mut command = if tars.iter().any(|end| name.ends_with(end)) {
        let mut tar = Command::new("tar");
        // Nobody is somebody here because an archive says so.
        tar.args(["--no-same-owner", "-xf"]).arg(file).arg("-C").arg(folder);
        tar
    } else if name.ends_with(".zip") {
        let mut unzip = Command::new("unzip");
        unzip.args(["-o", "-q"]).arg(file).arg("-d").arg(folder);
        unzip
    } else {
        return Ok(());
    };
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("`{program}` cannot be started"))?;
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    ensure!(output.status.success(), "it cannot be unpacked: {why}");
    Ok(())
}

/// Gives a file, or a folder with all that is in it, to a user.
fn give(path: &Path, user: &User) -> io::Result<()> {
    std::os::unix::fs::lchown(path, Some(user.user), Some(user.group))?;
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
