//! The command `keyway`: parse, start the logs, run, say what went wrong, exit.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`cli`], [`globals`] | every command and flag |
//! | [`argv`] | single-dash flags of `consul kv` |
//! | [`consul`] | `consul kv` as Consul's own command is |
//! | [`settings`] | flags over environment over files over defaults |
//! | [`context`], [`output`], [`paint`], [`progress`], [`failure`] | what a command is given, prints and returns |
//! | [`value`], [`mod@diff`], [`size`], [`signals`], [`logs`], [`store`], [`spawned`], [`connection`] | small tools |
//! | [`kv`], [`deploy`], [`cluster`], [`server`], [`mod@scheduler`], [`dev`], [`demo`], [`mod@bench`], ... | one file or folder per subcommand |

mod argv;
mod bench;
mod cli;
mod cluster;
mod completions;
mod config;
mod connection;
mod consul;
mod context;
mod contexts;
mod demo;
mod demo_app;
mod deploy;
mod dev;
mod diff;
mod explain;
mod failure;
mod fleet;
mod globals;
mod help;
mod kv;
mod logs;
mod man;
mod output;
mod paint;
mod progress;
mod scheduler;
mod scratch;
mod server;
mod settings;
mod signals;
mod size;
mod spawned;
mod store;
mod told;
mod usage;
mod value;
mod version;

use std::ffi::OsString;
use std::process::ExitCode;

use agent::cli::AgentCommand;
use clap::FromArgMatches as _;
use clap::parser::ValueSource;
use kvapi::Problem;
use kvapi::problem::exit;

use crate::cli::{Cli, Command};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{Out, Style};
use crate::settings::{Given, Settings};

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(launch) = agent::launch::asked(&arguments) {
        match agent::launch::run(launch) {
            Ok(go_on) => arguments = go_on,
            Err(problem) => return tell(&Style::default(), &problem),
        }
    }
    if let Some(arguments) = consul::asked(&arguments, std::env::var("KEYWAY_COMPAT").ok().as_deref()) {
        return consul::run(arguments);
    }
    let (settings, command) = match parse(&arguments) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    if let Err(problem) = logs::start(&settings, command.is_calm()) {
        return tell(&settings.style, &problem);
    }
    let mut out = match Out::new(&settings.style) {
        Ok(out) => out,
        Err(problem) => return tell(&settings.style, &problem),
    };
    let code = match run(&settings, command, &mut out) {
        Ok(code) => code,
        Err(Failure::NobodyReads) => exit::OK,
        Err(Failure::Told(problem)) => {
            out.problem(&problem);
            problem.code
        }
    };
    code.into()
}

/// The command and the settings of this run, or the exit code if that is all there is to do.
fn parse(arguments: &[OsString]) -> Result<(Settings, Command), ExitCode> {
    let read = |tree: clap::Command| {
        let args = argv::normalise(&tree, arguments.iter().cloned());
        let matches = tree.try_get_matches_from(&args);
        let parsed = matches.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
        parsed.map_err(|e| (e, args))
    };
    let branch = arguments.get(1).and_then(|name| cli::branch(name));
    let parsed = match branch.map(read) {
        Some(Ok(parsed)) => Ok(parsed),
        Some(Err(_)) | None => read(cli::command()),
    };
    let (cli, matches) = parsed.map_err(|(mut e, args)| {
        argv::explain(&mut e, &args);
        cli::name_variable(&mut e, &args);
        match e.print().map_err(Failure::from) {
            _ if e.use_stderr() => exit::USAGE.into(),
            Ok(()) | Err(Failure::NobodyReads) => exit::OK.into(),
            // Nothing is known yet of how it is to be told.
            Err(Failure::Told(problem)) => tell(&Style::default(), &problem),
        }
    })?;
    let style = Style {
        output: cli.globals.output.unwrap_or_default(),
        color: cli.globals.color.unwrap_or_default(),
        ..Style::default()
    };
    let given = |id: &str| match matches.value_source(id) {
        Some(ValueSource::CommandLine) => Given::ByFlag,
        Some(ValueSource::EnvVariable) => Given::ByEnvironment,
        Some(_) | None => Given::Not,
    };
    let settings = match Settings::load(&cli.globals, given) {
        // Whoever reads the help may be about to repair that file.
        Err(_) if cli.command.is_help() => Settings::without_files(&cli.globals, given),
        settings => settings,
    };
    let settings = settings.and_then(|settings| {
        refuse_late_compat(&cli, given("compat"))?;
        cli.command.refuse_dry_run(&settings)?;
        Ok(settings)
    });
    settings
        .map(|settings| (settings, cli.command))
        .map_err(|problem| tell(&style, &problem))
}

/// What would make another command of this one is only looked for in front.
fn refuse_late_compat(cli: &Cli, given: Given) -> Result<(), Problem> {
    let help = match given {
        Given::ByFlag => "begin with it: keyway --compat consul kv get KEY",
        Given::ByEnvironment if matches!(cli.command, Command::Kv(_)) => {
            "with KEYWAY_COMPAT=consul the first word is kv; unset it for a command of Keyway's own"
        }
        Given::ByEnvironment | Given::Not => return Ok(()),
    };
    Err(Problem::new(exit::USAGE, "--compat consul is not at the beginning").help(help))
}

/// Says why nothing was begun.
fn tell(style: &Style, problem: &Problem) -> ExitCode {
    // Without the template, which may be what is wrong.
    let style = Style {
        template: None,
        ..style.clone()
    };
    if let Ok(mut out) = Out::new(&style) {
        out.problem(problem);
    }
    problem.code.into()
}

fn run(settings: &Settings, command: Command, out: &mut Out) -> Outcome {
    if matches!(command, Command::Agent(_)) {
        agent::signals::hold_terminal();
    }
    // What there is a thousand times has one thread that waits; what takes long has threads of its own.
    let mut builder = match command {
        Command::Agent(_) | Command::DemoApp(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|e| Problem::new(exit::BUG, format!("start threads: {e}")))?;
    let context = Context {
        settings,
        client: settings.client(),
        out,
    };
    let outcome = runtime.block_on(command.run(context));
    // A thread that still waits for a file or a pipe must not keep the program alive.
    runtime.shutdown_background();
    outcome
}

impl Command {
    async fn run(self, context: Context<'_>) -> Outcome {
        match self {
            Self::Server(server) => server.run(context).await,
            Self::Scheduler(scheduler) => scheduler.run(context).await,
            Self::Dev(dev) => dev.run(context).await,
            Self::Demo(demo) => demo.run(context).await,
            Self::DemoApp(app) => app.run(context).await,
            Self::Kv(kv) => kv.run(context).await,
            Self::Deploy(deploy) => deploy.run(context).await,
            Self::Cluster(cluster) => cluster.run(context).await,
            Self::Agent(command) => {
                let connection = agent::cli::Connection {
                    json: matches!(context.out.format, output::Format::Json | output::Format::Jsonl),
                    ..context.settings.connection()
                };
                Ok(agent::cli::run(*command, connection).await?)
            }
            Self::Bench(bench) => bench.run(context).await,
            Self::Config(config) => config.run(context),
            Self::Context(command) => command.run(context),
            Self::Completions(completions) => completions.run(context.out),
            Self::Man(man) => man.run(context.out),
            Self::Explain(explain) => explain.run(context.out),
            Self::Version => version::run(context.out),
            Self::Help(help) => help.run(context.out),
        }
    }

    /// A --dry-run that would not be one is refused.
    fn refuse_dry_run(&self, settings: &Settings) -> Result<(), Problem> {
        let writes_settings_only = match self {
            Self::Server(_)
            | Self::Scheduler(_)
            | Self::Dev(_)
            | Self::Demo(_)
            | Self::DemoApp(_)
            | Self::Agent(_)
            | Self::Bench(_) => false,
            Self::Cluster(_) => false,
            Self::Kv(_) | Self::Config(_) | Self::Context(_) | Self::Completions(_) | Self::Man(_) => true,
            // It says itself which of its commands has one.
            Self::Deploy(_) => true,
            Self::Explain(_) | Self::Version | Self::Help(_) => true,
        };
        if settings.dry_run && !writes_settings_only {
            return Err(
                Problem::new(exit::USAGE, "--dry-run is for commands that write settings")
                    .help("to see what an agent would write, use   keyway agent render"),
            );
        }
        Ok(())
    }

    /// Whether it only says what is in the program itself.
    fn is_help(&self) -> bool {
        matches!(
            self,
            Self::Completions(_) | Self::Man(_) | Self::Explain(_) | Self::Version | Self::Help(_)
        )
    }

    /// Whether log lines below a warning would only disturb.
    fn is_calm(&self) -> bool {
        match self {
            Self::Server(server) => !server.serves(),
            Self::Scheduler(_) => false,
            Self::Agent(command) => !matches!(**command, AgentCommand::Run(_)),
            _ => true,
        }
    }
}

/// What one thread asks for another one often gives back, a batch at a time: the system's allocator
/// is slow at that (docs/decisions/0013).
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;
