//! `keyway cluster join` and `remove`: one server more, one less.

use clap::Args;
use kvapi::Address;
use kvapi::problem::exit;

use crate::context::Context;
use crate::failure::{Failure, Outcome};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway server --data-dir d2 --node-id 2 --http-addr 127.0.0.1:8502 --raft-addr 127.0.0.1:8302 --await-join &
  keyway cluster join http://127.0.0.1:8500 --addr http://127.0.0.1:8502

The server that is asked (--addr) was started with --await-join. One that is started with --join URL needs no such command.")]
pub(crate) struct Join {
    /// A server of the cluster; several with commas
    #[arg(value_name = "URL", value_delimiter = ',', required = true)]
    servers: Vec<Address>,
}

impl Join {
    pub(crate) async fn run(self, context: Context<'_>) -> Outcome {
        context.client.join_cluster_of(&self.servers).await?;
        context.out.say("it joins; `keyway cluster status` shows when it votes");
        Ok(exit::OK)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway cluster remove 3

Its number is not used again: a server in its place gets an empty data folder, another --node-id, and --join.
The server itself ends with the reason.")]
pub(crate) struct Remove {
    /// The server's number
    #[arg(value_name = "NODE")]
    server: u64,
}

impl Remove {
    pub(crate) async fn run(self, context: Context<'_>) -> Outcome {
        let Self { server } = self;
        if !context.client.remove_server(server).await? {
            return Err(Failure::new(
                exit::NO,
                format!("server {server} is not a member of this cluster"),
                "the members: keyway cluster status",
            ));
        }
        context.out.say(format_args!("server {server} is no longer a member"));
        Ok(exit::OK)
    }
}
