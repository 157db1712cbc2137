//! What a run leaves for the next one: what was put in place last, and whether it was applied.
//!
//! Written before a promotion and after the apply. A kill in between is seen at the next start,
//! so no reload is ever lost; and the revision and the cluster in it keep an older state of the
//! store from being rendered by a new process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

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
}

impl Journal {
    /// In this folder, which may not exist yet.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            path: folder.join("journal.json"),
        }
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
        let journal = Journal::new(&dir.path().join("state"));
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
