//! `keyway cluster`: the servers as a whole.

mod leader;
mod members;
pub(crate) mod snapshot;
mod status;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Outcome;

#[derive(Debug, Subcommand)]
pub(crate) enum Cluster {
    /// Which servers there are, who leads, how far each is
    #[command(after_help = "\
Examples:
  keyway cluster status
  keyway cluster status -o json

Exits with 6 if the server that is asked knows of no leader.")]
    Status,
    /// Have a server that waits for it join a cluster
    Join(members::Join),
    /// Take a server out of the cluster, for ever
    Remove(members::Remove),
    /// Have another server lead
    TransferLeader(leader::TransferLeader),
    /// Save everything in a file, look into one, put one back
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
}

impl Cluster {
    pub(crate) async fn run(self, context: Context<'_>) -> Outcome {
        match self {
            Self::Status => status::run(context).await,
            Self::Join(join) => join.run(context).await,
            Self::Remove(remove) => remove.run(context).await,
            Self::TransferLeader(transfer) => transfer.run(context).await,
            Self::Snapshot(snapshot) => snapshot.run(context).await,
        }
    }
}
