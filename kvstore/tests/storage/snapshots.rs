use std::io::Write as _;
use std::path::Path;

use kvstore::command::{Action, Command};
use kvstore::disk::{self, NewFile};
use kvstore::raft::Snapshot;
use kvstore::state::sessions::{Behavior, Terms};
use kvstore::store::snapshot::BadSnapshot;
use openraft::storage::RaftStateMachine as _;

use crate::harness::{Store, command, fill, inspect, key, put};

async fn with_snapshot(dir: &Path) -> (Store, Snapshot) {
    let mut store = Store::open(dir).await;
    store
        .propose(vec![vec![fill("a/", 100, "value"), put("big", vec![7; 500 << 10])]])
        .await;
    let snapshot = store.take_snapshot().await;
    (store, snapshot)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_torn_or_damaged_at_any_place_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, snapshot) = with_snapshot(dir.path()).await;
    let file = snapshot.snapshot;
    let good = disk::read(file.path()).unwrap().unwrap();
    let places: Vec<usize> = (0..200)
        .chain((200..good.len()).step_by(9_973))
        .chain(good.len() - 40..good.len())
        .collect();

    for at in places {
        disk::replace(file.path(), &good[..at]).unwrap();
        assert!(matches!(file.load(), Err(BadSnapshot::Damaged { .. })), "torn at {at}");
        let mut flipped = good.clone();
        flipped[at] ^= 0x10;
        disk::replace(file.path(), &flipped).unwrap();
        let error = file.load().map(|(header, _)| header).unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }

    disk::replace(file.path(), &[&good[..], b"x"].concat()).unwrap();
    assert!(
        file.load()
            .unwrap_err()
            .to_string()
            .contains("something follows its end")
    );
    disk::replace(file.path(), &good).unwrap();
    assert_eq!(file.load().unwrap().1.digest(), store.digest());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_a_newer_format_is_refused_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let (store, snapshot) = with_snapshot(dir.path()).await;
    let file = snapshot.snapshot;
    let mut content = disk::read(file.path()).unwrap().unwrap();
    content[8] = 2;
    disk::replace(file.path(), &content).unwrap();

    let error = file.load().unwrap_err();

    assert!(matches!(error, BadSnapshot::Newer { .. }), "{error}");
    assert!(error.to_string().contains("use that version"), "{error}");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_two_snapshots_are_kept_and_the_newest_is_current() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).await;

    let mut last = None;
    for i in 0..4u8 {
        store.put("a", vec![i]).await;
        last = Some(store.take_snapshot().await.meta);
    }

    assert_eq!(disk::list(&dir.path().join("snapshots")).unwrap().len(), 2);
    assert_eq!(
        store
            .machine
            .get_current_snapshot()
            .await
            .unwrap()
            .map(|snapshot| snapshot.meta),
        last
    );
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_another_server_takes_the_place_of_the_state() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (leader, snapshot) = with_snapshot(there.path()).await;
    // Servers of one cluster have one id.
    let identity = disk::read(&there.path().join("keyway.json")).unwrap().unwrap();
    disk::replace(&here.path().join("keyway.json"), &identity).unwrap();
    let mut follower = Store::open(here.path()).await;
    follower
        .propose(vec![vec![fill("old/", 400, "1"), put("old", vec![1; 200 << 10])]])
        .await;

    let received = follower.machine.begin_receiving_snapshot().await.unwrap();
    let mut file = NewFile::create(received.path()).unwrap();
    file.write_all(&disk::read(snapshot.snapshot.path()).unwrap().unwrap())
        .unwrap();
    file.commit(|| {}).unwrap();
    follower
        .machine
        .install_snapshot(&snapshot.meta, received)
        .await
        .unwrap();

    assert_eq!(follower.digest(), leader.digest());
    assert_eq!(*follower.heard.replaced.lock().unwrap(), 2);
    assert_eq!(
        follower.machine.applied_state().await.unwrap().0,
        snapshot.meta.last_log_id
    );
    let current = follower.machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(current.meta, snapshot.meta);
    assert!(current.snapshot.path().starts_with(here.path()));
    follower.close().await;
    let again = Store::open(here.path()).await;
    assert_eq!(again.digest(), leader.digest());
    again.close().await;
    leader.close().await;
}

/// A session that holds a key, and one whose end has shut another.
fn sessions() -> Vec<Command> {
    let create = |id: &str, lock_delay| {
        let terms = Terms {
            name: "web".into(),
            node: "n".into(),
            lock_delay,
            behavior: Behavior::Delete,
            ttl: "15.0s".into(),
            ttl_ms: 15_000,
            node_checks: vec!["serfHealth".into()],
        };
        command(Action::CreateSession { id: id.into(), terms })
    };
    let acquire = |name: &str, session: &str| {
        command(Action::Acquire {
            key: key(name),
            value: Default::default(),
            flags: 0,
            session: session.into(),
        })
    };
    vec![
        create("stays", 0),
        create("ends", 60_000_000_000),
        acquire("held", "stays"),
        acquire("shut", "ends"),
        command(Action::EndSession { id: "ends".into() }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_lock_delays_are_in_the_snapshot_and_in_the_state_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).await;
    store.propose(vec![sessions()]).await;

    let snapshot = store.take_snapshot().await;

    let (_, state) = snapshot.snapshot.load().unwrap();
    assert_eq!(state.digest(), store.digest());
    let held: Vec<_> = state.sessions().held_by("stays").map(ToString::to_string).collect();
    assert_eq!((held, state.sessions().len()), (vec!["held".to_owned()], 1));
    assert!(state.sessions().delays().shuts(&key("shut"), state.at() + 59_999));
    store.close().await;
    let inspected = inspect(dir.path()).await;
    assert_eq!(inspected.on_disk.unwrap().digest, state.digest());
    assert_eq!(inspected.replayed.unwrap().digest, state.digest());
}
