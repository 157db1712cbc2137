//! `agent render`: what would be written, without writing it.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`values`] | values from a document instead of the store |
//! | [`from`] | a view from the store, as it is or as it was |
//! | [`change`] | what would change where the files are |
//! | [`explain`] P | what is behind each line |
//!
//! A missing key and a broken template are told in the words of `agent run`: [`crate::words`].

pub mod change;
pub mod explain;
pub mod from;
pub mod values;

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use kvapi::Problem;
use kvapi::problem::exit;
use kvapi::types::Revision;

use self::from::From;
use crate::config::Config;
use crate::core::{FileSet, Unfit};
use crate::load::{Program, on_big_stack};
use crate::reap::Reaper;
use crate::render::{Held, Lack, Rendered, Surroundings, traced};
use crate::trace::Trace;
use crate::view::View;
use crate::{checks, words};

/// All files of a program, as they would be written.
#[derive(Debug)]
pub struct Preview {
    /// The revision that they are of; values from a document have none.
    pub revision: Option<Revision>,
    /// Each text, in the order of the templates.
    pub files: Vec<File>,
    /// The program's variables, if it is given any.
    pub variables: Option<File>,
    /// Their names.
    pub names: Vec<String>,
}

/// One file.
#[derive(Debug)]
pub struct File {
    /// What is in it.
    pub text: String,
    /// What is behind each line, if the templates were compiled for that.
    pub trace: Trace,
}

/// Renders every template. The view grows until each has all that it asks for.
pub async fn make(program: &Program, around: &Surroundings, from: &From) -> Result<Preview, Problem> {
    let mut view = from.first();
    loop {
        let mut all = all(program, &view, around)?;
        let (environment, count) = (&program.config.environment, all.len());
        let mut names = Vec::new();
        if environment.reads_keys() {
            let (rendered, trace, told) = environment.preview(count, &view, around.missing);
            all.push((rendered, trace));
            names = told;
        }
        let (rendered, traces): (Vec<Rendered>, Vec<Trace>) = all.into_iter().unzip();
        let mut scope = view.scope().clone();
        let mut outside = false;
        for one in &rendered {
            scope.extend(&one.reads.scope);
            outside |= one.outcome == Err(Held::Outside);
        }
        if outside {
            view = from.view(scope).await?;
            continue;
        }
        let texts = match whole(rendered) {
            Ok(texts) => texts,
            Err(Held::Broken(told)) => return Err(words::broken(&told)),
            Err(Held::Missing(lacks)) => return Err(words::lacking(&lacks, &from.near(&lacks).await)),
            Err(Held::Outside) => continue,
        };
        let files = texts.into_iter().zip(traces);
        let mut files: Vec<File> = files.map(|(text, trace)| File { text, trace }).collect();
        let variables = files.split_off(count).pop();
        return Ok(Preview {
            revision: from.revision(&view),
            files,
            variables,
            names,
        });
    }
}

fn all(program: &Program, view: &View, around: &Surroundings) -> Result<Vec<(Rendered, Trace)>, Problem> {
    let ids = || 0..program.templates.names().len();
    on_big_stack(|| {
        let render = |around: &Surroundings| ids().map(|id| traced(&program.templates, id, view, around)).collect();
        program.files.complete(around.clone(), render).0
    })
}

/// The texts, or what stands in the way: a template that is broken before keys that are missing.
fn whole(rendered: Vec<Rendered>) -> Result<Vec<String>, Held> {
    let (mut lacks, mut texts): (BTreeSet<Lack>, _) = (BTreeSet::new(), Vec::new());
    for one in rendered {
        match one.outcome {
            Ok(text) => texts.push(text),
            Err(Held::Missing(more)) => lacks.extend(more),
            Err(held) => return Err(held),
        }
    }
    if lacks.is_empty() {
        return Ok(texts);
    }
    Err(Held::Missing(lacks.into_iter().collect()))
}

impl Preview {
    /// Prints one text as it is, several each under its name; variables always.
    pub fn print(&self, config: &Config, out: &mut impl Write) -> std::io::Result<()> {
        let several = self.files.len() > 1 || self.variables.is_some();
        for (id, file) in self.files.iter().chain(&self.variables).enumerate() {
            if several {
                writeln!(out, "==> {} <==", config.shown(id))?;
            }
            out.write_all(file.text.as_bytes())?;
        }
        out.flush()
    }

    /// Runs the checks on copies of all files, as `agent once` does before it writes the first of them.
    pub async fn check(&self, program: &Program, reaper: &Reaper) -> Result<(), Problem> {
        let failed = |e: std::io::Error| Problem::new(exit::AGENT, format!("cannot stage the files: {e}"));
        let state = tempfile::tempdir().map_err(failed)?;
        let ids: BTreeSet<_> = (0..self.files.len()).collect();
        let set = FileSet {
            revisions: crate::view::Revisions::both(self.revision.unwrap_or_default()),
            cluster: String::new(),
            texts: self.files.iter().map(|file| Arc::from(file.text.as_str())).collect(),
            rendered: ids.clone(),
        };
        let checked = checks::run(&program.config, &set, &ids, state.path(), reaper).await;
        checked.map_err(|unfit| match unfit {
            Unfit::Refused(reason) => words::refused(reason),
            Unfit::Unwritable(reason) => Problem::new(exit::AGENT, reason),
        })
    }
}
