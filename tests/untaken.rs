//! What clients ask for and do not take: answers, lists and changes stay within what they may have of the memory.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use kvapi::client::WriteOptions;
use kvapi::types::TxnOp;
use tokio::net::UnixStream;

use crate::harness::{Options, Server, Stream, alone, holds, keys, long, open_files};
use crate::overload::{MIB, ask, connect, serves};

#[test]
fn answers_that_nobody_takes_are_bounded_and_small_ones_still_come() {
    alone(Duration::from_secs(120), async |home| {
        const READERS: usize = 28;
        let server = Server::start(home).await?;
        let value = vec![b'x'; 512 << 10];
        for n in 0..24 {
            server.put(&format!("big/{n}"), value.clone()).await?;
        }
        let ops: Vec<_> = (0..24)
            .map(|n| serde_json::json!({ "KV": TxnOp::new("get", format!("big/{n}")) }))
            .collect();
        let body = serde_json::to_string(&ops)?;
        let request = format!(
            "PUT /v1/txn HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let before = server.program.memory()?;

        // Each asks for 16 MiB, and takes hardly anything.
        let mut readers = Vec::new();
        let (mut begun, mut refused) = (0, 0);
        for _ in 0..READERS {
            let mut stream = connect(&server).await?;
            let answer = ask(&mut stream, &request).await?;
            if answer.starts_with("HTTP/1.1 200") {
                begun += 1;
            } else {
                assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
                assert!(answer.contains("wait for clients that do not take them"), "{answer}");
                refused += 1;
            }
            readers.push(stream);
        }
        serves(&server).await?;
        let memory = server.program.memory()?.saturating_sub(before);

        println!(
            "{begun} answers of 16 MiB wait, {refused} were refused: {} MiB more",
            memory / MIB
        );
        assert!(begun > 2 && refused > 4, "{begun} {refused}");
        assert!(memory < 450 * MIB, "{memory} bytes");
        drop(readers);
        holds("large answers come again", async || {
            let Ok(mut stream) = connect(&server).await else {
                return false;
            };
            ask(&mut stream, &request)
                .await
                .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
        })
        .await
    });
}

#[test]
fn watchers_that_stop_keep_nothing_of_a_large_change_but_the_piece_that_waits_for_them() {
    alone(Duration::from_secs(120), async |home| {
        const STREAMS: usize = 60;
        const LENGTH: usize = 8 << 20;
        let flags = ["--max-value-size", "16MiB", "--max-txn-size", "16MiB"];
        let options = Options {
            flags: flags.map(str::to_owned).to_vec(),
            ..Options::default()
        };
        let server = Server::with(home, options).await?;
        // What one such write takes by itself.
        let write = async |byte: u8| {
            let ops = [TxnOp::set("big/x", vec![byte; LENGTH]), TxnOp::set("other", "1")];
            let client = server.client_within(Duration::from_secs(60));
            let done = client.txn(&ops, &WriteOptions::default()).await?;
            ensure!(done.is_ok(), "{done:?}");
            anyhow::Ok(())
        };
        write(b'a').await?;
        write(b'b').await?;
        server.client().delete("big/x", &WriteOptions::default()).await?;
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            let mut stream = Stream::get(&server, "prefix=big/", &[]).await?;
            ensure!(stream.snapshot().await?.entries.is_empty());
            streams.push(stream);
        }
        let before = server.program.memory()?;

        write(b'c').await?;
        serves(&server).await?;
        // All of them are at work on it once the last is.
        let change = streams.pop().context("no stream")?.change().await?;
        assert_eq!(keys(&change), ["big/x"]);
        let memory = server.program.memory()?.saturating_sub(before);

        println!(
            "{STREAMS} watchers that stopped within a change of {} MiB: {} MiB more",
            LENGTH >> 20,
            memory / MIB
        );
        // As text for each of them it would be 640 MiB.
        assert!(memory < 160 * MIB, "{memory} bytes");
        for mut stream in streams.into_iter().take(3) {
            let change = stream.change().await?;
            let entry = change.changes[0].entry.as_ref().context("it was put")?;
            ensure!(entry.value.len() == LENGTH && entry.value.iter().all(|byte| *byte == b'c'));
        }
        Ok(())
    });
}

#[test]
fn lists_that_nobody_takes_are_counted_and_compressed_only_while_few_wait() {
    alone(long(Duration::from_secs(240), Duration::from_secs(900)), async |home| {
        let readers = long(300, 3_000);
        open_files(readers as u64 + 200)?;
        // Its sockets keep little, so that a list soon has to wait.
        let socket = home.path("keyway.sock");
        let options = Options {
            address: Some(format!("unix://{}", socket.display())),
            ..Options::default()
        };
        let server = Server::with(home, options).await?;
        let mut noise = 1_u64;
        for n in 0..16 {
            let value: Vec<u8> = (0..500_000)
                .map(|_| {
                    noise = noise
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    (noise >> 56) as u8
                })
                .collect();
            server.put(&format!("long/{n}"), value).await?;
        }
        let before = server.program.memory()?;

        let (mut packed, mut plain, mut refused) = (0_u64, 0_u64, 0_u64);
        let mut kept = Vec::new();
        for _ in 0..readers {
            let mut stream = UnixStream::connect(&socket).await?;
            let request = "GET /v1/kv/long/?recurse HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n";
            let answer = ask(&mut stream, request).await?;
            if answer.starts_with("HTTP/1.1 503") {
                assert!(answer.contains("wait for clients that do not take them"), "{answer}");
                refused += 1;
            } else {
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                if answer.contains("Content-Encoding: gzip") {
                    packed += 1;
                } else {
                    plain += 1;
                }
            }
            kept.push(stream);
        }
        serves(&server).await?;
        let memory = server.program.memory()?.saturating_sub(before);
        let counted = server.metric("keyway_answers_bytes").await?;

        println!(
            "{packed} compressed lists and {plain} others wait, {refused} were refused: {} MiB more, {} MiB counted",
            memory / MIB,
            counted / MIB
        );
        assert!((50..=102).contains(&packed), "a quarter of the budget: {packed}");
        assert!(counted > 64 * MIB && counted <= 256 * MIB, "{counted}");
        assert_eq!(refused > 0, readers > 2_000);
        assert!(memory < counted + 16 * MIB, "{memory} bytes");
        drop(kept);
        holds("all of it is given back", async || {
            server
                .metric("keyway_answers_bytes")
                .await
                .is_ok_and(|counted| counted == 0)
        })
        .await
    });
}
