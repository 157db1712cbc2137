use std::io::Write as _;
use std::path::Path;

use kvstore::command::{Action, Command};
use kvstore::disk::{self, NewFile};
use kvstore::raft::Snapshot;
use kvstore::state::sessions::{Behavior, Terms};
use kvstore::store::check::Grade;
use kvstore::store::snapshot::BadSnapshot;
use openraft::storage::{RaftLogReader as _, RaftStateMachine as _};

use crate::check::checked;
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

/// A folder as a crash leaves it while the server was taking over a snapshot of another one: the file has its name,
/// and state and log are what they were. Three entries are committed; behind them are as many as said, of a term
/// whose leader has lost. The snapshot is of term 2 and ends at entry 6. Returns its path, and the digest of its state.
async fn taking_over(here: &Path, dead: usize, term: u64) -> (std::path::PathBuf, String) {
    let there = tempfile::tempdir().unwrap();
    let mut leader = Store::open(there.path()).await;
    for i in 0..7u8 {
        leader.term = if i < 3 { 1 } else { 2 };
        leader.put("a", vec![i]).await;
    }
    let snapshot = leader.take_snapshot().await;
    let identity = disk::read(&there.path().join("keyway.json")).unwrap().unwrap();
    disk::replace(&here.join("keyway.json"), &identity).unwrap();
    let mut follower = Store::open(here).await;
    for i in 0..3u8 {
        follower.put("a", vec![i]).await;
    }
    follower.term = term;
    for _ in 0..dead {
        follower.append_uncommitted(put("dead", "1")).await;
    }
    follower.close().await;
    let file = here
        .join("snapshots")
        .join(snapshot.snapshot.path().file_name().unwrap());
    disk::replace(&file, &disk::read(snapshot.snapshot.path()).unwrap().unwrap()).unwrap();
    let digest = leader.digest();
    leader.close().await;
    (file, digest)
}

/// Entries behind those that are committed, and their term: none; fewer and more than the snapshot has; and such
/// that are of a later term than the snapshot's.
const DEAD: [(usize, u64); 5] = [(0, 1), (2, 1), (9, 1), (2, 3), (9, 3)];

#[tokio::test(flavor = "multi_thread")]
async fn a_start_goes_on_from_a_snapshot_that_the_log_does_not_lead_to() {
    for (dead, term) in DEAD {
        let dir = tempfile::tempdir().unwrap();
        let (_, digest) = taking_over(dir.path(), dead, term).await;
        let checked = checked(dir.path()).await;
        assert_eq!(checked.grade, Grade::Mended, "{checked:?}");
        assert_eq!(checked.revision, Some(8));

        let mut store = Store::open(dir.path()).await;

        assert_eq!(store.digest(), digest, "{dead} of term {term}");
        assert_eq!(store.next, 7);
        store.term = 4;
        store.put("after", "1").await;
        assert_eq!(store.log.try_get_log_entries(0..99).await.unwrap().len(), 1);
        let digest = store.digest();
        store.close().await;
        let store = Store::open(dir.path()).await;
        assert_eq!((store.digest(), store.next), (digest, 8));
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_the_log_does_not_lead_to_and_that_is_damaged_is_as_if_it_had_not_come() {
    for (dead, term) in DEAD {
        let dir = tempfile::tempdir().unwrap();
        let (file, _) = taking_over(dir.path(), dead, term).await;
        let content = disk::read(&file).unwrap().unwrap();
        disk::replace(&file, &content[..content.len() - 1]).unwrap();

        let mut store = Store::open(dir.path()).await;

        assert_eq!(store.views.current().get("a").unwrap().value, [2u8][..]);
        assert!(store.views.current().get("dead").is_none());
        assert_eq!(store.next, 3 + dead as u64, "nobody has said that these are dead");
        assert!(store.machine.get_current_snapshot().await.unwrap().is_none());
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_gone_is_rebuilt_from_a_snapshot_that_the_log_does_not_lead_to() {
    for (dead, term) in DEAD {
        let dir = tempfile::tempdir().unwrap();
        let (_, digest) = taking_over(dir.path(), dead, term).await;
        disk::remove_dir(&dir.path().join("state")).unwrap();

        let store = Store::open(dir.path()).await;

        assert_eq!((store.digest(), store.next), (digest, 7));
        store.close().await;
    }
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
