//! What a run leaves for the next one: what was put in place last, and whether it was applied.
//!
//! Its folder belongs to one agent at a time: two that write the same files would undo each other's
//! work. Written before a promotion and after the apply. A kill in between is seen at the next start,
//! so no reload is ever lost; and the revision and the cluster in it keep an older state of the
//! store from being rendered by a new process.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kvapi::Problem;
use kvapi::problem::exit;
use serde::{Deserialize, Serialize};

use crate::view::Revisions;
use crate::write;

const FORMAT: u32 = 1;

/// The file's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    format: u32,
    /// The cluster that the files are of.
    pub cluster: String,
    /// The revisions that the files are of.
    pub revisions: Revisions,
    /// Whether the program uses them.
    pub applied: bool,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
    /// Held as long as the last clone lives, and let go by the kernel however the process ends.
    _lock: Arc<File>,
}

impl Journal {
    /// Takes the folder, which is made if it is not there yet.
    ///
    /// # Errors
    /// Another agent has it, or it cannot be written.
    pub fn claim(folder: &Path) -> Result<Self, Problem> {
        let shown = folder.display();
        let unwritable = |error: io::Error| {
            Problem::new(
                exit::AGENT,
                format!("cannot write to the state folder {shown}: {error}"),
            )
            .help("name another with --state-dir")
        };
        fs::create_dir_all(folder).map_err(unwritable)?;
        let path = folder.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(path);
        let lock = lock.map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let what = format!("another agent runs with the state folder {shown}");
                return Err(Problem::new(exit::AGENT, what)
                    .help("stop it; if it writes other files, give each a --state-dir of its own"));
            }
            Err(TryLockError::Error(error)) => return Err(unwritable(error)),
        }
        Ok(Self {
            path: folder.join("journal.json"),
            _lock: Arc::new(lock),
        })
    }

    /// The state folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Its file in there.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the last run left; `None` if there was none, or if it cannot be read any more.
    pub fn read(&self) -> Result<Option<Record>, Problem> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => {
                return Err(Problem::new(
                    exit::AGENT,
                    format!("cannot read {}: {e}", self.path.display()),
                ));
            }
        };
        match serde_json::from_slice::<Record>(&bytes) {
            Ok(record) if record.format > FORMAT => {
                let what = format!(
                    "{} was written by a newer agent (format {})",
                    self.path.display(),
                    record.format
                );
                Err(Problem::new(exit::AGENT, what).help("use that agent, or remove the folder to start over"))
            }
            Ok(record) => Ok(Some(record)),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the journal is damaged and starts over");
                Ok(None)
            }
        }
    }

    /// Durable once it returns.
    pub fn write(&self, cluster: &str, revisions: Revisions, applied: bool) -> io::Result<()> {
        let record = Record {
            format: FORMAT,
            cluster: cluster.to_owned(),
            revisions,
            applied,
        };
        let text = serde_json::to_vec_pretty(&record)?;
        write::atomic(&self.path, &text, Some(0o600)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use kvapi::Revision;

    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_damaged_starts_over() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("state");
        let journal = Journal::claim(&folder).unwrap();
        let second = Journal::claim(&folder).unwrap_err();
        assert!(second.code == exit::AGENT && second.help[0].contains("--state-dir"));
        assert_eq!(journal.read().unwrap(), None);

        journal.write("c", Revisions::both(Revision(7)), false).unwrap();
        let record = journal.read().unwrap().unwrap();
        assert_eq!((record.revisions.settings, record.applied), (Revision(7), false));

        write::atomic(&journal.path, b"{", None).unwrap();
        assert_eq!(journal.read().unwrap(), None);
        write::atomic(
            &journal.path,
            br#"{"format":9,"cluster":"","revisions":{"settings":1,"live":1},"applied":true}"#,
            None,
        )
        .unwrap();
        assert_eq!(journal.read().unwrap_err().code, exit::AGENT);
    }
}
