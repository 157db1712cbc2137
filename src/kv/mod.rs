//! `keyway kv`: settings, one file per command.

mod delete;
mod edit;
mod export;
mod files;
mod folder;
mod get;
mod import;
mod ls;
mod put;
mod shown;
mod stream;
mod watch;

use clap::Subcommand;
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
    /// Change a value, or everything below a prefix, in an editor
    Edit(edit::Edit),
    /// Print settings as a document: Consul's export, JSON, YAML, TOML ...
    Export(export::Export),
    /// Store the settings of a document, in one transaction where it fits
    Import(import::Import),
    /// Print every change as it happens
    Watch(watch::Watch),
}

impl Kv {
    pub(crate) async fn run(self, context: Context<'_>) -> Outcome {
        match self {
            Self::Get(get) => get.run(context).await,
            Self::Put(put) => put.run(context).await,
            Self::Delete(delete) => delete.run(context).await,
            Self::Ls(ls) => ls.run(context).await,
            Self::Edit(edit) => edit.run(context).await,
            Self::Export(export) => export.run(context).await,
            Self::Import(import) => import.run(context).await,
            Self::Watch(watch) => watch.run(context).await,
        }
    }
}

/// A key as it was typed, checked.
fn key(text: &str) -> Result<Key, Problem> {
    Key::new(text).map_err(|e| Problem::new(exit::INVALID, e.to_string()))
}
