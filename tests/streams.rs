//! Many streams on one server, and those that do not keep up.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use kvapi::client::WriteOptions;
use kvapi::types::{TxnOp, WatchEvent};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::harness::{Server, Stream, alone, keys, long, open_files, test};

const MIB: u64 = 1 << 20;

/// What a watcher may watch, and which of the writes below concern it.
const WATCHED: [(&str, &[&[&str]]); 4] = [
    ("key=a", &[&["a"], &["a"], &["a"]]),
    ("prefix=dir/", &[&["dir/x"], &["dir/x", "dir/y"]]),
    (
        "key=a&prefix=dir/",
        &[&["a"], &["dir/x"], &["a", "dir/x", "dir/y"], &["a"]],
    ),
    ("key=stranger", &[]),
];

#[test]
fn five_thousand_streams_hear_of_what_concerns_them_once_and_in_order() {
    alone(Duration::from_secs(180), async |home| {
        const STREAMS: usize = 5_000;
        open_files(STREAMS as u64 + 200)?;
        let server = Server::start(home).await?;
        let before = server.program.memory()?;
        let mut streams = JoinSet::new();
        for n in 0..STREAMS {
            let (watched, expected) = WATCHED[n % WATCHED.len()];
            let mut stream = Stream::get(&server, &format!("{watched}&key=end"), &[]).await?;
            stream.snapshot().await?;
            streams.spawn(async move {
                let mut revisions = Vec::new();
                for keys in expected.iter().copied().chain([&["end"][..]]) {
                    let change = stream.change().await?;
                    anyhow::ensure!(
                        self::keys(&change) == keys,
                        "{watched}: {change:?} in place of {keys:?}"
                    );
                    revisions.push(change.revision);
                }
                anyhow::ensure!(revisions.is_sorted_by(|a, b| a < b), "{watched}: {revisions:?}");
                anyhow::Ok(())
            });
        }
        let each = (server.program.memory()? - before) / STREAMS as u64;

        server.put("a", "1").await?;
        server.put("dir/x", "1").await?;
        let all = ["dir/y", "a", "dir/x", "elsewhere"].map(|key| TxnOp::set(key, "2"));
        let done = server.client().txn(&all, &WriteOptions::default()).await?;
        assert!(done.is_ok());
        server.put("a", "3").await?;
        server.put("end", "1").await?;

        while let Some(read) = streams.join_next().await {
            read??;
        }
        println!("{STREAMS} streams, {} KiB of memory each", each >> 10);
        assert!(each < 40 << 10, "{each} bytes a stream");
        Ok(())
    });
}

/// Writes values of 256 KiB under Keyway's own part of the store, which keeps no history: what stays in
/// memory is the ring of the newest events, or is kept for somebody who does not read.
async fn write_large(server: &Server, count: usize, live: &mut Stream) -> anyhow::Result<Duration> {
    let started = Instant::now();
    for n in 0..count {
        server
            .put(
                &format!("_keyway/test/{}", n % 4),
                vec![b'a' + (n % 26) as u8; 256 << 10],
            )
            .await?;
        let change = live.change().await?;
        anyhow::ensure!(
            keys(&change) == [format!("_keyway/test/{}", n % 4)],
            "{n}: {:?}",
            keys(&change)
        );
    }
    Ok(started.elapsed())
}

#[test]
fn readers_that_stop_cost_the_others_nothing_and_the_server_little() {
    alone(Duration::from_secs(300), async |home| {
        let (stopped, writes) = long((100, 200), (1_000, 1_000));
        open_files(stopped as u64 + 200)?;
        let server = Server::start(home).await?;
        let mut live = Stream::get(&server, "prefix=_keyway/test/", &[]).await?;
        live.snapshot().await?;
        // Until the ring is full and goes round.
        let alone = write_large(&server, 200.max(writes), &mut live).await?;
        let before = server.program.memory()?;

        let mut readers = Vec::new();
        for n in 0..stopped {
            let mut reader = Stream::get(&server, "prefix=_keyway/test/", &[]).await?;
            // Half of them have not even taken the snapshot.
            if n % 2 == 0 {
                reader.snapshot().await?;
            }
            readers.push(reader);
        }
        let beside = write_large(&server, writes, &mut live).await?;

        let after = server.program.memory()?;
        let more = after.saturating_sub(before);
        println!(
            "{stopped} readers that stopped, {writes} values of 256 KiB: {} MiB before, {} MiB more, {} KiB a reader; \
             {alone:?} without them, {beside:?} with them",
            before / MIB,
            more / MIB,
            (more >> 10) / stopped as u64
        );
        // What was written besides is a hundred times that.
        assert!(more < 64 * MIB + stopped as u64 * MIB, "{more} bytes");
        assert!(beside < alone * 5 + Duration::from_secs(5), "{alone:?} {beside:?}");
        // Whoever reads again is told what it missed: without a history, by a snapshot. Who had stopped within
        // an event is cut off, and told when it comes back.
        let (mut reader, mut seen) = (readers.swap_remove(0), None);
        loop {
            match timeout(Duration::from_secs(15), reader.next()).await {
                Err(_) => anyhow::bail!("it never caught up"),
                Ok(Ok(WatchEvent::Compacted(_))) => break,
                Ok(Ok(WatchEvent::Change(change))) => seen = Some(change.revision),
                Ok(Ok(other)) => anyhow::bail!("{other:?}"),
                Ok(Err(_)) => {
                    let seen = seen
                        .take()
                        .context("cut off twice, or before the first event")?
                        .to_string();
                    let headers = [("last-event-id", &*seen)];
                    reader = Stream::get(&server, "prefix=_keyway/test/", &headers).await?;
                }
            }
        }
        let snapshot = reader.snapshot().await?;
        assert_eq!(snapshot.entries.len(), 4);
        Ok(())
    });
}

#[test]
fn a_reader_that_falls_off_the_ring_misses_no_revision_while_there_is_history() {
    test(async |home| {
        // More than the ring and all that the sockets hold, and less than the history.
        const WRITES: usize = 300;
        let server = Server::start(home).await?;
        let mut reader = Stream::get(&server, "prefix=s/", &[]).await?;
        let mut revision = reader.snapshot().await?.revision;
        for n in 0..WRITES {
            server.put("s/x", format!("{n} {}", "x".repeat(500_000))).await?;
        }

        for n in 0..WRITES {
            let change = reader.change().await?;
            revision = revision.next();
            assert_eq!(change.revision, revision);
            let entry = change.changes[0].entry.as_ref().context("it was put")?;
            assert!(entry.value.starts_with(format!("{n} ").as_bytes()), "{n}");
        }
        Ok(())
    });
}

#[test]
fn an_idle_stream_says_that_it_lives_and_how_far_it_is() {
    test(async |home| {
        let server = Server::start(home).await?;
        let mut stream = Stream::get(&server, "key=a", &[]).await?;
        let seen = stream.snapshot().await?.revision;
        server.put("stranger", "1").await?;

        // Every ten seconds.
        let event = stream.raw_within(Duration::from_secs(20)).await?;

        let progress = WatchEvent::parse(&event.name, &event.data)?;
        let Some(WatchEvent::Progress(progress)) = progress else {
            anyhow::bail!("{event:?}")
        };
        assert_eq!(progress.revision, seen.next());
        assert_eq!(
            event.id,
            Some(seen.next().to_string()),
            "a reconnect goes on from there"
        );
        Ok(())
    });
}
