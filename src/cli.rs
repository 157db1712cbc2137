//! The command line: every command and flag. What a command does is in the file of its name.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use agent::cli::AgentCommand;
use clap::{ArgAction, Args, Command as ClapCommand, CommandFactory as _, Parser, Subcommand, ValueEnum};
use kvapi::Consistency;
use serde::Deserialize;

use crate::output::Format;
use crate::paint::ColorChoice;

/// Gets runtime settings into running processes, safely.
#[derive(Debug, Parser)]
#[command(name = "keyway", version, disable_help_subcommand = true, max_term_width = 100)]
#[command(after_help = "\
Examples:
  keyway demo                                  see it work, by itself
  keyway dev                                   a store on this machine
  keyway kv put app/greeting hello             store a setting")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server of the store
    Server(crate::server::Server),
    /// Run everything on this machine, to develop against
    Dev(crate::dev::Dev),
    /// A story that shows the main job, by itself
    Demo(crate::demo::Demo),
    /// An ordinary HTTP server that knows nothing of Keyway, for the demo
    #[command(hide = true)]
    DemoApp(crate::demo_app::DemoApp),
    /// Read and write settings
    #[command(subcommand)]
    Kv(crate::kv::Kv),
    /// Render files from settings, and reload what reads them
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Measure a server
    #[command(subcommand)]
    Bench(crate::bench::Bench),
    /// Print the completions of a shell
    Completions(crate::completions::Completions),
    /// Print the version
    Version,
    /// Explain a command, `exit-codes` or `environment`
    Help(crate::help::Help),
}

/// The flags that every command takes.
#[derive(Debug, Default, Args)]
pub(crate) struct Globals {
    /// Servers to ask, in turn until one answers: http://HOST:PORT or unix:///PATH
    #[arg(long, global = true, value_name = "URL[,URL...]", help_heading = "Connection")]
    pub(crate) addr: Option<String>,
    /// Token to show to the server; a file is safer
    #[arg(
        long,
        global = true,
        help_heading = "Connection",
        hide_short_help = true,
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
    /// File that holds the token
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Connection",
        hide_short_help = true
    )]
    pub(crate) token_file: Option<PathBuf>,
    /// How long a request may take, such as 500ms, 30s or 1h30m [default: 10s]
    #[arg(long, global = true, value_name = "DURATION", value_parser = kvapi::duration::parse, help_heading = "Connection")]
    pub(crate) timeout: Option<Duration>,
    /// How fresh a read must be [default: default]
    #[arg(
        long,
        global = true,
        value_name = "MODE",
        help_heading = "Connection",
        hide_short_help = true
    )]
    pub(crate) consistency: Option<ReadMode>,
    /// The same as --consistency stale
    #[arg(long, global = true, hide = true, conflicts_with = "consistent")]
    pub(crate) stale: bool,
    /// The same as --consistency consistent
    #[arg(long, global = true, hide = true)]
    pub(crate) consistent: bool,
    /// Form of the data [default: text]
    #[arg(short, long, global = true, value_name = "FORMAT", help_heading = "Output")]
    pub(crate) output: Option<Format>,
    /// When to use colour [default: auto]
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        help_heading = "Output",
        hide_short_help = true
    )]
    pub(crate) color: Option<ColorChoice>,
    /// Say nothing but errors
    #[arg(short, long, global = true, help_heading = "Output", hide_short_help = true)]
    pub(crate) quiet: bool,
    /// Log more; twice for everything
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Output", hide_short_help = true)]
    pub(crate) verbose: u8,
    /// Form of the log lines on stderr [default: text]
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        help_heading = "Output",
        hide_short_help = true
    )]
    pub(crate) log_format: Option<LogFormat>,
    /// Answer every question with yes
    #[arg(short, long, global = true, help_heading = "Questions", hide_short_help = true)]
    pub(crate) yes: bool,
    /// Never ask, refuse instead
    #[arg(long, global = true, help_heading = "Questions", hide_short_help = true)]
    pub(crate) no_input: bool,
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ReadMode {
    /// Linearizable; on Consul, the leader's word
    Default,
    /// Linearizable
    Consistent,
    /// What the server asked has, however old
    Stale,
}

impl From<ReadMode> for Consistency {
    fn from(mode: ReadMode) -> Self {
        match mode {
            ReadMode::Default => Self::Default,
            ReadMode::Consistent => Self::Consistent,
            ReadMode::Stale => Self::Stale,
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// The tree of commands, in which each flag has its environment variable.
pub(crate) fn command() -> ClapCommand {
    let mut command = with_environment(Cli::command(), "KEYWAY");
    command.build();
    command
}

/// Gives `--some-flag` of `keyway a b` the variable `KEYWAY_A_B_SOME_FLAG`, unless it has one.
fn with_environment(command: ClapCommand, prefix: &str) -> ClapCommand {
    let command = command.mut_args(|arg| {
        let Some(long) = arg.get_long() else { return arg };
        if arg.get_env().is_some() {
            return arg.hide_env_values(true);
        }
        if arg.is_hide_set() || matches!(long, "help" | "version") {
            return arg;
        }
        // The names live as long as the program: clap borrows them.
        let name: &'static str = variable(prefix, long).leak();
        let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
        let is_shared = prefix == "KEYWAY";
        let arg = arg.env(name).hide_env(!is_shared).hide_env_values(true);
        if is_switch {
            // `KEYWAY_YES=1` and `=true` say yes; empty, `0`, `no` and `false` say no.
            arg.value_parser(clap::builder::FalseyValueParser::new()).hide_env(true)
        } else {
            arg
        }
    });
    command.mut_subcommands(|sub| {
        let prefix = variable(prefix, sub.get_name());
        with_environment(sub, &prefix)
    })
}

/// Every variable that a flag of any command has.
pub(crate) fn variables() -> Vec<OsString> {
    fn collect(command: &ClapCommand, names: &mut Vec<OsString>) {
        names.extend(
            command
                .get_arguments()
                .filter_map(|arg| arg.get_env())
                .map(OsString::from),
        );
        command.get_subcommands().for_each(|sub| collect(sub, names));
    }
    let mut names = Vec::new();
    collect(&command(), &mut names);
    names
}

fn variable(prefix: &str, name: &str) -> String {
    format!("{prefix}_{}", name.replace('-', "_").to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_variable() {
        let command = command();
        let put = command
            .find_subcommand("kv")
            .and_then(|kv| kv.find_subcommand("put"))
            .unwrap();
        let variable = |name: &str| {
            let arg = put.get_arguments().find(|arg| arg.get_long() == Some(name)).unwrap();
            arg.get_env().unwrap().to_str().unwrap().to_owned()
        };

        assert_eq!(variable("if-rev"), "KEYWAY_KV_PUT_IF_REV");
        assert_eq!(variable("addr"), "KEYWAY_ADDR");
        assert_eq!(variable("log-format"), "KEYWAY_LOG_FORMAT");
    }
}
