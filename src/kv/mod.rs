//! `keyway kv`: settings, one file per command.

mod at_once;
mod conflict;
mod delete;
mod diff;
mod edit;
mod export;
pub(crate) mod files;
mod folder;
mod get;
mod history;
mod import;
mod lock;
mod ls;
mod past;
pub(crate) mod put;
mod revert;
mod shown;
mod side;
mod stream;
mod target;
mod tree;
mod txn;
mod wait;
mod watch;
mod when;

use clap::Subcommand;
use kvapi::key::reachable;
use kvapi::problem::exit;
use kvapi::{Key, Problem};

use crate::context::Context;
use crate::failure::Outcome;

#[derive(Debug, Subcommand)]
pub(crate) enum Kv {
    /// Print a value, byte for byte
    Get(get::Get),
    /// Store a value
    Put(put::Put),
    /// Delete keys
    Delete(delete::Delete),
    /// List keys, a folder at a time
    Ls(ls::Ls),
    /// Show folders and keys as a tree
    Tree(tree::Tree),
    /// Print every change as it happens
    Watch(watch::Watch),
    /// Show what was done to a key, by whom and why
    History(history::History),
    /// Compare keys, folders, moments, or the store and files
    Diff(diff::Diff),
    /// Put keys back as they were
    Revert(revert::Revert),
    /// Change a value, or everything below a prefix, in an editor
    Edit(edit::Edit),
    /// Print settings as a document: Consul's export, JSON, YAML, TOML ...
    Export(export::Export),
    /// Store the settings of a document, in one transaction where it fits
    Import(import::Import),
    /// Several operations as one, all or none
    Txn(txn::Txn),
    /// Run a command while a lock is held
    Lock(lock::Lock),
}

impl Kv {
    pub(crate) async fn run(self, context: Context<'_>) -> Outcome {
        match self {
            Self::Get(get) => get.run(context).await,
            Self::Put(put) => put.run(context).await,
            Self::Delete(delete) => delete.run(context).await,
            Self::Ls(ls) => ls.run(context).await,
            Self::Tree(tree) => tree.run(context).await,
            Self::Watch(watch) => watch.run(context).await,
            Self::History(history) => history.run(context).await,
            Self::Diff(diff) => diff.run(context).await,
            Self::Revert(revert) => revert.run(context).await,
            Self::Edit(edit) => edit.run(context).await,
            Self::Export(export) => export.run(context).await,
            Self::Import(import) => import.run(context).await,
            Self::Txn(txn) => txn.run(context).await,
            Self::Lock(lock) => lock.run(context).await,
        }
    }
}

/// A key as it was typed, checked.
fn key(text: &str) -> Result<Key, Problem> {
    Key::new(text).map_err(|e| Problem::new(exit::INVALID, e.to_string()))
}

/// A key that a command reads or writes by itself, so that it stands in a path, which does not carry every
/// key: better none than its neighbour.
fn key_in_path(text: &str) -> Result<Key, Problem> {
    let key = key(text)?;
    in_path(text)?;
    Ok(key)
}

/// Whether a path carries the key or prefix.
fn in_path(text: &str) -> Result<(), Problem> {
    if reachable(text).len() == text.len() {
        return Ok(());
    }
    let what = format!("`{text}` has an empty part, `.` or `..` in it, and would be taken for another key");
    let problem = Problem::new(exit::INVALID, what);
    let problem = match cleaned(text) {
        plain if plain.is_empty() => problem,
        plain => problem.help(format!("write it as `{plain}`")),
    };
    Err(problem.help(
        "for exactly this key use   keyway kv txn   with --put, --delete or --else-get; kv ls and kv export show it",
    ))
}

/// The key that a path with this one stands for: `..` takes the part before it away.
fn cleaned(text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let plain = parts.join("/");
    // A slash at either end is a part of the key.
    let start = if text.starts_with('/') { "/" } else { "" };
    match text.ends_with('/') && !plain.is_empty() {
        true => format!("{start}{plain}/"),
        false if plain.is_empty() => plain,
        false => format!("{start}{plain}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recommended_is_what_a_path_makes_of_a_key() {
        for (text, plain) in [
            ("a/../b", "b"),
            ("a//b", "a/b"),
            ("a/./b/", "a/b/"),
            ("/a//b", "/a/b"),
            ("a/b/../../c", "c"),
            ("../x", "x"),
            ("a/..", ""),
        ] {
            assert_eq!(cleaned(text), plain, "{text}");
            assert!(in_path(plain).is_ok() && in_path(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_command_has_examples_that_fit_a_line() {
        let tree = crate::cli::command();
        let kv = tree.find_subcommand("kv").unwrap();
        for command in kv.get_subcommands().filter(|command| command.get_name() != "help") {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Examples:\n  keyway kv "), "{}", command.get_name());
            for line in help.lines() {
                assert!(line.chars().count() <= 100, "{line}");
            }
        }
    }
}
