//! `keyway server`: one server of the store.

mod check;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use kvapi::Address;
use kvapi::limits::Limits;
use kvapi::problem::exit;
use kvstore::config::{Config, SNAPSHOT_EVERY, Waits};
use kvstore::raft::Pace;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::Out;
use crate::signals::Stop;
use crate::store;

#[derive(Debug, Args)]
#[command(subcommand_negates_reqs = true)]
#[command(after_help = "\
Examples:
  keyway server --data-dir /var/lib/keyway --node-id 1 --bootstrap
  keyway server --data-dir d2 --node-id 2 --http-addr 127.0.0.1:8502 --raft-addr 127.0.0.1:8302 \
    --join http://127.0.0.1:8500                              a second one, on the same machine
  keyway server --data-dir d --http-addr 127.0.0.1:0          a free port; the first line names it
  keyway server check --data-dir d                            is the folder good?
  keyway server --data-dir d --http-addr unix:/run/keyway.sock --agent-socket /run/keyway-agent.sock

TERM or Ctrl-C stops it in order in under two seconds, a large one that is written to
in under ten; a second one at once.
Exits with 6 if the port or the data folder is taken.")]
pub(crate) struct Server {
    /// Folder that keeps everything
    #[arg(long, value_name = "DIR", required = true)]
    data_dir: Option<PathBuf>,
    /// This server's number in the cluster, from 1
    #[arg(long, value_name = "N", default_value_t = 1)]
    node_id: u64,
    /// Where clients connect: HOST:PORT or unix:/PATH; may be repeated
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8500")]
    http_addr: Vec<Address>,
    /// Where the other servers connect
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8300")]
    raft_addr: String,
    /// Make a new cluster if the data folder is new, or log and keyway.json were moved away from it
    #[arg(long, conflicts_with = "join")]
    bootstrap: bool,
    /// Join the cluster of the server at this address if the data folder is new; several with commas
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    join: Vec<Address>,
    /// If the data folder is new, wait for `keyway cluster join`
    #[arg(long, conflicts_with_all = ["join", "bootstrap"])]
    await_join: bool,
    /// Where the other servers reach this one, if it is not where it listens
    #[arg(long, value_name = "HOST:PORT")]
    advertise_raft: Option<String>,
    /// Servers that are far apart have so many times as long to answer each other, from 1 to 10; all of them the same
    #[arg(long, value_name = "N", default_value = "1", value_parser = pace)]
    raft_multiplier: Pace,
    /// A second unix socket with few rights, to give to containers
    #[arg(long, value_name = "PATH")]
    agent_socket: Option<PathBuf>,
    /// Listen beyond this machine although nobody is asked for a token yet
    #[arg(long)]
    insecure_listen: bool,
    /// Refuse writes while less than this is free on the folder's disk; 0 never refuses them
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = crate::size::parse)]
    min_free: u64,
    /// Log entries after which a snapshot is made
    #[arg(long, value_name = "N", default_value_t = SNAPSHOT_EVERY, hide = true)]
    snapshot_every: u64,
    /// The longest value
    #[arg(long, value_name = "SIZE", default_value = "512KiB", value_parser = size)]
    max_value_size: usize,
    /// The most operations of a transaction
    #[arg(long, value_name = "N", default_value_t = 128)]
    max_txn_ops: usize,
    /// The longest body of a transaction; as long as a value may be if that is more
    #[arg(long, value_name = "SIZE", default_value = "512KiB", value_parser = size)]
    max_txn_size: usize,
    /// How long a blocking query waits that does not say
    #[arg(long, value_name = "DURATION", default_value = "300s", value_parser = kvapi::duration::parse)]
    default_query_time: Duration,
    /// How long a blocking query waits at most, whatever it says
    #[arg(long, value_name = "DURATION", default_value = "600s", value_parser = kvapi::duration::parse)]
    max_query_time: Duration,
    /// Connections in all; those beyond get 503 (default: what open files allow, at most 65536)
    #[arg(long, value_name = "N", value_parser = count)]
    max_connections: Option<usize>,
    /// Connections from one address; those beyond get 429 (default: 16384, or 7/8 of all)
    #[arg(long, value_name = "N", value_parser = count)]
    max_connections_per_client: Option<usize>,
    /// Host name, beside localhost, under which clients on this machine may ask; may be repeated
    #[arg(long, value_name = "NAME")]
    allowed_host: Vec<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a data folder that no server uses
    Check(check::Check),
}

impl Server {
    /// Whether it serves, and is not one of the commands below it.
    pub(crate) const fn serves(&self) -> bool {
        self.command.is_none()
    }

    pub(crate) async fn run(mut self, context: Context<'_>) -> Outcome {
        if let Some(Command::Check(check)) = self.command.take() {
            return check.run(self.data_dir, context).await;
        }
        let Some(data_dir) = self.data_dir.take() else {
            return Err(Failure::new(
                exit::USAGE,
                "no data folder is named",
                "name one with --data-dir",
            ));
        };
        let mut stop = Stop::listen()?;
        let config = self.config(data_dir);
        let node_id = config.node_id;
        let Some(server) = store::start_until_stopped(config, &mut stop).await? else {
            return Ok(exit::OK);
        };
        announce(
            context.out,
            &Ready {
                command: "server",
                server: &server,
                node_id,
                scheduler: None,
            },
        )?;
        store::run_until_stopped(server, stop).await
    }

    fn config(self, data_dir: PathBuf) -> Config {
        Config {
            node_id: self.node_id,
            http_addrs: self.http_addr,
            raft_addr: self.raft_addr,
            agent_socket: self.agent_socket,
            bootstrap: self.bootstrap,
            join: self.join,
            await_join: self.await_join,
            advertise_raft: self.advertise_raft,
            insecure_listen: self.insecure_listen,
            allowed_hosts: self.allowed_host,
            limits: Limits {
                value_bytes: self.max_value_size,
                txn_ops: self.max_txn_ops,
                txn_bytes: self.max_txn_size,
            },
            waits: Waits {
                default: self.default_query_time,
                most: self.max_query_time,
            },
            pace: self.raft_multiplier,
            min_free: self.min_free,
            snapshot_every: self.snapshot_every,
            max_connections: self.max_connections,
            max_connections_per_client: self.max_connections_per_client,
            ..Config::new(data_dir)
        }
    }
}

/// A size that fits into memory's numbers.
fn size(text: &str) -> Result<usize, String> {
    usize::try_from(crate::size::parse(text)?).map_err(|e| e.to_string())
}

/// How much time servers give each other.
fn pace(text: &str) -> Result<Pace, String> {
    let pace = text.parse().ok().and_then(Pace::new);
    pace.ok_or_else(|| format!("give a number from 1 to {}", Pace::MOST))
}

/// A number of which none is no use.
fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..) => Ok(count),
        _ => Err("give a number from 1".into()),
    }
}

/// What the first line on stdout says, for programs that start a server and must find it.
pub(crate) struct Ready<'a> {
    pub(crate) command: &'a str,
    pub(crate) server: &'a kvstore::server::Server,
    pub(crate) node_id: u64,
    /// Where the API of a scheduler beside it is.
    pub(crate) scheduler: Option<SocketAddr>,
}

/// `keyway server ready http=http://127.0.0.1:43211 raft=127.0.0.1:8300 node=1 cluster=...`, with
/// the ports that were really taken; several addresses are separated by commas.
pub(crate) fn announce(out: &mut Out, ready: &Ready<'_>) -> Result<(), Failure> {
    let http: Vec<String> = ready.server.http_addrs().iter().map(ToString::to_string).collect();
    let cluster = ready.server.cluster_id();
    if out.is_json() {
        let mut json = serde_json::json!({
            "ready": ready.command,
            "http_addrs": http,
            "raft_addr": ready.server.raft_addr(),
            "node_id": ready.node_id,
            "cluster_id": cluster,
        });
        if let Some(address) = ready.scheduler {
            json["scheduler_addr"] = format!("http://{address}").into();
        }
        return out.json_line(&json);
    }
    let scheduler = ready
        .scheduler
        .map(|address| format!(" scheduler=http://{address}"))
        .unwrap_or_default();
    out.line(format_args!(
        "keyway {} ready http={} raft={} node={} cluster={cluster}{scheduler}",
        ready.command,
        http.join(","),
        ready.server.raft_addr(),
        ready.node_id,
    ))
}
