//! One server of a cluster: opens the store, starts Raft, and is what handlers ask.
//!
//! The composition root of this crate: everything is wired here and nowhere else. A write goes
//! in by [`Node::propose`] and comes back when it is applied; a read gets a [`State`] that never
//! changes. What it says of itself and to the other servers is in `status` and `serving`.

mod serving;
mod start;
mod status;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use kvapi::Address;
use kvapi::limits::Limits;
use tokio_util::sync::CancellationToken;

use crate::batch::{Batcher, ProposeError};
use crate::candidacy::Candidacy;
use crate::clock;
use crate::cluster::{Cluster, joining};
use crate::command::{Command, Reply};
use crate::config::{Config, Waits};
use crate::contact::Contact;
use crate::expiry::Expiry;
use crate::failpoint;
use crate::folder::Note;
use crate::http::traffic::Traffic;
use crate::leadership::{Leadership, Restraint};
use crate::members::{self, Members};
use crate::net::Listener;
use crate::network::Network;
use crate::peer;
use crate::peer::door::Door;
use crate::peer::links::Links;
use crate::peer::transfer::Receiving;
use crate::raft::{Pace, Raft};
use crate::read::{ReadError, ReadMode, Reads};
use crate::room::Room;
use crate::state::State;
use crate::store::{self, Closing, Fatal, LogSize};
use crate::upkeep::Upkeep;
use crate::view::Views;
use crate::watch::hub::Hub;
use start::{bootstrap, me, note_initialised, open_folder, raft_config};
pub use status::Status;

/// How long closing may begin to write what the state on disk lacks. With what requests get to end, a server that is
/// not in the middle of it stops below two seconds.
const CLOSE: Duration = Duration::from_millis(600);

/// A handle; clones are the same server.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    raft: Raft,
    leadership: Leadership,
    links: Links,
    cluster: Cluster,
    contact: Contact,
    candidacy: Candidacy,
    /// Whether this server is a member: until then nothing of the log or of an election is taken from anybody.
    admitted: AtomicBool,
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
    /// Cancelled when the other servers get no more answers.
    closed: CancellationToken,
    fatal: Fatal,
    closing: Closing,
    cluster_id: String,
    node_id: u64,
    scratch_dir: PathBuf,
    peers: Address,
}

impl Node {
    /// Opens the data folder and starts the server: recovery, then Raft.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        // First, since a port in use is the likeliest trouble.
        let peers = Listener::bind(&Address::Tcp(config.raft_addr.clone())).await?;
        let folder = open_folder(config).await?;
        let note = folder.note();
        let started_ms = clock::wall_ms();
        let upkeep = Upkeep::begin(folder.dir(), config.min_free)
            .with_context(|| format!("tell how much is free on the disk of {}", folder.dir().display()))?;
        let scratch_dir = folder.snapshots();
        let me = me(config, &folder, peers.address());
        let views = Views::default();
        let hub = Hub::start();
        let opened = store::open(folder, views.clone(), Arc::clone(&hub) as _).await?;
        opened.log.belongs_to(config.node_id);
        let links = Links::new(me.clone(), opened.fatal.clone());
        let restraint = Restraint::default();
        let network = Network {
            links: links.clone(),
            restraint: restraint.clone(),
        };
        let raft = Raft::new(
            config.node_id,
            Arc::new(raft_config(config.pace)?),
            network,
            opened.log,
            opened.machine,
        )
        .await
        .context("start raft")?;
        // Whoever lost its folder has its number still, and the others may think that it has its log: it must not
        // answer for it before the cluster has said whether it may come in.
        let begun = raft.is_initialized().await.context("ask raft for its members")?;
        let stopping = CancellationToken::new();
        let room = upkeep.room.clone();
        let log_size = opened.log_size.clone();
        tokio::spawn(upkeep.run(raft.clone(), opened.log_size, config.snapshot_every, stopping.clone()));
        let leadership = Leadership::new(raft.clone(), restraint, config.pace);
        let batcher = Batcher::start(leadership.clone(), links.clone());
        let reads = Reads::start(leadership.clone(), links.clone(), views.clone());
        let cluster = Cluster::new(
            leadership.clone(),
            links.clone(),
            reads.clone(),
            batcher.clone(),
            config.pace,
        );
        let contact = Contact::start();
        let candidacy = Candidacy::new(leadership.clone(), links.clone(), contact.clone(), config.pace);
        let expiry = Expiry::new();
        let inner = Inner {
            leadership,
            links,
            cluster,
            contact,
            candidacy,
            admitted: AtomicBool::new(begun || config.join.is_empty()),
            expiry,
            batcher,
            reads,
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
            closed: CancellationToken::new(),
            fatal: opened.fatal,
            closing: opened.closing,
            cluster_id: me.cluster.clone(),
            node_id: config.node_id,
            scratch_dir,
            peers: peers.address().clone(),
        };
        let node = Self { inner: Arc::new(inner) };
        node.serve_peers(peers);
        node.hold_elections(config.pace);
        if let Err(e) = node.become_member(config, note).await {
            // Whoever starts a server that does not come to be wants its folder and port back.
            node.close().await?;
            return Err(e);
        }
        node.look_after();
        Ok(node)
    }

    /// Lets the other servers in, for as long as this one is open: also while it stops, since others may wait for
    /// its answers.
    fn serve_peers(&self, peers: Listener) {
        let door = Arc::new(Door {
            node: self.clone(),
            receiving: Receiving::default(),
        });
        let closed = self.inner.closed.clone();
        tokio::spawn(peer::door::serve(peers, door, closed));
    }

    /// Makes a cluster, or joins one, unless the folder is of a member already.
    async fn become_member(&self, config: &Config, note: Option<Note>) -> anyhow::Result<()> {
        let raft = &self.inner.raft;
        if !raft.is_initialized().await.context("ask raft for its members")? {
            let me = self.inner.links.me();
            if config.join.is_empty() {
                bootstrap(raft, config, me.node.clone()).await?;
            } else {
                joining::ask_to_join(&config.join, me).await?;
                self.inner.admitted.store(true, Ordering::SeqCst);
                let wait = raft.wait(None);
                let joined = wait.metrics(|m| m.membership_config.nodes().count() > 0, "to be a member");
                joined.await.context("wait for the cluster's log")?;
            }
        }
        match note {
            Some(note) => note_initialised(raft, &note).await,
            None => Ok(()),
        }
    }

    /// From before it is a member, since who is one already may wait for a leader then.
    fn hold_elections(&self, pace: Pace) {
        let Inner {
            candidacy,
            leadership,
            contact,
            stopping,
            ..
        } = &*self.inner;
        let in_touch = leadership
            .clone()
            .stay_in_touch(contact.clone(), pace, stopping.clone());
        tokio::spawn(in_touch);
        tokio::spawn(candidacy.clone().run(stopping.clone()));
    }

    /// What goes on beside the requests until the server stops.
    fn look_after(&self) {
        let Inner {
            expiry,
            leadership,
            views,
            hub,
            room,
            stopping,
            cluster,
            fatal,
            ..
        } = &*self.inner;
        let ending = expiry.clone().run(
            leadership.clone(),
            views.clone(),
            Arc::clone(hub),
            room.clone(),
            stopping.clone(),
        );
        tokio::spawn(ending);
        tokio::spawn(cluster.clone().run(stopping.clone()));
        tokio::spawn(cluster.clone().stay_found(fatal.clone(), stopping.clone()));
    }

    /// Carries out a write: returns once it is durable and applied.
    pub async fn propose(&self, command: Command) -> Result<Reply, ProposeError> {
        if self.inner.stopping.is_cancelled() {
            return Err(ProposeError::Stopping);
        }
        let _charged = self.inner.room.admit(&command.action, command.weight())?;
        self.inner.batcher.propose(command).await
    }

    /// The connections to the other servers.
    pub(crate) fn links(&self) -> &Links {
        &self.inner.links
    }

    /// The state to answer a read from.
    pub async fn read(&self, mode: ReadMode) -> Result<Arc<State>, ReadError> {
        match mode {
            ReadMode::Linearizable if failpoint::planted("read-without-index") => Ok(self.view()),
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

    /// Where the other servers connect, with the port that was really taken.
    #[must_use]
    pub fn raft_addr(&self) -> &Address {
        &self.inner.peers
    }

    /// The id that the cluster got when it was made.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.inner.cluster_id
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
    /// is brought up to it if that takes no longer than `CLOSE`, and in any case left as a whole one if the disk allows.
    pub async fn close(&self) -> anyhow::Result<()> {
        let until = clock::now() + CLOSE;
        self.inner.stopping.cancel();
        self.inner.closed.cancel();
        self.inner.raft.shutdown().await.context("stop raft")?;
        self.inner.closing.close(until).await
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::command::Action;
    use crate::disk;

    async fn open(dir: &Path) -> Node {
        let config = Config {
            raft_addr: "127.0.0.1:0".into(),
            ..Config::new(dir)
        };
        Node::open(&config).await.unwrap()
    }

    async fn put(node: &Node, key: &str) {
        let action = Action::Put {
            key: kvapi::Key::new(key).unwrap(),
            value: key.to_owned().into(),
            flags: 0,
            cas: None,
        };
        let command = Command::from(action);
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
