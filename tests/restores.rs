//! Restores into a running store: everything at one new revision, told to everybody, or nothing.

use std::io::Write as _;
use std::time::Duration;

use kvapi::Revision;
use kvapi::client::WriteOptions;
use kvapi::types::{WatchEvent, WatchRequest};
use kvapi::watch::News;
use serde_json::Value;

use crate::harness::{Disk, Keyway, Options, Server, alone, eventually, holds, test};
use crate::snapshots::{save, snapshot};

#[test]
fn a_restore_brings_back_every_key_flag_and_session_and_what_came_later_is_gone() {
    test(async |home| {
        let server = Server::start(home).await?;
        let flagged = WriteOptions {
            flags: 42,
            ..WriteOptions::default()
        };
        server.client().put("app/a", "1", &flagged).await?;
        server.put("app/b", "").await?;
        let session = server.request("PUT", "/v1/session/create", &[]).await?;
        let session: Value = serde_json::from_slice(&session.body)?;
        let id = session["ID"].as_str().unwrap_or_default().to_owned();
        let locked = server
            .request("PUT", &format!("/v1/kv/app/lock?acquire={id}"), &[])
            .await?;
        assert_eq!(&*locked.body, b"true");
        let before = server.client().list("", Default::default()).await?;
        save(&server, home, "backup.snap").await?;
        server.put("app/a", "2").await?;
        server.put("app/later", "2").await?;
        server.client().delete("app/b", &WriteOptions::default()).await?;
        server.request("PUT", &format!("/v1/session/destroy/{id}"), &[]).await?;
        let newest = server.client().list("", Default::default()).await?.revision;

        let said = snapshot(&server, home, &["restore", "backup.snap"]).await?.expect(2)?;
        assert!(
            said.err.contains("3 keys and 1 sessions") && said.err.contains("--yes"),
            "{}",
            said.err
        );
        let said = snapshot(&server, home, &["restore", "backup.snap", "--yes", "-m", "why"])
            .await?
            .expect(0)?;

        assert!(
            said.err.contains("restored 3 keys and 1 sessions at revision"),
            "{}",
            said.err
        );
        let after = server.client().list("", Default::default()).await?;
        let bare = |list: &[kvapi::Entry]| -> Vec<_> {
            let bare = list.iter().map(|entry| {
                (
                    entry.key.clone(),
                    entry.value.clone(),
                    entry.flags,
                    entry.session.clone(),
                )
            });
            bare.collect()
        };
        assert_eq!(bare(&after.value), bare(&before.value));
        assert!(after.revision > newest, "{after:?} {newest}");
        assert!(after.value.iter().all(|entry| entry.modify_index <= after.revision));
        let sessions = server.request("GET", "/v1/session/list", &[]).await?;
        let sessions: Value = serde_json::from_slice(&sessions.body)?;
        assert_eq!(sessions[0]["ID"], id.as_str());
        // Who knew a key before the restore is not taken for one who knows it now.
        let stale = WriteOptions {
            cas: Some(before.value[0].modify_index.0),
            ..WriteOptions::default()
        };
        assert!(!server.client().put("app/a", "3", &stale).await?);
        let history = server
            .kv(home, &["history", "app/a", "-n", "1"])
            .await?
            .expect(0)?
            .text();
        assert!(history.contains("why"), "{history}");
        // The past before it can still be read, so it can be undone.
        server
            .kv(home, &["revert", "app/", "--to", &newest.to_string(), "--yes"])
            .await?
            .expect(0)?;
        assert!(
            server
                .client()
                .get("app/later", Default::default())
                .await?
                .value
                .is_some()
        );
        Ok(())
    });
}

#[test]
fn a_restore_is_news_to_every_watcher_and_to_every_query_that_waits() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("a", "1").await?;
        save(&server, home, "backup.snap").await?;
        server.put("a", "2").await?;
        server.put("gone", "2").await?;
        let index = server.revision("gone").await?;
        let mut watch = server.client().watch(WatchRequest {
            prefixes: vec![String::new()],
            ..WatchRequest::default()
        });
        assert!(matches!(watch.next().await, News::Connected { .. }));
        assert!(
            matches!(watch.next().await, News::Event(WatchEvent::Snapshot(snapshot)) if snapshot.entries.len() == 2)
        );
        let waiting = ["a", "gone", "never"].map(|key| {
            let client = server.client();
            tokio::spawn(async move { client.get_blocking(key, Revision(index), Duration::from_secs(60)).await })
        });
        let metrics = async || {
            let reply = server.request("GET", "/metrics", &[]).await.ok()?;
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            text.contains("keyway_blocking_queries 3\n").then_some(())
        };
        holds("all wait", async || metrics().await.is_some()).await?;

        snapshot(&server, home, &["restore", "backup.snap", "--yes"])
            .await?
            .expect(0)?;

        let restored = loop {
            match watch.next().await {
                News::Event(WatchEvent::Snapshot(snapshot)) => break snapshot,
                News::Event(WatchEvent::Progress(_)) => {}
                other => anyhow::bail!("{other:?}"),
            }
        };
        assert!(restored.revision.0 > index, "{restored:?}");
        let keys: Vec<(&str, &[u8])> = restored
            .entries
            .iter()
            .map(|entry| (entry.key.as_str(), &*entry.value))
            .collect();
        assert_eq!(keys, [("a", &b"1"[..])]);
        let mut answers = Vec::new();
        for one in waiting {
            answers.push(one.await??);
        }
        let values: Vec<Option<&[u8]>> = answers
            .iter()
            .map(|at| at.value.as_ref().map(|entry| &*entry.value))
            .collect();
        assert_eq!(values, [Some(&b"1"[..]), None, None], "of the new state");
        assert!(answers.iter().all(|at| at.revision.0 > index), "{answers:?}");
        // And changes go on from there.
        server.put("b", "1").await?;
        assert!(matches!(watch.next().await, News::Event(WatchEvent::Change(change)) if change.changes[0].key == "b"));
        Ok(())
    });
}

/// A tar, compressed, of these files.
pub(crate) fn envelope(files: &[(&str, &[u8])]) -> anyhow::Result<Vec<u8>> {
    let mut tar = Vec::new();
    for (name, content) in files {
        let mut head = [0_u8; 512];
        head[..name.len()].copy_from_slice(name.as_bytes());
        head[100..108].copy_from_slice(b"0000600\0");
        head[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        head[136..148].copy_from_slice(b"00000000000\0");
        head[148..156].copy_from_slice(b"        ");
        head[156] = b'0';
        head[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend_from_slice(&head);
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.extend_from_slice(&[0; 1024]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar)?;
    Ok(gzip.finish()?)
}

#[test]
fn what_is_no_good_snapshot_is_refused_and_changes_nothing() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("a", "1").await?;
        save(&server, home, "backup.snap").await?;
        let good = std::fs::read(home.path("backup.snap"))?;
        server.put("a", "2").await?;
        let revision = server.revision("a").await?;
        let mut flipped = good.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0xff;
        let sums = format!("{}  meta.json\n{}  state.bin\n", "0".repeat(64), "0".repeat(64));
        for (what, body, said) in [
            ("nothing", vec![], "failed to decompress snapshot: EOF"),
            (
                "a text",
                b"not a snapshot at all".to_vec(),
                "failed to decompress snapshot: gzip: invalid header",
            ),
            ("cut", good[..good.len() / 2].to_vec(), "failed to"),
            ("other bytes", flipped, "failed to"),
            (
                "another file",
                envelope(&[("meta.json", b"{}"), ("evil", b"x")])?,
                "failed to read snapshot file: unexpected file \"evil\" in snapshot",
            ),
            (
                "wrong sums",
                envelope(&[("meta.json", b"{}"), ("SHA256SUMS", sums.as_bytes())])?,
                "failed to read snapshot file: state.bin is missing",
            ),
        ] {
            let headers = http::HeaderMap::new();
            let reply = server
                .client()
                .send(http::Method::PUT, "/v1/snapshot", body.into(), headers)
                .await?;
            let text = String::from_utf8_lossy(&reply.body);
            assert!(
                reply.status == 500 && text.starts_with(said),
                "{what}: {} {text}",
                reply.status
            );
        }
        assert_eq!(server.revision("a").await?, revision);
        let left: Vec<_> = std::fs::read_dir(server.data.join("snapshots"))?.collect();
        assert_eq!(left.len(), 0, "{left:?}");
        home.write("cut.snap", &good[..good.len() - 1])?;
        snapshot(&server, home, &["restore", "cut.snap", "--yes"])
            .await?
            .expect(3)?;
        assert_eq!(server.revision("a").await?, revision);
        Ok(())
    });
}

#[test]
fn a_restore_is_there_after_a_kill_and_a_start() {
    alone(Duration::from_secs(120), async |home| {
        let mut server = Server::start(home).await?;
        for n in 0..300 {
            server.put(&format!("a/{n:03}"), vec![b'x'; 3_000]).await?;
        }
        save(&server, home, "backup.snap").await?;
        server.client().delete_prefix("a/", &WriteOptions::default()).await?;
        snapshot(&server, home, &["restore", "backup.snap", "--yes"])
            .await?
            .expect(0)?;
        let after = server.client().list("", Default::default()).await?;
        assert_eq!(after.value.len(), 300);
        server.program.kill().await?;

        server.restart(home).await?;

        assert_eq!(server.client().list("", Default::default()).await?, after);
        server.stop().await?;
        let data = server.data.display().to_string();
        Keyway::new(home)
            .run(&["server", "check", "--data-dir", &data])
            .await?
            .expect(0)?;
        Ok(())
    });
}

#[test]
fn a_disk_without_room_for_a_restore_refuses_it_and_the_server_goes_on() {
    alone(Duration::from_secs(180), async |home| {
        let full = Server::start(home).await?;
        // Nothing that can be compressed.
        let noise: Vec<u8> = (0..400_040).map(|_| rand::random()).collect();
        for n in 0..32 {
            let options = WriteOptions::default();
            full.client()
                .put(&format!("a/{n}"), noise[n..].to_vec(), &options)
                .await?;
        }
        save(&full, home, "backup.snap").await?;
        let disk = Disk::new(home, "small", 160)?;
        disk.fill(58 << 20)?;
        let options = Options {
            data: Some(disk.dir.join("data")),
            flags: vec!["--min-free".into(), "16MiB".into()],
            ..Options::default()
        };
        let small = Server::with(home, options).await?;
        small.put("mine", "1").await?;

        let said = snapshot(&small, home, &["restore", "backup.snap", "--yes"])
            .await?
            .expect(6)?;

        assert!(said.err.contains("nearly full"), "{}", said.err);
        small.put("mine", "2").await?;
        assert_eq!(small.client().list("", Default::default()).await?.value.len(), 1);
        disk.make_room()?;
        eventually("there is room", async || {
            let said = snapshot(&small, home, &["restore", "backup.snap", "--yes"])
                .await
                .ok()?;
            said.expect(0).ok()
        })
        .await?;
        assert_eq!(small.client().list("", Default::default()).await?.value.len(), 32);
        Ok(())
    });
}
