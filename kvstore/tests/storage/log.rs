use std::collections::BTreeMap;
use std::path::Path;

use kvstore::raft::{Entry, LogId, Vote};
use openraft::storage::{RaftLogReader as _, RaftLogStorage as _, RaftLogStorageExt as _};
use openraft::{CommittedLeaderId, EntryPayload};
use proptest::prelude::*;

use crate::harness::{self, Store};

/// What may happen to a log. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    Append(u8, usize),
    Truncate(u64),
    Purge(u64),
    Commit(u64),
    Vote,
    Reopen,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..5u8, 0..5_000usize).prop_map(|(count, size)| Step::Append(count, size)),
        2 => any::<u64>().prop_map(Step::Truncate),
        1 => any::<u64>().prop_map(Step::Purge),
        2 => any::<u64>().prop_map(Step::Commit),
        1 => Just(Step::Vote),
        2 => Just(Step::Reopen),
    ]
}

/// The log as it should be.
#[derive(Debug, Default)]
struct Model {
    entries: BTreeMap<u64, Entry>,
    purged: Option<LogId>,
    committed: Option<LogId>,
    term: u64,
    voted: Option<Vote>,
}

impl Model {
    fn last(&self) -> Option<LogId> {
        self.entries
            .last_key_value()
            .map(|(_, entry)| entry.log_id)
            .or(self.purged)
    }

    fn first_uncommitted(&self) -> u64 {
        self.committed.max(self.purged).map_or(0, |id| id.index + 1)
    }

    fn entry(&self, index: u64, size: usize) -> Entry {
        let log_id = LogId {
            leader_id: CommittedLeaderId::new(self.term, 1),
            index,
        };
        let command = harness::put("a", vec![b'x'; size]);
        let proposal = kvstore::command::Proposal {
            format: 1,
            at: index,
            commands: vec![command],
        };
        Entry {
            log_id,
            payload: EntryPayload::Normal(proposal),
        }
    }
}

async fn step(step: Step, dir: &Path, store: &mut Option<Store>, model: &mut Model) {
    let log = &mut store.as_mut().unwrap().log;
    match step {
        Step::Append(count, size) => {
            let from = model.last().map_or(0, |id| id.index + 1);
            let entries: Vec<Entry> = (from..from + u64::from(count)).map(|i| model.entry(i, size)).collect();
            log.blocking_append(entries.clone()).await.unwrap();
            model
                .entries
                .extend(entries.into_iter().map(|entry| (entry.log_id.index, entry)));
        }
        Step::Truncate(at) => {
            let (from, last) = (model.first_uncommitted(), model.last().map_or(0, |id| id.index + 1));
            if from < last {
                let at = from + at % (last - from);
                log.truncate(model.entries[&at].log_id).await.unwrap();
                model.entries.split_off(&at);
                // Raft truncates only when a newer leader says so.
                model.term += 1;
            }
        }
        Step::Purge(at) => {
            if let Some(committed) = model.committed.filter(|id| model.entries.contains_key(&id.index)) {
                let first = *model.entries.keys().next().unwrap();
                let at = first + at % (committed.index - first + 1);
                let log_id = model.entries[&at].log_id;
                log.purge(log_id).await.unwrap();
                model.entries = model.entries.split_off(&(at + 1));
                model.purged = Some(log_id);
            }
        }
        Step::Commit(at) => {
            let (from, last) = (model.first_uncommitted(), model.last().map_or(0, |id| id.index + 1));
            if from < last {
                let log_id = model.entries[&(from + at % (last - from))].log_id;
                log.save_committed(Some(log_id)).await.unwrap();
                model.committed = Some(log_id);
            }
        }
        Step::Vote => {
            model.term += 1;
            let vote = Vote::new(model.term, 1);
            log.save_vote(&vote).await.unwrap();
            model.voted = Some(vote);
        }
        Step::Reopen => {
            store.take().unwrap().close().await;
            *store = Some(Store::try_open(dir).await.unwrap());
        }
    }
}

async fn check(store: &mut Store, model: &Model) {
    let state = store.log.get_log_state().await.unwrap();
    assert_eq!(
        (state.last_purged_log_id, state.last_log_id),
        (model.purged, model.last())
    );
    assert_eq!(store.log.read_vote().await.unwrap(), model.voted);
    assert_eq!(store.log.read_committed().await.unwrap(), model.committed);
    let read = store.log.try_get_log_entries(..).await.unwrap();
    assert_eq!(read, model.entries.values().cloned().collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_what_was_written_to_it_over_any_restarts(steps in proptest::collection::vec(any_step(), 1..40)) {
        harness::runtime().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut model = Model { term: 1, ..Model::default() };
            let mut store = Some(Store::try_open(dir.path()).await.unwrap());
            for next in steps {
                // The state follows nobody here: a purged log has no state that reaches it.
                if matches!(next, Step::Reopen) && model.purged.is_some() {
                    continue;
                }
                step(next, dir.path(), &mut store, &mut model).await;
                check(store.as_mut().unwrap(), &model).await;
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_takes_some_entries_at_once_and_always_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).await;
    for _ in 0..3 {
        store.put("a", vec![0; 3 << 20]).await;
    }

    let some = store.log.limited_get_log_entries(0, 3).await.unwrap();

    assert_eq!(some.len(), 1);
    assert_eq!(store.log.try_get_log_entries(0..3).await.unwrap().len(), 3);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_large_entries_says_how_long_it_is_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).await;
    let before = store.size.since_snapshot();
    for _ in 0..5 {
        store.put("a", vec![0; 2 << 20]).await;
    }

    assert!(store.size.since_snapshot() - before >= 10 << 20);
    store.close().await;
    let mut store = Store::open(dir.path()).await;
    assert!(store.size.since_snapshot() >= 10 << 20);
    store.take_snapshot().await;
    assert_eq!(store.size.since_snapshot(), 0);
    store.close().await;
    let store = Store::open(dir.path()).await;
    assert_eq!(store.size.since_snapshot(), 0);
    store.close().await;
}
