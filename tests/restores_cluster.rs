//! Restores into a cluster of several servers.

use std::time::Duration;

use anyhow::Context as _;
use kvapi::Consistency;
use kvapi::client::WriteOptions;
use kvapi::types::{WatchEvent, WatchRequest};
use kvapi::watch::News;

use crate::harness::{Exit, Home, Options, Server, alone, eventually, holds};
use crate::snapshots::{save, snapshot};

/// Servers that are members of one cluster, the first of which leads.
async fn three(home: &Home) -> anyhow::Result<[Server; 3]> {
    let servers = crate::members::three(home).await?;
    let status = servers[0].client().cluster_status().await?;
    anyhow::ensure!(status.leader == Some(1), "{status:?}");
    Ok(servers)
}

/// What a server has by itself, keys with values and flags, once it has come to a revision.
async fn has(server: &Server, revision: u64) -> anyhow::Result<Vec<(String, bytes::Bytes, u64)>> {
    let list = eventually("it has caught up", async || {
        let list = server.client().list("", Consistency::Stale).await.ok()?;
        (list.revision.0 >= revision).then_some(list.value)
    });
    Ok(list
        .await?
        .into_iter()
        .map(|entry| (entry.key, entry.value, entry.flags))
        .collect())
}

#[test]
fn a_restore_through_a_follower_is_the_same_on_all_three_servers() {
    alone(Duration::from_secs(180), async |home| {
        let servers = three(home).await?;
        let flagged = WriteOptions {
            flags: 9,
            ..WriteOptions::default()
        };
        for n in 0..120 {
            servers[n % 3]
                .client()
                .put(&format!("a/{n:03}"), vec![b'x'; 4_000 + n], &flagged)
                .await?;
        }
        // What is acknowledged at one is in what is saved at another.
        save(&servers[2], home, "backup.snap").await?;
        let saved = servers[0].client().list("", Consistency::Default).await?.value;
        assert_eq!(saved.len(), 120);
        servers[1]
            .client()
            .delete_prefix("a/", &WriteOptions::default())
            .await?;
        servers[1].put("later", "1").await?;
        let mut watches = Vec::new();
        for server in &servers {
            let request = WatchRequest {
                prefixes: vec![String::new()],
                ..WatchRequest::default()
            };
            let mut watch = server.client().watch(request);
            assert!(matches!(watch.next().await, News::Connected { .. }));
            assert!(matches!(watch.next().await, News::Event(WatchEvent::Snapshot(_))));
            watches.push(watch);
        }

        let restore = ["restore", "backup.snap", "--yes", "-o", "json"];
        let restored = snapshot(&servers[1], home, &restore).await?.expect(0)?.json()?;

        assert_eq!(restored["keys"], 120);
        let revision = restored["revision"].as_u64().context("a revision")?;
        let expected: Vec<_> = saved
            .into_iter()
            .map(|entry| (entry.key, entry.value, entry.flags))
            .collect();
        for (server, watch) in servers.iter().zip(&mut watches) {
            assert!(has(server, revision).await? == expected, "{}", server.address);
            let told = loop {
                match watch.next().await {
                    News::Event(WatchEvent::Snapshot(snapshot)) if snapshot.revision.0 >= revision => break snapshot,
                    News::Event(WatchEvent::Change(change)) if change.revision.0 >= revision => {
                        anyhow::bail!("it is told as a change: {:?}", change.revision)
                    }
                    News::Event(_) => {}
                    other => anyhow::bail!("{other:?}"),
                }
            };
            assert_eq!((told.revision.0, told.entries.len()), (revision, 120));
        }
        // The servers still know each other.
        let status = servers[2].client().cluster_status().await?;
        assert_eq!(status.servers.iter().filter(|server| server.voter).count(), 3);
        servers[2].put("after", "1").await?;
        assert!(
            servers[0]
                .client()
                .get("after", Consistency::Default)
                .await?
                .value
                .is_some()
        );
        Ok(())
    });
}

#[test]
fn a_leader_that_dies_in_the_middle_of_a_restore_leaves_all_of_it_or_nothing() {
    alone(Duration::from_secs(180), async |home| {
        let mut servers = three(home).await?;
        for n in 0..60 {
            servers[0].put(&format!("old/{n}"), "1").await?;
        }
        let source = Server::with(
            home,
            Options {
                data: Some(home.path("source")),
                ..Options::default()
            },
        )
        .await?;
        for n in 0..40 {
            let noise: Vec<u8> = (0..200_000).map(|_| rand::random()).collect();
            source
                .client()
                .put(&format!("new/{n}"), noise, &WriteOptions::default())
                .await?;
        }
        save(&source, home, "backup.snap").await?;
        let arguments = ["cluster", "snapshot", "restore", "backup.snap", "--yes"];
        let mut restoring = servers[1].keyway(home).start(home, "restoring", &arguments)?;
        let gathered = servers[1].data.join("snapshots/restored.unfinished");
        holds("it has begun", async || gathered.exists()).await?;

        servers[0].program.kill().await?;
        let ended = restoring.exit().await?;

        let list = servers[2]
            .client_within(Duration::from_secs(30))
            .list("", Consistency::Default)
            .await?;
        let (old, new) = (
            list.value.iter().filter(|entry| entry.key.starts_with("old/")).count(),
            list.value.len(),
        );
        match ended {
            Exit::Code(0) => assert_eq!((old, new), (0, 40)),
            Exit::Code(6) => assert_eq!((old, new), (60, 60), "nothing was done, it said"),
            _ => assert!(matches!((old, new), (0, 40) | (60, 60)), "{ended:?} {old} of {new}"),
        }
        let other = servers[1]
            .client_within(Duration::from_secs(30))
            .list("", Consistency::Default)
            .await?;
        assert!(other.value == list.value);
        Ok(())
    });
}
