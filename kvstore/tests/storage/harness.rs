//! A store in a folder, driven as openraft drives it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use kvapi::Key;
use kvstore::clock::Instant;
use kvstore::command::{Action, Command, FORMAT, Limits, Op, Proposal, Reply, RequestId};
use kvstore::folder::Folder;
use kvstore::raft::{Entry, LogId, Vote};
use kvstore::state::{Event, State};
use kvstore::store::{self, Closing, LogSize, LogStore, StateMachine};
use kvstore::view::{Sink, Views};
use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _, RaftStateMachine as _};
use openraft::{CommittedLeaderId, EntryPayload, RaftSnapshotBuilder as _, StorageHelper};
use proptest::prelude::*;
use tokio::sync::RwLock;

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// A process that is being started has copies of all open files for a moment, and with them the
/// locks on those that were just closed. So nothing is opened in that moment.
pub(crate) static STARTING: RwLock<()> = RwLock::const_new(());

/// Looks at a folder that no store uses.
pub(crate) async fn inspect(dir: &Path) -> kvstore::store::inspect::Inspection {
    let _nobody_starts = STARTING.read().await;
    kvstore::store::inspect::inspect(dir).unwrap()
}

/// Hears of everything.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) events: Mutex<Vec<Arc<Event>>>,
    pub(crate) replaced: Mutex<usize>,
}

impl Sink for Heard {
    fn applied(&self, _: &Arc<State>, events: Vec<Arc<Event>>) {
        self.events.lock().unwrap().extend(events);
    }

    fn replaced(&self, _: &Arc<State>) {
        *self.replaced.lock().unwrap() += 1;
    }

    fn overtaken(&self, view: &Arc<State>) {
        self.replaced(view);
    }
}

pub(crate) struct Store {
    pub(crate) log: LogStore,
    pub(crate) machine: StateMachine,
    pub(crate) views: Views,
    pub(crate) heard: Arc<Heard>,
    pub(crate) size: LogSize,
    pub(crate) closing: Closing,
    pub(crate) next: u64,
    /// Of the entries to come.
    pub(crate) term: u64,
}

impl Store {
    /// Opens the store and lets openraft apply what the log has beyond the state.
    pub(crate) async fn open(dir: &Path) -> Self {
        let mut store = Self::try_open(dir).await.unwrap();
        store.catch_up().await;
        store
    }

    pub(crate) async fn try_open(dir: &Path) -> anyhow::Result<Self> {
        let _nobody_starts = STARTING.read().await;
        let views = Views::default();
        let heard = Arc::new(Heard::default());
        let opened = store::open(Folder::open(dir, 1)?, views.clone(), Arc::clone(&heard) as _).await?;
        let (mut log, machine) = (opened.log, opened.machine);
        let next = log.get_log_state().await?.last_log_id.map_or(0, |id| id.index + 1);
        Ok(Self {
            log,
            machine,
            views,
            heard,
            size: opened.log_size,
            closing: opened.closing,
            next,
            term: 1,
        })
    }

    /// What openraft holds to be so at its start must fit together: it starts on nothing else.
    pub(crate) async fn catch_up(&mut self) {
        let state = StorageHelper::new(&mut self.log, &mut self.machine)
            .get_initial_state()
            .await
            .unwrap();
        let last = self.log.get_log_state().await.unwrap().last_log_id;
        assert!(state.snapshot_meta.last_log_id <= state.committed, "{state:?}");
        assert!(state.committed <= last, "{state:?}");
        self.next = last.map_or(0, |id| id.index + 1);
    }

    /// Appends, commits and applies, one entry for each list of commands.
    pub(crate) async fn propose(&mut self, proposals: Vec<Vec<Command>>) -> Vec<Vec<Reply>> {
        let entries = self.append(proposals).await;
        self.machine.apply(entries).await.unwrap()
    }

    /// Appends and commits.
    pub(crate) async fn append(&mut self, proposals: Vec<Vec<Command>>) -> Vec<Entry> {
        let entries: Vec<Entry> = proposals.into_iter().map(|commands| self.entry(commands)).collect();
        self.log.blocking_append(entries.clone()).await.unwrap();
        self.log
            .save_committed(entries.last().map(|entry| entry.log_id))
            .await
            .unwrap();
        // What is committed is noted without waiting for the disk, and a server alone finds it out
        // again by an election, which there is none of here. A vote is waited for, and with it
        // whatever was written before it.
        self.log.save_vote(&Vote::new(1, 1)).await.unwrap();
        entries
    }

    /// Appends, and nobody says that it is committed.
    pub(crate) async fn append_uncommitted(&mut self, command: Command) {
        let entry = self.entry(vec![command]);
        self.log.blocking_append([entry]).await.unwrap();
    }

    fn entry(&mut self, commands: Vec<Command>) -> Entry {
        let log_id = LogId {
            leader_id: CommittedLeaderId::new(self.term, 1),
            index: self.next,
        };
        self.next += 1;
        let proposal = Proposal {
            format: FORMAT,
            at: 1_000 * self.next,
            commands,
        };
        Entry {
            log_id,
            payload: EntryPayload::Normal(proposal),
        }
    }

    pub(crate) async fn put(&mut self, key: &str, value: impl Into<Bytes>) {
        self.propose(vec![vec![put(key, value)]]).await;
    }

    pub(crate) async fn take_snapshot(&mut self) -> kvstore::raft::Snapshot {
        self.machine
            .get_snapshot_builder()
            .await
            .build_snapshot()
            .await
            .unwrap()
    }

    pub(crate) fn digest(&self) -> String {
        self.views.current().digest()
    }

    pub(crate) async fn close(self) {
        self.closing.close(whole()).await.unwrap();
    }
}

/// Until when to close, so that nothing is left behind.
pub(crate) fn whole() -> Instant {
    kvstore::clock::now() + Duration::from_secs(60)
}

pub(crate) fn log_id(index: u64) -> LogId {
    LogId {
        leader_id: CommittedLeaderId::new(1, 1),
        index,
    }
}

pub(crate) fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

pub(crate) fn command(action: Action) -> Command {
    Command::from(action)
}

pub(crate) fn put(name: &str, value: impl Into<Bytes>) -> Command {
    command(Action::Put {
        key: key(name),
        value: value.into(),
        flags: 0,
        cas: None,
    })
}

/// A transaction that sets so many keys under a prefix.
pub(crate) fn fill(prefix: &str, keys: usize, value: &str) -> Command {
    let ops = (0..keys)
        .map(|i| Op::Set {
            key: key(&format!("{prefix}{i:04}")),
            value: value.to_owned().into(),
            flags: 0,
        })
        .collect();
    command(Action::Txn { ops })
}

/// Any command over a few keys, so that they meet.
pub(crate) fn any_command() -> impl Strategy<Value = Command> {
    let request = proptest::option::weighted(0.2, (0..20u8).prop_map(|n| RequestId(format!("r{n}").into())));
    let author = proptest::option::weighted(0.2, Just("ann".into()));
    (any_action(), request, author).prop_map(|(action, request, author)| Command {
        action,
        request,
        author,
        message: Some("why".into()),
    })
}

fn any_action() -> impl Strategy<Value = Action> {
    let cas = || proptest::option::weighted(0.3, 0..30u64);
    prop_oneof![
        8 => (any_key(), any_value(), cas()).prop_map(|(key, value, cas)| Action::Put { key, value, flags: 7, cas }),
        2 => (any_key(), cas()).prop_map(|(key, cas)| Action::Delete { key, cas }),
        1 => prop_oneof![Just("a"), Just("a/"), Just("")].prop_map(|p| Action::DeletePrefix { prefix: p.to_owned() }),
        3 => proptest::collection::vec(any_op(), 1..6).prop_map(|ops| Action::Txn { ops }),
        1 => (1..20u64, 1..4u64, 1_000..2_000_000u64)
            .prop_map(|(revisions, versions, bytes)| Action::Keep(Limits { revisions, versions, bytes })),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (any_key(), any_value()).prop_map(|(key, value)| Op::Set { key, value, flags: 0 }),
        1 => (any_key(), 0..30u64).prop_map(|(key, index)| Op::DeleteCas { key, index }),
        1 => any_key().prop_map(|key| Op::GetOrEmpty { key, flags: 1, index: 2, session: None }),
        1 => Just(Op::DeleteTree { prefix: "a/".to_owned() }),
    ]
}

fn any_key() -> impl Strategy<Value = Key> {
    prop_oneof![
        Just("a"),
        Just("a/b"),
        Just("a/ç"),
        Just("b"),
        Just("a\u{0}"),
        Just("_keyway/x")
    ]
    .prop_map(key)
}

/// Mostly small, at times as large as values get, and around the size of a piece.
fn any_value() -> impl Strategy<Value = Bytes> {
    let size =
        prop_oneof![20 => 0..100usize, 1 => 61_000..62_000usize, 1 => 122_000..123_500usize, 1 => Just(512 << 10)];
    (size, any::<u8>()).prop_map(|(size, byte)| Bytes::from(vec![byte; size]))
}
