//! What was acknowledged is there, whatever was deleted or damaged.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use kvapi::client::WriteOptions;
use kvapi::types::{TxnOp, WatchEvent, WatchRequest};
use kvapi::watch::News;
use kvapi::{Consistency, Revision};

use crate::harness::{Exit, Home, Options, Server, test, write_file};

/// Everything that a server shows: its revision, its keys, and every change since the first.
#[derive(Debug, PartialEq)]
struct Shown {
    revision: Revision,
    entries: Vec<kvapi::Entry>,
    past: Vec<WatchEvent>,
}

impl Shown {
    async fn by(server: &Server) -> anyhow::Result<Self> {
        let all = server.client().list("", Consistency::Default).await?;
        let request = WatchRequest {
            prefixes: vec![String::new()],
            since: Some(Revision(1)),
            ..WatchRequest::default()
        };
        let mut watch = server.client().watch(request);
        let mut past = Vec::new();
        let newest = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                match watch.next().await {
                    News::Connected { .. } => {}
                    News::Event(event) => {
                        let at = match &event {
                            WatchEvent::Change(change) => Some(change.revision),
                            _ => None,
                        };
                        past.push(event);
                        if at >= Some(all.revision) {
                            return Ok(());
                        }
                    }
                    other => anyhow::bail!("{other:?}"),
                }
            }
        });
        newest.await.context("the whole past, as a watch shows it")??;
        Ok(Self {
            revision: all.revision,
            entries: all.value,
            past,
        })
    }
}

/// Keys that change several times, a big value, a deleted tree and a swap.
async fn fill(server: &Server) -> anyhow::Result<()> {
    let client = server.client();
    let options = WriteOptions {
        author: Some("ann".into()),
        message: Some("first".into()),
        ..WriteOptions::default()
    };
    for n in 0..300 {
        client
            .put(&format!("app/{}", n % 90), format!("value {n}"), &options)
            .await?;
    }
    client.put("big", vec![0xA5; 500_000], &options).await?;
    let ops: Vec<TxnOp> = (0..100).map(|n| TxnOp::set(format!("tree/{n}"), "leaf")).collect();
    anyhow::ensure!(client.txn(&ops, &options).await?.is_ok());
    client.delete_prefix("tree/", &options).await?;
    let now = client
        .get("app/1", Consistency::Default)
        .await?
        .value
        .context("app/1")?;
    let swap = WriteOptions {
        cas: Some(now.modify_index.0),
        ..WriteOptions::default()
    };
    anyhow::ensure!(client.put("app/1", "swapped", &swap).await?);
    Ok(())
}

/// Fills a server, stops it, does something to the folder that sled keeps, starts it again, and so
/// on: everything must be as it was, each time. Gives what the server said at each start.
async fn survives(home: &Home, harms: &[fn(&Path) -> anyhow::Result<()>]) -> anyhow::Result<Vec<String>> {
    let mut server = Server::start(home).await?;
    fill(&server).await?;
    let before = Shown::by(&server).await?;
    let mut said = Vec::new();
    for (number, harm) in harms.iter().enumerate() {
        assert_eq!(server.stop().await?, Exit::Code(0));
        let so_far = server.program.log().len();

        harm(&server.data.join("state"))?;
        server.restart(home).await?;

        let after = Shown::by(&server).await?;
        assert_eq!(after.revision, before.revision, "harm {number}");
        assert_eq!(after.entries, before.entries, "harm {number}");
        assert_eq!(after.past, before.past, "harm {number}: the history");
        said.push(server.program.log().split_off(so_far));
    }
    Ok(said)
}

#[test]
fn a_restart_shows_what_was_there() {
    test(async |home| {
        survives(home, &[|_| Ok(()), |_| Ok(())]).await?;
        Ok(())
    });
}

#[test]
fn a_deleted_state_folder_is_rebuilt_with_its_history() {
    test(async |home| {
        survives(home, &[|state| Ok(fs::remove_dir_all(state)?)]).await?;
        Ok(())
    });
}

/// Changes every byte of a file whose place `which` picks.
fn damage(file: &Path, which: impl Fn(usize) -> bool) -> anyhow::Result<()> {
    let mut bytes = fs::read(file)?;
    for (place, byte) in bytes.iter_mut().enumerate() {
        if which(place) {
            *byte ^= 0x55;
        }
    }
    Ok(write_file(file, bytes)?)
}

#[test]
fn a_damaged_state_folder_is_rebuilt_and_the_log_says_so() {
    test(async |home| {
        let said = survives(
            home,
            &[
                |state| damage(&state.join("db"), |place| place % 61 == 0),
                |state| damage(&state.join("db"), |place| place % 4_099 == 1_234),
                |state| Ok(write_file(&state.join("db"), [])?),
                |state| damage(&state.join("conf"), |_| true),
            ],
        )
        .await?;
        // The second may also leave an older good state, from which the log goes on: no loss, no word.
        for number in [0, 2, 3] {
            assert!(
                said[number].contains("the state on disk"),
                "harm {number}: {}",
                said[number]
            );
        }
        assert!(said[3].contains("set aside and rebuilt"), "{}", said[3]);
        Ok(())
    });
}

/// What kvstore's `inspect` says of a data folder that no server uses.
fn inspect(data: &Path) -> anyhow::Result<serde_json::Value> {
    let program = Path::new(env!("CARGO_BIN_EXE_keyway"))
        .with_file_name("examples")
        .join("inspect");
    anyhow::ensure!(
        program.exists(),
        "{} is missing; build with --workspace --all-targets",
        program.display()
    );
    let output = Command::new(program).arg(data).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// sled takes one log entry in several batches. Between two of them the server dies; what is found
/// then is half of an entry, and must not be taken for a state.
#[test]
fn a_death_between_two_batches_of_one_entry_leaves_the_state_that_the_log_tells() {
    test(async |home| {
        let mut server = Server::start(home).await?;
        fill(&server).await?;
        let tree = |name: &str| {
            (0..120)
                .map(|n| TxnOp::set(format!("{name}/{n}"), "x"))
                .collect::<Vec<_>>()
        };
        let done = server.client().txn(&tree("old"), &WriteOptions::default()).await?;
        assert!(done.is_ok());
        server.stop().await?;
        let failpoint = ("KEYWAY_FAILPOINT", "sled-between-batches".to_owned());
        server
            .restart_with(
                home,
                Options {
                    environment: vec![failpoint],
                    ..Options::default()
                },
            )
            .await?;

        // One entry with a swap and the deletion of a tree, and more rows than one batch takes.
        let client = server.client();
        let now = client
            .get("app/1", Consistency::Default)
            .await?
            .value
            .context("app/1")?;
        let swap = TxnOp {
            index: now.modify_index.0,
            ..TxnOp::set("app/1", "again")
        };
        let mut ops = vec![
            TxnOp {
                verb: "cas".into(),
                ..swap
            },
            TxnOp::new("delete-tree", "old/"),
        ];
        ops.extend(tree("new"));
        assert!(client.txn(&ops, &WriteOptions::default()).await?.is_ok());
        // A stop writes what has been gathered.
        assert_eq!(server.stop().await?, Exit::Signal(6));

        let found = inspect(&server.data)?;
        assert!(
            found["on_disk"]["Err"].is_string(),
            "half an entry is no state: {found}"
        );
        server.restart(home).await?;
        let shown = Shown::by(&server).await?;
        assert!(
            shown
                .entries
                .iter()
                .any(|entry| entry.key == "app/1" && &*entry.value == b"again")
        );
        assert!(!shown.entries.iter().any(|entry| entry.key.starts_with("old/")));
        server.stop().await?;
        let rebuilt = inspect(&server.data)?;
        let on_disk = &rebuilt["on_disk"]["Ok"];
        assert!(on_disk["digest"].is_string(), "{rebuilt}");
        for other in ["recovered", "replayed"] {
            assert_eq!(on_disk["digest"], rebuilt[other]["digest"], "{other}: {rebuilt}");
            assert_eq!(on_disk["revision"], rebuilt[other]["revision"], "{other}: {rebuilt}");
        }
        assert_eq!(on_disk["revision"], shown.revision.0);
        Ok(())
    });
}

/// A server whose disk takes a batch of 250 rows in a tenth of a second, stopped with so many rows unwritten. How long
/// the stop took, and what the server said at it and at the next start. What was acknowledged is there.
async fn stopped_with(home: &Home, keys: usize) -> anyhow::Result<(Duration, String)> {
    let slow = || Options {
        environment: vec![("KEYWAY_SLOW", "sled-between-batches".to_owned())],
        ..Options::default()
    };
    let mut server = Server::with(home, slow()).await?;
    fill(&server).await?;
    let mut number = 0;
    while number < keys {
        let ops: Vec<TxnOp> = (number..number + 128)
            .map(|number| TxnOp::set(format!("many/{number:06}"), "x"))
            .collect();
        number += ops.len();
        let done = server.client().txn(&ops, &WriteOptions::default()).await?;
        anyhow::ensure!(done.is_ok(), "{done:?}");
    }
    let before = server.client().list("", Consistency::Default).await?;
    let begun = Instant::now();
    assert_eq!(server.stop().await?, Exit::Code(0));
    let took = begun.elapsed();

    server.restart(home).await?;
    let after = server.client().list("", Consistency::Default).await?;
    assert_eq!(after.revision, before.revision);
    assert_eq!(after.value, before.value);
    let said = server.program.log();
    assert_eq!(server.stop().await?, Exit::Code(0));
    let found = inspect(&server.data)?;
    for other in ["recovered", "replayed"] {
        assert_eq!(
            found["on_disk"]["Ok"]["digest"], found[other]["digest"],
            "{other}: {found}"
        );
    }
    Ok((took, said))
}

#[test]
fn a_stop_in_the_middle_of_much_writing_leaves_a_state_that_the_next_start_goes_on_from() {
    test(async |home| {
        let (took, said) = stopped_with(home, 4_000).await?;
        assert!(
            said.contains("still being written"),
            "it was in the middle of it: {said}"
        );
        assert!(!said.contains("set aside"), "{said}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        Ok(())
    });
}

#[test]
fn a_stop_waits_only_so_long_for_a_disk_that_is_slow_and_the_next_start_makes_up_for_it() {
    test(async |home| {
        let (took, said) = stopped_with(home, 40_000).await?;
        assert!(said.contains("left in the middle of a write"), "{said}");
        assert!(said.contains("set aside and rebuilt"), "{said}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        Ok(())
    });
}
