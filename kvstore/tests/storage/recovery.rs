use std::io::Read as _;
use std::path::Path;

use kvapi::Revision;
use kvstore::command::{Action, Command, Limits, Proposal};
use kvstore::disk;
use kvstore::raft::Entry;
use openraft::EntryPayload;
use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _, RaftStateMachine as _};
use proptest::prelude::*;

use crate::harness::{STARTING, Store, any_command, command, fill, inspect, key, log_id, put, runtime, whole};

fn state(dir: &Path) -> std::path::PathBuf {
    dir.join("state")
}

/// Some of everything: values in pieces, deletions, history beyond its limits, request ids.
async fn lived_in(dir: &Path) -> (Store, String) {
    let mut store = Store::open(dir).await;
    let keep = command(Action::Keep(Limits {
        revisions: 5,
        versions: 2,
        bytes: 1 << 20,
    }));
    let asked = Command {
        request: Some(kvstore::command::RequestId("r1".into())),
        ..put("a/1", "asked")
    };
    store
        .propose(vec![vec![keep, asked.clone()], vec![fill("a/", 300, "x")]])
        .await;
    for i in 0..30u8 {
        store
            .propose(vec![
                vec![put("big", vec![i; 400 << 10]), put("small", vec![i])],
                vec![asked.clone()],
            ])
            .await;
    }
    store
        .propose(vec![vec![command(Action::DeletePrefix { prefix: "a/0".into() })]])
        .await;
    let digest = store.digest();
    (store, digest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_everything_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (store, digest) = lived_in(dir.path()).await;
    store.close().await;

    let store = Store::try_open(dir.path()).await.unwrap();

    assert_eq!(store.digest(), digest);
    assert_eq!(*store.heard.replaced.lock().unwrap(), 1);
    assert!(disk::list(&state(dir.path()).join("blobs")).unwrap().is_empty());
    assert!(!disk::exists(&dir.path().join("state.set-aside")));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_gone_is_rebuilt_from_the_log_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, digest) = lived_in(dir.path()).await;
    store.close().await;
    disk::remove_dir(&state(dir.path())).unwrap();

    let store = Store::open(dir.path()).await;

    assert_eq!(store.digest(), digest);
    store.close().await;
    let found = inspect(dir.path()).await;
    assert_eq!(found.on_disk.unwrap().digest, digest);
    assert_eq!(found.replayed.unwrap().digest, digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_gone_is_rebuilt_from_a_snapshot_and_the_log_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = lived_in(dir.path()).await;
    let snapshot = store.take_snapshot().await;
    store.log.purge(snapshot.meta.last_log_id.unwrap()).await.unwrap();
    store.put("after", "it").await;
    let digest = store.digest();
    store.close().await;
    disk::remove_dir(&state(dir.path())).unwrap();

    let store = Store::open(dir.path()).await;

    assert_eq!(store.digest(), digest);
    assert_eq!(store.views.current().get("after").unwrap().value, "it");
    store.close().await;
    assert_eq!(inspect(dir.path()).await.replayed, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bytes_in_the_state_on_disk_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, digest) = lived_in(dir.path()).await;
    store.close().await;
    let file = state(dir.path()).join("db");
    let good = disk::read(&file).unwrap().unwrap();
    let used: Vec<usize> = (0..good.len()).filter(|at| good[*at] != 0).collect();

    let mut set_aside = 0;
    for at in used.iter().step_by(used.len() / 12) {
        let mut bad = good.clone();
        bad[*at] ^= 0x55;
        disk::replace(&file, &bad).unwrap();
        let mut aside = false;
        // What sled does not see when it opens, it may see later: the next start then knows.
        for start in ["first", "second"] {
            let store = Store::open(dir.path()).await;
            assert_eq!(store.digest(), digest, "byte {at}, {start} start");
            aside |= disk::exists(&dir.path().join("state.set-aside"));
            if let Err(e) = store.closing.close(whole()).await {
                assert!(
                    start == "first" && e.to_string().contains("cannot write the state on disk"),
                    "{e}"
                );
            }
        }
        assert_eq!(inspect(dir.path()).await.on_disk.unwrap().digest, digest);
        set_aside += usize::from(aside);
    }

    assert!(set_aside > 0, "no damage was noticed at all");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_log_or_snapshot_to_rebuild_from_the_start_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = lived_in(dir.path()).await;
    let snapshot = store.take_snapshot().await;
    store.log.purge(snapshot.meta.last_log_id.unwrap()).await.unwrap();
    store.close().await;
    disk::remove_dir(&state(dir.path())).unwrap();
    let content = disk::read(snapshot.snapshot.path()).unwrap().unwrap();
    disk::replace(snapshot.snapshot.path(), &content[..content.len() - 1]).unwrap();

    let error = Store::try_open(dir.path()).await.err().unwrap().to_string();

    assert!(error.contains("the state cannot be rebuilt"), "{error}");
    assert!(error.contains("it ends too early"), "{error}");
    assert!(error.contains("put the data folder back from a copy"), "{error}");
    disk::replace(snapshot.snapshot.path(), &content).unwrap();
    Store::open(dir.path()).await.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ends_before_the_state_does_is_refused_and_a_copy_of_it_mends_that() {
    let dir = tempfile::tempdir().unwrap();
    let (store, digest) = lived_in(dir.path()).await;
    store.close().await;
    let log = disk::list(&dir.path().join("log"))
        .unwrap()
        .into_iter()
        .rfind(|path| path.extension().is_some_and(|end| end == "wal"))
        .unwrap();
    let (folder, copy) = (dir.path().join("log"), dir.path().join("copy"));
    disk::copy_dir(&folder, &copy).unwrap();
    let content = disk::read(&log).unwrap().unwrap();
    disk::replace(&log, &content[..content.len() / 2]).unwrap();

    let error = Store::try_open(dir.path()).await.err().unwrap().to_string();

    assert!(error.contains("a part of it is missing"), "{error}");
    assert!(error.contains("put the data folder back from a copy"), "{error}");
    disk::remove_dir(&folder).unwrap();
    disk::rename(&copy, &folder).unwrap();
    let store = Store::open(dir.path()).await;
    assert_eq!(store.digest(), digest);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_refused_with_its_folder_and_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = lived_in(dir.path()).await;
    store.close().await;
    let log = disk::list(&dir.path().join("log"))
        .unwrap()
        .into_iter()
        .rfind(|path| path.extension().is_some_and(|end| end == "wal"))
        .unwrap();
    let mut content = disk::read(&log).unwrap().unwrap();
    let at = content.len() / 2;
    content[at] ^= 1;
    disk::replace(&log, &content).unwrap();

    let error = Store::try_open(dir.path()).await.err().unwrap().to_string();

    assert!(error.contains("cannot be read"), "{error}");
    assert!(error.contains(&dir.path().join("log").display().to_string()), "{error}");
    assert!(error.contains("put the data folder back from a copy"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_a_newer_version_stops_the_server_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).await;
    let proposal = Proposal {
        format: 2,
        at: 1,
        commands: Vec::new(),
    };
    let entry = Entry {
        log_id: log_id(0),
        payload: EntryPayload::Normal(proposal),
    };
    store.log.blocking_append([entry.clone()]).await.unwrap();

    let error = store.machine.apply([entry]).await.unwrap_err().to_string();

    assert!(error.contains("start a newer version of keyway"), "{error}");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_woken_by_an_event_finds_its_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).await;

    let replies = store
        .propose(vec![vec![put("a", "1"), put("a", "1")], vec![put("b", "2")]])
        .await;

    assert_eq!(replies.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    let revisions: Vec<Revision> = store
        .heard
        .events
        .lock()
        .unwrap()
        .iter()
        .map(|event| event.revision)
        .collect();
    assert_eq!(revisions, [Revision(2), Revision(3)]);
    assert_eq!(store.views.current().revision(), Revision(3));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_store_is_free_for_the_next_and_a_second_close_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await;
    assert!(
        Store::try_open(dir.path())
            .await
            .err()
            .unwrap()
            .to_string()
            .contains("in use by another server")
    );

    store.closing.close(whole()).await.unwrap();
    store.closing.close(whole()).await.unwrap();

    Store::open(dir.path()).await.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_has_no_time_to_close_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).await;
    let many = (0..200u8)
        .map(|i| vec![put(&format!("k/{i}"), vec![i; 50_000])])
        .collect();
    store.propose(many).await;
    store.put("last", "1").await;
    let digest = store.digest();

    store.closing.close(kvstore::clock::now()).await.unwrap();
    drop(store);

    let store = Store::open(dir.path()).await;
    assert_eq!(store.digest(), digest);
    assert!(!disk::exists(&dir.path().join("state.set-aside")));
    store.close().await;
    let found = inspect(dir.path()).await;
    assert_eq!(found.on_disk.unwrap().digest, digest);
}

/// Runs a test of this program in a process of its own that dies at a failpoint.
async fn dies_at(failpoint: &str, test: &str, dir: &Path) {
    let starting = STARTING.write().await;
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("KEYWAY_FAILPOINT", failpoint)
        .env("KEYWAY_TEST_DIR", dir)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Once it says something, the copies of our files are closed.
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    drop(starting);
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && said.contains("aborting"), "{said}");
}

/// The folder, if this process is the one that has to die.
fn my_dir() -> Option<std::path::PathBuf> {
    std::env::var_os("KEYWAY_TEST_DIR").map(Into::into)
}

#[tokio::test(flavor = "multi_thread")]
async fn child_writes_much() {
    let Some(dir) = my_dir() else { return };
    let mut store = Store::open(&dir).await;
    let cas = |index| Action::Put {
        key: key("cas"),
        value: "new".into(),
        flags: 0,
        cas: Some(index),
    };
    let commands = vec![
        fill("a/", 64, "1"),
        fill("b/", 200, "2"),
        command(cas(0)),
        command(cas(0)),
        command(Action::DeletePrefix { prefix: "a/".into() }),
        fill("c/", 300, "3"),
    ];
    store.propose(vec![commands]).await;
    store.take_snapshot().await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_two_batches_of_an_entry_loses_and_tears_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).await;
    store.put("before", "1").await;
    store.close().await;

    dies_at("sled-between-batches", "recovery::child_writes_much", dir.path()).await;

    let torn = inspect(dir.path()).await;
    assert!(torn.on_disk.unwrap_err().contains("in the middle of a write"));
    let store = Store::open(dir.path()).await;
    assert_eq!(store.digest(), torn.replayed.as_ref().unwrap().digest);
    assert!(store.views.current().get("c/0299").is_some() && store.views.current().get("a/0001").is_none());
    store.close().await;
    let whole = inspect(dir.path()).await;
    assert_eq!(whole.on_disk.as_ref(), Ok(&whole.recovered));
    assert_eq!(whole.replayed.as_ref(), Some(&whole.recovered));
    assert_eq!(whole.recovered.digest, torn.recovered.digest);
    assert!(disk::exists(&dir.path().join("state.set-aside")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_a_snapshot_has_its_name_leaves_none() {
    let dir = tempfile::tempdir().unwrap();

    dies_at("snapshot-before-rename", "recovery::child_writes_much", dir.path()).await;

    let mut store = Store::open(dir.path()).await;
    assert!(store.machine.get_current_snapshot().await.unwrap().is_none());
    assert!(disk::list(&dir.path().join("snapshots")).unwrap().is_empty());
    assert_eq!(std::fs::read_dir(dir.path().join("snapshots")).unwrap().count(), 0);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_after_a_snapshot_has_its_name_leaves_all_that_is_in_it() {
    let dir = tempfile::tempdir().unwrap();

    dies_at("snapshot-after-rename", "recovery::child_writes_much", dir.path()).await;

    let found = inspect(dir.path()).await;
    assert_eq!(found.on_disk.unwrap().applied, None, "the state on disk is behind");
    let mut store = Store::open(dir.path()).await;
    let snapshot = store.machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(snapshot.snapshot.load().unwrap().1.digest(), store.digest());
    assert_eq!(found.recovered.digest, store.digest());
    assert!(!disk::exists(&dir.path().join("state.set-aside")));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_after_an_append_leaves_the_entry_in_the_log() {
    let dir = tempfile::tempdir().unwrap();

    dies_at("log-after-append", "recovery::child_writes_much", dir.path()).await;

    let mut store = Store::try_open(dir.path()).await.unwrap();
    let state = store.log.get_log_state().await.unwrap();
    assert_eq!(state.last_log_id, Some(log_id(0)));
    store.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn disk_log_and_memory_agree_whatever_was_written(
        lives in proptest::collection::vec((proptest::collection::vec(any_command(), 1..20), any::<bool>()), 1..4),
    ) {
        runtime().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            for (commands, snapshot) in lives {
                let mut store = Store::open(dir.path()).await;
                for command in commands {
                    store.propose(vec![vec![command]]).await;
                }
                if snapshot {
                    let snapshot = store.take_snapshot().await;
                    assert_eq!(snapshot.snapshot.load().unwrap().1.digest(), store.digest());
                }
                let digest = store.digest();
                store.close().await;

                let found = inspect(dir.path()).await;
                assert_eq!(found.on_disk.unwrap().digest, digest);
                assert_eq!(found.replayed.unwrap().digest, digest);
                assert!(disk::list(&state(dir.path()).join("blobs")).unwrap().is_empty());
            }
        });
    }
}
