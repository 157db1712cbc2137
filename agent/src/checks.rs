//! Every check of a set, run on copies of all its files before one of them is in place.
//!
//! A check with `{}` gets the path of a copy: that of a file for each file that changed, that of the
//! folder for a set. One without is run once, however many ask for it. All of them find the copies,
//! named as the files are, in `KEYWAY_STAGED_DIR`.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::child;
use crate::config::Config;
use crate::core::{FileSet, Unfit};
use crate::graph::TemplateId;
use crate::policy::CommandLine;
use crate::reap::Reaper;

/// What the names of the folders with copies begin with.
pub const COPIES: &str = "keyway-staged-";

/// One run of a check.
#[derive(Debug, PartialEq, Eq)]
struct Check<'a> {
    line: &'a CommandLine,
    /// What the messages call it by.
    shown: Option<String>,
    /// The copy that it is about, below the folder of copies.
    copy: Option<PathBuf>,
}

/// Runs every check that the changed files ask for.
pub async fn run(
    config: &Config,
    set: &FileSet,
    changed: &BTreeSet<TemplateId>,
    state: &Path,
    reaper: &Reaper,
) -> Result<(), Unfit> {
    let checks = plan(config, changed);
    if checks.is_empty() {
        return Ok(());
    }
    let dir = copies(config, set, state)
        .map_err(|e| Unfit::Unwritable(format!("cannot stage in {}: {e}", state.display())))?;
    for Check { line, shown, copy } in checks {
        let mut env = BTreeMap::from([("KEYWAY_STAGED_DIR".to_owned(), dir.path().display().to_string())]);
        let mut filled = line.clone();
        if let Some(copy) = copy {
            let path = dir.path().join(copy).display().to_string();
            filled = line.filled(&path).map_err(Unfit::Refused)?;
            env.insert("KEYWAY_STAGED_FILE".to_owned(), path);
        }
        let result = child::run(reaper, &filled, &env, config.command_timeout).await;
        result.map_err(|reason| {
            let shown = shown.map_or(String::new(), |shown| format!("{shown}: "));
            Unfit::Refused(format!("{shown}check `{line}`: {reason}"))
        })?;
    }
    Ok(())
}

/// What is to be run, in order: what the files ask for, then what the sets do, then what all together do.
fn plan<'a>(config: &'a Config, changed: &BTreeSet<TemplateId>) -> Vec<Check<'a>> {
    // Most have no check at all, and then nobody asks.
    let named = LazyCell::new(|| names(config));
    let mut all: Vec<Check<'a>> = Vec::new();
    let mut add = |one: Check<'a>| {
        // What is about no copy in particular says the same again.
        if one.copy.is_some() || !all.iter().any(|other| other.line == one.line) {
            all.push(one);
        }
    };
    for &id in changed {
        let template = &config.templates[id];
        let per_file = config.check.iter().filter(|line| line.has_place());
        for line in template.check.iter().chain(per_file) {
            let about = line.has_place() || line.names("KEYWAY_STAGED_FILE");
            add(Check {
                line,
                shown: Some(template.shown.clone()),
                copy: about.then(|| named.0[id].clone()),
            });
        }
    }
    for (number, set) in config.sets.iter().enumerate() {
        let within = |id: &TemplateId| config.templates[*id].is_in(number);
        if let Some(line) = &set.check
            && changed.iter().any(within)
        {
            let folder = set.dir.strip_prefix(&named.1).unwrap_or(Path::new(""));
            add(Check {
                line,
                shown: Some(set.dir.display().to_string()),
                copy: line.has_place().then(|| folder.to_owned()),
            });
        }
    }
    if let Some(line) = config.check.as_ref().filter(|line| !line.has_place())
        && !changed.is_empty()
    {
        add(Check {
            line,
            shown: None,
            copy: None,
        });
    }
    all
}

fn copies(config: &Config, set: &FileSet, state: &Path) -> io::Result<tempfile::TempDir> {
    std::fs::create_dir_all(state)?;
    let dir = tempfile::Builder::new().prefix(COPIES).tempdir_in(state)?;
    for (id, name) in names(config).0.iter().enumerate() {
        let template = &config.templates[id];
        let path = dir.path().join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut file = std::fs::File::create(&path)?;
        io::Write::write_all(&mut file, set.texts[id].as_bytes())?;
        if let Some(mode) = template.looks.mode {
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        }
    }
    Ok(dir)
}

/// Each destination, relative to the folder that all of them lie in, and that folder.
fn names(config: &Config) -> (Vec<PathBuf>, PathBuf) {
    let paths: Vec<&Path> = config
        .templates
        .iter()
        .map(|template| Path::new(&template.shown))
        .collect();
    let folders = config.sets.iter().map(|set| set.dir.as_path());
    let all: Vec<&Path> = paths.iter().copied().chain(folders).collect();
    let mut common: PathBuf = paths
        .first()
        .and_then(|path| path.parent())
        .unwrap_or(Path::new("/"))
        .to_owned();
    while !all.iter().all(|path| path.starts_with(&common)) && common.pop() {}
    let relative = |path: &Path| path.strip_prefix(&common).unwrap_or(path).to_owned();
    (paths.into_iter().map(relative).collect(), common)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Raw;

    #[test]
    fn what_several_ask_for_is_run_once_unless_it_is_about_each_file() {
        let text = r#"
            check = "all {}"
            [[template]]
            contents = ""
            destination = "/etc/app/a"
            check = "syntax"
            [[template]]
            contents = ""
            destination = "/etc/app/b"
            check = "syntax"
            [[template]]
            contents = ""
            destination = "/etc/app/c"
            check = ["own", "{}"]
            [[set]]
            dir = "/etc/app/live"
            check = "whole {}"
            [[set.template]]
            contents = ""
            destination = "sub/d"
            [[set.template]]
            contents = ""
            destination = "sub/e"
        "#;
        let config = Raw::parse(text, Path::new("/x.toml")).unwrap().check(false).unwrap();
        let told = |changed: &[TemplateId]| {
            let changed = changed.iter().copied().collect();
            let told = |one: Check<'_>| match one.copy {
                Some(copy) => format!("{} {}", one.line, copy.display()),
                None => one.line.to_string(),
            };
            plan(&config, &changed).into_iter().map(told).collect::<Vec<_>>()
        };

        assert_eq!(told(&[]), Vec::<String>::new());
        assert_eq!(told(&[0, 1]), ["syntax", "all {} a", "all {} b"]);
        assert_eq!(told(&[2]), ["own {} c", "all {} c"]);
        assert_eq!(
            told(&[3, 4]),
            ["all {} live/sub/d", "all {} live/sub/e", "whole {} live"]
        );
    }
}
