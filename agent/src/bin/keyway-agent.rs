//! The agent alone: a small program to copy into images.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

use agent::cli::{AgentCommand, Connection};
use agent::sources::LOGGED;
use clap::{Parser, ValueEnum};
use kvapi::problem::exit;
use kvapi::{Address, Problem};
use tracing_subscriber::EnvFilter;

/// Render files from settings, and run a program that follows them.
#[derive(Debug, Parser)]
#[command(name = "keyway-agent", version)]
struct Cli {
    /// The store's servers, separated by commas.
    #[arg(long, global = true, env = "KEYWAY_ADDR", default_value = kvapi::address::DEFAULT, value_name = "URL")]
    addr: String,
    /// Token for the store.
    #[arg(long, global = true, env = "KEYWAY_TOKEN", hide_env_values = true, value_name = "T")]
    token: Option<String>,
    /// How long a request may take.
    #[arg(long, global = true, env = "KEYWAY_TIMEOUT", value_parser = kvapi::duration::parse, default_value = "10s")]
    timeout: Duration,
    /// What to log, such as debug or agent=debug.
    #[arg(
        long,
        global = true,
        env = "KEYWAY_LOG",
        default_value = "info",
        value_name = "FILTER"
    )]
    log: String,
    /// How to log.
    #[arg(long, global = true, env = "KEYWAY_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
    /// How to print what has a form for programs.
    #[arg(
        short = 'o',
        long,
        global = true,
        env = "KEYWAY_OUTPUT",
        value_enum,
        default_value = "text"
    )]
    output: OutputFormat,
    #[command(subcommand)]
    command: AgentCommand,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OutputFormat {
    Text,
    Json,
}

fn main() -> ExitCode {
    match arguments().and_then(|arguments| run(Cli::parse_from(arguments))) {
        Ok(code) => code.into(),
        Err(problem) => {
            eprintln!("{problem}");
            problem.code.into()
        }
    }
}

/// What it was started with, or what it was launched to go on with.
fn arguments() -> Result<Vec<OsString>, Problem> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match agent::launch::asked(&arguments) {
        Some(launch) => agent::launch::run(launch),
        None => Ok(arguments),
    }
}

fn run(cli: Cli) -> Result<u8, Problem> {
    log(&cli.log, cli.log_format)?;
    let addresses = Address::parse_list(&cli.addr).map_err(|what| Problem::new(exit::USAGE, what))?;
    let connection = Connection {
        addresses,
        token: cli.token,
        timeout: cli.timeout,
        json: matches!(cli.output, OutputFormat::Json),
    };
    agent::signals::hold_terminal();
    // One thread waits; what takes long has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Problem::new(exit::AGENT, format!("cannot start: {e}")))?;
    let ended = runtime.block_on(agent::cli::run(cli.command, connection));
    // A thread that still renders, or waits for a file, must not keep the program alive.
    runtime.shutdown_background();
    ended
}

/// See [`LOGGED`].
fn without_watcher(filter: EnvFilter) -> EnvFilter {
    match LOGGED.parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    }
}

fn log(filter: &str, format: LogFormat) -> Result<(), Problem> {
    let filter = EnvFilter::try_new(filter).map_err(|e| {
        Problem::new(exit::USAGE, format!("`{filter}` is no log filter: {e}")).help("give one such as info")
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(without_watcher(filter))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => lines.with_target(false).init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}
