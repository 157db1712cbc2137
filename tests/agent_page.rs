//! docs/agent-tests.md and docs/faults.md: every row names tests that are there, or says why there is none.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const PAGE: &str = include_str!("../docs/agent-tests.md");
const FAULTS: &str = include_str!("../docs/faults.md");

/// How many rows each part has: what was found in the suites, changelogs and code of others.
const ROWS: &[(&str, usize)] = &[
    ("The program (consul-template's child)", 22),
    ("The runner", 26),
    ("The renderer", 12),
    ("Templates", 15),
    ("Views and watchers", 11),
    ("Configuration, command line, logs", 17),
    ("hcat, remco, confd", 16),
    ("containerpilot", 17),
    ("dumb-init, tini", 16),
    ("Nomad, Vault Agent", 19),
    ("What nobody tests", 14),
    ("From changelogs and issues", 45),
    ("From reading their code", 13),
];

/// The names of all functions of the tree that are tests.
fn tests() -> BTreeSet<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "--", "*.rs"])
        .current_dir(here)
        .output()
        .expect("git is there, since this is a clone");
    let mut found = BTreeSet::new();
    for path in String::from_utf8_lossy(&listed.stdout).lines() {
        let text = std::fs::read_to_string(here.join(path)).unwrap_or_default();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if is_test && let Some((_, name)) = line.split_once("fn ") {
                found.insert(name.split('(').next().unwrap_or_default().to_owned());
                is_test = false;
            }
        }
    }
    found
}

#[test]
fn every_row_of_what_others_test_has_a_test_that_is_there_or_a_reason() {
    let tests = tests();
    assert!(tests.len() > 500, "{}", tests.len());
    let headings: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(headings, ROWS.iter().map(|(heading, _)| *heading).collect::<Vec<_>>());
    let mut wrong = Vec::new();
    for (heading, count) in ROWS {
        let part = PAGE.split(&format!("\n### {heading}\n")).nth(1).unwrap_or_default();
        let part = part.split("\n#").next().unwrap_or_default();
        let rows: Vec<&str> = part.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
        if rows.len() != *count {
            wrong.push(format!("{heading} has {} rows, not {count}", rows.len()));
        }
        for row in rows {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            let &[_, told] = cells.as_slice() else {
                wrong.push(format!("no two cells: {row}"));
                continue;
            };
            let named = named(told);
            let gone = named.iter().filter(|name| !tests.contains(**name));
            wrong.extend(gone.map(|name| format!("{heading}: there is no test {name}")));
            let reason = told.strip_prefix("none: ").unwrap_or_default();
            if named.is_empty() && reason.len() < 10 {
                wrong.push(format!("neither a test nor a reason: {row}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_fault_has_a_test_that_is_there() {
    let tests = tests();
    let rows: Vec<&str> = FAULTS.lines().filter(|line| line.starts_with("| ")).collect();
    let rows = rows
        .iter()
        .filter(|row| !row.ends_with("| test |") && !row.starts_with("| ---"));
    let mut count = 0;
    for row in rows {
        let named = named(row);
        assert!(!named.is_empty(), "no test: {row}");
        for name in named {
            assert!(tests.contains(name), "there is no test {name}");
        }
        count += 1;
    }
    assert!(count > 25, "{count}");
}

/// The tests that are named.
fn named(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|name| is_sentence(name)).collect()
}

/// Tests are sentences; entries and commands, which stand in backticks too, are short.
fn is_sentence(name: &str) -> bool {
    name.matches('_').count() > 2
}
