//! Flags that several commands take.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kvapi::Problem;
use kvapi::problem::exit;

use crate::config::{Raw, template_flag};
use crate::policy::{CommandLine, Missing, OnChange};

/// See [`crate::config`].
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Template and its file (several); SRC:DST:CMD runs CMD after a change.
    #[arg(
        short = 't',
        long = "template",
        value_name = "SRC:DST",
        env = "KEYWAY_AGENT_TEMPLATE"
    )]
    templates: Vec<String>,
    /// Configuration in TOML, or a folder of them: *.toml in order (several; flags win).
    #[arg(short = 'c', long = "config", value_name = "FILE", env = "KEYWAY_AGENT_CONFIG")]
    config: Vec<PathBuf>,
    /// Folder of partials: NAME.hbs is included by {{> NAME}}.
    #[arg(long, value_name = "DIR", env = "KEYWAY_AGENT_PARTIALS", hide_short_help = true)]
    partials: Option<PathBuf>,
    /// A missing key: wait for it, fail and name it, or read as empty.
    #[arg(long, value_enum, value_name = "WHAT", env = "KEYWAY_AGENT_MISSING")]
    missing: Option<Missing>,
}

/// See [`crate::config`].
#[derive(Debug, Args)]
pub(super) struct Writing {
    #[command(flatten)]
    pub(super) common: Common,
    /// After a change: none, restart, signal=HUP or command='...'. Default: restart if there is a
    /// program, else none.
    #[arg(long, value_name = "WHAT", env = "KEYWAY_AGENT_ON_CHANGE")]
    on_change: Option<OnChange>,
    /// Run before files are replaced; if it fails, the old files stay. With {} it is run for each
    /// changed file with the path of a copy; else once. All copies are in $KEYWAY_STAGED_DIR.
    #[arg(long, value_name = "CMD", env = "KEYWAY_AGENT_CHECK")]
    check: Option<CommandLine>,
    /// How long a check or a command may take [default: 30s].
    #[arg(long, value_name = "DUR", value_parser = kvapi::duration::parse, env = "KEYWAY_AGENT_COMMAND_TIMEOUT", hide_short_help = true)]
    command_timeout: Option<Duration>,
    /// Where the agent notes what it has applied [default: a hidden folder beside the first file].
    #[arg(long, value_name = "DIR", env = "KEYWAY_AGENT_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// Keep the last good values there, mode 0600: a start while the store is away renders from them.
    #[arg(long, value_name = "DIR", env = "KEYWAY_AGENT_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// Use no cache that was known to be current longer ago than this [default: any].
    #[arg(long, value_name = "DUR", value_parser = kvapi::duration::parse, env = "KEYWAY_AGENT_MAX_STALE", hide_short_help = true)]
    max_stale: Option<Duration>,
    /// Give up if the store is silent for so long before the files are in place; 0 waits for ever. Later
    /// an outage ends nothing [default: 0].
    #[arg(long, value_name = "DUR", value_parser = kvapi::duration::parse, env = "KEYWAY_AGENT_RETRY_FOR", hide_short_help = true)]
    retry_for: Option<Duration>,
}

pub(super) fn here() -> Result<PathBuf, Problem> {
    std::env::current_dir().map_err(|e| Problem::new(exit::AGENT, format!("cannot tell the working directory: {e}")))
}

impl Common {
    pub(super) fn raw(&self, output: bool) -> Result<Raw, Problem> {
        let templates = self.templates.iter().map(|text| template_flag(text, output));
        let mut raw = Raw {
            missing: self.missing,
            partials: self.partials.clone(),
            prints: output,
            template: templates.collect::<Result<_, _>>()?,
            ..Raw::default()
        };
        raw.resolve(&here()?);
        Ok(raw)
    }

    pub(super) fn files(&self) -> Result<Vec<PathBuf>, Problem> {
        let here = here()?;
        Ok(self.config.iter().map(|path| here.join(path)).collect())
    }
}

impl Writing {
    pub(super) fn raw(&self) -> Result<Raw, Problem> {
        let mut raw = self.common.raw(false)?;
        raw.on_change.clone_from(&self.on_change);
        raw.check.clone_from(&self.check);
        raw.command_timeout = self.command_timeout;
        if let Some(dir) = &self.state_dir {
            raw.state_dir = Some(here()?.join(dir));
        }
        if let Some(dir) = &self.cache_dir {
            raw.cache_dir = Some(here()?.join(dir));
        }
        raw.max_stale = self.max_stale;
        raw.retry_for = self.retry_for;
        Ok(raw)
    }
}
