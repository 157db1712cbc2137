//! What a run that was killed left behind: files and folders that nobody will ever swap in.
//!
//! They hold settings, so they must not lie about for ever. Only names that the agent makes up
//! itself, for the destinations of this configuration, are removed; the caller holds the lock of
//! the state folder, so no other agent is at work on them. What cannot be removed is told and
//! left.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use crate::checks::COPIES;
use crate::config::{Config, Destination};
use crate::write;

/// Removes what is left beside the destinations, and in the state folder.
pub fn clear(config: &Config, state: &Path) {
    let mut made = Made::default();
    for template in &config.templates {
        if let Destination::File(path) = &template.destination
            && let Ok(path) = write::follow(path)
        {
            made.beside(&path);
            made.beside(&write::backup(&path));
        }
    }
    for set in &config.sets {
        made.beside(&set.dir);
    }
    if let Some(cache) = &config.cache {
        made.beside(&cache.file);
    }
    made.within(state, COPIES.to_owned());
    made.clear();
}

/// What made-up names begin with, by their folder: each folder is looked through once.
#[derive(Debug, Default)]
struct Made(BTreeMap<PathBuf, HashSet<String>>);

impl Made {
    fn beside(&mut self, path: &Path) {
        if let Some(folder) = path.parent() {
            self.within(folder, write::unfinished(path));
            self.within(folder, write::kept(path));
        }
    }

    fn within(&mut self, folder: &Path, prefix: String) {
        self.0.entry(folder.to_owned()).or_default().insert(prefix);
    }

    fn clear(&self) {
        for (folder, prefixes) in &self.0 {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if write::made_from(&entry.file_name()).is_some_and(|prefix| prefixes.contains(prefix)) {
                    remove(&entry);
                }
            }
        }
    }
}

fn remove(entry: &DirEntry) {
    let path = entry.path();
    let removed = match entry.file_type() {
        Ok(kind) if kind.is_dir() => fs::remove_dir_all(&path),
        Ok(kind) if kind.is_file() => fs::remove_file(&path),
        Ok(_) | Err(_) => return,
    };
    match removed {
        Ok(()) => tracing::info!(path = %path.display(), "removed what a killed run had not finished"),
        Err(error) => tracing::warn!(path = %path.display(), %error, "cannot remove what a killed run left"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::config::Raw;

    #[test]
    fn only_what_was_made_up_for_these_destinations_goes() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        let text = format!(
            "[[template]]\ncontents = \"\"\ndestination = \"{}\"\n\
             [[set]]\ndir = \"{}\"\n[[set.template]]\ncontents = \"\"\ndestination = \"x\"\n",
            place("app").display(),
            place("live").display(),
        );
        let config = Raw::parse(&text, &place("agent.toml")).unwrap().check(false).unwrap();
        for folder in [
            "state/keyway-staged-abc123",
            ".live.keyway-new-abc123",
            ".live.keyway-abc123",
        ] {
            fs::create_dir_all(place(folder).join("sub")).unwrap();
        }
        for name in [
            ".app.keyway-new-abc123",
            ".app.keyway-old-abc123",
            ".app.bak.keyway-new-abc123",
            "app",
            ".app.swp",
            ".app.keyway-new-by-hand",
            ".other.keyway-new-abc123",
            "state/journal-0",
        ] {
            File::create(place(name)).unwrap();
        }

        clear(&config, &place("state"));

        let names = |folder: &str| {
            let mut names: Vec<_> = fs::read_dir(place(folder))
                .unwrap()
                .flatten()
                .map(|e| e.file_name())
                .collect();
            names.sort();
            names
        };
        let kept = [
            ".app.keyway-new-by-hand",
            ".app.swp",
            ".live.keyway-abc123",
            ".other.keyway-new-abc123",
            "app",
            "state",
        ];
        assert_eq!(names(""), kept);
        assert_eq!(names("state"), ["journal-0"]);
    }
}
