//! What a run leaves for the next one: what was put in place last, and whether it was applied.
//!
//! Its folder belongs to one agent at a time, and so does each file: two that write the same files would undo
//! each other's work. What a run with another list of files has left of ours is taken over. A note is written before a promotion, with its steps, and after the apply. A kill in between is
//! seen at the next start: [`Journal::recover`] takes the steps that are left, so that the files are one
//! whole set whatever else is there, and no reload is ever lost; and the revision and the cluster in it
//! keep an older state of the store from being rendered by a new process.
//!
//! What is on disk when the power fails follows from three rules:
//!
//! - a note of what is about to be done is on disk before that is begun;
//! - the steps of a note are on disk before another note takes its place;
//! - notes go to two files in turn, over what is there, and never over the last durable one: one that was
//!   cut off, or never came to the disk, leaves that one.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kvapi::Problem;
use kvapi::problem::exit;

pub use self::page::Record;
use self::page::{Page, Unread};
use crate::failpoint;
use crate::step::{self, Step, Time};
use crate::view::Revisions;

mod neighbours;
mod page;

/// The names of the two files.
const FILES: [&str; 2] = ["journal-0", "journal-1"];

/// Whether a note has to outlive the power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// It is on disk once it is written.
    Durable,
    /// It comes to the disk some time. Until then the one before it counts after a power cut: then steps that
    /// were taken are taken again, and what was applied is applied again.
    Soon,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Journal {
    folder: PathBuf,
    state: Arc<Mutex<State>>,
    /// Held as long as the last clone lives, and let go by the kernel however the process ends.
    _lock: Arc<File>,
}

/// What is known of the files.
#[derive(Debug, Default)]
struct State {
    /// The last note.
    last: Record,
    /// Its number.
    number: u64,
    /// The file that has the last durable one.
    durable: usize,
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
            folder: folder.to_owned(),
            state: Arc::default(),
            _lock: Arc::new(lock),
        })
    }

    /// The state folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn file(&self, place: usize) -> PathBuf {
        self.folder.join(FILES[place % FILES.len()])
    }

    /// What the last run left; `None` if there was none, or if it cannot be read any more. Steps that it did not
    /// come to are taken.
    pub fn recover(&self) -> Result<Option<Record>, Problem> {
        let Some((place, Page { number, record })) = self.read()? else {
            return Ok(None);
        };
        let unfinished = record.steps.iter().any(Step::is_left);
        if !record.steps.is_empty() {
            step::take(&record.steps, Time::Again).map_err(|error| {
                let what =
                    format!("the last run was ended between two files of a set, and it cannot be completed: {error}");
                Problem::new(exit::AGENT, what).help("make the files writable and start again")
            })?;
        }
        if unfinished {
            tracing::info!("the last run was ended while a set was put in place; it is complete now");
        }
        // The next note goes over the other one, which may be all that is on disk.
        let kept = File::open(self.file(place)).and_then(|file| file.sync_all());
        kept.map_err(|error| Problem::new(exit::AGENT, format!("cannot keep the journal: {error}")))?;
        *self.state() = State {
            last: record.clone(),
            number,
            durable: place,
        };
        Ok(Some(record))
    }

    /// What the last run left, and what runs that wrote one of these files with others have.
    ///
    /// # Errors
    /// Another agent writes one of them, or what was left cannot be completed.
    pub fn inherit(&self, files: &BTreeSet<PathBuf>) -> Result<Option<Record>, Problem> {
        let mut record = self.recover()?;
        let unwritable = |error| Problem::new(exit::AGENT, format!("cannot write the journal: {error}"));
        neighbours::tell(&self.folder, files).map_err(unwritable)?;
        for neighbour in neighbours::of(&self.folder, files) {
            let shown = neighbour.folder.display();
            let other = Self::claim(&neighbour.folder).map_err(|problem| {
                let what = format!(
                    "{} is written by another agent: {}",
                    neighbour.shared.display(),
                    problem.what
                );
                Problem::new(exit::AGENT, what).help("stop it, or let only one of them write that file")
            })?;
            if let Some(left) = other.recover()? {
                step::sync(&left.steps).map_err(unwritable)?;
                let all = match record {
                    Some(own) => own.and(left),
                    None => left,
                };
                record = Some(all.clone());
                self.write(all, Kept::Durable).map_err(unwritable)?;
            }
            match fs::remove_dir_all(&neighbour.folder) {
                Ok(()) => tracing::info!("took over what an agent of other files left in {shown}"),
                Err(error) => tracing::warn!(%error, "cannot remove {shown}, whose agent had other files"),
            }
        }
        Ok(record)
    }

    /// The last note that is whole, and which file has it.
    fn read(&self) -> Result<Option<(usize, Page)>, Problem> {
        let (mut last, mut damaged): (Option<(usize, Page)>, _) = (None, None);
        for place in 0..FILES.len() {
            let path = self.file(place);
            let shown = path.display();
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Problem::new(exit::AGENT, format!("cannot read {shown}: {e}"))),
            };
            match Page::read(&bytes) {
                Ok(page) if last.as_ref().is_none_or(|(_, other)| other.number < page.number) => {
                    last = Some((place, page));
                }
                Ok(_) => {}
                Err(Unread::Newer(format)) => {
                    let what = format!("{shown} was written by a newer agent (format {format})");
                    let problem = Problem::new(exit::AGENT, what);
                    return Err(problem.help("use that agent, or remove the folder to start over"));
                }
                Err(Unread::Damaged) => damaged = Some(path),
            }
        }
        if let (None, Some(path)) = (&last, damaged) {
            tracing::warn!(path = %path.display(), "the journal is damaged and starts over");
        }
        Ok(last)
    }

    /// These steps are about to be taken, to a set that is not applied yet to these files. Durable once it returns.
    pub fn begin(&self, cluster: &str, revisions: Revisions, owed: Vec<String>, steps: &[Step]) -> io::Result<()> {
        let record = Record {
            owed,
            cluster: cluster.to_owned(),
            revisions,
            applied: false,
            steps: steps.to_vec(),
        };
        self.write(record, Kept::Durable)
    }

    /// Other steps are about to be taken instead: those back. Durable once it returns.
    pub fn turn_back(&self, steps: &[Step]) -> io::Result<()> {
        let record = Record {
            steps: steps.to_vec(),
            ..self.last()
        };
        self.write(record, Kept::Durable)
    }

    /// What is in place is of these revisions, and the program uses it.
    pub fn applied(&self, cluster: &str, revisions: Revisions) -> io::Result<()> {
        let record = Record {
            cluster: cluster.to_owned(),
            revisions,
            applied: true,
            owed: Vec::new(),
            steps: Vec::new(),
        };
        self.write(record, Kept::Soon)
    }

    /// What was noted once holds again.
    pub fn again(&self, record: Record) -> io::Result<()> {
        self.write(record, Kept::Soon)
    }

    /// What was noted last.
    #[must_use]
    pub fn last(&self) -> Record {
        self.state().last.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, record: Record, kept: Kept) -> io::Result<()> {
        failpoint::reach("noting");
        let mut state = self.state();
        step::sync(&state.last.steps)?;
        let place = (state.durable + 1) % FILES.len();
        let page = Page {
            number: state.number + 1,
            record,
        };
        page.write(&self.file(place), kept == Kept::Durable)?;
        failpoint::reach("noted");
        let Page { number, record } = page;
        let durable = if kept == Kept::Durable { place } else { state.durable };
        *state = State {
            last: record,
            number,
            durable,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kvapi::Revision;

    use super::*;
    use crate::write;

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

        let overwrite = |text: &str| {
            for place in [0, 1] {
                write::atomic(&journal.file(place), text.as_bytes(), None).unwrap();
            }
        };
        overwrite("{");
        assert_eq!(journal.recover().unwrap(), None);
        overwrite("{\"format\":9,\"number\":1,\"bytes\":0,\"sum\":\"\"}\n");
        assert_eq!(journal.recover().unwrap_err().code, exit::AGENT);
    }

    #[test]
    fn a_note_that_never_came_to_the_disk_leaves_the_last_durable_one() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::claim(dir.path()).unwrap();
        let at = |revision: u64| Revisions::both(Revision(revision));
        let begin = |revision: u64| journal.begin("c", at(revision), vec!["a".into()], &[]).unwrap();
        let found = || {
            let record = journal.read().unwrap().map(|(_, page)| page.record).unwrap();
            (record.revisions.settings.0, record.applied)
        };
        let mut next = 1;
        for started_again in [false, true, false] {
            for _ in 0..3 {
                begin(next);
                assert_eq!(found(), (next, false));
                let durable = [0, 1].map(|place| fs::read(journal.file(place)).unwrap_or_default());
                journal.applied("c", at(next)).unwrap();
                assert_eq!(found(), (next, true));
                // The power fails: what was written since is on disk or is not, or a part of it.
                let written = [0, 1].map(|place| fs::read(journal.file(place)).unwrap());
                let place = [0, 1].into_iter().find(|place| durable[*place] != written[*place]);
                let place = place.unwrap();
                for cut in [0, 1, 100] {
                    let mut torn = written[place][..cut].to_vec();
                    torn.extend(durable[place].iter().skip(cut));
                    write::atomic(&journal.file(place), &torn, None).unwrap();
                    assert_eq!(found(), (next, false), "{next} {cut}");
                }
                write::atomic(&journal.file(place), &written[place], None).unwrap();
                next += 1;
            }
            if started_again {
                assert!(journal.recover().unwrap().unwrap().applied);
            }
        }
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
