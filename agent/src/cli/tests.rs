//! The page of the options, docs/agent.md, held against what there is.

use std::collections::BTreeSet;
use std::path::Path;

use clap::{Command, Subcommand as _};

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
