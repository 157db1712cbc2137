//! What would change where the files are: texts, modes, files that come and go.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use kvapi::Problem;
use kvapi::problem::exit;

use super::{File, Preview};
use crate::config::{Config, Destination, Template};
use crate::diff::{self, Hide, Side};
use crate::folder;
use crate::owner::Wanted;

/// What would happen to one file.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    path: String,
    /// What becomes of the text.
    text: Option<Becomes>,
    /// What is otherwise than it is asked for, beside the text.
    drift: Vec<String>,
    diff: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Becomes {
    Made,
    Changed,
    Removed,
}

impl Change {
    /// What would happen, in a line.
    #[must_use]
    pub fn named(&self) -> String {
        let text = self.text.map(|becomes| match becomes {
            Becomes::Made => "is made",
            Becomes::Changed => "is changed",
            Becomes::Removed => "is removed: no template of its set makes it",
        });
        let told: Vec<&str> = text.into_iter().chain(self.drift.iter().map(String::as_str)).collect();
        format!("{}: {}\n", self.path, told.join(", "))
    }

    /// The texts as a unified diff, and behind it what no diff can tell.
    #[must_use]
    pub fn shown(&self) -> String {
        match (self.text, self.drift.is_empty()) {
            (Some(Becomes::Removed), _) => self.named(),
            (_, true) => self.diff.clone(),
            (_, false) => format!("{}{}: {}\n", self.diff, self.path, self.drift.join(", ")),
        }
    }
}

/// Everything that would change, in the order of the templates; what a set's folder would lose comes last.
pub fn changes(preview: &Preview, config: &Config) -> Result<Vec<Change>, Problem> {
    let mut found = Vec::new();
    for link in config.sets.iter().map(|set| &set.dir) {
        let is_ours = fs::symlink_metadata(link).map_or(true, |meta| meta.is_symlink());
        if !is_ours {
            let told = format!(
                "cannot write {0}: {0} exists and is not a symlink; move it away",
                link.display()
            );
            return Err(Problem::new(exit::AGENT, told));
        }
    }
    for (template, file) in config.templates.iter().zip(&preview.files) {
        let path = match &template.destination {
            Destination::File(path) => path.clone(),
            Destination::InSet { set, name } => config.sets[*set].dir.join(name),
            Destination::Stdout => {
                let what = format!("there is no file to compare {} with", source(template));
                return Err(Problem::new(exit::USAGE, what).help("name the file that it becomes: -t SRC:DST"));
            }
        };
        found.extend(changed(&path, template, file, preview)?);
    }
    for (number, set) in config.sets.iter().enumerate() {
        found.extend(lost(number, &set.dir, config)?);
    }
    Ok(found)
}

fn source(template: &Template) -> String {
    match &template.source {
        crate::config::Source::File(path) => path.display().to_string(),
        crate::config::Source::Inline(_) => "a template of the configuration".to_owned(),
    }
}

fn changed(path: &Path, template: &Template, file: &File, preview: &Preview) -> Result<Option<Change>, Problem> {
    let shown = path.display().to_string();
    let old = old(path).map_err(|e| unreadable(path, &e))?;
    let bytes = old.as_ref().map(|(bytes, _)| bytes.as_slice());
    let text = match bytes {
        None => Some(Becomes::Made),
        Some(bytes) => (bytes != file.text.as_bytes()).then_some(Becomes::Changed),
    };
    let wanted = Wanted::of(&template.looks);
    let wanted = wanted.map_err(|e| Problem::new(exit::AGENT, format!("cannot write {shown}: {e}")))?;
    let drift = old.as_ref().map(|(_, meta)| wanted.drift(meta)).unwrap_or_default();
    if text.is_none() && drift.is_empty() {
        return Ok(None);
    }
    let name = match preview.revision {
        Some(revision) => format!("{shown}\trevision {revision}"),
        None => shown.clone(),
    };
    let (before, after) = (
        Side {
            name: &shown,
            value: bytes,
        },
        Side {
            name: &name,
            value: Some(file.text.as_bytes()),
        },
    );
    let hide = Hide {
        new: &|line| file.trace.is_secret(line),
        old: file.trace.has_secrets(),
    };
    Ok(Some(Change {
        diff: diff::hidden(before, after, hide),
        path: shown,
        text,
        drift,
    }))
}

/// The files that a set's folder has and its templates do not make.
fn lost(number: usize, link: &Path, config: &Config) -> Result<Vec<Change>, Problem> {
    let ours: BTreeSet<PathBuf> = config
        .templates
        .iter()
        .filter_map(|template| match &template.destination {
            Destination::InSet { set, name } if *set == number => Some(link.join(name)),
            _ => None,
        })
        .collect();
    let there = match folder::listing(link) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        there => there.map_err(|e| unreadable(link, &e))?,
    };
    let gone = there.difference(&ours).map(|path| Change {
        path: path.display().to_string(),
        text: Some(Becomes::Removed),
        drift: Vec::new(),
        diff: String::new(),
    });
    Ok(gone.collect())
}

fn old(path: &Path) -> io::Result<Option<(Vec<u8>, Metadata)>> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some((fs::read(path)?, meta))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem::new(
        exit::AGENT,
        format!("cannot read {} to compare with: {error}", path.display()),
    )
}
