//! `agent run`, `agent once`, `agent render`: flags become a [`Plan`], a plan is carried out.
//!
//! Shared by `keyway agent` and `keyway-agent`. Every flag has an environment variable,
//! `KEYWAY_AGENT_` and its name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use kvapi::problem::exit;
use kvapi::{Address, Client, Problem};
use nix::sys::signal::Signal;

use crate::config::{Raw, RawExec, template_flag};
use crate::load::{Plan, Program};
use crate::policy::{self, Missing, OnChange, Wait};
use crate::preview;
use crate::reap::Reaper;
use crate::render::Surroundings;
use crate::run::Agent;

/// What an agent can be asked to do.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Render files, start a program, and keep both in step with the store.
    ///
    /// Waits until every template can be rendered, writes all files, and starts the program. When
    /// a setting changes, the files that it affects are rendered from one revision, checked,
    /// replaced together, and the program is reloaded once.
    #[command(after_help = "Examples:\n  \
        keyway agent run -t nginx.conf.hbs:/etc/nginx/nginx.conf --on-change signal=HUP -- nginx -g 'daemon off;'\n  \
        keyway agent run -t app.env.hbs:/run/app.env -- ./app\n  \
        keyway agent run -c agent.toml")]
    Run(Run),
    /// Render and write all files once, then end.
    #[command(after_help = "Examples:\n  \
        keyway agent once -t app.env.hbs:/run/app.env\n  \
        keyway agent once -t app.conf.hbs:app.conf --missing fail --check 'app -t -c {}'\n  \
        keyway agent once -c agent.toml")]
    Once(Once),
    /// Print what would be written, and write nothing.
    #[command(after_help = "Examples:\n  \
        keyway agent render -t app.conf.hbs\n  \
        keyway agent render -t app.conf.hbs --values sample.json\n  \
        keyway agent render -c agent.toml")]
    Render(Render),
}

/// How to reach the store.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The servers.
    pub addresses: Vec<Address>,
    /// The token, if the store asks for one.
    pub token: Option<String>,
    /// How long a request that holds nothing open may take.
    pub timeout: Duration,
}

#[derive(Debug, Args)]
struct Common {
    /// Template and the file that it becomes (several).
    #[arg(
        short = 't',
        long = "template",
        value_name = "SRC:DST",
        env = "KEYWAY_AGENT_TEMPLATE"
    )]
    templates: Vec<String>,
    /// Configuration in TOML (several; flags win).
    #[arg(short = 'c', long = "config", value_name = "FILE", env = "KEYWAY_AGENT_CONFIG")]
    config: Vec<PathBuf>,
    /// Folder of partials: NAME.hbs is included by {{> NAME}}.
    #[arg(long, value_name = "DIR", env = "KEYWAY_AGENT_PARTIALS")]
    partials: Option<PathBuf>,
    /// What a missing key means: wait for it, fail and name it, or read as empty.
    #[arg(long, value_enum, value_name = "WHAT", env = "KEYWAY_AGENT_MISSING")]
    missing: Option<Missing>,
}

#[derive(Debug, Args)]
struct Writing {
    #[command(flatten)]
    common: Common,
    /// After a change: none, restart, signal=HUP or command='...'. Default: restart if there is a
    /// program, else none.
    #[arg(long, value_name = "WHAT", env = "KEYWAY_AGENT_ON_CHANGE")]
    on_change: Option<OnChange>,
    /// Run before files are replaced; if it fails, the old files stay. With {} it is run for each
    /// changed file with the path of a copy; else once. All copies are in $KEYWAY_STAGED_DIR.
    #[arg(long, value_name = "CMD", env = "KEYWAY_AGENT_CHECK")]
    check: Option<String>,
    /// Where the agent notes what it has applied [default: a hidden folder beside the first file].
    #[arg(long, value_name = "DIR", env = "KEYWAY_AGENT_STATE_DIR")]
    state_dir: Option<PathBuf>,
}

/// See [`AgentCommand::Run`].
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    writing: Writing,
    /// Gather changes until MIN of quiet, but no longer than MAX [MAX default: 4 times MIN].
    #[arg(long, value_name = "MIN[:MAX]", env = "KEYWAY_AGENT_WAIT")]
    wait: Option<Wait>,
    /// Leave the files alone for this long after a reload, so the program can read them
    /// [default: 100ms].
    #[arg(long, value_name = "DUR", value_parser = kvapi::duration::parse, env = "KEYWAY_AGENT_SETTLE")]
    settle: Option<Duration>,
    /// What asks the program to stop [default: TERM].
    #[arg(long, value_name = "SIG", value_parser = policy::signal, env = "KEYWAY_AGENT_KILL_SIGNAL")]
    kill_signal: Option<Signal>,
    /// How long it may take before KILL [default: 8s].
    #[arg(long, value_name = "DUR", value_parser = kvapi::duration::parse, env = "KEYWAY_AGENT_KILL_TIMEOUT")]
    kill_timeout: Option<Duration>,
    /// The program to start once all files are there, and its arguments.
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// See [`AgentCommand::Once`].
#[derive(Debug, Args)]
pub struct Once {
    #[command(flatten)]
    writing: Writing,
}

/// See [`AgentCommand::Render`].
#[derive(Debug, Args)]
pub struct Render {
    #[command(flatten)]
    common: Common,
    /// Values from a JSON file instead of the store.
    #[arg(long, value_name = "FILE", env = "KEYWAY_AGENT_VALUES")]
    values: Option<PathBuf>,
}

/// Carries a command out; returns the exit code.
///
/// # Errors
/// A [`Problem`] to be told, whose code is the exit code.
pub async fn run(command: AgentCommand, connection: Connection) -> Result<u8, Problem> {
    match command {
        AgentCommand::Run(run) => {
            let mut flags = run.writing.raw()?;
            flags.wait = run.wait;
            flags.settle = run.settle;
            flags.exec = RawExec {
                command: run.command,
                kill_signal: run.kill_signal,
                kill_timeout: run.kill_timeout,
            };
            let plan = Plan {
                files: run.writing.common.files()?,
                flags,
                once: false,
            };
            start(plan, &connection, Reaper::adopting()).await
        }
        AgentCommand::Once(once) => {
            let flags = once.writing.raw()?;
            let plan = Plan {
                files: once.writing.common.files()?,
                flags,
                once: true,
            };
            start(plan, &connection, Reaper::start()).await
        }
        AgentCommand::Render(render) => render.run(&connection).await,
    }
}

async fn start(plan: Plan, connection: &Connection, reaper: anyhow::Result<Reaper>) -> Result<u8, Problem> {
    let program = load(&plan)?;
    let reaper = reaper.map_err(|e| Problem::new(exit::AGENT, format!("{e:#}")))?;
    Agent::new(plan, program, connection.client(), reaper)?.run().await
}

/// Nothing else runs yet, so this may block.
fn load(plan: &Plan) -> Result<Program, Problem> {
    plan.load(None)
}

fn here() -> Result<PathBuf, Problem> {
    std::env::current_dir().map_err(|e| Problem::new(exit::AGENT, format!("cannot tell the working directory: {e}")))
}

impl Connection {
    fn client(&self) -> Client {
        Client::new(self.addresses.clone(), self.token.clone(), self.timeout)
    }
}

impl Common {
    fn raw(&self, output: bool) -> Result<Raw, Problem> {
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

    fn files(&self) -> Result<Vec<PathBuf>, Problem> {
        let here = here()?;
        Ok(self.config.iter().map(|path| here.join(path)).collect())
    }
}

impl Writing {
    fn raw(&self) -> Result<Raw, Problem> {
        let mut raw = self.common.raw(false)?;
        raw.on_change.clone_from(&self.on_change);
        raw.check.clone_from(&self.check);
        if let Some(dir) = &self.state_dir {
            raw.state_dir = Some(here()?.join(dir));
        }
        Ok(raw)
    }
}

impl Render {
    async fn run(self, connection: &Connection) -> Result<u8, Problem> {
        let plan = Plan {
            files: self.common.files()?,
            flags: self.common.raw(true)?,
            once: true,
        };
        let program = load(&plan)?;
        let env: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        let around = Surroundings {
            env,
            missing: program.config.policy.missing,
        };
        let mut out = std::io::stdout();
        match &self.values {
            Some(values) => preview::from_values(&program, &around, values, &mut out)?,
            None => {
                preview::from_store(&program, &around, &connection.client(), connection.timeout, &mut out).await?;
            }
        }
        Ok(exit::OK)
    }
}
