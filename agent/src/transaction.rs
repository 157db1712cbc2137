//! The file set as a transaction: stage, check, promote, put back.
//!
//! [`stage`] writes everything that differs beside its destination and runs the checks on it;
//! [`Staged::promote`] puts it in place by renames alone, which the journal has before the first of
//! them; [`Promoted::put_back`] undoes that in the same way. A [`Staged`] that is dropped leaves nothing
//! behind, and a [`Promoted`] what is in place.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::checks;
use crate::config::{Config, Destination, Set, Template};
use crate::core::{FileSet, Unfit};
use crate::graph::TemplateId;
use crate::journal::Journal;
use crate::load::Program;
use crate::parallel::{self, Kind};
use crate::reap::Reaper;
use crate::seen::{Seen, Who};
use crate::step::{self, Time};
use crate::write::Pending;
use crate::{failpoint, folder, write};

/// A set that is complete on disk and in nobody's way.
#[derive(Debug, Default)]
pub struct Staged {
    pending: Pending,
    swaps: Vec<folder::Swap>,
    /// The templates whose files differ from what is in place.
    pub changed: BTreeSet<TemplateId>,
}

/// A set that is in place, and the way back to what was there before.
#[derive(Debug, Default)]
pub struct Promoted {
    pending: Pending,
    /// The way back was begun and is not over.
    half_way: AtomicBool,
}

/// Why a set is not in place.
#[derive(Debug)]
pub enum Unplaced {
    /// All files are as before.
    AsBefore(String),
    /// Some are of the set: the way back has failed as well, for now.
    HalfWay(Promoted, String),
}

/// Stages a set and checks copies of it in the folder `state`; `None` if `stop` came first. The
/// error names the file, the check and the reason.
///
/// Only the checks are cut short by `stop`, so that what is being written is never left behind.
pub async fn stage(
    program: Arc<Program>,
    set: FileSet,
    state: &Path,
    seen: Arc<Seen>,
    reaper: &Reaper,
    stop: &CancellationToken,
) -> Option<Result<Staged, Unfit>> {
    let (work, wanted) = (Arc::clone(&program), set.clone());
    let prepared = tokio::task::spawn_blocking(move || prepare(&work.config, &wanted, &seen)).await;
    let prepared = prepared.unwrap_or_else(|e| Err(format!("staging ended early: {e}")));
    let staged = match prepared {
        Ok(staged) => staged,
        Err(reason) => return Some(Err(Unfit::Unwritable(reason))),
    };
    let checked = checks::run(&program.config, &set, &staged.changed, state, reaper);
    let checked = stop.run_until_cancelled(checked).await?;
    Some(checked.map(|()| staged))
}

/// Writes what differs. Texts that were not rendered for this set are in place, unless somebody else has been there.
fn prepare(config: &Config, set: &FileSet, seen: &Seen) -> Result<Staged, String> {
    let all = seen.looks_at_all(config.templates.len(), Instant::now());
    let looked_at: Vec<TemplateId> = match all {
        true => (0..config.templates.len()).collect(),
        false => set.rendered.iter().copied().collect(),
    };
    let mut staged = Staged::default();
    let unknown = looked_at.iter().filter_map(|id| unknown(config, set, seen, *id));
    let unknown: Vec<Unknown<'_>> = unknown.collect();
    for (one, pending) in unknown
        .iter()
        .zip(parallel::each(&unknown, Kind::Disk, |one| one.write(seen)))
    {
        if let Some(pending) = pending? {
            staged.pending.extend(pending);
            staged.changed.insert(one.id);
        }
    }
    for (number, folder) in config.sets.iter().enumerate() {
        let within = |id: &TemplateId| config.templates.get(*id).is_some_and(|template| template.is_in(number));
        if looked_at.iter().any(within) {
            swap(config, set, (number, folder), &mut staged)?;
        }
    }
    Ok(staged)
}

/// A file of which nobody knows that it holds its text.
struct Unknown<'a> {
    id: TemplateId,
    template: &'a Template,
    path: &'a Path,
    text: &'a Arc<str>,
    who: Option<Who>,
}

/// The file of a template, unless it is known to hold its text or has no file of its own.
fn unknown<'a>(config: &'a Config, set: &'a FileSet, seen: &Seen, id: TemplateId) -> Option<Unknown<'a>> {
    let (template, text) = config.templates.get(id).zip(set.texts.get(id))?;
    let Destination::File(path) = &template.destination else {
        return None;
    };
    let who = Who::at(path);
    let known = who.is_some_and(|who| seen.holds(path, who, text, &template.looks));
    (!known).then_some(Unknown {
        id,
        template,
        path,
        text,
        who,
    })
}

impl Unknown<'_> {
    /// Writes it beside its destination, if that is otherwise.
    fn write(&self, seen: &Seen) -> Result<Option<Pending>, String> {
        let looks = &self.template.looks;
        let pending = write::prepare(self.path, self.text.as_bytes(), looks);
        let pending = pending.map_err(|error| unwritable(&self.template.shown, &error))?;
        match (&pending, self.who) {
            (Some(_), _) => failpoint::reach("staged"),
            (None, Some(who)) => seen.note(self.path, who, self.text, looks),
            (None, None) => {}
        }
        Ok(pending)
    }
}

/// Writes a folder that is replaced as a whole, if it is otherwise.
fn swap(config: &Config, set: &FileSet, (number, folder): (usize, &Set), staged: &mut Staged) -> Result<(), String> {
    let (mut ids, mut members) = (BTreeSet::new(), Vec::new());
    for (id, (template, text)) in config.templates.iter().zip(&set.texts).enumerate() {
        if let Destination::InSet { set, name } = &template.destination
            && *set == number
        {
            ids.insert(id);
            members.push((name.as_path(), &**text, &template.looks));
        }
    }
    if !folder::shows(&folder.dir, &members) {
        let prepared = folder::prepare(&folder.dir, &members, folder.dir_mode);
        let (pending, swap) = prepared.map_err(|error| unwritable(&folder.dir.display().to_string(), &error))?;
        staged.pending.extend(pending);
        staged.swaps.push(swap);
        staged.changed.extend(ids);
        failpoint::reach("staged");
    }
    Ok(())
}

fn unwritable(shown: &str, error: &io::Error) -> String {
    format!("cannot write {shown}: {error}")
}

impl Staged {
    /// Puts the set in place, to be applied for the files that are `owed`. If that fails half-way, what was there is
    /// put back.
    pub fn promote(self, set: &FileSet, owed: Vec<String>, journal: &Journal) -> Result<Promoted, Unplaced> {
        let before = journal.last();
        let noted = journal.begin(&set.cluster, set.revisions, owed, &self.pending.forward);
        noted.map_err(|error| Unplaced::AsBefore(format!("the journal: {error}")))?;
        let done = Promoted {
            pending: self.pending,
            half_way: AtomicBool::new(false),
        };
        if let Err(error) = step::take(&done.pending.forward, Time::First) {
            return Err(match done.put_back(journal) {
                Ok(()) => {
                    // Nothing has changed, so nothing has to be applied.
                    let _ = journal.again(before);
                    Unplaced::AsBefore(error.to_string())
                }
                Err(worse) => Unplaced::HalfWay(done, format!("{error}; and not all was put back: {worse}")),
            });
        }
        self.swaps.iter().for_each(folder::Swap::clear);
        Ok(done)
    }
}

impl Promoted {
    /// Brings back what was there before. Goes on after an error, and returns the first.
    pub fn put_back(&self, journal: &Journal) -> io::Result<()> {
        // The way back needs no room on the disk, the note does: then it is gone without one.
        if let Err(error) = journal.turn_back(&self.pending.back) {
            tracing::warn!(%error, "cannot note in the journal that the old files are put back");
        }
        let taken = step::take_each(&self.pending.back);
        self.half_way.store(taken.is_err(), Ordering::Relaxed);
        taken
    }
}

impl Drop for Promoted {
    fn drop(&mut self) {
        // The journal names what the next start needs to complete it.
        if self.half_way.load(Ordering::Relaxed) {
            self.pending.leave();
        }
    }
}
