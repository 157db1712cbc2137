//! A whole node without its doors: writes, reads, restarts.

#![allow(clippy::unwrap_used)] // in a test, a panic is the message

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use kvapi::{Key, Revision};
use kvstore::batch::ProposeError;
use kvstore::command::{Action, Command, Outcome, RequestId};
use kvstore::config::Config;
use kvstore::node::Node;
use kvstore::read::ReadMode;

async fn open(dir: &Path) -> Node {
    let config = Config {
        raft_addr: "127.0.0.1:0".into(),
        ..Config::new(dir)
    };
    Node::open(&config).await.unwrap()
}

fn put(key: &str, value: impl Into<Bytes>) -> Command {
    let action = Action::Put {
        key: Key::new(key).unwrap(),
        value: value.into(),
        flags: 0,
        cas: None,
    };
    Command::from(action)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_at_once_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path()).await;

    let reply = node.propose(put("a", "1")).await.unwrap();

    assert_eq!((reply.revision, reply.outcome), (Revision(2), Outcome::Done(true)));
    let view = node.read(ReadMode::Linearizable).await.unwrap();
    assert_eq!(view.get("a").unwrap().value, "1");
    let digest = view.digest();
    node.close().await.unwrap();
    assert_eq!(node.propose(put("a", "2")).await, Err(ProposeError::Stopping));
    drop(node);
    let start = Instant::now();
    let node = open(dir.path()).await;
    let view = node.read(ReadMode::Linearizable).await.unwrap();
    eprintln!("open and first read after {:?}", start.elapsed());
    assert_eq!(view.digest(), digest);
    assert_eq!(node.propose(put("a", "2")).await.unwrap().revision, Revision(3));
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_share_log_entries_and_each_gets_its_own_revision() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(dir.path()).await;
    // All at once: an iterator alone would start each when the one before has been waited for.
    let writers: Vec<_> = (0..2_000)
        .map(|n| {
            let node = node.clone();
            tokio::spawn(async move {
                node.propose(put(&format!("k/{n}"), n.to_string()))
                    .await
                    .unwrap()
                    .revision
            })
        })
        .collect();

    let mut revisions = Vec::new();
    for writer in writers {
        revisions.push(writer.await.unwrap());
    }

    revisions.sort_unstable();
    assert_eq!(revisions, (2..2_002).map(Revision).collect::<Vec<_>>());
    let entries = node.log_index();
    assert!(entries < 500, "2,000 writes took {entries} log entries");
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_repeated_after_a_restart_still_happens_once() {
    let dir = tempfile::tempdir().unwrap();
    let command = Command {
        request: Some(RequestId("r".into())),
        ..put("a", "1")
    };
    let node = open(dir.path()).await;
    let first = node.propose(command.clone()).await.unwrap();
    node.propose(put("a", "2")).await.unwrap();
    node.close().await.unwrap();
    drop(node);

    let node = open(dir.path()).await;
    let second = node.propose(command).await.unwrap();

    assert_eq!(first, second);
    assert_eq!(
        node.read(ReadMode::Linearizable).await.unwrap().get("a").unwrap().value,
        "2"
    );
    node.close().await.unwrap();
}
