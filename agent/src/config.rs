//! What the agent is to do: flags and files become one checked [`Config`].
//!
//! Files are TOML; an unknown or misspelt entry is an error that shows its line. Paths in a file
//! are relative to the file's folder, those of flags to the working directory. Lists of several
//! files append, single values of a later file replace those of an earlier one, and flags replace
//! both. Nothing is read here but the text that is handed in.

mod check;
mod confirm;
mod environment;
mod looks;
mod raw;
mod signals;
mod telling;
mod unknown;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use kvapi::Problem;
use kvapi::problem::exit;
use nix::sys::signal::Signal;

pub use self::confirm::RawConfirm;
pub use self::environment::{OnVariable, RawEnvironment, Secret};
pub use self::looks::{Looks, Owner};
pub use self::raw::{Raw, RawExec, RawSet, RawTemplate, template_flag};
pub use self::signals::{Mapped, MaybeSignal, mapping};
pub use self::telling::{Telling, listen, name};
use crate::environment::Environment;
use crate::graph::TemplateId;
use crate::helpers::file::Place;
use crate::policy::{CommandLine, OnChange, Policy};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What [`crate::core`] decides by.
    pub policy: Policy,
    /// The templates; a [`TemplateId`] is a place in this list.
    pub templates: Vec<Template>,
    /// Folders that are replaced as a whole.
    pub sets: Vec<Set>,
    /// Where partials are.
    pub partials: Option<PathBuf>,
    /// Helpers that no template may call.
    pub deny_helpers: Vec<String>,
    /// Check of every file (with `{}`) or of the whole set.
    pub check: Option<CommandLine>,
    /// How long a check or a command may take.
    pub command_timeout: Duration,
    /// The child's program and arguments; empty if there is none.
    pub command: Vec<String>,
    /// What makes the agent read its configuration again.
    pub reload_signal: Option<Signal>,
    /// What the child gets in place of a signal that came; what is not here is passed on as it is.
    pub map_signal: Mapped,
    /// The child's variables.
    pub environment: Environment,
    /// To whom it tells how it is.
    pub telling: Telling,
    /// Where our pid is written.
    pub pid_file: Option<PathBuf>,
    /// What is there while the first set is in place and the program has been started.
    pub ready_file: Option<PathBuf>,
    /// Where `agent run` writes, as the last thing, how it ended.
    pub exit_file: Option<PathBuf>,
    /// Where the journal and staged files are.
    pub state_dir: PathBuf,
    /// Where the last good values are kept, if they are.
    pub cache: Option<Cache>,
}

/// What is kept of the store, for a start while it is away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Its file.
    pub file: PathBuf,
    /// How old it may be; for ever if nothing is said.
    pub max_stale: Option<Duration>,
}

/// What the names of state folders begin with.
pub const STATE: &str = ".keyway-agent-";

impl Config {
    /// What is written: files, and symlinks of sets.
    #[must_use]
    pub fn files(&self) -> BTreeSet<PathBuf> {
        let files = self
            .templates
            .iter()
            .filter_map(|template| match &template.destination {
                Destination::File(path) => Some(path.clone()),
                Destination::InSet { .. } | Destination::Stdout => None,
            });
        files.chain(self.sets.iter().map(|set| set.dir.clone())).collect()
    }

    /// The socket that tells how the agent is.
    #[must_use]
    pub fn status_socket(&self) -> PathBuf {
        let named = self.telling.status.clone();
        named.unwrap_or_else(|| self.state_dir.join("status.sock"))
    }

    /// The environment as one more template, behind the others, if it reads keys.
    #[must_use]
    pub fn environment_id(&self) -> Option<TemplateId> {
        self.environment.reads_keys().then_some(self.templates.len())
    }

    /// How many texts there are: one for each template, and the environment if it reads keys.
    #[must_use]
    pub fn texts(&self) -> usize {
        self.templates.len() + usize::from(self.environment.reads_keys())
    }

    /// What a template is called in messages: its destination.
    #[must_use]
    pub fn shown(&self, id: TemplateId) -> &str {
        let template = self.templates.get(id);
        template.map_or("the environment", |template| template.shown.as_str())
    }
}

/// A template and where its text goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Where the text comes from.
    pub source: Source,
    /// Where it goes.
    pub destination: Destination,
    /// The destination, for messages.
    pub shown: String,
    /// Where the files are that it shows.
    pub place: Place,
    /// How the file is to be beside its contents.
    pub looks: Looks,
    /// Check of this file.
    pub check: Option<CommandLine>,
    /// What follows a change of this file; else what follows any.
    pub on_change: Option<OnChange>,
}

impl Template {
    /// Whether its text goes into this folder, one of [`Config::sets`].
    #[must_use]
    pub fn is_in(&self, number: usize) -> bool {
        matches!(&self.destination, Destination::InSet { set, .. } if *set == number)
    }
}

/// A folder that is replaced as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The symlink that programs read through.
    pub dir: PathBuf,
    /// The mode of the folders; else 0755.
    pub dir_mode: Option<u32>,
    /// Check of the whole folder.
    pub check: Option<CommandLine>,
}

/// Where a template's text comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// The configuration itself.
    Inline(String),
}

/// Where a rendered text goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A file of its own.
    File(PathBuf),
    /// A file in a folder that is replaced as a whole.
    InSet {
        /// Which of [`Config::sets`].
        set: usize,
        /// Its path in the folder.
        name: PathBuf,
    },
    /// Standard output.
    Stdout,
}

fn invalid(what: String) -> Problem {
    Problem::new(exit::INVALID, what)
}

#[cfg(test)]
mod tests;
