//! `keyway dev`: everything on this machine in one process, to develop against.
//!
//! The store for now; the scheduler and the page start beside it here, and stop before it.

use std::path::{Path, PathBuf};

use clap::Args;
use kvapi::problem::exit;
use kvapi::{Address, Problem};
use kvstore::config::Config;
use tempfile::TempDir;

use crate::context::Context;
use crate::failure::Outcome;
use crate::output::Out;
use crate::server::{Ready, announce};
use crate::signals::Stop;
use crate::store;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway dev                                   on port 8500; what is stored goes with it
  keyway dev --data-dir ./data                 keep what is stored
  keyway dev --http-addr 127.0.0.1:0           on a free port

Ctrl-C stops it. Exits with 6 if the port is taken.")]
pub(crate) struct Dev {
    /// Folder that keeps what is stored; without it, one that is removed at the end
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where clients connect
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8500")]
    http_addr: Address,
}

impl Dev {
    pub(crate) async fn run(self, context: Context<'_>) -> Outcome {
        let mut stop = Stop::listen()?;
        let (dir, kept) = folder(self.data_dir)?;
        let config = local(&dir, self.http_addr);
        let node_id = config.node_id;
        let started = store::start_until_stopped(config, &mut stop).await;
        let started = started.map_err(|problem| match problem.code {
            exit::UNAVAILABLE => problem.help("a free port: keyway dev --http-addr 127.0.0.1:0"),
            _ => problem,
        })?;
        let Some(server) = started else {
            return Ok(exit::OK);
        };
        announce(
            context.out,
            &Ready {
                command: "dev",
                server: &server,
                node_id,
            },
        )?;
        if let Some(address) = server.http_addrs().first() {
            welcome(context.out, address, kept.is_none().then_some(&dir));
        }
        store::run_until_stopped(server, stop).await
    }
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

fn welcome(out: &mut Out, address: &Address, kept: Option<&PathBuf>) {
    let stored = match kept {
        Some(dir) => format!("stored in {}", dir.display()),
        None => "what is stored goes when it stops; --data-dir keeps it".into(),
    };
    let export = match address.to_string() {
        text if text == kvapi::address::DEFAULT => String::new(),
        text => format!("\n  export KEYWAY_ADDR={text}"),
    };
    out.say(format_args!(
        "keyway is up at {address} ({stored}). Try, in another terminal:\n{export}
  keyway kv put app/greeting hello
  keyway kv get app/greeting
  keyway kv watch app/

Ctrl-C stops it."
    ));
}
