//! One server of a cluster: opens the store, starts Raft, and is what handlers ask.
//!
//! The composition root of this crate: everything is wired here and nowhere else. A write goes
//! in by [`Node::propose`] and comes back when it is applied; a read gets a [`State`] that never
//! changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kvapi::limits::Limits;
use openraft::SnapshotPolicy;
use tokio_util::sync::CancellationToken;

use crate::batch::{Batcher, ProposeError};
use crate::clock;
use crate::command::{Command, Reply};
use crate::config::{Config, Waits};
use crate::disk;
use crate::expiry::Expiry;
use crate::folder::{Folder, FolderError, Note};
use crate::http::traffic::Traffic;
use crate::members::{self, Members};
use crate::network::Network;
use crate::raft::{self, Raft};
use crate::read::{ReadError, ReadMode, Reads};
use crate::room::{Room, RoomStatus};
use crate::state::State;
use crate::store::{self, Closing, Fatal, LogSize};
use crate::upkeep::Upkeep;
use crate::view::Views;
use crate::watch::hub::Hub;

/// How long closing may take. With what requests get to end, it stays below the two seconds that a
/// server has to stop in.
const CLOSE: Duration = Duration::from_millis(600);

/// How long a start waits for the log's first entry.
const NOTE: Duration = Duration::from_secs(10);

/// A handle; clones are the same server.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    raft: Raft,
    batcher: Batcher,
    reads: Reads,
    expiry: Expiry,
    views: Views,
    hub: Arc<Hub>,
    room: Room,
    traffic: Traffic,
    limits: Limits,
    waits: Waits,
    log_size: LogSize,
    started_ms: u64,
    stopping: CancellationToken,
    fatal: Fatal,
    closing: Closing,
    cluster_id: String,
    node_id: u64,
    scratch_dir: PathBuf,
}

/// How the server stands, as it knows itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub node_id: u64,
    pub cluster_id: String,
    /// Who leads, if anyone is known to.
    pub leader: Option<(u64, raft::Node)>,
    pub is_leader: bool,
    /// Milliseconds since the leader was heard of; 0 on the leader.
    pub last_contact_ms: u64,
    /// The voting servers, this one included, by their numbers.
    pub peers: Vec<(u64, raft::Node)>,
    /// Why the server takes no traffic, if it does not: each condition that fails, by its name.
    pub not_ready: Vec<(&'static str, String)>,
}

impl Node {
    /// Opens the data folder and starts the server: recovery, then Raft.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let folder = if config.bootstrap {
            Folder::open_or_go_on(&config.data_dir, config.node_id, &store::gather)?
        } else {
            Folder::open(&config.data_dir, config.node_id)?
        };
        let note = folder.note();
        let started_ms = clock::wall_ms();
        let upkeep = Upkeep::begin(folder.dir(), config.min_free)
            .with_context(|| format!("tell how much is free on the disk of {}", folder.dir().display()))?;
        let cluster_id = folder.cluster_id().to_owned();
        let scratch_dir = folder.snapshots();
        let views = Views::default();
        let hub = Hub::start();
        let opened = store::open(folder, views.clone(), Arc::clone(&hub) as _).await?;
        let raft = Raft::new(
            config.node_id,
            Arc::new(raft_config()?),
            Network,
            opened.log,
            opened.machine,
        )
        .await
        .context("start raft")?;
        bootstrap(&raft, config).await?;
        if let Some(note) = note {
            note_initialised(&raft, &note).await?;
        }
        let stopping = CancellationToken::new();
        let room = upkeep.room.clone();
        let log_size = opened.log_size.clone();
        tokio::spawn(upkeep.run(raft.clone(), opened.log_size, config.snapshot_every, stopping.clone()));
        let expiry = Expiry::new();
        let ending = expiry.clone().run(
            raft.clone(),
            views.clone(),
            Arc::clone(&hub),
            room.clone(),
            stopping.clone(),
        );
        tokio::spawn(ending);
        let inner = Inner {
            expiry,
            batcher: Batcher::start(raft.clone()),
            reads: Reads::start(raft.clone(), views.clone()),
            raft,
            views,
            hub,
            room,
            traffic: Traffic::default(),
            limits: config.limits,
            waits: config.waits,
            log_size,
            started_ms,
            stopping,
            fatal: opened.fatal,
            closing: opened.closing,
            cluster_id,
            node_id: config.node_id,
            scratch_dir,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Carries out a write: returns once it is durable and applied.
    pub async fn propose(&self, command: Command) -> Result<Reply, ProposeError> {
        if self.inner.stopping.is_cancelled() {
            return Err(ProposeError::Stopping);
        }
        let _charged = self.inner.room.admit(&command.action, command.weight())?;
        self.inner.batcher.propose(command).await
    }

    /// The client of a session is there, so the session has its full time again. `false` if it came too
    /// late. The leader's word: to be asked behind a linearizable read.
    #[must_use]
    pub fn renew_session(&self, id: &str) -> bool {
        self.inner.expiry.renew(id)
    }

    /// The state to answer a read from.
    pub async fn read(&self, mode: ReadMode) -> Result<Arc<State>, ReadError> {
        match mode {
            ReadMode::Linearizable => self.inner.reads.linearizable().await,
            ReadMode::Stale => Ok(self.view()),
        }
    }

    /// What this server has.
    #[must_use]
    pub fn view(&self) -> Arc<State> {
        self.inner.views.current()
    }

    /// The same, for those who hold on to it.
    #[must_use]
    pub fn views(&self) -> &Views {
        &self.inner.views
    }

    /// Where changes are waited for.
    #[must_use]
    pub fn hub(&self) -> &Arc<Hub> {
        &self.inner.hub
    }

    /// How much room the disk has, and whether writes are refused for it.
    #[must_use]
    pub fn room(&self) -> RoomStatus {
        self.inner.room.status()
    }

    /// How much one write may bring.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.inner.limits
    }

    /// How long a blocking query waits.
    #[must_use]
    pub fn waits(&self) -> Waits {
        self.inner.waits
    }

    /// Counts the requests of all doors.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.inner.traffic
    }

    /// See [`Batcher::waiting`].
    #[must_use]
    pub fn waiting_writes(&self) -> (usize, usize) {
        self.inner.batcher.waiting()
    }

    /// See [`Batcher::made`].
    #[must_use]
    pub fn batches(&self) -> (u64, u64) {
        self.inner.batcher.made()
    }

    /// How many snapshots were taken since the start, and how long the newest is.
    #[must_use]
    pub fn snapshots(&self) -> (u64, u64) {
        (self.inner.log_size.snapshots(), self.inner.log_size.snapshot_bytes())
    }

    /// How old the newest snapshot is.
    #[must_use]
    pub fn snapshot_age(&self) -> Option<Duration> {
        let at = self.inner.log_size.snapshot_at_ms()?;
        Some(Duration::from_millis(clock::wall_ms().saturating_sub(at)))
    }

    /// Bytes of changes that are not in the state on disk yet.
    #[must_use]
    pub fn unwritten_bytes(&self) -> usize {
        self.inner.closing.unwritten_bytes()
    }

    /// Bytes of log after the newest snapshot.
    #[must_use]
    pub fn log_since_snapshot(&self) -> u64 {
        self.inner.log_size.since_snapshot()
    }

    /// When the server was started, milliseconds since 1970.
    #[must_use]
    pub fn started_ms(&self) -> u64 {
        self.inner.started_ms
    }

    /// Cancelled when the server begins to stop: no new writes, streams end.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.inner.stopping
    }

    /// A folder for files that nobody needs after this run.
    #[must_use]
    pub fn scratch_dir(&self) -> &Path {
        &self.inner.scratch_dir
    }

    /// The id that the cluster got when it was made.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.inner.cluster_id
    }

    /// The index of the last log entry. It grows slower than the revision: one entry holds all
    /// the writes that were waiting.
    #[must_use]
    pub fn log_index(&self) -> u64 {
        self.inner
            .raft
            .data_metrics()
            .borrow()
            .last_log
            .map_or(0, |log_id| log_id.index)
    }

    /// The servers of the cluster, as this one knows them.
    #[must_use]
    pub fn members(&self) -> Members {
        Members::of(&self.inner.raft)
    }

    /// Returns once the servers are others than at an index of [`Members`].
    pub async fn members_changed(&self, after: u64) {
        members::changed(&self.inner.raft, after).await;
    }

    /// How the server stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let metrics = self.inner.raft.server_metrics().borrow().clone();
        let members: BTreeMap<u64, raft::Node> = metrics
            .membership_config
            .nodes()
            .map(|(id, node)| (*id, node.clone()))
            .collect();
        let leader = metrics
            .current_leader
            .and_then(|id| Some((id, members.get(&id)?.clone())));
        let mut not_ready = Vec::new();
        if self.inner.stopping.is_cancelled() {
            not_ready.push(("stopping", "the server is stopping".to_owned()));
        }
        if leader.is_none() {
            not_ready.push(("leader", "no leader is known".to_owned()));
        }
        if let Some(refusal) = self.inner.room.refusal() {
            not_ready.push(("disk", refusal.to_string()));
        }
        let is_leader = metrics.current_leader == Some(metrics.id);
        Status {
            node_id: self.inner.node_id,
            cluster_id: self.inner.cluster_id.clone(),
            is_leader,
            // With one server there is no other leader to have been in contact with.
            last_contact_ms: 0,
            peers: metrics
                .membership_config
                .voter_ids()
                .filter_map(|id| Some((id, members.get(&id)?.clone())))
                .collect(),
            leader,
            not_ready,
        }
    }

    /// Waits until the disk fails or Raft ends by itself; then nothing can be acknowledged any
    /// more and the server must end.
    pub async fn failed(&self) -> anyhow::Error {
        // Not the metrics of everything: those are news with every write.
        let mut servers = self.inner.raft.server_metrics();
        tokio::select! {
            biased; // the disk's own words are better than what Raft makes of them
            error = self.inner.fatal.wait() => error,
            // It ends with Raft's own task.
            _ = servers.wait_for(|_| false) => {
                let state = self.inner.raft.metrics().borrow().running_state.clone();
                state.err().map_or_else(|| anyhow::anyhow!("raft ended"), Into::into)
            }
        }
    }

    /// Stops Raft and closes the store. What was acknowledged is in the log; the state on disk
    /// is brought up to it if that takes no longer than `CLOSE`.
    pub async fn close(&self) -> anyhow::Result<()> {
        let until = clock::now() + CLOSE;
        self.inner.stopping.cancel();
        self.inner.raft.shutdown().await.context("stop raft")?;
        self.inner.closing.close(until).await
    }
}

fn raft_config() -> anyhow::Result<openraft::Config> {
    let config = openraft::Config {
        cluster_name: "keyway".into(),
        heartbeat_interval: 100,
        election_timeout_min: 500,
        election_timeout_max: 1000,
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

/// Makes a cluster of one if the folder belongs to no cluster yet and this is asked for.
async fn bootstrap(raft: &Raft, config: &Config) -> anyhow::Result<()> {
    if raft.is_initialized().await.context("ask raft for its members")? {
        return Ok(());
    }
    anyhow::ensure!(
        config.bootstrap,
        "the data folder {} belongs to no cluster yet; start the first server of a cluster with --bootstrap",
        config.data_dir.display()
    );
    let http_addr = config.http_addrs.first().map(ToString::to_string).unwrap_or_default();
    let node = raft::Node {
        raft_addr: config.raft_addr.clone(),
        http_addr,
    };
    raft.initialize(BTreeMap::from([(config.node_id, node)]))
        .await
        .context("make the cluster")
}

/// Has the folder say, before anything is acknowledged, that its log has an entry. What has been applied
/// is durable in the log, so a power cut does not leave the one without the other.
async fn note_initialised(raft: &Raft, note: &Note) -> anyhow::Result<()> {
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::command::Action;

    async fn open(dir: &Path) -> Node {
        Node::open(&Config::new(dir)).await.unwrap()
    }

    async fn put(node: &Node, key: &str) {
        let action = Action::Put {
            key: kvapi::Key::new(key).unwrap(),
            value: key.to_owned().into(),
            flags: 0,
            cas: None,
        };
        let command = Command {
            request: None,
            author: None,
            message: None,
            action,
        };
        node.propose(command).await.unwrap();
    }

    /// Takes a snapshot; returns the index that it stands at.
    async fn take_snapshot(node: &Node) -> u64 {
        let wait = node.inner.raft.wait(Some(Duration::from_secs(30)));
        let applied = wait.metrics(|m| m.last_applied.map(|id| id.index) == m.last_log_index, "applied");
        let index = applied.await.unwrap().last_log_index.unwrap();
        node.inner.raft.trigger().snapshot().await.unwrap();
        let wait = node.inner.raft.wait(Some(Duration::from_secs(30)));
        wait.metrics(|m| m.snapshot.map(|id| id.index) == Some(index), "snapshot")
            .await
            .unwrap();
        index
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_log_goes_back_to_the_older_snapshot_so_that_one_may_be_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let node = open(dir.path()).await;
        let mut taken = Vec::new();
        for key in ["a", "b", "c"] {
            put(&node, key).await;
            taken.push(take_snapshot(&node).await);
        }
        put(&node, "d").await;
        let wait = node.inner.raft.wait(Some(Duration::from_secs(30)));
        wait.metrics(|m| m.purged.map(|id| id.index) == Some(taken[1]), "purged")
            .await
            .unwrap();
        let digest = node.view().digest();
        node.close().await.unwrap();
        drop(node);
        let snapshots = disk::list(&dir.path().join("snapshots")).unwrap();
        let newest = snapshots.last().unwrap();
        let content = disk::read(newest).unwrap().unwrap();
        disk::replace(newest, &content[..content.len() / 2]).unwrap();
        disk::remove_dir(&dir.path().join("state")).unwrap();

        let node = open(dir.path()).await;

        let view = node.read(ReadMode::Linearizable).await.unwrap();
        assert_eq!(view.digest(), digest);
        assert!(view.get("d").is_some());
        node.close().await.unwrap();
    }
}
