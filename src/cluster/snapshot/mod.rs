//! `keyway cluster snapshot`: backups, as Consul's snapshots are.

mod inspect;
mod restore;
mod save;

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kvapi::Problem;
use kvapi::problem::exit;
use kvstore::archive::{self, Contents};

use crate::context::Context;
use crate::failure::Outcome;

#[derive(Debug, Subcommand)]
pub(crate) enum Snapshot {
    /// Save everything that the cluster holds in a file
    #[command(after_help = "\
Examples:
  keyway cluster snapshot save backup.snap     everything that was acknowledged by now
  keyway cluster snapshot save backup.snap --consistency stale   of a server without a leader
  keyway cluster snapshot inspect backup.snap  what is in it

The file is checked before it gets its name; one that is there already is replaced by a good one only.")]
    Save(OfFile),
    /// Put everything back as it is in such a file
    #[command(after_help = "\
Examples:
  keyway cluster snapshot restore backup.snap  after a question
  keyway cluster snapshot restore backup.snap --yes -m 'after the fire'

Into a running cluster, through any of its servers, at one new revision: keys and sessions that are not in the file are gone.")]
    Restore(Restore),
    /// Show what is in such a file, and whether it is whole
    #[command(after_help = "\
Examples:
  keyway cluster snapshot inspect backup.snap  kinds, numbers and sizes
  keyway cluster snapshot inspect backup.snap -o json   for a script; code 3 if it is damaged")]
    Inspect(OfFile),
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    of: OfFile,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct OfFile {
    /// The file
    file: PathBuf,
}

impl Snapshot {
    pub(super) async fn run(self, context: Context<'_>) -> Outcome {
        match self {
            Self::Save(OfFile { file }) => save::run(context, &file).await,
            Self::Restore(Restore { of, message }) => restore::run(context, &of.file, message).await,
            Self::Inspect(OfFile { file }) => inspect::run(context, &file),
        }
    }
}

/// Reads a file to its end and checks it.
fn contents(path: &Path) -> Result<Contents, Problem> {
    let file = File::open(path);
    let file = file.map_err(|e| Problem::new(exit::INVALID, format!("open {}: {e}", path.display())))?;
    archive::read(file, &mut |_| ControlFlow::Continue(())).map_err(|e| {
        Problem::new(exit::INVALID, format!("{} is no good snapshot: {e}", path.display()))
            .help("use another one; a good one is written by   keyway cluster snapshot save FILE")
    })
}
