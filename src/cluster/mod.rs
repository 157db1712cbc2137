//! `keyway cluster`: the servers as a whole.

pub(crate) mod snapshot;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Outcome;

#[derive(Debug, Subcommand)]
pub(crate) enum Cluster {
    /// Save everything in a file, look into one, put one back
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
}

impl Cluster {
    pub(crate) async fn run(self, context: Context<'_>) -> Outcome {
        match self {
            Self::Snapshot(snapshot) => snapshot.run(context).await,
        }
    }
}
