//! What a run leaves for the next one: what was put in place last, and whether it was applied.
//!
//! Its folder belongs to one agent at a time: two that write the same files would undo each other's
//! work. Written before a promotion, with its steps, and after the apply. A kill in between is seen at
//! the next start: [`Journal::recover`] takes the steps that are left, so that the files are one whole
//! set whatever else is there, and no reload is ever lost; and the revision and the cluster in it keep
//! an older state of the store from being rendered by a new process.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kvapi::Problem;
use kvapi::problem::exit;
use serde::{Deserialize, Serialize};

use crate::step::{self, Step, Time};
use crate::view::Revisions;
use crate::{failpoint, write};

const FORMAT: u32 = 2;

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
    /// The files that the program has not been told of; all of them if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owed: Vec<String>,
    /// What puts the files in place, if that may not be over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    steps: Vec<Step>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
    /// What is in the file.
    last: Arc<Mutex<Record>>,
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
            last: Arc::default(),
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

    /// What the last run left; `None` if there was none, or if it cannot be read any more. Steps that it did not
    /// come to are taken.
    pub fn recover(&self) -> Result<Option<Record>, Problem> {
        let Some(record) = self.read()? else { return Ok(None) };
        if !record.steps.is_empty() {
            step::take(&record.steps, Time::Again).map_err(|error| {
                let what =
                    format!("the last run was ended between two files of a set, and it cannot be completed: {error}");
                Problem::new(exit::AGENT, what).help("make the files writable and start again")
            })?;
            tracing::info!("the last run was ended while a set was put in place; it is complete now");
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = record.clone();
        Ok(Some(record))
    }

    fn read(&self) -> Result<Option<Record>, Problem> {
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

    /// These steps are about to be taken, to a set that is not applied yet to these files. Durable once it returns.
    pub fn begin(&self, cluster: &str, revisions: Revisions, owed: Vec<String>, steps: &[Step]) -> io::Result<()> {
        self.write(Record {
            owed,
            format: FORMAT,
            cluster: cluster.to_owned(),
            revisions,
            applied: false,
            steps: steps.to_vec(),
        })
    }

    /// Other steps are about to be taken instead: those back.
    pub fn turn_back(&self, steps: &[Step]) -> io::Result<()> {
        self.write(Record {
            steps: steps.to_vec(),
            ..self.last()
        })
    }

    /// What is in place is of these revisions, and the program uses it.
    pub fn applied(&self, cluster: &str, revisions: Revisions) -> io::Result<()> {
        self.write(Record {
            format: FORMAT,
            cluster: cluster.to_owned(),
            revisions,
            applied: true,
            owed: Vec::new(),
            steps: Vec::new(),
        })
    }

    /// What is on disk.
    #[must_use]
    pub fn last(&self) -> Record {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was on disk once is again.
    pub fn write(&self, record: Record) -> io::Result<()> {
        failpoint::reach("noting");
        write::atomic(&self.path, &serde_json::to_vec_pretty(&record)?, Some(0o600))?;
        failpoint::reach("noted");
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = record;
        Ok(())
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
        assert_eq!(journal.recover().unwrap(), None);

        journal
            .begin("c", Revisions::both(Revision(7)), vec!["a".into()], &[])
            .unwrap();
        let record = journal.recover().unwrap().unwrap();
        assert_eq!((record.revisions.settings, record.applied), (Revision(7), false));

        write::atomic(&journal.path, b"{", None).unwrap();
        assert_eq!(journal.recover().unwrap(), None);
        write::atomic(
            &journal.path,
            br#"{"format":9,"cluster":"","revisions":{"settings":1,"live":1},"applied":true}"#,
            None,
        )
        .unwrap();
        assert_eq!(journal.recover().unwrap_err().code, exit::AGENT);
    }

    #[test]
    fn steps_that_were_noted_and_not_taken_are_taken_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::claim(dir.path()).unwrap();
        let at = |name: &str| dir.path().join(name);
        write::atomic(&at("a.new"), b"2", None).unwrap();
        write::atomic(&at("a"), b"1", None).unwrap();
        let step = |new: &str| Step::Replace {
            new: at(new),
            path: at("a"),
        };
        journal
            .begin("c", Revisions::both(Revision(7)), vec!["a".into()], &[step("a.new")])
            .unwrap();

        journal.recover().unwrap();
        assert_eq!(fs::read_to_string(at("a")).unwrap(), "2");

        journal.turn_back(&[step("a.old")]).unwrap();
        let record = journal.recover().unwrap().unwrap();
        assert_eq!((record.applied, record.revisions.settings), (false, Revision(7)));
        journal.applied("c", record.revisions).unwrap();
        assert!(journal.recover().unwrap().unwrap().applied);
    }
}
