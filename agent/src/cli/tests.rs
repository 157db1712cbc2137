//! The page of the options, docs/agent.md, held against what there is.

use std::collections::BTreeSet;
use std::path::Path;

use clap::{Command, Parser, Subcommand as _};

use super::AgentCommand;
use crate::config::Raw;

const PAGE: &str = include_str!("../../../docs/agent.md");

/// The names of consul-template's options and flags, in the order of its documentation.
const THEIRS: &[(&str, &str)] = &[
    (
        "### At the top",
        "reload_signal kill_signal max_stale block_query_wait log_level template_error_fatal err_on_failed_lookup wait \
         pid_file once parse_only default_delimiters syslog log_file deduplicate consul vault nomad exec template telemetry",
    ),
    (
        "### Source",
        "address namespace token token_file auth retry ssl transport",
    ),
    (
        "### Templates",
        "source contents destination create_dest_dirs exec command command_timeout error_on_missing_key error_fatal \
         perms user group backup left_delimiter right_delimiter function_denylist sandbox_path wait \
         map_to_environment_variable ext_func_map",
    ),
    (
        "### exec",
        "command enabled timeout splay env reload_signal kill_signal kill_timeout",
    ),
    (
        "### Flags",
        "-config -consul-addr -consul-auth -consul-retry -consul-retry-attempts -consul-retry-backoff \
         -consul-retry-max-backoff -consul-ssl -consul-ssl-ca-cert -consul-ssl-ca-path -consul-ssl-cert -consul-ssl-key \
         -consul-ssl-server-name -consul-ssl-verify -consul-token -consul-token-file -consul-transport-dial-keep-alive \
         -consul-transport-dial-timeout -consul-transport-disable-keep-alives -consul-transport-max-idle-conns-per-host \
         -consul-transport-tls-handshake-timeout -dedup -default-left-delimiter -default-right-delimiter -dry -exec \
         -exec-kill-signal -exec-kill-timeout -exec-reload-signal -exec-splay -exec-env-pristine -exec-env-custom \
         -exec-env-allowlist -exec-env-denylist -kill-signal -reload-signal -log-level -log-file -log-rotate-bytes \
         -log-rotate-duration -log-rotate-max-files -max-stale -once -parse-only -pid-file -retry -syslog \
         -syslog-facility -syslog-name -template -template-error-fatal -wait -v -version -h -vault-*",
    ),
];

/// Flags of both programs, which stand where the command is put together.
const GLOBAL: &[&str] = &[
    "--addr",
    "--token",
    "--token-file",
    "--timeout",
    "--log",
    "--version",
    "-h",
    "--help",
    "-v",
];

/// The rows of the table below a heading, a list of cells each.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let section = PAGE.split(&format!("\n{heading}\n")).nth(1).unwrap_or_default();
    let section = section.split("\n#").next().unwrap_or_default();
    let lines = section.lines().skip_while(|line| !line.starts_with('|'));
    let table = lines.take_while(|line| line.starts_with('|')).skip(2);
    table
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

fn ticked(cell: &'static str) -> impl Iterator<Item = &'static str> {
    cell.split('`').skip(1).step_by(2)
}

/// What may stand in agent.toml, as the error about an unknown entry lists it.
fn entries() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut waits = vec![String::new()];
    while let Some(path) = waits.pop() {
        let text = match path.as_str() {
            "" => "zzz = 1".to_owned(),
            list @ ("template." | "set.") => format!("[[{}]]\nzzz = 1", list.trim_end_matches('.')),
            table => format!("[{}]\nzzz = 1", table.trim_end_matches('.')),
        };
        let problem = Raw::parse(&text, Path::new("/agent.toml")).unwrap_err();
        let Some((_, known)) = problem.what.split_once("unknown field `zzz`, expected") else {
            continue; // no table with entries of its own
        };
        for name in known.split('`').skip(1).step_by(2) {
            let name = format!("{path}{name}");
            if path.is_empty() || path == "exec." {
                waits.push(format!("{name}."));
            }
            all.insert(name);
        }
    }
    all
}

fn flags() -> BTreeSet<String> {
    let command = AgentCommand::augment_subcommands(Command::new("agent"));
    let mut all: BTreeSet<String> = GLOBAL.iter().map(ToString::to_string).collect();
    for one in command.get_subcommands() {
        all.insert(format!("agent {}", one.get_name()));
        all.extend(
            one.get_arguments()
                .filter_map(|argument| argument.get_long())
                .map(|name| format!("--{name}")),
        );
        all.insert("-- CMD".to_owned());
    }
    all
}

#[test]
fn the_page_has_one_row_for_each_option_and_flag_of_consul_template_and_names_none_that_is_not_there() {
    let (entries, flags) = (entries(), flags());
    assert!(
        entries.contains("template.perms") && entries.contains("exec.kill_signal"),
        "{entries:?}"
    );
    for (heading, theirs) in THEIRS {
        let rows = rows(heading);
        let names: Vec<&str> = rows.iter().flat_map(|row| row[0].split(", ")).collect();
        assert_eq!(names, theirs.split_ascii_whitespace().collect::<Vec<_>>(), "{heading}");
        for row in rows {
            assert_eq!(row.len(), 3, "{row:?}");
            assert!(row[1] != "none" || !row[2].is_empty(), "{row:?} gives no reason");
            assert!(
                row[1] == "none" || ticked(row[1]).next().is_some(),
                "{row:?} names nothing"
            );
            for name in ticked(row[1]) {
                assert!(
                    entries.contains(name) || flags.contains(name),
                    "{name} of {row:?} is not there"
                );
            }
        }
    }
}

#[test]
fn every_entry_of_agent_toml_is_on_the_page() {
    let tables: Vec<Vec<&str>> = [
        rows("## Options"),
        rows("## Files"),
        rows("## Variables of the program"),
    ]
    .concat();
    let told: BTreeSet<&str> = tables
        .iter()
        .flat_map(|row| row[0].split('`').skip(1).step_by(2))
        .collect();
    let entries = entries();
    for name in &entries {
        let short = name.trim_start_matches("template.");
        let within = ["source", "contents", "destination"].contains(&short)
            || name.starts_with("set.")
            || name.starts_with("wait.");
        assert!(
            within || ["exec", "confirm"].contains(&name.as_str()) || told.contains(short),
            "{name} is in no table of docs/agent.md"
        );
    }
    for name in told {
        assert!(
            entries.contains(name) || entries.contains(&format!("template.{name}")),
            "{name} is on the page and no entry"
        );
    }
}

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: AgentCommand,
}

/// Each flag of `agent run` but -c, a value of it, and the same in agent.toml.
const SAMPLES: &[(&str, &str, &str)] = &[
    ("template", "a.hbs:b", "[{ source = 'a.hbs', destination = 'b' }]"),
    ("partials", "p", "'p'"),
    ("missing", "fail", "'fail'"),
    ("on-change", "signal=USR1", "'signal=USR1'"),
    ("check", "nginx -t -c {}", "'nginx -t -c {}'"),
    ("command-timeout", "7s", "'7s'"),
    ("state-dir", "s", "'s'"),
    ("cache-dir", "c", "'c'"),
    ("max-stale", "7s", "'7s'"),
    ("retry-for", "7s", "'7s'"),
    ("wait", "1s:2s", "'1s:2s'"),
    ("settle", "7s", "'7s'"),
    ("splay", "7s", "'7s'"),
    ("kill-signal", "QUIT", "'QUIT'"),
    ("kill-timeout", "7s", "'7s'"),
    ("restart", "on-failure:3", "'on-failure:3'"),
    ("status", "s.sock", "'s.sock'"),
    ("listen", "127.0.0.1:1", "'127.0.0.1:1'"),
    ("insecure-listen", "", "true"),
    ("report", "", "true"),
    ("name", "web-1", "'web-1'"),
    ("reload-signal", "none", "'none'"),
    ("map-signal", "USR1=USR2", "{ USR1 = 'USR2' }"),
    ("pid-file", "p", "'p'"),
    ("ready-file", "r", "'r'"),
    ("exit-file", "e", "'e'"),
    ("env", "app/env", "['app/env']"),
    ("env-upper", "", "true"),
    ("env-on-change", "none", "'none'"),
    ("env-pristine", "", "true"),
    ("env-allow", "LC_*", "['LC_*']"),
    ("env-deny", "LC_*", "['LC_*']"),
];

/// The entries that no flag is for: of single files, or too much for one word.
const ENTRIES_ALONE: &[&str] = &[
    "confirm",
    "deny_helpers",
    "sandbox",
    "exec.command",
    "exec.env.custom",
    "exec.env.names",
];

/// The entry of a flag.
fn entry(flag: &str, entries: &BTreeSet<String>) -> Option<String> {
    let name = flag.replace('-', "_");
    let of_env = name.strip_prefix("env_").unwrap_or("prefix");
    let all = [name.clone(), format!("exec.{name}"), format!("exec.env.{of_env}")];
    let within = name.starts_with("env");
    all.into_iter()
        .find(|entry| entries.contains(entry) && entry.starts_with("exec.env.") == within)
}

/// As flags and files are before they are checked, in a form that can be compared.
fn raw(mut raw: Raw) -> String {
    raw.here = None;
    format!("{raw:#?}")
}

fn given(flags: &[String]) -> String {
    let words = ["agent", "run"].map(str::to_owned);
    let line = words
        .iter()
        .chain(flags)
        .cloned()
        .chain(["--", "true"].map(str::to_owned));
    let AgentCommand::Run(run) = Line::try_parse_from(line).unwrap().command else {
        panic!("another command")
    };
    raw(run.plan().unwrap().flags)
}

fn written(line: &str) -> String {
    let file = std::env::current_dir().unwrap().join("agent.toml");
    raw(Raw::parse(&format!("exec.command = ['true']\n{line}\n"), &file).unwrap())
}

#[test]
fn each_flag_of_run_says_the_same_as_its_entry_and_has_a_variable_and_the_entries_without_a_flag_are_known() {
    let command = AgentCommand::augment_subcommands(Command::new("agent"));
    let run = command.find_subcommand("run").unwrap();
    let flags: Vec<_> = run
        .get_arguments()
        .filter(|argument| argument.get_long().is_some())
        .collect();
    let names: BTreeSet<&str> = flags
        .iter()
        .filter_map(|flag| flag.get_long())
        .filter(|name| *name != "config")
        .collect();
    let sampled: BTreeSet<&str> = SAMPLES.iter().map(|(flag, ..)| *flag).collect();
    assert_eq!(names, sampled, "each flag of `agent run` has its sample here");
    for flag in flags {
        let variable = format!(
            "KEYWAY_AGENT_{}",
            flag.get_long().unwrap().replace('-', "_").to_uppercase()
        );
        let its = flag.get_env().map(|name| name.to_string_lossy().into_owned());
        assert_eq!(its, Some(variable));
    }

    let entries = entries();
    let mut named = BTreeSet::new();
    assert_eq!(given(&[]), written(""));
    for (flag, value, same) in SAMPLES {
        let entry = entry(flag, &entries).unwrap_or_else(|| panic!("--{flag} has no entry"));
        let mut words = vec![format!("--{flag}")];
        words.extend(Some((*value).to_owned()).filter(|value| !value.is_empty()));
        let given = given(&words);
        assert_ne!(given, written(""), "--{flag} does nothing");
        assert_eq!(given, written(&format!("{entry} = {same}")), "--{flag} and {entry}");
        assert!(named.insert(entry), "--{flag}");
    }

    let of_a_file = |entry: &&String| {
        ["template.", "set", "confirm.", "wait."]
            .iter()
            .any(|start| entry.starts_with(start))
    };
    let is_table = |entry: &&String| {
        entries
            .iter()
            .any(|other| other.starts_with(&format!("{entry}.")) && *entry != "template")
    };
    let alone: BTreeSet<&str> = entries
        .iter()
        .filter(|entry| !named.contains(*entry) && !of_a_file(entry) && (!is_table(entry) || *entry == "confirm"))
        .map(String::as_str)
        .collect();
    assert_eq!(alone, ENTRIES_ALONE.iter().copied().collect());
}
