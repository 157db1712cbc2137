//! How a server begins: its folder, its name, its place in a cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use kvapi::Address;
use openraft::SnapshotPolicy;

use crate::cluster::joining;
use crate::config::{Config, socket_addr};
use crate::disk;
use crate::folder::{Folder, FolderError, Note};
use crate::peer::links::Me;
use crate::raft::{self, Pace, Raft};
use crate::store;

/// How long a start waits for the log's first entry.
const NOTE: Duration = Duration::from_secs(10);

pub(super) fn raft_config(pace: Pace) -> anyhow::Result<openraft::Config> {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let config = openraft::Config {
        cluster_name: "keyway".into(),
        heartbeat_interval: ms(pace.heartbeat()),
        // The greatest is the lease; by the least nobody stands, since `candidacy` decides that.
        election_timeout_min: ms(pace.lease() / 2),
        election_timeout_max: ms(pace.lease()),
        enable_elect: false,
        install_snapshot_timeout: 10_000,
        max_payload_entries: 256,
        replication_lag_threshold: 30_000,
        // Both are asked for in `upkeep`.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        ..openraft::Config::default()
    };
    config.validate().context("raft's settings")
}

/// Opens the data folder; that of a new server is of the cluster that it is to join.
pub(super) async fn open_folder(config: &Config) -> anyhow::Result<Folder> {
    let (dir, id) = (&config.data_dir, config.node_id);
    if config.bootstrap {
        return Ok(Folder::open_or_go_on(dir, id, &store::gather)?);
    }
    if config.join.is_empty() || Folder::is_begun(dir)? {
        return Ok(Folder::open(dir, id)?);
    }
    let cluster = joining::cluster_of(&config.join).await;
    Ok(Folder::open_of(dir, id, cluster)?)
}

/// This server, as the others are told of it.
pub(super) fn me(config: &Config, folder: &Folder, peers: &Address) -> Me {
    let listens = match peers {
        Address::Tcp(authority) => authority.clone(),
        Address::Unix(_) => config.raft_addr.clone(),
    };
    let own = socket_addr(&listens)
        .map(|addr| addr.ip())
        .filter(|ip| !ip.is_unspecified());
    let raft_addr = config.advertise_raft.clone().unwrap_or(listens);
    let host = raft_addr.rsplit_once(':').map_or("", |(host, _)| host);
    let http_addr = match config.http_addrs.first() {
        // Every address of this machine is none that anybody could go to.
        Some(Address::Tcp(authority)) => match socket_addr(authority) {
            Some(addr) if addr.ip().is_unspecified() => format!("http://{host}:{}", addr.port()),
            _ => format!("http://{authority}"),
        },
        other => other.map(ToString::to_string).unwrap_or_default(),
    };
    Me {
        cluster: folder.cluster_id().to_owned(),
        id: config.node_id,
        instance: folder.instance().to_owned(),
        node: raft::Node { raft_addr, http_addr },
        from: own,
    }
}

/// Makes a cluster of one, if this is asked for.
pub(super) async fn bootstrap(raft: &Raft, config: &Config, node: raft::Node) -> anyhow::Result<()> {
    anyhow::ensure!(
        config.bootstrap,
        "the data folder {} belongs to no cluster yet; start the first server of a cluster with --bootstrap, and each other \
         one with --join and the address of a server",
        config.data_dir.display()
    );
    raft.initialize(BTreeMap::from([(config.node_id, node)]))
        .await
        .context("make the cluster")
}

/// Has the folder say, before anything is acknowledged, that its log has an entry. What has been applied
/// is durable in the log, so a power cut does not leave the one without the other.
pub(super) async fn note_initialised(raft: &Raft, note: &Note) -> anyhow::Result<()> {
    let wait = raft.wait(Some(NOTE));
    let applied = wait.metrics(|m| m.last_applied.is_some(), "the first entry").await;
    if applied.is_err() {
        // Nobody leads, or the log has failed, which is told elsewhere: the next start notes it.
        return Ok(());
    }
    match note.write() {
        // A start on a full disk serves reads.
        Err(FolderError::Io { reason, .. }) if disk::is_full(&reason) => {
            tracing::warn!(%reason, "keyway.json cannot be written; the next start does it");
            Ok(())
        }
        written => Ok(written?),
    }
}
