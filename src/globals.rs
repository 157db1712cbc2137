//! The flags that every command takes, and the words that they take.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use kvapi::Consistency;
use serde::Deserialize;

use crate::output::OutputFormat;
use crate::paint::ColorChoice;

/// See the module.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Globals {
    /// Servers to ask, in turn until one answers: http://HOST:PORT or unix:///PATH
    #[arg(long, global = true, value_name = "URL[,URL...]", help_heading = "Connection")]
    pub(crate) addr: Option<String>,
    /// Token to show to the server; `-` asks for it, and a file is safer
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
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
    /// Address and token by a name; see `keyway context`
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        help_heading = "Connection",
        hide_short_help = true
    )]
    pub(crate) context: Option<String>,
    /// Read CONSUL_HTTP_ADDR and CONSUL_HTTP_TOKEN, which are not looked at otherwise
    #[arg(long, global = true, help_heading = "Connection", hide_short_help = true)]
    pub(crate) consul_env: bool,
    /// Be Consul's own command `consul kv`, to the byte; stands in front of all else, or call the program `consul`
    #[arg(
        long,
        global = true,
        value_name = "PROGRAM",
        help_heading = "Connection",
        hide_short_help = true
    )]
    pub(crate) compat: Option<Compat>,
    /// How long to wait for an answer, or for more of a long one: 500ms, 30s, 1h30m [default: 10s]
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
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        help_heading = "Output",
        hide_possible_values = true
    )]
    pub(crate) output: Option<OutputFormat>,
    /// Handlebars template over the JSON form, such as '{{key}}={{value}}'
    #[arg(
        long,
        global = true,
        value_name = "TEMPLATE",
        help_heading = "Output",
        hide_short_help = true
    )]
    pub(crate) format: Option<String>,
    /// Tables without their first line
    #[arg(long, global = true, help_heading = "Output", hide_short_help = true)]
    pub(crate) no_headers: bool,
    /// Times in UTC instead of this machine's time zone
    #[arg(long, global = true, help_heading = "Output", hide_short_help = true)]
    pub(crate) utc: bool,
    /// When to use colour [default: auto]
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        help_heading = "Output",
        hide_short_help = true
    )]
    pub(crate) color: Option<ColorChoice>,
    /// How work that takes long shows on stderr how far it is [default: auto]
    #[arg(
        long,
        global = true,
        value_name = "HOW",
        help_heading = "Output",
        hide_short_help = true
    )]
    pub(crate) progress: Option<ProgressStyle>,
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
    /// Print what would be written, and write nothing
    #[arg(long, global = true, help_heading = "Questions", hide_short_help = true)]
    pub(crate) dry_run: bool,
    /// Answer every question with yes
    #[arg(short, long, global = true, help_heading = "Questions", hide_short_help = true)]
    pub(crate) yes: bool,
    /// Never ask, refuse instead
    #[arg(long, global = true, help_heading = "Questions", hide_short_help = true)]
    pub(crate) no_input: bool,
}

/// Whose command line holds instead of Keyway's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compat {
    /// `consul kv get|put|delete|export|import`, texts and exit codes as Consul's
    Consul,
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

/// How work that takes long shows how far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProgressStyle {
    /// `tty` if stderr is a terminal, else `plain`
    #[default]
    Auto,
    /// One line, updated in place
    Tty,
    /// A line now and then
    Plain,
    /// The same as JSON lines
    Json,
    /// Nothing
    Quiet,
}
