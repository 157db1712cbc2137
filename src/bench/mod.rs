//! `keyway bench`: measures a server that speaks the API, Keyway or Consul.
//!
//! Without --addr a server of our own is started, as a process of its own so that its memory can be
//! told from ours. Beside every figure stand the yardsticks of the same run: how often this disk
//! can sync, and how fast an empty handler answers on the same accept loop. Deploys have none of
//! these: what starts is bound by the processors. Beside containers stands the Engine alone.

mod deploy;
mod empty;
mod failover;
mod get;
mod load;
mod put;
mod render;
mod report;
mod streams;
mod target;
mod watch;
mod yardsticks;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::failure::Outcome;
use crate::signals::{INTERRUPTED, Stop};

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Writes: rate and latency by number of clients
    Put(put::Put),
    /// Reads: rate and latency by number of clients, linearizable and stale
    Get(get::Get),
    /// From a put to the last of many watchers, and what watchers cost
    Watch(watch::Watch),
    /// How long no write is taken when the leader is killed, and what became of the writes meanwhile
    Failover(failover::Failover),
    /// How soon many instances are up, rolled and told of a setting, and what that takes
    Deploy(deploy::Deploy),
    /// From a put to the signal that tells a program of it, by templates, keys and agents
    Render(render::Render),
    /// The program that is told there
    #[command(hide = true)]
    Child(render::Child),
    /// The yardstick: the accept loop of the server with nothing behind it
    #[command(hide = true)]
    Empty(empty::Empty),
}

/// Flags of every measurement.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Where the server that is started keeps its data, and whose disk is measured
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Bytes of each value
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    value_size: usize,
    /// Servers of the cluster that is started, all on this machine
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=7))]
    servers: u8,
    /// Which of them are asked
    #[arg(long, value_name = "WHICH", value_enum, default_value_t)]
    ask: Ask,
}

/// Which servers of a cluster are asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Ask {
    /// The one that leads
    #[default]
    Leader,
    /// One that does not
    Follower,
    /// All in turn
    All,
}

impl Bench {
    pub(crate) async fn run(self, context: Context<'_>) -> Outcome {
        let mut stop = Stop::listen()?;
        // What it has deployed would outlive it.
        let ends_by_itself = matches!(self, Self::Deploy(_));
        let measure = async {
            match self {
                Self::Put(put) => put.run(context).await,
                Self::Get(get) => get.run(context).await,
                Self::Watch(watch) => watch.run(context).await,
                Self::Failover(failover) => failover.run(context).await,
                Self::Deploy(deploy) => deploy.run(context).await,
                Self::Render(render) => render.run(context).await,
                Self::Empty(empty) => empty.run(context).await,
                Self::Child(child) => child.run().await,
            }
        };
        // What a measurement started goes with it when it is dropped.
        tokio::select! {
            biased;
            outcome = measure => outcome,
            () = stop.next(), if !ends_by_itself => Ok(INTERRUPTED),
        }
    }
}
