//! The command line: every command and flag. What a command does is in the file of its name.

use std::ffi::{OsStr, OsString};

use agent::cli::AgentCommand;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Args as _, Command as ClapCommand, CommandFactory as _, Parser, Subcommand};

use crate::globals::Globals;

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
    /// Run a scheduler, which deploys apps and keeps them well
    Scheduler(crate::scheduler::Scheduler),
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
    /// Deploy apps: apply, follow, roll back
    Deploy(crate::deploy::Deploy),
    /// Look after the servers: backups and restores
    #[command(subcommand)]
    Cluster(crate::cluster::Cluster),
    /// Render files from settings, and reload what reads them
    #[command(subcommand)]
    Agent(Box<AgentCommand>),
    /// Measure a server
    #[command(
        subcommand,
        after_help = "\
Examples:
  keyway bench put --clients 1,64,256          durable writes; starts a server of its own
  keyway bench get --addr http://10.0.0.1:8500   reads, from a server that runs
  keyway bench watch                           from a put to the last of many streams
  keyway bench failover --rounds 20               how long no write is taken when the leader is killed
  keyway bench render                          from a put to the signal that tells a program of it"
    )]
    Bench(crate::bench::Bench),
    /// Show the settings of keyway itself, and where each is from
    #[command(subcommand)]
    Config(crate::config::Config),
    /// Name addresses and tokens, and choose between them
    #[command(subcommand)]
    Context(crate::contexts::ContextCommand),
    /// Print the completions of a shell
    Completions(crate::completions::Completions),
    /// Print manual pages
    Man(crate::man::Man),
    /// Explain an error code
    Explain(crate::explain::Explain),
    /// Print the version
    Version,
    /// Explain a command, or exit-codes, environment, formats, templates
    Help(crate::help::Help),
}

/// The tree of commands, in which each flag has its environment variable.
pub(crate) fn command() -> ClapCommand {
    let mut command = with_environment(Cli::command(), "KEYWAY");
    command.build();
    command
}

/// The tree with one command alone, of those of which a thousand may be started on a machine: all of it is a third of the
/// memory of such a program. What it does not take, [`command`] is to explain.
pub(crate) fn branch(name: &OsStr) -> Option<ClapCommand> {
    let new = |name: &'static str| ClapCommand::new(name);
    let branch = match name.to_str()? {
        "agent" => AgentCommand::augment_subcommands(new("agent")),
        "demo-app" => crate::demo_app::DemoApp::augment_args(new("demo-app")),
        _ => return None,
    };
    let tree = Globals::augment_args(new("keyway")).subcommand(branch);
    let mut tree = with_environment(tree, "KEYWAY");
    tree.build();
    Some(tree)
}

/// Gives `--some-flag` of `keyway a b` the variable `KEYWAY_A_B_SOME_FLAG`, unless it has one.
fn with_environment(command: ClapCommand, prefix: &str) -> ClapCommand {
    let command = command.mut_args(|arg| {
        let Some(long) = arg.get_long() else { return arg };
        if arg.get_env().is_some() {
            return unless_empty(arg.hide_env_values(true));
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
            arg.value_parser(switch).hide_env(true)
        } else {
            unless_empty(arg)
        }
    });
    command.mut_subcommands(|sub| {
        let prefix = variable(prefix, sub.get_name());
        with_environment(sub, &prefix)
    })
}

/// What a variable says to a switch.
fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" => Ok(true),
        "" | "0" | "false" => Ok(false),
        _ => Err("a switch is on with 1 or true, off with 0, false or nothing".into()),
    }
}

/// A variable that is there and empty says nothing, as in `KEYWAY_ADDR= keyway ...`.
fn unless_empty(arg: Arg) -> Arg {
    let value = arg.get_env().and_then(std::env::var_os);
    match value {
        Some(value) if value.is_empty() => arg.env(None::<&'static str>),
        _ => arg,
    }
}

/// Names the variable in clap's complaint about a value that came from one: clap names the flag, which
/// nobody has typed. `args` are those that were.
pub(crate) fn name_variable(error: &mut clap::Error, args: &[OsString]) {
    if !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) {
        return;
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let (Some(flag), Some(value)) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue)) else {
        return;
    };
    let typed: Vec<&str> = args
        .iter()
        .skip(1)
        .map_while(|arg| arg.to_str().filter(|&arg| arg != "--"))
        .collect();
    let tree = command();
    let at = typed
        .iter()
        .fold(&tree, |at, word| at.find_subcommand(word).unwrap_or(at));
    let Some(arg) = at.get_arguments().find(|arg| arg.to_string() == flag) else {
        return;
    };
    let is_typed = arg.get_long().is_some_and(|long| {
        let names = typed.iter().filter_map(|word| word.strip_prefix("--"));
        names
            .map(|name| name.split('=').next().unwrap_or(name))
            .any(|name| name == long)
    });
    let name = arg.get_env().filter(|_| !is_typed);
    if let Some(name) = name.filter(|name| std::env::var_os(name).is_some_and(|said| *said == *value)) {
        let name = name.to_string_lossy().into_owned();
        error.insert(ContextKind::InvalidArg, ContextValue::String(name));
    }
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
    fn a_branch_takes_what_the_whole_tree_takes_and_nothing_else() {
        use clap::FromArgMatches as _;

        let read = |tree: ClapCommand, line: &str| {
            let matches = tree.try_get_matches_from(line.split(' ')).ok()?;
            Cli::from_arg_matches(&matches).ok().map(|cli| format!("{cli:?}"))
        };
        for (line, is_taken) in [
            (
                "keyway agent run -t a:b --on-change signal=HUP --report --name x -- prog --flag",
                true,
            ),
            ("keyway agent render -t a -v", true),
            ("keyway demo-app --config c --addr http://x:1 -o json", true),
            ("keyway agent", false),
            ("keyway agent run --help", false),
            ("keyway agent walk", false),
            ("keyway demo-app --confg c", false),
        ] {
            let name = line.split(' ').nth(1).unwrap();
            let quick = read(branch(OsStr::new(name)).unwrap(), line);
            assert_eq!(quick, read(command(), line), "{line}");
            assert_eq!(quick.is_some(), is_taken, "{line}");
        }
        assert!(branch(OsStr::new("kv")).is_none() && branch(OsStr::new("--addr")).is_none());
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    /// Every command that can be run, by its words.
    fn leaves(command: &ClapCommand, words: &str, found: &mut Vec<(String, ClapCommand)>) {
        if command.is_hide_set() {
            return;
        }
        if !command.has_subcommands() {
            found.push((words.to_owned(), command.clone()));
        }
        for sub in command.get_subcommands() {
            leaves(sub, &format!("{words} {}", sub.get_name()), found);
        }
    }

    fn every_command() -> Vec<(String, ClapCommand)> {
        let mut found = Vec::new();
        leaves(&command(), "keyway", &mut found);
        found
    }

    #[test]
    fn the_short_help_of_every_command_is_one_screen_with_examples() {
        let tree = command();
        for (words, mut command) in every_command() {
            let text = command.render_help().to_string();
            assert!(
                text.lines().count() <= 50,
                "{words} has {} lines:\n{text}",
                text.lines().count()
            );
            // What takes no arguments needs none; some are shown together by the command above.
            let is_simple = command.get_positionals().next().is_none() && matches!(words.as_str(), "keyway version");
            let above = words.rsplit_once(' ').map_or("", |(above, _)| above);
            let above = above
                .split(' ')
                .skip(1)
                .try_fold(&tree, |at, word| at.find_subcommand(word));
            let above = above
                .map(|above| above.clone().render_help().to_string())
                .unwrap_or_default();
            let example = format!("\n  {words}");
            let has_examples = is_simple || text.contains(&example) || above.contains(&example);
            assert!(has_examples, "{words}:\n{text}");
        }
    }

    #[test]
    fn no_flag_of_any_command_is_without_a_variable() {
        for (words, command) in every_command() {
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let Some(long) = arg.get_long().filter(|long| !matches!(*long, "help" | "version")) else {
                    continue;
                };
                let name = arg.get_env().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
                let ending = long.replace('-', "_").to_uppercase();
                assert!(
                    name.starts_with("KEYWAY_") && name.ends_with(&ending),
                    "{words} --{long}: `{name}`"
                );
            }
        }
    }

    #[test]
    fn a_switch_is_on_or_off_and_nothing_else() {
        for (text, is_on) in [("1", true), ("TRUE", true), ("0", false), ("False", false), ("", false)] {
            assert_eq!(switch(text), Ok(is_on), "{text}");
        }
        for text in ["maybe", "yes", "2", " "] {
            assert!(switch(text).is_err(), "{text}");
        }
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
