//! A store that is large, and one that is written over and over: what it takes of memory and disk, and
//! how long it is until it is there again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use kvapi::Client;
use kvapi::client::WriteOptions;
use kvapi::types::{Entry, HistoryChange, TxnOp};
use tokio::task::JoinSet;

use crate::harness::{Exit, Options, Server, alone, long};

const MIB: u64 = 1 << 20;

/// What a server keeps of the past, if nobody says otherwise.
const HISTORY_BYTES: u64 = 256 * MIB;

/// As many sets as Consul takes in one transaction.
const OPS: usize = 128;

/// Transactions on their way at a time.
const CLIENTS: usize = 8;

/// A value of 256 bytes that tells its key and its round.
fn value(n: usize, round: usize) -> Bytes {
    let text = format!("{n} in round {round} ");
    text.bytes().cycle().take(256).collect()
}

/// Sets keys `0..count`, in every round to other values.
async fn write_all(server: &Server, count: usize, rounds: std::ops::Range<usize>) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..CLIENTS {
        let (client, rounds) = (server.client_within(Duration::from_secs(60)), rounds.clone());
        tasks.spawn(async move {
            for round in rounds {
                for start in (task * OPS..count).step_by(CLIENTS * OPS) {
                    let ops: Vec<TxnOp> = (start..count.min(start + OPS))
                        .map(|n| TxnOp::set(format!("many/{n:07}"), value(n, round)))
                        .collect();
                    set(&client, &ops).await?;
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(started.elapsed())
}

/// A transaction, asked again if too many are under way.
async fn set(client: &Client, ops: &[TxnOp]) -> anyhow::Result<()> {
    let done = client.txn(ops, &WriteOptions::default()).await?;
    ensure!(done.is_ok(), "{done:?}");
    Ok(())
}

/// What a folder takes on disk.
fn disk(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk(&entry.path()),
            Ok(metadata) => std::os::unix::fs::MetadataExt::blocks(&metadata) * 512,
            // Removed meanwhile.
            Err(_) => 0,
        })
        .sum()
}

fn report(what: &str, server: &Server, took: Duration) -> anyhow::Result<(u64, u64)> {
    let (memory, disk) = (server.program.memory()?, disk(&server.data));
    println!(
        "| {what} | {:.1} s | {} | {} |",
        took.as_secs_f64(),
        memory / MIB,
        disk / MIB
    );
    Ok((memory, disk))
}

/// Writes until the next snapshot is there, and reports it.
async fn take_snapshot(server: &Server, payload: u64) -> anyhow::Result<()> {
    let taken = async || server.metric("keyway_snapshots_total").await;
    let before = taken().await?;
    let started = Instant::now();
    let mut writes = 0;
    while taken().await? == before {
        server.put("one", writes.to_string()).await?;
        writes += 1;
    }
    let bytes = server.metric("keyway_snapshot_bytes").await?;
    let age = server.metric("keyway_snapshot_age_seconds").await?;
    let what = format!(
        "{writes} writes until the next snapshot, {} MiB, {age} s old",
        bytes / MIB
    );
    report(&what, server, started.elapsed())?;
    // All keys and values and what goes with them, and the history.
    ensure!(
        bytes > payload && bytes < payload * 2 + HISTORY_BYTES * 3 / 2,
        "the snapshot has {bytes} bytes, the keys and values {payload}"
    );
    ensure!(age <= started.elapsed().as_secs() + 1, "it is {age} s old");
    Ok(())
}

#[test]
fn a_million_keys_and_a_million_overwrites_stay_within_bounds() {
    alone(
        long(Duration::from_secs(400), Duration::from_secs(2700)),
        async |home| {
            let keys: usize = long(100_000, 1_000_000);
            let overwrites = long(2, 1);
            // So that there is more than one, however few writes there are.
            let options = || Options {
                flags: vec!["--snapshot-every".to_owned(), long("200", "2000").to_owned()],
                ..Options::default()
            };
            let mut server = Server::with(home, options()).await?;
            // As full after a round as the usual one is after a million.
            let kept = HistoryChange {
                bytes: long(Some(HISTORY_BYTES / 10), None),
                ..HistoryChange::default()
            };
            if kept.bytes.is_some() {
                let options = WriteOptions::default();
                server.client().change_history(&kept, &options).await?;
            }
            println!(
                "{keys} keys, values of 256 bytes\n| | time | memory, MiB | disk, MiB |\n| --- | ---: | ---: | ---: |"
            );
            let took = write_all(&server, keys, 0..1).await?;
            let (memory, on_disk) = report("set once", &server, took)?;
            let payload = (keys * (256 + 12)) as u64;
            // The map, the history of the last revisions, the newest versions of each key, and the ring.
            assert!(memory < payload * 10 + 400 * MIB, "{memory} bytes of memory");

            let mut before = (memory, on_disk);
            for (round, rounds) in [1..=overwrites, overwrites + 1..=2 * overwrites]
                .into_iter()
                .enumerate()
            {
                let took = write_all(&server, keys, *rounds.start()..rounds.end() + 1).await?;
                let what = format!("{} more writes of them", keys * overwrites);
                let after = report(&what, &server, took)?;
                // The first fills history, log and the older snapshots; from then on it stays as it is.
                let (factor, more) = [(4.0, 600 * MIB), (1.25, 64 * MIB)][round];
                for (of, before, after) in [("memory", before.0, after.0), ("disk", before.1, after.1)] {
                    let bound = (before as f64 * factor) as u64 + more;
                    assert!(after < bound, "{of}: {after} bytes after {before}, in round {round}");
                }
                before = after;
            }
            let round = 2 * overwrites;
            take_snapshot(&server, payload).await?;

            let started = Instant::now();
            let all = server
                .client_within(Duration::from_secs(300))
                .list("many/", Default::default())
                .await?;
            report("listed as one answer", &server, started.elapsed())?;
            check(&all.value, keys, round)?;

            let started = Instant::now();
            let exported = server
                .keyway(home)
                .timeout("300s")
                .run(&["kv", "export", "many/"])
                .await?
                .expect(0)?;
            report("exported", &server, started.elapsed())?;

            let started = Instant::now();
            assert_eq!(server.stop().await?, Exit::Code(0));
            server.restart_with(home, options()).await?;
            report("restarted", &server, started.elapsed())?;
            let again = server
                .client_within(Duration::from_secs(300))
                .list("many/", Default::default())
                .await?;
            assert_eq!(again.revision, all.revision);
            check(&again.value, keys, round)?;

            let other = Server::with(
                home,
                Options {
                    data: Some(home.path("other")),
                    ..options()
                },
            )
            .await?;
            let started = Instant::now();
            let import = other.keyway(home).timeout("300s").stdin(exported.out);
            import.run(&["kv", "import", "-"]).await?.expect(0)?;
            report("imported by another server", &other, started.elapsed())?;
            let there = other
                .client_within(Duration::from_secs(300))
                .list("many/", Default::default())
                .await?;
            check(&there.value, keys, round)
        },
    );
}

/// All of them are there, with what was written last.
fn check(entries: &[Entry], keys: usize, round: usize) -> anyhow::Result<()> {
    ensure!(entries.len() == keys, "{} keys of {keys}", entries.len());
    let by_key: BTreeMap<&str, &Bytes> = entries.iter().map(|entry| (entry.key.as_str(), &entry.value)).collect();
    for n in (0..keys).step_by(997).chain([keys - 1]) {
        let found = by_key
            .get(format!("many/{n:07}").as_str())
            .context("a key is missing")?;
        ensure!(**found == value(n, round), "{n}: {found:?}");
    }
    Ok(())
}
