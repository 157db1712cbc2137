//! `keyway kv revert`: one transaction, a conflict is a refusal, and what is too old or too large is said.

use std::sync::Arc;

use anyhow::Context as _;
use kvapi::types::TxnOp;
use kvapi::{Address, Client};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Home, Server, test};

async fn tree(server: &Server, home: &Home) -> anyhow::Result<String> {
    Ok(server.kv(home, &["get", "-recurse", "app/"]).await?.expect(0)?.text())
}

/// `app/a` and `app/b`, then a release that changes one, deletes one and makes one. The revision before it.
async fn release(server: &Server, home: &Home) -> anyhow::Result<String> {
    server
        .kv(home, &["put", "app/a", "1", "--flags", "7"])
        .await?
        .expect(0)?;
    server.put("app/b", "1").await?;
    server.put("apple", "1").await?;
    let before = server.revision("apple").await?;
    let writes = [
        "txn",
        "--put",
        "app/a=2",
        "--delete",
        "app/b",
        "--put",
        "app/new=1",
        "--put",
        "apple=2",
    ];
    server.kv(home, &writes).await?.expect(0)?;
    Ok(before.to_string())
}

#[test]
fn a_prefix_goes_back_in_one_transaction() {
    test(async |home| {
        let server = Server::start(home).await?;
        let before = release(&server, home).await?;

        let dry = server
            .kv(home, &["revert", "app/", "--to", &before, "--dry-run"])
            .await?
            .expect(0)?;
        assert!(dry.text().contains("-2\n+1\nflags: 0 became 7\n"), "{}", dry.text());
        assert!(dry.err.contains("would set back 3 keys"), "{}", dry.err);
        assert_eq!(tree(&server, home).await?, "app/a:2\napp/new:1\n");
        let said = server
            .kv(home, &["revert", "app/", "--to", &before, "-m", "bad release"])
            .await?
            .expect(0)?;
        assert!(
            said.err.contains("set back app/a\nset back app/b\ndeleted app/new\n"),
            "{}",
            said.err
        );

        assert_eq!(tree(&server, home).await?, "app/a:1\napp/b:1\n");
        let entry = server.kv(home, &["get", "app/a", "-o", "json"]).await?.json()?;
        assert_eq!(entry["flags"], 7);
        assert_eq!(
            server.kv(home, &["get", "apple"]).await?.text(),
            "2",
            "that is not below app/"
        );
        let newest = server
            .kv(home, &["history", "app/", "-n", "1", "-o", "json"])
            .await?
            .json()?;
        assert_eq!(newest["changes"][0]["changes"].as_array().map(Vec::len), Some(3));
        assert_eq!(newest["changes"][0]["message"], "bad release");
        Ok(())
    });
}

#[test]
fn a_key_goes_back_alone_and_back_again() {
    test(async |home| {
        let server = Server::start(home).await?;
        let before = release(&server, home).await?;
        let after = server.revision("app/a").await?.to_string();

        let said = server
            .kv(home, &["revert", "app/a", "--to", &before, "-o", "json"])
            .await?
            .expect(0)?;
        let document = said.json()?;
        assert_eq!(document["reverted"], true);
        assert_eq!(document["differences"][0]["key"], "app/a");
        assert_eq!(tree(&server, home).await?, "app/a:1\napp/new:1\n");
        let newest = server
            .kv(home, &["history", "app/a", "-n", "1", "-o", "json"])
            .await?
            .json()?;
        assert_eq!(newest["changes"][0]["message"], format!("revert to revision {before}"));
        server.kv(home, &["revert", "app/a", "--to", &after]).await?.expect(0)?;
        assert_eq!(tree(&server, home).await?, "app/a:2\napp/new:1\n");
        let said = server.kv(home, &["revert", "app/a", "--to", "0s"]).await?.expect(0)?;
        assert!(said.err.contains("already"), "{}", said.err);

        server.kv(home, &["revert", "nope", "--to", &before]).await?.expect(1)?;
        server.kv(home, &["revert", "app/a"]).await?.expect(2)?;
        server.kv(home, &["revert", "app/a", "--to", "then"]).await?.expect(2)?;
        Ok(())
    });
}

/// Between what a revert reads and what it writes, somebody else puts a key.
async fn with_a_rival(server: &Server, rival: Client) -> anyhow::Result<String> {
    let Address::Tcp(target) = server.address.clone() else {
        anyhow::bail!("not a TCP address");
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let rival = Arc::new(rival);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass(client, target.clone(), Arc::clone(&rival)));
        }
    });
    Ok(address)
}

async fn pass(client: TcpStream, target: String, rival: Arc<Client>) -> anyhow::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(target).await?.into_split();
    tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let mut piece = vec![0; 65_536];
    loop {
        let length = from_client.read(&mut piece).await?;
        if length == 0 {
            return Ok(());
        }
        if piece.starts_with(b"PUT ") {
            rival.put("app/a", "rival", &Default::default()).await?;
        }
        to_server.write_all(&piece[..length]).await?;
    }
}

#[test]
fn a_change_in_between_is_a_conflict_and_nothing_is_set_back() {
    test(async |home| {
        let server = Server::start(home).await?;
        let before = release(&server, home).await?;
        let address = with_a_rival(&server, server.client()).await?;

        let said = server
            .keyway(home)
            .addr(&address)
            .run(&["kv", "revert", "app/", "--to", &before])
            .await?
            .expect(5)?;

        assert!(
            said.err.contains("nothing was set back: `app/a` was changed"),
            "{}",
            said.err
        );
        assert!(
            said.err
                .contains(&format!("keyway kv revert app/ --to {before} --dry-run")),
            "{}",
            said.err
        );
        assert_eq!(tree(&server, home).await?, "app/a:rival\napp/new:1\n");
        Ok(())
    });
}

#[test]
fn a_past_that_is_no_longer_kept_is_not_guessed() {
    test(async |home| {
        let server = Server::start(home).await?;
        let before = release(&server, home).await?;
        let body = json!({"Revisions": 1, "Versions": 1}).to_string();
        let put = server
            .client()
            .send("PUT".parse()?, "/v1/history", body.into(), Default::default())
            .await?;
        assert_eq!(put.status, 200, "{put:?}");
        server.put("later", "1").await?;

        for arguments in [
            ["revert", "app/", "--to", &before],
            ["revert", "app/a", "--to", &before],
        ] {
            let said = server.kv(home, &arguments).await?.expect(1)?;
            assert!(said.err.contains("is no longer kept"), "{}", said.err);
        }
        assert_eq!(tree(&server, home).await?, "app/a:2\napp/new:1\n");
        Ok(())
    });
}

#[test]
fn what_does_not_fit_one_transaction_is_proposed_in_parts_that_do() {
    test(async |home| {
        let server = Server::start(home).await?;
        let client = server.client();
        server.put("app/x", "1").await?;
        let before = server.revision("app/x").await?.to_string();
        // Three times half a transaction's bytes.
        for folder in ["a", "b", "c"] {
            let large = vec![b'x'; 180_000];
            let ops = [TxnOp::set(format!("app/{folder}/1"), large)];
            client
                .txn(&ops, &Default::default())
                .await?
                .map_err(|e| anyhow::anyhow!("{e:?}"))?;
        }
        let full = server.revision("app/c/1").await?.to_string();
        server.kv(home, &["delete", "-r", "app"]).await?.expect(0)?;

        let said = server
            .kv(home, &["revert", "app/", "--to", &full, "-y"])
            .await?
            .expect(3)?;

        assert!(
            said.err
                .contains("more than one transaction takes, so nothing was done"),
            "{}",
            said.err
        );
        server.kv(home, &["get", "app/a/1"]).await?.expect(1)?;
        let parts = said.err.lines().filter_map(|line| line.split_once("keyway kv revert "));
        let parts: Vec<&str> = parts.map(|(_, part)| part).collect();
        assert_eq!(parts.len(), 4, "{}", said.err);
        for part in parts {
            let words: Vec<&str> = part.split(' ').collect();
            server
                .kv(home, &[&["revert"], words.as_slice()].concat())
                .await?
                .expect(0)?;
        }
        let value = server.kv(home, &["get", "app/c/1"]).await?.expect(0)?;
        assert_eq!(value.out.len(), 180_000);
        server
            .kv(home, &["revert", "app/", "--to", &before, "-y"])
            .await?
            .expect(0)?;
        assert_eq!(tree(&server, home).await.context("after all")?, "app/x:1\n");
        Ok(())
    });
}

#[test]
fn many_keys_are_not_set_back_without_a_question() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("x", "1").await?;
        let before = server.revision("x").await?.to_string();
        for n in 0..11 {
            server.put(&format!("app/{n}"), "1").await?;
        }

        let said = server.kv(home, &["revert", "app/", "--to", &before]).await?.expect(2)?;
        assert!(
            said.err.contains("11 keys") && said.err.contains("--yes"),
            "{}",
            said.err
        );
        server
            .kv(home, &["revert", "app/", "--to", &before, "--yes"])
            .await?
            .expect(0)?;
        assert_eq!(tree(&server, home).await?, "");
        Ok(())
    });
}

#[test]
fn one_value_of_the_greatest_length_goes_back() {
    test(async |home| {
        let server = Server::start(home).await?;
        let large = vec![b'x'; 524_288];
        server.put("app/large", large.clone()).await?;
        let before = server.revision("app/large").await?.to_string();
        server.put("app/large", "small").await?;
        let after = server.revision("app/large").await?;

        // As one key, below a prefix, and of a key that is gone.
        for (target, delete) in [("app/large", false), ("app/", false), ("app/", true)] {
            server.put("app/large", "small").await?;
            if delete {
                server.kv(home, &["delete", "app/large"]).await?.expect(0)?;
            }
            server.kv(home, &["revert", target, "--to", &before]).await?.expect(0)?;
            let value = server.kv(home, &["get", "app/large"]).await?.expect(0)?;
            assert_eq!(value.out, large, "{target}");
            let newest = server
                .kv(home, &["history", "app/large", "-n", "1", "-o", "json"])
                .await?
                .json()?;
            assert_eq!(newest["changes"][0]["message"], format!("revert to revision {before}"));
        }
        assert!(server.revision("app/large").await? > after);
        Ok(())
    });
}

#[test]
fn one_value_goes_back_only_if_nobody_changed_it() {
    test(async |home| {
        let server = Server::start(home).await?;
        let before = release(&server, home).await?;
        let address = with_a_rival(&server, server.client()).await?;

        let rivalled = server.keyway(home).addr(&address);
        let said = rivalled
            .run(&["kv", "revert", "app/a", "--to", &before])
            .await?
            .expect(5)?;

        assert!(
            said.err.contains("nothing was set back: `app/a` was changed"),
            "{}",
            said.err
        );
        assert_eq!(tree(&server, home).await?, "app/a:rival\napp/new:1\n");
        Ok(())
    });
}
