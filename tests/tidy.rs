//! The rules of the house that no compiler holds. ARCHITECTURE.md says why they are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

mod cases;
mod lists;

use lists::{IMPORTS, PROMISES, PURE, SEAMS, SEAMS_ACROSS, WORLD};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// A file beyond this holds two ideas.
const MAX_LINES: usize = 450;

/// Where the code of a file ends and its tests begin.
const TESTS: &str = "\n#[cfg(test)]\nmod tests {";

/// Every file that is part of the project, tracked or about to be.
fn files(end: &str) -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "--"])
        .arg(format!("*{end}"))
        .current_dir(HERE)
        .output()
        .expect("git is there, since this is a clone");
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    names
        .lines()
        .map(PathBuf::from)
        .filter(|path| Path::new(HERE).join(path).is_file())
        .collect()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(HERE).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The code of a file without comments and without its tests, line by line, numbered from 1.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = text.split(TESTS).next().unwrap_or_default();
    code.lines().enumerate().filter_map(|(number, line)| {
        let line = line.split("//").next().unwrap_or_default();
        (!line.trim().is_empty()).then_some((number + 1, line))
    })
}

fn is_test(path: &Path) -> bool {
    let text = path.to_string_lossy();
    path.ends_with("tests.rs") || text.contains("/tests/") || text.contains("/examples/")
}

#[test]
fn pure_files_name_nothing_of_the_world() {
    let sources = files(".rs");
    let mut found = Vec::new();
    for pure in PURE {
        let of: Vec<&PathBuf> = sources
            .iter()
            .filter(|path| path.starts_with(pure) || **path == Path::new(pure).with_extension("rs"))
            .filter(|path| !is_test(path))
            .collect();
        if of.is_empty() && !Path::new(HERE).join(pure).with_extension("rs").exists() {
            found.push(format!("{pure} is not there; is the list above still true?"));
        }
        for path in of {
            for (number, line) in code(&read(path)) {
                for word in WORLD.iter().filter(|word| names(line, word)) {
                    found.push(format!("{}:{number} names {word}", path.display()));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn may_cross(path: &Path, seam: &str) -> bool {
    path.ends_with(seam)
        || SEAMS_ACROSS
            .iter()
            .any(|(from, to, reason)| path.ends_with(from) && *to == seam && !reason.is_empty())
}

/// Whether a line has a word that is not the end of a longer one.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[test]
fn only_the_seams_of_the_store_touch_the_world() {
    let mut found = Vec::new();
    for path in files(".rs")
        .iter()
        .filter(|path| path.starts_with("kvstore/src") && !is_test(path))
    {
        for (number, line) in code(&read(path)) {
            for (seam, words) in SEAMS.iter().filter(|(seam, _)| !may_cross(path, seam)) {
                for word in words.iter().filter(|word| names(line, word)) {
                    found.push(format!("{}:{number} names {word}, which is {seam}'s", path.display()));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn packages_import_in_one_direction() {
    let ours: BTreeSet<&str> = ["kvapi", "kvstore", "agent", "scheduler", "keyway"].into();
    for (package, allowed) in IMPORTS {
        let manifest: toml::Table = read(Path::new(package).join("Cargo.toml"))
            .parse()
            .expect("a manifest is TOML");
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let names = manifest
                .get(section)
                .and_then(toml::Value::as_table)
                .into_iter()
                .flat_map(toml::Table::keys);
            for name in names.filter(|name| ours.contains(name.as_str())) {
                assert!(allowed.contains(&name.as_str()), "{package} must not import {name}");
            }
        }
    }
}

#[test]
fn openraft_keeps_to_its_files() {
    let allowed =
        "raft.rs network.rs node.rs serving.rs start.rs membership.rs batch.rs read.rs leadership.rs clock.rs";
    let allowed: Vec<&str> = allowed.split(' ').collect();
    for path in files(".rs")
        .iter()
        .filter(|path| path.starts_with("kvstore/src") && !is_test(path))
    {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if allowed.contains(&name.as_str()) || path.starts_with("kvstore/src/store") || path.ends_with("store.rs") {
            continue;
        }
        for (number, line) in code(&read(path)) {
            assert!(!line.contains("openraft"), "{}:{number} names openraft", path.display());
        }
    }
}

#[test]
fn no_file_is_long() {
    for path in files(".rs") {
        let text = read(&path);
        let lines = text.split(TESTS).next().unwrap_or_default().lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
    }
}

/// Codes are constants, so one that is used is explained; this is the other direction.
#[test]
fn every_code_that_is_explained_is_used() {
    let codes = read("kvapi/src/codes.rs");
    let names = codes
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once(" = \"E0"));
    let names: Vec<&str> = names.map(|(name, _)| name).collect();
    assert!(names.len() > 10, "{names:?}");
    let sources: Vec<String> = files(".rs")
        .iter()
        .filter(|path| !is_test(path) && !path.starts_with("tests"))
        .map(|path| code(&read(path)).map(|(_, line)| line.to_owned() + "\n").collect())
        .collect();
    for name in names {
        let word = format!("codes::{name}");
        let used = |text: &String| text.lines().any(|line| names_whole(line, &word));
        assert!(sources.iter().any(used), "{name} is explained and never used");
    }
}

/// Whether a line has the word, and not only as the beginning of a longer one.
fn names_whole(line: &str, word: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[at + word.len()..].starts_with(goes_on))
}

#[test]
fn what_is_serialised_is_a_promise_to_somebody() {
    for path in files(".rs")
        .iter()
        .filter(|path| !is_test(path) && !path.starts_with("tests"))
    {
        let promised = PROMISES
            .iter()
            .any(|(place, whom)| path.starts_with(place) && !whom.is_empty());
        for (number, line) in code(&read(path)) {
            let derives = line.contains("derive(") && names(line, "Serialize");
            assert!(
                !derives || promised,
                "{}:{number} promises a form to nobody known",
                path.display()
            );
        }
    }
}

#[test]
fn every_decision_has_one_form_and_is_in_the_list() {
    let list = read("docs/decisions/README.md");
    let pages: Vec<PathBuf> = files(".md")
        .into_iter()
        .filter(|path| path.starts_with("docs/decisions/"))
        .collect();
    let pages: Vec<&PathBuf> = pages.iter().filter(|path| !path.ends_with("README.md")).collect();
    assert!(pages.len() > 10, "{pages:?}");
    for path in pages {
        let text = read(path);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = name.split('-').next().unwrap_or_default();
        let title = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix(&format!("# {number} ")));
        let title = title.unwrap_or_else(|| panic!("{name} begins with `# {number} TITLE`"));
        assert!(
            list.contains(&format!("| [{number}]({name}) | {title} |")),
            "{name} is not in the list as `{title}`"
        );
        let parts = ["\n**Context.**", "\n**Decision.**", "\n**Turned down.**"].map(|part| text.find(part));
        assert!(
            parts.is_sorted() && parts[0].is_some(),
            "{name}: Context, Decision, Turned down, in this order"
        );
    }
}

#[test]
fn the_changelog_has_its_headings() {
    let allowed = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    let text = read("CHANGELOG.md");
    let versions: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(versions.first(), Some(&"[Unreleased]"));
    for heading in text.lines().filter_map(|line| line.strip_prefix("### ")) {
        assert!(allowed.contains(&heading), "`{heading}` is not one of {allowed:?}");
    }
}

/// Where a file has one of the words, as `file:line word`.
fn places(end: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in files(end) {
        let Ok(text) = fs::read_to_string(Path::new(HERE).join(&path)) else {
            continue; // not text
        };
        for (number, line) in text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{}:{} {word}", path.display(), number + 1));
            }
        }
    }
    found
}

/// The project speaks of itself: no path of one machine, no host that one network happens to have.
#[test]
fn nothing_names_a_place_outside_the_project() {
    let words = [
        concat!("/wo", "rk/"),
        concat!("../sha", "red"),
        concat!("/ro", "ot/."),
        concat!("index.crates", ".io"),
        concat!("static.crates", ".io"),
        concat!("deb.debian", ".org"),
        concat!("pypi", ".org"),
    ];
    assert_eq!(places("", &words), Vec::<String>::new());
}

#[test]
fn nothing_is_left_to_do() {
    let words = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("#[ig", "nore"),
        concat!("FIX", "ME"),
        concat!("allow(dead", "_code)"),
    ];
    assert_eq!(places(".rs", &words), Vec::<String>::new());
}
