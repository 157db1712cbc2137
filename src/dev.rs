//! `keyway dev`: everything on this machine in one process, to develop against.
//!
//! The store and the scheduler; the page starts beside them here, and stops before them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use kvapi::problem::exit;
use kvapi::{Address, Client, Problem, codes};
use kvstore::config::Config;
use tempfile::TempDir;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::Out;
use crate::scheduler::{Plan, Running, secret};
use crate::server::{Ready, announce};
use crate::signals::{INTERRUPTED, Stop};
use crate::store;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway dev                                   on ports 8500 and 8080; what is stored goes with it
  keyway dev --data-dir ./data                 keep what is stored
  keyway dev --http-addr 127.0.0.1:0           on free ports

Ctrl-C stops it, and all that it has deployed. Exits with 6 if a port is taken.")]
pub(crate) struct Dev {
    /// Folder that keeps what is stored; without it, one that is removed at the end
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where clients connect
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8500")]
    http_addr: Address,
    /// Where the scheduler's API listens [default: 127.0.0.1:8080, or a free port beside another than 8500]
    #[arg(long, value_name = "HOST:PORT")]
    scheduler_addr: Option<String>,
    /// File with the secret by which a registry may tell of pushes; without it none may
    #[arg(long, value_name = "FILE", conflicts_with = "no_scheduler")]
    registry_secret_file: Option<PathBuf>,
    /// The Docker Engine's socket [default: /var/run/docker.sock if it is there]
    #[arg(long, value_name = "PATH", conflicts_with = "no_scheduler")]
    docker_socket: Option<PathBuf>,
    /// Start no scheduler
    #[arg(long, conflicts_with = "scheduler_addr")]
    no_scheduler: bool,
}

impl Dev {
    pub(crate) async fn run(self, context: Context<'_>) -> Outcome {
        let mut stop = Stop::listen()?;
        let registry_secret = self.registry_secret_file.as_deref().map(secret).transpose()?;
        let (dir, kept) = folder(self.data_dir)?;
        let listen = self.scheduler_addr.unwrap_or_else(|| beside(&self.http_addr));
        let socket = dir.join("agent.sock");
        let config = Config {
            agent_socket: (!self.no_scheduler).then(|| socket.clone()),
            ..local(&dir, self.http_addr)
        };
        let node_id = config.node_id;
        let started = store::start_until_stopped(config, &mut stop).await;
        let started = started.map_err(|problem| match problem.code {
            exit::UNAVAILABLE => problem.help("a free port: keyway dev --http-addr 127.0.0.1:0"),
            _ => problem,
        })?;
        let Some(server) = started else {
            return Ok(exit::OK);
        };
        let scheduler = match server.http_addrs().first() {
            Some(address) if !self.no_scheduler => {
                let client = Client::new(vec![address.clone()], None, context.settings.timeout);
                let store = format!("unix://{}", std::path::absolute(&socket).unwrap_or(socket).display());
                let plan = Plan {
                    registry_secret,
                    ..Plan::local(&dir.join("scheduler"), store, listen, self.docker_socket)
                };
                match Running::start(client, plan).await {
                    Ok(running) => Some(running),
                    Err(problem) => {
                        store::stop_server(server).await?;
                        let help = "another port: --scheduler-addr 127.0.0.1:0; or none: --no-scheduler";
                        return Err(problem.help(help).into());
                    }
                }
            }
            _ => None,
        };
        let scheduler_addr = scheduler.as_ref().map(|scheduler| scheduler.address);
        announce(
            context.out,
            &Ready {
                command: "dev",
                server: &server,
                node_id,
                scheduler: scheduler_addr,
            },
        )?;
        if let Some(address) = server.http_addrs().first() {
            welcome(context.out, address, scheduler_addr, kept.is_none().then_some(&dir));
        }
        tokio::select! {
            biased;
            () = stop.next() => {}
            failure = server.failed() => return Err(store::cannot_go_on(&failure).into()),
        }
        let orderly = async {
            // What it has deployed goes first: agents tell the store that they end.
            if let Some(scheduler) = scheduler {
                scheduler.stop_all().await;
            }
            store::stop_server(server).await
        };
        tokio::select! {
            biased;
            stopped = orderly => stopped.map(|()| exit::OK).map_err(Failure::from),
            () = stop.next() => Ok(INTERRUPTED),
        }
    }
}

/// Where the scheduler's API listens if nobody says: at its own port beside the store's, or at a free one.
fn beside(store: &Address) -> String {
    let port = if store.to_string() == kvapi::address::DEFAULT {
        8080
    } else {
        0
    };
    format!("127.0.0.1:{port}")
}

/// A server for this machine only. Nobody but itself is in its cluster, so port 0 does for Raft.
pub(crate) fn local(dir: &Path, http_addr: Address) -> Config {
    Config {
        http_addrs: vec![http_addr],
        raft_addr: "127.0.0.1:0".into(),
        ..Config::new(dir)
    }
}

/// The folder given, or a fresh one that is removed when its guard is dropped.
fn folder(given: Option<PathBuf>) -> Result<(PathBuf, Option<TempDir>), Problem> {
    if let Some(dir) = given {
        // The socket for agents is in it before the store makes it.
        std::fs::create_dir_all(&dir).map_err(|e| {
            Problem::of(
                &codes::BAD_SERVER_SETTINGS,
                format!("make the folder {}: {e}", dir.display()),
            )
        })?;
        return Ok((dir, None));
    }
    let dir = temporary("keyway-dev-")?;
    Ok((dir.path().to_owned(), Some(dir)))
}

/// A fresh folder that is removed when it is dropped.
pub(crate) fn temporary(prefix: &str) -> Result<TempDir, Problem> {
    tempfile::Builder::new().prefix(prefix).tempdir().map_err(|e| {
        Problem::new(exit::UNAVAILABLE, format!("make a temporary folder: {e}"))
            .help("name a place that can be written to with TMPDIR")
    })
}

fn welcome(out: &mut Out, address: &Address, scheduler: Option<SocketAddr>, kept: Option<&PathBuf>) {
    let stored = match kept {
        Some(dir) => format!("stored in {}", dir.display()),
        None => "what is stored goes when it stops; --data-dir keeps it".into(),
    };
    let export = match address.to_string() {
        text if text == kvapi::address::DEFAULT => String::new(),
        text => format!("\n  export KEYWAY_ADDR={text}"),
    };
    let export = match scheduler {
        Some(address) if address.port() != 8080 => format!("{export}\n  export KEYWAY_SCHEDULER_ADDR=http://{address}"),
        _ => export,
    };
    out.say(format_args!(
        "keyway is up at {address} ({stored}). Try, in another terminal:\n{export}
  keyway kv put app/greeting hello
  keyway kv get app/greeting
  keyway kv watch app/

Ctrl-C stops it."
    ));
}
