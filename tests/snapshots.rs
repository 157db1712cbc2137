//! Backups: everything in one file, taken from a server that goes on, checked before it counts.

use std::path::Path;
use std::time::Duration;

use kvapi::client::WriteOptions;
use kvapi::{Address, Client};
use serde_json::Value;

use crate::harness::{Disk, Home, Options, Said, Server, alone, holds, test, write_file};

/// `keyway cluster snapshot ARGUMENTS`, to its end.
pub(crate) async fn snapshot(server: &Server, home: &Home, arguments: &[&str]) -> anyhow::Result<Said> {
    let arguments = [&["cluster", "snapshot"], arguments].concat();
    server.keyway(home).run(&arguments).await
}

/// What is in a file, as `keyway cluster snapshot inspect -o json` says.
async fn inspected(server: &Server, home: &Home, file: &Path) -> anyhow::Result<Value> {
    let file = file.display().to_string();
    let said = snapshot(server, home, &["inspect", &file, "-o", "json"]).await?;
    said.expect(0)?.json()
}

/// How many records of a kind a file has.
fn count(document: &Value, kind: &str) -> u64 {
    let kinds = document["kinds"].as_array().into_iter().flatten();
    let found = kinds.filter(|one| one["kind"] == kind);
    found.filter_map(|one| one["count"].as_u64()).sum()
}

#[test]
fn a_snapshot_is_taken_while_others_write_and_holds_what_was_acknowledged_before() {
    alone(Duration::from_secs(120), async |home| {
        let server = Server::start(home).await?;
        for n in 0..200 {
            server.put(&format!("before/{n:03}"), "x".repeat(5_000)).await?;
        }
        let client = server.client();
        let writing = tokio::spawn(async move {
            let mut written = 0_u64;
            loop {
                let done = client
                    .put(&format!("during/{written}"), "y", &WriteOptions::default())
                    .await;
                if done.is_err() {
                    return written;
                }
                written += 1;
            }
        });
        holds("others write", async || server.revision("during/20").await.is_ok()).await?;
        let file = home.path("backup.snap");
        let name = file.display().to_string();
        let asked = server.client().get("before/000", Default::default()).await?.revision;

        let saved = snapshot(&server, home, &["save", &name, "-o", "json"]).await?;
        let saved = saved.expect(0)?.json()?;

        let found = inspected(&server, home, &file).await?;
        assert_eq!(found["format"], "keyway");
        assert_eq!(found["cluster"], server.cluster.as_str());
        assert_eq!(found["revision"], saved["revision"]);
        assert!(found["revision"].as_u64() > Some(asked.0), "{found}");
        assert_eq!(saved["bytes"].as_u64(), Some(std::fs::metadata(&file)?.len()));
        assert!(count(&found, "keys") >= saved["keys"].as_u64().unwrap_or_default());
        assert!(count(&found, "keys") > 220, "{found}");
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file)?.permissions());
        assert_eq!(mode & 0o777, 0o600, "settings may be secrets");
        writing.abort();
        Ok(())
    });
}

#[test]
fn a_file_that_is_there_is_replaced_by_a_good_one_and_by_nothing_else() {
    test(async |home| {
        let mut server = Server::start(home).await?;
        server.put("a", "1").await?;
        let file = home.write("backup.snap", "something older")?;
        let save = ["cluster", "snapshot", "save", "backup.snap"];
        let nobody = server
            .keyway(home)
            .addr("http://127.0.0.1:1")
            .run(&save)
            .await?
            .expect(6)?;
        assert!(nobody.err.contains("127.0.0.1:1"), "{}", nobody.err);
        assert_eq!(std::fs::read_to_string(&file)?, "something older");

        let said = server.keyway(home).run(&save).await?.expect(0)?;

        assert!(
            said.err.starts_with("saved revision 2 in backup.snap: 1 keys"),
            "{}",
            said.err
        );
        assert_eq!(count(&inspected(&server, home, &file).await?, "keys"), 1);
        let good = std::fs::read(&file)?;
        server.stop().await?;
        server.keyway(home).run(&save).await?.expect(6)?;
        assert_eq!(std::fs::read(&file)?, good);
        let left: Vec<_> = std::fs::read_dir(home.dir())?.filter_map(Result::ok).collect();
        let temporary = left
            .iter()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(".tmp"));
        assert_eq!(temporary.count(), 0, "{left:?}");
        snapshot(&server, home, &["save", "."]).await?.expect(3)?;
        Ok(())
    });
}

#[test]
fn a_disk_that_is_full_leaves_the_file_that_was_there() {
    alone(Duration::from_secs(60), async |home| {
        let server = Server::start(home).await?;
        // Nothing that can be compressed.
        let noise: Vec<u8> = (0..400_000).map(|_| rand::random()).collect();
        for n in 0..16 {
            let options = WriteOptions::default();
            server
                .client()
                .put(&format!("a/{n}"), noise[n..].to_vec(), &options)
                .await?;
        }
        let disk = Disk::new(home, "small", 4)?;
        let file = disk.dir.join("backup.snap");
        write_file(&file, "older")?;
        let name = file.display().to_string();

        let said = snapshot(&server, home, &["save", &name]).await?.expect(3)?;

        assert!(
            said.err.contains("No space left") && said.err.contains("backup.snap"),
            "{}",
            said.err
        );
        assert_eq!(std::fs::read_to_string(&file)?, "older");
        Ok(())
    });
}

#[test]
fn a_file_that_is_not_whole_is_told_from_a_good_one() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("a", "1").await?;
        snapshot(&server, home, &["save", "good.snap"]).await?.expect(0)?;
        let good = std::fs::read(home.path("good.snap"))?;
        home.write("cut.snap", &good[..good.len() - 9])?;
        home.write("text.snap", "no snapshot at all")?;
        for (name, reason) in [
            ("cut.snap", "failed to read snapshot file"),
            ("text.snap", "gzip: invalid header"),
            ("missing.snap", "No such file"),
        ] {
            let said = snapshot(&server, home, &["inspect", name]).await?.expect(3)?;
            assert!(said.err.contains(name) && said.err.contains(reason), "{}", said.err);
        }
        let said = snapshot(&server, home, &["inspect", "good.snap"]).await?.expect(0)?;
        let text = said.text();
        assert!(
            text.starts_with("good.snap is a snapshot of keyway, of cluster "),
            "{text}"
        );
        assert!(text.contains("\nkeys      1      "), "{text}");
        Ok(())
    });
}

#[test]
fn the_agents_socket_gives_no_snapshot_and_the_others_say_what_consul_says() {
    test(async |home| {
        let socket = home.path("agents.sock");
        let flags = vec!["--agent-socket".to_owned(), socket.display().to_string()];
        let options = Options {
            flags,
            ..Options::default()
        };
        let server = Server::with(home, options).await?;
        server.put("a", "1").await?;
        let inside = Client::new(vec![Address::Unix(socket)], None, Duration::from_secs(5));

        let refused = inside.backup(Default::default()).await;

        assert!(
            matches!(refused, Err(kvapi::Error::Refused { status, .. }) if status == 403),
            "{refused:?}"
        );
        for path in ["/v1/snapshot", "/v1/snapshot?stale", "/v1/snapshot?dc=dc1"] {
            let reply = server.request("GET", path, &[]).await?;
            assert_eq!(reply.status, 200);
            assert_eq!(reply.header("content-type"), Some("application/x-gzip"));
            assert_eq!(reply.header("x-consul-index"), Some("2"));
            assert_eq!(reply.header("x-consul-knownleader"), Some("true"));
            assert_eq!(reply.header("x-consul-lastcontact"), Some("0"));
            assert_eq!(reply.header("content-encoding"), None);
            assert!(reply.body.starts_with(b"\x1f\x8b"));
        }
        let reply = server.request("GET", "/v1/snapshot?dc=elsewhere", &[]).await?;
        assert_eq!(
            (reply.status.as_u16(), &*reply.body),
            (500, &b"No path to datacenter"[..])
        );
        Ok(())
    });
}

/// `keyway cluster snapshot save`, to a file of that name.
pub(crate) async fn save(server: &Server, home: &Home, name: &str) -> anyhow::Result<()> {
    snapshot(server, home, &["save", name]).await?.expect(0)?;
    Ok(())
}
