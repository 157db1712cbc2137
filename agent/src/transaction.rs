//! The file set as a transaction: stage, check, promote, put back.
//!
//! [`stage`] writes everything that differs beside its destination and runs the checks on it;
//! [`Staged::promote`] puts it in place by renames alone; [`Promoted::put_back`] undoes that. A
//! [`Staged`] that is dropped leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::child;
use crate::config::{Config, Destination};
use crate::core::{FileSet, Unfit};
use crate::graph::TemplateId;
use crate::load::Program;
use crate::reap::Reaper;
use crate::{folder, write};

/// A set that is complete on disk and in nobody's way.
#[derive(Debug, Default)]
pub struct Staged {
    files: Vec<write::Pending>,
    folders: Vec<folder::Pending>,
    /// The templates whose files differ from what is in place.
    pub changed: BTreeSet<TemplateId>,
}

/// A set that is in place, and what was there before.
#[derive(Debug, Default)]
pub struct Promoted {
    files: Vec<write::Undo>,
    folders: Vec<folder::Undo>,
}

/// Stages a set and checks copies of it in the folder `state`; `None` if `stop` came first. The
/// error names the file, the check and the reason.
///
/// Only the checks are cut short by `stop`, so that what is being written is never left behind.
pub async fn stage(
    program: Arc<Program>,
    set: FileSet,
    state: &Path,
    reaper: &Reaper,
    stop: &CancellationToken,
) -> Option<Result<Staged, Unfit>> {
    let (work, texts) = (Arc::clone(&program), set.texts.clone());
    let prepared = tokio::task::spawn_blocking(move || prepare(&work.config, &texts)).await;
    let prepared = prepared.unwrap_or_else(|e| Err(format!("staging ended early: {e}")));
    let staged = match prepared {
        Ok(staged) => staged,
        Err(reason) => return Some(Err(Unfit::Unwritable(reason))),
    };
    let checked = check(&program.config, &set, &staged.changed, state, reaper);
    let checked = stop.run_until_cancelled(checked).await?;
    Some(checked.map(|()| staged))
}

fn prepare(config: &Config, texts: &[Arc<str>]) -> Result<Staged, String> {
    let mut staged = Staged::default();
    let told = |shown: &str, error: &io::Error| format!("cannot write {shown}: {error}");
    for (id, (template, text)) in config.templates.iter().zip(texts).enumerate() {
        if let Destination::File(path) = &template.destination {
            let pending = write::Pending::prepare(path, text.as_bytes(), template.mode);
            if let Some(pending) = pending.map_err(|e| told(&template.shown, &e))? {
                staged.files.push(pending);
                staged.changed.insert(id);
            }
        }
    }
    for (number, link) in config.sets.iter().enumerate() {
        let (mut ids, mut members) = (BTreeSet::new(), Vec::new());
        for (id, (template, text)) in config.templates.iter().zip(texts).enumerate() {
            if let Destination::InSet { set, name } = &template.destination
                && *set == number
            {
                ids.insert(id);
                members.push((name.as_path(), &**text, template.mode));
            }
        }
        if !folder::shows(link, &members) {
            let pending = folder::Pending::prepare(link, &members);
            staged
                .folders
                .push(pending.map_err(|e| told(&link.display().to_string(), &e))?);
            staged.changed.extend(ids);
        }
    }
    Ok(staged)
}

/// Runs every check on copies of the whole set.
///
/// A check with `{}` is run for each changed file, with the path of its copy; one without is run
/// once. All of them find the copies, named as the files are, in `KEYWAY_STAGED_DIR`.
pub(crate) async fn check(
    config: &Config,
    set: &FileSet,
    changed: &BTreeSet<TemplateId>,
    state: &Path,
    reaper: &Reaper,
) -> Result<(), Unfit> {
    let checked = |id: &TemplateId| config.templates[*id].check.is_some();
    if changed.is_empty() || (config.check.is_none() && !changed.iter().any(checked)) {
        return Ok(());
    }
    let dir = copies(config, set, state)
        .map_err(|e| Unfit::Unwritable(format!("cannot stage in {}: {e}", state.display())))?;
    let names = names(config);
    let env = BTreeMap::from([("KEYWAY_STAGED_DIR".to_owned(), dir.path().display().to_string())]);
    for &id in changed {
        let template = &config.templates[id];
        let per_file = config.check.iter().filter(|line| line.has_place());
        for line in template.check.iter().chain(per_file) {
            let path = dir.path().join(&names[id]).display().to_string();
            let filled = line.filled(&path).map_err(Unfit::Refused)?;
            let mut env = env.clone();
            env.insert("KEYWAY_STAGED_FILE".to_owned(), path.clone());
            let result = child::run(reaper, &filled, &env).await;
            result.map_err(|reason| Unfit::Refused(format!("{}: check `{line}`: {reason}", template.shown)))?;
        }
    }
    if let Some(line) = config.check.as_ref().filter(|line| !line.has_place()) {
        child::run(reaper, line, &env)
            .await
            .map_err(|reason| Unfit::Refused(format!("check `{line}`: {reason}")))?;
    }
    Ok(())
}

/// What the names of the folders with copies begin with.
pub const COPIES: &str = "keyway-staged-";

fn copies(config: &Config, set: &FileSet, state: &Path) -> io::Result<tempfile::TempDir> {
    std::fs::create_dir_all(state)?;
    let dir = tempfile::Builder::new().prefix(COPIES).tempdir_in(state)?;
    for (id, name) in names(config).iter().enumerate() {
        let template = &config.templates[id];
        let path = dir.path().join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut file = std::fs::File::create(&path)?;
        io::Write::write_all(&mut file, set.texts[id].as_bytes())?;
        if let Some(mode) = template.mode {
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        }
    }
    Ok(dir)
}

/// Each destination, relative to the folder that all of them lie in.
fn names(config: &Config) -> Vec<PathBuf> {
    let paths: Vec<&Path> = config
        .templates
        .iter()
        .map(|template| Path::new(&template.shown))
        .collect();
    let mut common: PathBuf = paths
        .first()
        .and_then(|path| path.parent())
        .unwrap_or(Path::new("/"))
        .to_owned();
    while !paths.iter().all(|path| path.starts_with(&common)) && common.pop() {}
    let relative = |path: &Path| path.strip_prefix(&common).unwrap_or(path).to_owned();
    paths.into_iter().map(relative).collect()
}

impl Staged {
    /// Puts the set in place, durably. If that fails half-way, what was there is put back.
    pub fn promote(self) -> Result<Promoted, String> {
        let mut done = Promoted::default();
        let folders: BTreeSet<PathBuf> = self
            .files
            .iter()
            .filter_map(|file| file.folder().map(Path::to_owned))
            .collect();
        let result = done.place(self.files, self.folders);
        let result = result.and_then(|()| folders.iter().try_for_each(|folder| write::sync_folder(folder)));
        match result {
            Ok(()) => Ok(done),
            Err(error) => match done.put_back() {
                Ok(()) => Err(error.to_string()),
                Err(worse) => Err(format!("{error}; and not all was put back: {worse}")),
            },
        }
    }
}

impl Promoted {
    fn place(&mut self, files: Vec<write::Pending>, folders: Vec<folder::Pending>) -> io::Result<()> {
        for file in files {
            match file.promote() {
                Ok(undo) => self.files.push(undo),
                Err((error, undo)) => {
                    self.files.push(undo);
                    return Err(error);
                }
            }
        }
        for folder in folders {
            match folder.promote() {
                Ok(undo) => self.folders.push(undo),
                Err((error, undo)) => {
                    self.folders.push(undo);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Brings back what was there before. Goes on after an error, and returns the first.
    pub fn put_back(&self) -> io::Result<()> {
        let files = self.files.iter().map(write::Undo::put_back);
        let results: Vec<io::Result<()>> = files.chain(self.folders.iter().map(folder::Undo::put_back)).collect();
        results.into_iter().collect()
    }
}
