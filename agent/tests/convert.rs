//! consul-template's configurations in tests/convert, converted by the program: what is written and
//! told, that the agent takes it, and that it prints what Go's text/template printed. Where there is
//! no `expected`, something is left to look at, and nothing is rendered before somebody has.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "clippy takes only functions marked as tests for tests; what a test writes need not outlive a crash"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/convert");

/// How the program ended, and what it printed and said.
fn agent(dir: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_keyway-agent"))
        .args(arguments)
        .current_dir(dir)
        .env("APP_HOME", "/srv")
        .env_remove("APP_MODE")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap_or(-1),
        text(output.stdout),
        text(output.stderr),
    )
}

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = fs::read_dir(CASES)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    cases
}

fn config(case: &Path) -> &'static str {
    let json = case.join("config.json").exists();
    if json { "config.json" } else { "consul-template.hcl" }
}

/// All files of a folder, by their path in it.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn each_configuration_is_converted_and_what_is_left_is_told_line_by_line() {
    for case in cases() {
        let shown = case.display();
        let out = tempfile::tempdir().unwrap();
        let folder = out.path().display().to_string();

        let (code, printed, said) = agent(&case, &["convert", config(&case), "--out", &folder]);

        let report = fs::read_to_string(case.join("report")).unwrap();
        assert_eq!(printed.replace(&folder, "out"), report, "{shown}: {said}");
        assert_eq!(code, i32::from(report.contains(": look: ")), "{shown}");
        assert_eq!(files(out.path()), files(&case.join("out")), "{shown}");
    }
}

#[test]
fn the_agent_takes_whatever_was_converted() {
    let cases = cases();
    assert!(cases.len() >= 20, "{}", cases.len());
    for case in cases {
        let (code, _, said) = agent(&case, &["validate", "-c", "out/agent.toml"]);
        // What printed a value as it is still does, and is pointed at.
        let refused = said.lines().find(|line| !line.contains(": a bare value in "));
        assert_eq!((code, refused), (0, None), "{}", case.display());
    }
}

#[test]
fn what_is_rendered_is_what_go_rendered_and_nothing_where_somebody_has_to_look() {
    let mut exact = 0;
    for case in cases() {
        let arguments = ["render", "-c", "out/agent.toml", "--values", "values.json"];
        let (code, printed, said) = agent(&case, &arguments);
        let shown = case.display();
        match fs::read_to_string(case.join("expected")) {
            Ok(expected) => {
                assert_eq!(printed, expected, "{shown}: {said}");
                exact += 1;
            }
            Err(_) => {
                assert_eq!((code, printed.as_str()), (3, ""), "{shown}");
                assert!(said.contains("`LOOK/"), "{shown}: {said}");
            }
        }
    }
    assert!(exact >= 17, "{exact}");
}

#[test]
fn a_template_flag_is_converted_as_consul_template_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.ctmpl"), "{{ key \"a\" }}\n").unwrap();

    let (code, printed, said) = agent(
        dir.path(),
        &["convert", "-t", "a.ctmpl:/etc/a:kill -HUP 1:2", "--out", "out"],
    );

    assert_eq!(
        (code, printed.as_str(), said.as_str()),
        (0, "out: 2 files, nothing left to look at\n", "")
    );
    let written = files(&dir.path().join("out"));
    assert_eq!(written["a.hbs"], "{{key \"a\"}}\n");
    assert!(
        written["agent.toml"].contains("on_change = \"command=kill -HUP 1:2\""),
        "{written:?}"
    );
}

#[test]
fn what_cannot_be_read_is_named_with_its_line_and_what_is_there_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("bad.hcl", "template {\n  source = a\n}\n");
    write(
        "config.hcl",
        "template {\n  source = \"a.ctmpl\"\n  destination = \"/a\"\n}\n",
    );
    write("a.ctmpl", "x\n{{ if key \"a\" }}\n");
    let convert = |config: &str| agent(dir.path(), &["convert", config, "--out", "out"]);

    let refused = |config: &str, part: &str| {
        let (code, printed, said) = convert(config);
        assert_eq!((code, printed.as_str()), (3, ""), "{said}");
        assert!(said.contains(part), "{said}");
        assert!(!dir.path().join("out/a.hbs").exists());
    };
    refused("none.hcl", "none.hcl");
    refused("bad.hcl", "bad.hcl:2: `a` is no value; texts need quotes");
    refused("config.hcl", "a.ctmpl:2: this block is never closed by `end`");

    write("a.ctmpl", "x\n");
    fs::create_dir_all(dir.path().join("out")).unwrap();
    write("out/agent.toml", "mine");
    refused("config.hcl", "agent.toml is there already");
    assert_eq!(fs::read_to_string(dir.path().join("out/agent.toml")).unwrap(), "mine");
}

#[test]
fn validate_refuses_what_run_refuses_with_the_same_words() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.hbs"), "a\n{{keyExist \"a\"}}\n").unwrap();
    let flags = ["-t", "a.hbs:a", "--on-change", "none"];

    let run = agent(dir.path(), &[&["run"], flags.as_slice()].concat());
    let validate = agent(dir.path(), &[&["validate"], flags.as_slice()].concat());

    assert_eq!(run, validate);
    assert_eq!((run.0, run.1.as_str()), (3, ""));
    assert!(run.2.contains("a.hbs:2: there is no helper `keyExist`"), "{}", run.2);
    fs::write(dir.path().join("a.hbs"), "{{keyExists \"a\"}}\n").unwrap();
    let (code, printed, _) = agent(dir.path(), &[&["validate"], flags.as_slice()].concat());
    assert_eq!(code, 0);
    assert!(printed.ends_with("/a: ok\n"), "{printed}");
    assert!(!dir.path().join("a").exists(), "validate writes nothing");
}
