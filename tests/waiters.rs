//! Blocking queries, many of them: who is woken, and what an index promises.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use kvapi::Revision;
use kvapi::client::WriteOptions;
use kvapi::types::TxnOp;
use rand::RngExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::{Server, alone, long, open_files, test};

/// A blocking query on a connection of its own, as it stands on the wire.
async fn wait_for(server: &Server, path: &str) -> anyhow::Result<TcpStream> {
    let kvapi::Address::Tcp(authority) = &server.address else {
        anyhow::bail!("not a TCP address");
    };
    let mut stream = TcpStream::connect(authority).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

async fn index(server: &Server, path: &str) -> anyhow::Result<u64> {
    let reply = server.request("GET", path, &[]).await?;
    Ok(reply.header("x-consul-index").context("no index")?.parse()?)
}

#[test]
fn of_thousands_who_wait_for_a_key_of_their_own_one_write_wakes_one() {
    alone(Duration::from_secs(180), async |home| {
        let waiters: usize = long(1_000, 10_000);
        open_files(waiters as u64 + 200)?;
        let server = Server::start(home).await?;
        // Each key is there, so that who comes late to wait for one does not find it changed by another.
        for start in (0..waiters).step_by(100) {
            let ops: Vec<_> = (start..waiters.min(start + 100))
                .map(|n| TxnOp::set(format!("k/{n}"), "0"))
                .collect();
            let set = server.client().txn(&ops, &WriteOptions::default()).await?;
            ensure!(set.is_ok(), "{set:?}");
        }
        let at = index(&server, "/v1/kv/k/?recurse").await?;
        let woken = Arc::new(AtomicUsize::new(0));
        let mut waiting = JoinSet::new();
        for n in 0..waiters {
            let mut stream = wait_for(&server, &format!("/v1/kv/k/{n}?index={at}&wait=5m")).await?;
            let woken = Arc::clone(&woken);
            waiting.spawn(async move {
                let mut text = vec![0; 4096];
                let read = stream.read(&mut text).await?;
                woken.fetch_add(1, Ordering::SeqCst);
                ensure!(
                    text[..read].starts_with(b"HTTP/1.1 200"),
                    "{}",
                    String::from_utf8_lossy(&text[..read])
                );
                anyhow::Ok((n, stream))
            });
        }

        // Whoever was woken by a stranger's write would have answered before its own.
        for own in [7, waiters / 2, waiters - 1] {
            server.put(&format!("k/{own}"), "1").await?;
            let (n, stream) = waiting.join_next().await.context("nobody waits")???;
            assert_eq!(n, own);
            drop(stream);
        }
        assert_eq!(woken.load(Ordering::SeqCst), 3);
        server.put("a stranger", "1").await?;
        let before = woken.load(Ordering::SeqCst);

        // All at once.
        server.put("k/0", "1").await?;
        server
            .client()
            .delete_prefix("nothing/", &WriteOptions::default())
            .await?;
        let (n, _stream) = waiting.join_next().await.context("nobody waits")???;
        assert_eq!((n, woken.load(Ordering::SeqCst)), (0, before + 1));
        Ok(())
    });
}

#[test]
fn the_index_of_a_prefix_never_falls_and_rises_with_every_change_of_its_list() {
    test(async |home| {
        let writes = long(400, 20_000);
        let server = Server::start(home).await?;
        server.put("p/0", "1").await?;
        let done = Arc::new(AtomicBool::new(false));
        let polls = Arc::new(AtomicU64::new(0));
        let mut pollers = JoinSet::new();
        for blocking in [false, true, true] {
            let (client, done, polls) = (server.client(), Arc::clone(&done), Arc::clone(&polls));
            let address = server.address.clone();
            pollers.spawn(async move {
                let mut last = (Revision(0), Vec::new());
                while !done.load(Ordering::SeqCst) {
                    let path = if blocking && last.0 > Revision(0) {
                        format!("/v1/kv/p/?recurse&index={}&wait=100ms", last.0)
                    } else {
                        "/v1/kv/p/?recurse".to_owned()
                    };
                    let reply = client
                        .send(http::Method::GET, &path, Default::default(), Default::default())
                        .await?;
                    let index: u64 = reply.header("x-consul-index").context("no index")?.parse()?;
                    let now = (Revision(index), reply.body.to_vec());
                    ensure!(now.0 >= last.0, "{address}: {} after {}", now.0, last.0);
                    ensure!(now.1 == last.1 || now.0 > last.0, "the list changed at {}", now.0);
                    polls.fetch_add(1, Ordering::SeqCst);
                    last = now;
                }
                anyhow::Ok(())
            });
        }
        let client = server.client();
        for n in 0..writes {
            let random = rand::rng().random_range(0..10);
            let key = format!("p/{random}");
            match rand::rng().random_range(0..10) {
                0..5 => drop(client.put(&key, n.to_string(), &WriteOptions::default()).await?),
                5..8 => drop(client.delete(&key, &WriteOptions::default()).await?),
                8 => drop(client.delete_prefix("p/", &WriteOptions::default()).await?),
                _ => drop(client.put("elsewhere", n.to_string(), &WriteOptions::default()).await?),
            }
        }
        done.store(true, Ordering::SeqCst);
        while let Some(poller) = pollers.join_next().await {
            poller??;
        }
        assert!(polls.load(Ordering::SeqCst) > 10);
        Ok(())
    });
}
