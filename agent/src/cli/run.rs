//! `agent run` and `agent once`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kvapi::Problem;
use kvapi::problem::exit;
use nix::sys::signal::Signal;

use super::Connection;
use super::environment::Environment;
use super::exit_file;
use super::flags::{Writing, here};
use super::telling::Telling;
use crate::config::{MaybeSignal, RawExec, mapping};
use crate::load::Plan;
use crate::policy::{self, Restart, Wait};
use crate::reap::{Exit, Reaper};
use crate::run::Agent;

/// See [`super::AgentCommand::Run`].
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    writing: Writing,
    /// Gather changes until MIN of quiet, but no longer than MAX [MAX default: 4 times MIN].
    #[arg(long, value_name = "MIN[:MAX]", env = "KEYWAY_AGENT_WAIT", hide_short_help = true)]
    wait: Option<Wait>,
    /// Leave the files alone for this long after a reload, so the program can read them
    /// [default: 100ms].
    #[arg(long, value_name = "DUR", value_parser = kvapi::duration::parse, env = "KEYWAY_AGENT_SETTLE", hide_short_help = true)]
    settle: Option<Duration>,
    /// Tell the program of new files after a pause by chance of at most so long, so that not all agents do it
    /// at once [default: 0].
    #[arg(long, value_name = "DUR", value_parser = kvapi::duration::parse, env = "KEYWAY_AGENT_SPLAY", hide_short_help = true)]
    splay: Option<Duration>,
    /// What asks the program to stop [default: TERM].
    #[arg(long, value_name = "SIG", value_parser = policy::signal, env = "KEYWAY_AGENT_KILL_SIGNAL", hide_short_help = true)]
    kill_signal: Option<Signal>,
    /// How long it may take before KILL [default: 8s].
    #[arg(long, value_name = "DUR", value_parser = kvapi::duration::parse, env = "KEYWAY_AGENT_KILL_TIMEOUT", hide_short_help = true)]
    kill_timeout: Option<Duration>,
    /// Start the program again when it ends by itself: never, always, on-failure or on-failure:N (at most
    /// N times in a row). The pauses grow from 100ms to 1m [default: never].
    #[arg(long, value_name = "WHEN", env = "KEYWAY_AGENT_RESTART")]
    restart: Option<Restart>,
    #[command(flatten)]
    telling: Telling,
    /// What makes the agent read its configuration again, or none [default: HUP].
    #[arg(long, value_name = "SIG", env = "KEYWAY_AGENT_RELOAD_SIGNAL", hide_short_help = true)]
    reload_signal: Option<MaybeSignal>,
    /// What the program gets in place of a signal that came to the agent, or none (several).
    #[arg(long, value_name = "SIG=SIG", value_parser = mapping, env = "KEYWAY_AGENT_MAP_SIGNAL", hide_short_help = true)]
    map_signal: Vec<(String, MaybeSignal)>,
    /// Write the agent's pid there, and remove it at the end.
    #[arg(long, value_name = "FILE", env = "KEYWAY_AGENT_PID_FILE", hide_short_help = true)]
    pid_file: Option<PathBuf>,
    /// Make this file once all files are in place and the program runs; systemd is told by itself.
    #[arg(long, value_name = "FILE", env = "KEYWAY_AGENT_READY_FILE", hide_short_help = true)]
    ready_file: Option<PathBuf>,
    /// Write there, as the last thing, how it ended: `code N` or `signal N`.
    #[arg(long, value_name = "FILE", env = "KEYWAY_AGENT_EXIT_FILE", hide_short_help = true)]
    exit_file: Option<PathBuf>,
    #[command(flatten)]
    environment: Environment,
    /// The program to start once all files are there, and its arguments.
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// See [`super::AgentCommand::Once`].
#[derive(Debug, Args)]
pub struct Once {
    #[command(flatten)]
    writing: Writing,
}

impl Run {
    pub(super) async fn run(self, connection: &Connection) -> Result<u8, Problem> {
        let plan = self.plan()?;
        let mut exit_file = plan.flags.exit_file.clone();
        let ended = start(plan, connection, Reaper::adopting(), &mut exit_file).await;
        if let Some(file) = &exit_file
            && let Err(error) = exit_file::leave(file, exit_file::of(&ended))
        {
            tracing::warn!("cannot write how it ended to {}: {error}", file.display());
        }
        ended.map(Exit::code)
    }

    /// What the flags ask for.
    pub(super) fn plan(self) -> Result<Plan, Problem> {
        let mut flags = self.writing.raw()?;
        flags.wait = self.wait;
        flags.settle = self.settle;
        flags.splay = self.splay;
        self.telling.put(&mut flags);
        flags.pid_file = self.pid_file;
        flags.ready_file = self.ready_file;
        flags.exit_file = self.exit_file;
        flags.reload_signal = self.reload_signal;
        flags.exec = RawExec {
            command: self.command,
            kill_signal: self.kill_signal,
            kill_timeout: self.kill_timeout,
            restart: self.restart,
            env: self.environment.raw(),
            map_signal: self.map_signal.into_iter().collect(),
        };
        flags.resolve(&here()?);
        flags.here = Some(here()?);
        Ok(Plan {
            files: self.writing.common.files()?,
            flags,
            once: false,
            traced: false,
        })
    }
}

impl Once {
    pub(super) async fn run(self, connection: &Connection) -> Result<u8, Problem> {
        let plan = Plan {
            files: self.writing.common.files()?,
            flags: self.writing.raw()?,
            once: true,
            traced: false,
        };
        let ended = start(plan, connection, Reaper::start(), &mut None).await;
        ended.map(Exit::code)
    }
}

/// The file of the end is known better once the configuration is read.
async fn start(
    plan: Plan,
    connection: &Connection,
    reaper: anyhow::Result<Reaper>,
    exit_file: &mut Option<PathBuf>,
) -> Result<Exit, Problem> {
    // Nothing else runs yet, so this may block.
    let program = plan.load(None)?;
    exit_file.clone_from(&program.config.exit_file);
    let reaper = reaper.map_err(|e| Problem::new(exit::AGENT, format!("{e:#}")))?;
    Agent::new(plan, program, connection.client(), reaper)?.run().await
}
