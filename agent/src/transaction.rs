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

use tokio_util::sync::CancellationToken;

use crate::checks;
use crate::config::{Config, Destination};
use crate::core::{FileSet, Unfit};
use crate::graph::TemplateId;
use crate::journal::Journal;
use crate::load::Program;
use crate::reap::Reaper;
use crate::seen::{Seen, Who};
use crate::step::{self, Time};
use crate::{failpoint, folder, write};

/// A set that is complete on disk and in nobody's way.
#[derive(Debug, Default)]
pub struct Staged {
    pending: write::Pending,
    swaps: Vec<folder::Swap>,
    /// The templates whose files differ from what is in place.
    pub changed: BTreeSet<TemplateId>,
}

/// A set that is in place, and the way back to what was there before.
#[derive(Debug, Default)]
pub struct Promoted {
    pending: write::Pending,
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
    let (work, texts) = (Arc::clone(&program), set.texts.clone());
    let prepared = tokio::task::spawn_blocking(move || prepare(&work.config, &texts, &seen)).await;
    let prepared = prepared.unwrap_or_else(|e| Err(format!("staging ended early: {e}")));
    let staged = match prepared {
        Ok(staged) => staged,
        Err(reason) => return Some(Err(Unfit::Unwritable(reason))),
    };
    let checked = checks::run(&program.config, &set, &staged.changed, state, reaper);
    let checked = stop.run_until_cancelled(checked).await?;
    Some(checked.map(|()| staged))
}

fn prepare(config: &Config, texts: &[Arc<str>], seen: &Seen) -> Result<Staged, String> {
    let mut staged = Staged::default();
    let told = |shown: &str, error: &io::Error| format!("cannot write {shown}: {error}");
    for (id, (template, text)) in config.templates.iter().zip(texts).enumerate() {
        if let Destination::File(path) = &template.destination {
            let who = Who::at(path);
            if who.is_some_and(|who| seen.holds(path, who, text, &template.looks)) {
                continue;
            }
            let pending = write::prepare(path, text.as_bytes(), &template.looks);
            if let Some(pending) = pending.map_err(|e| told(&template.shown, &e))? {
                staged.pending.extend(pending);
                staged.changed.insert(id);
                failpoint::reach("staged");
            } else if let Some(who) = who {
                seen.note(path, who, text, &template.looks);
            }
        }
    }
    for (number, set) in config.sets.iter().enumerate() {
        let (mut ids, mut members) = (BTreeSet::new(), Vec::new());
        for (id, (template, text)) in config.templates.iter().zip(texts).enumerate() {
            if let Destination::InSet { set, name } = &template.destination
                && *set == number
            {
                ids.insert(id);
                members.push((name.as_path(), &**text, &template.looks));
            }
        }
        if !folder::shows(&set.dir, &members) {
            let prepared = folder::prepare(&set.dir, &members, set.dir_mode);
            let (pending, swap) = prepared.map_err(|e| told(&set.dir.display().to_string(), &e))?;
            staged.pending.extend(pending);
            staged.swaps.push(swap);
            staged.changed.extend(ids);
            failpoint::reach("staged");
        }
    }
    Ok(staged)
}

impl Staged {
    /// Puts the set in place, to be applied for the files that are `owed`. If that fails half-way, what was there is
    /// put back.
    pub fn promote(self, set: &FileSet, owed: Vec<String>, journal: &Journal) -> Result<Promoted, String> {
        let before = journal.last();
        let noted = journal.begin(&set.cluster, set.revisions, owed, &self.pending.forward);
        noted.map_err(|error| format!("the journal: {error}"))?;
        let done = Promoted { pending: self.pending };
        if let Err(error) = step::take(&done.pending.forward, Time::First) {
            return Err(match done.put_back(journal) {
                Ok(()) => {
                    // Nothing has changed, so nothing has to be applied.
                    let _ = journal.write(before);
                    error.to_string()
                }
                Err(worse) => format!("{error}; and not all was put back: {worse}"),
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
        step::take_each(&self.pending.back)
    }
}
