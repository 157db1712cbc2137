//! Reading what the agent is to do: configuration files, templates, partials.
//!
//! Everything is read and compiled before anything of it is used; whatever is wrong leaves what
//! runs as it is. The same [`Plan`] is read again after SIGHUP and when a template changes.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::{fs, io, thread};

use kvapi::Problem;
use kvapi::problem::exit;

use crate::config::{Config, Raw, Source};
use crate::files::Files;
use crate::graph::TemplateId;
use crate::helpers::file::Place;
use crate::parallel::{self, Kind};
use crate::render::{Rendered, STACK, Surroundings, render};
use crate::templates::{Choices, Templates, Text};
use crate::view::View;

/// What a run was started with.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Configuration files, and folders of them, in order.
    pub files: Vec<PathBuf>,
    /// What the flags say; it wins over the files.
    pub flags: Raw,
    /// End after the first set.
    pub once: bool,
    /// Compile so that what is behind each line can be told.
    pub traced: bool,
}

/// A checked configuration and its compiled templates.
#[derive(Debug)]
pub struct Program {
    /// The configuration.
    pub config: Config,
    /// The templates; a template's place is the same in both.
    pub templates: Templates,
    /// The files that they show.
    pub files: Files,
    /// Where each template's files are.
    places: Arc<[Place]>,
}

impl Plan {
    /// Reads and checks the configuration alone.
    pub fn config(&self) -> Result<Config, Problem> {
        let mut raw = Raw::default();
        for given in &self.files {
            for path in configurations(given)? {
                raw.merge(Raw::parse(&read(&path, "configuration")?, &path)?);
            }
        }
        raw.merge(self.flags.clone());
        raw.check(self.once)
    }

    /// Reads and compiles everything. Blocks; compiling has a thread of its own for its stack.
    pub fn load(&self, before: Option<&Program>) -> Result<Program, Problem> {
        let config = self.config()?;
        let mut mains = Vec::with_capacity(config.templates.len());
        for template in &config.templates {
            mains.push(match &template.source {
                Source::File(path) => (path.display().to_string(), read(path, "template")?),
                Source::Inline(text) => (format!("{} (contents)", template.shown), text.clone()),
            });
        }
        let partials = config
            .partials
            .as_deref()
            .map(partials)
            .transpose()?
            .unwrap_or_default();
        let files = before.map(|program| program.files.again()).unwrap_or_default();
        let before = before.map(|program| &program.templates);
        let choices = Choices {
            denied: config.deny_helpers.clone(),
            traced: self.traced,
        };
        let each = |texts: &[Text<'_>]| parallel::each(texts, Kind::Template, Text::parse);
        let templates = on_big_stack(|| Templates::compile_with(&mains, &partials, before, choices, each))??;
        for name in templates.slow() {
            tracing::warn!(template = name, "more than 1000 tags compile slowly; use {{#each}}");
        }
        Ok(Program::new(config, templates, files))
    }
}

impl Program {
    /// All of it together.
    #[must_use]
    pub fn new(config: Config, templates: Templates, files: Files) -> Self {
        let places = config.templates.iter().map(|template| template.place.clone());
        Self {
            places: places.collect(),
            config,
            templates,
            files,
        }
    }

    /// What its templates are rendered with, beside a view.
    #[must_use]
    pub fn around(&self, env: Arc<BTreeMap<String, String>>) -> Surroundings {
        Surroundings {
            env,
            missing: self.config.policy.missing,
            files: self.files.known(),
            places: Arc::clone(&self.places),
            ..Surroundings::default()
        }
    }

    /// Renders one of its texts: a template's, or the environment.
    #[must_use]
    pub fn render(&self, id: TemplateId, view: &View, around: &Surroundings) -> Rendered {
        if self.config.environment_id() == Some(id) {
            return self.config.environment.render(id, view, around.missing);
        }
        render(&self.templates, id, view, around)
    }

    /// The files whose change means that this has to be read again.
    pub fn sources(&self) -> impl Iterator<Item = &Path> {
        let templates = self
            .config
            .templates
            .iter()
            .filter_map(|template| match &template.source {
                Source::File(path) => Some(path.as_path()),
                Source::Inline(_) => None,
            });
        templates.chain(self.config.partials.as_deref())
    }
}

/// The agent's own variables, as far as they are text.
pub fn variables() -> BTreeMap<String, String> {
    let all = std::env::vars_os();
    all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Runs something on a thread whose stack is known to suffice.
pub fn on_big_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Problem> {
    thread::scope(|scope| {
        let thread = big_stack().spawn_scoped(scope, work).map_err(no_thread)?;
        thread.join().map_err(|_| panicked())
    })
}

/// A thread with such a stack, kept for what is rendered again and again: to make one takes longer than a small
/// template.
#[derive(Debug)]
pub struct BigStack(mpsc::Sender<Job>);

type Job = Box<dyn FnOnce() + Send>;

impl BigStack {
    /// Starts the thread, which ends when this is dropped and what it was given is done.
    pub fn start() -> Result<Self, Problem> {
        let (sender, jobs) = mpsc::channel::<Job>();
        let run = move || jobs.into_iter().for_each(|job| job());
        big_stack().spawn(run).map_err(no_thread)?;
        Ok(Self(sender))
    }

    /// Does this work there, behind what was given before, and hands on what came of it.
    pub fn run<T>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(Result<T, Problem>) + Send + 'static,
    ) {
        let job = move || done(catch_unwind(AssertUnwindSafe(work)).map_err(|_| panicked()));
        // It listens as long as we live.
        let _ = self.0.send(Box::new(job));
    }
}

fn big_stack() -> thread::Builder {
    thread::Builder::new().name("render".into()).stack_size(STACK)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn no_thread(error: io::Error) -> Problem {
    Problem::new(exit::AGENT, format!("cannot start a thread: {error}"))
}

fn panicked() -> Problem {
    Problem::new(exit::BUG, "a template made the renderer panic")
}

/// The file itself, or every `*.toml` of a folder in the order of their names.
fn configurations(given: &Path) -> Result<Vec<PathBuf>, Problem> {
    if !given.is_dir() {
        return Ok(vec![given.to_owned()]);
    }
    let unreadable = |e: std::io::Error| unreadable(given, "folder of configurations", &e);
    let mut found = Vec::new();
    for entry in fs::read_dir(given).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|ending| ending == "toml") && !path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() {
        let problem = Problem::new(exit::INVALID, format!("there is no *.toml in {}", given.display()));
        return Err(problem.help("name a file, or the folder that has them"));
    }
    Ok(found)
}

/// Every `*.hbs` of a folder, by its name without the ending.
fn partials(folder: &Path) -> Result<BTreeMap<String, String>, Problem> {
    let listed = fs::read_dir(folder).map_err(|e| unreadable(folder, "folder of partials", &e))?;
    let mut found = BTreeMap::new();
    for entry in listed {
        let path = entry.map_err(|e| unreadable(folder, "folder of partials", &e))?.path();
        if path.extension().is_some_and(|ending| ending == "hbs")
            && let Some(name) = path.file_stem()
        {
            found.insert(name.to_string_lossy().into_owned(), read(&path, "partial")?);
        }
    }
    Ok(found)
}

fn read(path: &Path, what: &str) -> Result<String, Problem> {
    fs::read_to_string(path).map_err(|e| unreadable(path, what, &e))
}

fn unreadable(path: &Path, what: &str, error: &std::io::Error) -> Problem {
    Problem::new(
        exit::INVALID,
        format!("cannot read the {what} {}: {error}", path.display()),
    )
}
