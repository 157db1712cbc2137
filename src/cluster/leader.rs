//! `keyway cluster transfer-leader`: another server leads.

use clap::Args;
use kvapi::problem::exit;

use crate::context::Context;
use crate::failure::Outcome;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway cluster transfer-leader         to the server that has most of the log
  keyway cluster transfer-leader 2

Writes and reads wait for about a second meanwhile, and none fails.")]
pub(crate) struct TransferLeader {
    /// The server that is to lead
    #[arg(value_name = "NODE")]
    server: Option<u64>,
}

impl TransferLeader {
    pub(crate) async fn run(self, context: Context<'_>) -> Outcome {
        context.client.transfer_leader(self.server).await?;
        match context.client.cluster_status().await?.leader {
            Some(leader) => context.out.say(format_args!("server {leader} leads")),
            None => context.out.say("the leader changes"),
        }
        Ok(exit::OK)
    }
}
