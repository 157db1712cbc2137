//! What answers a server gives as Consul's while the leader of three is dead or cut off: what waits goes on waiting,
//! and nothing old is taken for new. The numbers are those of the assertions that clients rely on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method};
use kvapi::client::{Reply, WriteOptions};
use kvapi::{Client, Consistency};
use rand::seq::IndexedRandom as _;
use tokio::time::Instant;

use crate::consul_cluster::leader_first;
use crate::harness::{Cluster, Exit, Home, Keyway, Program, Server, Way, eventually_within, holds, test};
use crate::overload;

fn number(reply: &Reply, header: &str) -> anyhow::Result<u64> {
    let text = reply.header(header).with_context(|| format!("no {header}"))?;
    Ok(text.parse()?)
}

fn index(reply: &Reply) -> anyhow::Result<u64> {
    number(reply, "x-consul-index")
}

#[test]
fn blocking_queries_at_the_other_servers_outlive_the_leader_and_wake_at_the_next_write() {
    test(async |home| {
        const PATHS: [&str; 3] = ["/v1/kv/w/a?", "/v1/kv/w/?recurse", "/v1/kv/w/?keys"];
        let mut servers = leader_first(home).await?;
        servers[1].put("w/a", "1").await?;
        let mut waits = Vec::new();
        for server in &servers[1..] {
            for path in PATHS {
                let at = index(&server.request("GET", path, &[]).await?)?;
                for wait in ["60s", "2s"] {
                    let client = server.client_within(Duration::from_secs(60));
                    let path = format!("{path}&index={at}&wait={wait}");
                    waits.push(tokio::spawn(async move {
                        let reply = client.send(Method::GET, &path, Bytes::new(), HeaderMap::new()).await?;
                        ensure!(reply.status == 200, "{path}: {reply:?}");
                        anyhow::Ok((wait, at, index(&reply)?))
                    }));
                }
            }
        }
        for server in &servers[1..] {
            let all = async || server.metric("keyway_blocking_queries").await.is_ok_and(|all| all == 6);
            holds("all of them wait", all).await?;
        }

        servers[0].program.kill().await?;

        // Those that wait two seconds for nothing have it told by a server that knows of no leader, or of a new one.
        for server in &servers[1..] {
            let half = async || server.metric("keyway_blocking_queries").await.is_ok_and(|all| all == 3);
            holds("those are answered whose time is over", half).await?;
        }
        servers[2].put("w/a", "2").await?;
        let mut answered = [0, 0];
        for one in waits {
            let (wait, at, now) = one.await??;
            ensure!((now > at) == (wait == "60s"), "{wait}: {at} {now}");
            answered[usize::from(now > at)] += 1;
        }
        assert_eq!(answered, [6, 6]);
        Ok(())
    });
}

/// 66, over all servers.
#[test]
fn the_index_of_a_prefix_that_is_polled_at_any_server_never_falls_while_the_leader_dies() {
    test(async |home| {
        let mut servers = leader_first(home).await?;
        servers[0].put("p/0", "1").await?;
        let clients: Arc<Vec<Client>> = Arc::new(servers.iter().map(Server::client).collect());
        let (stop, polls) = (Arc::new(AtomicBool::default()), Arc::new(AtomicUsize::default()));
        let pollers: Vec<_> = (0..6)
            .map(|_| {
                let (clients, stop, polls) = (Arc::clone(&clients), Arc::clone(&stop), Arc::clone(&polls));
                tokio::spawn(async move {
                    let mut last = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let client = clients.choose(&mut rand::rng()).context("three")?;
                        let asked = client.send(Method::GET, "/v1/kv/p/?recurse", Bytes::new(), HeaderMap::new());
                        match asked.await {
                            Ok(reply) if reply.status == 200 => {
                                let now = index(&reply)?;
                                ensure!(now >= last, "{now} behind {last}");
                                last = now;
                                polls.fetch_add(1, Ordering::Relaxed);
                            }
                            // The one that is dead, or an election that takes long: not to be asked in a spin.
                            _ => tokio::time::sleep(Duration::from_millis(20)).await,
                        }
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        let writes = async |servers: &[Server]| {
            let options = WriteOptions::default();
            for _ in 0..60 {
                let key = format!("p/{}", rand::random_range(0..4));
                let client = servers[rand::random_range(0..servers.len())].client();
                if rand::random() {
                    client.put(&key, "1", &options).await?;
                } else {
                    client.delete(&key, &options).await?;
                }
            }
            anyhow::Ok(())
        };
        writes(&servers).await?;
        servers[0].program.kill().await?;
        writes(&servers[1..]).await?;
        let enough = polls.load(Ordering::Relaxed) + 50;
        holds("it is polled", async || polls.load(Ordering::Relaxed) >= enough).await?;
        stop.store(true, Ordering::Relaxed);
        for poller in pollers {
            poller.await??;
        }
        Ok(())
    });
}

/// 68 and 72, and what comes behind.
#[test]
fn a_leader_that_is_cut_off_answers_no_read_with_old_data_but_a_stale_one() {
    test(async |home| {
        let cluster = Cluster::start(home, 3).await?;
        let old = cluster.leader().await?;
        let server = &cluster.servers[old];
        server.put("k", "old").await?;
        cluster.around(old, Way::Held, Way::Held);
        let others: Vec<_> = (0..3).filter(|place| *place != old).collect();
        let client = cluster.servers[others[0]].client();
        eventually_within(Duration::from_secs(40), "another leads", async || {
            client.put("k", "new", &WriteOptions::default()).await.ok()
        })
        .await?;

        let begun = Instant::now();
        let refused = async |query: &str| {
            // Our own client would ask again.
            let request = format!("GET /v1/kv/k{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let answer = overload::ask(&mut overload::connect(server).await?, &request).await?;
            let none = answer.starts_with("HTTP/1.1 500 ") && answer.ends_with("No cluster leader");
            ensure!(none, "{query}: {answer}");
            anyhow::Ok(())
        };
        tokio::try_join!(refused("?consistent"), refused("?raw"))?;
        ensure!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        let stale = async || server.request("GET", "/v1/kv/k?stale&raw", &[]).await;
        holds("it knows that it does not know who leads", async || {
            stale()
                .await
                .is_ok_and(|reply| reply.header("x-consul-knownleader") == Some("false"))
        })
        .await?;
        let one = stale().await?;
        assert_eq!((one.status.as_u16(), &*one.body), (200, &b"old"[..]));
        let first = number(&one, "x-consul-lastcontact")?;
        holds("it grows", async || {
            let reply = stale().await;
            reply.is_ok_and(|reply| number(&reply, "x-consul-lastcontact").is_ok_and(|now| now > first))
        })
        .await?;

        cluster.proxy.heal();
        let read = eventually_within(Duration::from_secs(40), "it follows", async || {
            server.client().get("k", Consistency::Consistent).await.ok()?.value
        })
        .await?;
        assert_eq!(&*read.value, b"new");
        Ok(())
    });
}

/// A command under `consul lock` at a server, that says `in`, and `told` when it is told to end.
async fn consul_lock(home: &Home, server: &Server, name: &str) -> anyhow::Result<Program> {
    let script = "trap 'echo told; exit 0' TERM; echo in; while :; do sleep 0.05; done";
    let consul = Keyway::consul(home)?.env("CONSUL_HTTP_ADDR", &server.address.to_string());
    let lock = consul.start(home, name, &["lock", "-verbose", &format!("jobs/{name}"), script])?;
    holds("the lock is held", async || lock.output().contains("in\n")).await?;
    Ok(lock)
}

#[test]
fn what_consul_lock_runs_goes_on_when_the_leader_dies_and_is_stopped_when_its_session_or_server_is_gone() {
    test(async |home| {
        let mut servers = leader_first(home).await?;
        let mut kept = consul_lock(home, &servers[1], "kept").await?;
        let mut left = consul_lock(home, &servers[0], "left").await?;
        let other = servers[2].client();
        let session = async || -> anyhow::Result<String> {
            let entry = other.get("jobs/kept/.lock", Default::default()).await?.value;
            entry.and_then(|entry| entry.session).context("it is held")
        };
        let before = session().await?;

        servers[0].program.kill().await?;
        servers[2].put("goes", "on").await?;

        // It asks again three times, a second apart; and then it cannot know any more.
        holds("whoever asked that server alone is stopped", async || {
            left.ended().is_some()
        })
        .await?;
        ensure!(
            left.output().contains("Lock lost, killing child\ntold\n"),
            "{}",
            left.output()
        );
        assert_eq!(before, session().await?);
        ensure!(
            !kept.output().contains("told") && kept.ended().is_none(),
            "{}",
            kept.output()
        );
        other.destroy_session(&before, &WriteOptions::default()).await?;
        let exit = kept.exit().await?;
        ensure!(
            kept.output().contains("Lock lost, killing child\ntold\n"),
            "{}",
            kept.output()
        );
        ensure!(exit != Exit::Signal(9), "{exit:?}");
        Ok(())
    });
}
