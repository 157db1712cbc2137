//! `keyway kv txn`: all or none, by flags and by Consul's JSON.

use kvapi::Address;
use tokio::io::{AsyncReadExt as _, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Home, Server, test};

async fn keys(server: &Server, home: &Home) -> anyhow::Result<String> {
    Ok(server.kv(home, &["get", "-recurse"]).await?.expect(0)?.text())
}

#[test]
fn a_transaction_of_flags_is_done_as_one_or_not_at_all() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("a", "1").await?;
        server.put("c", "1").await?;
        home.write("f", "from a file\n")?;
        let now = format!("rev(a)={}", server.revision("a").await?);

        let conditions = [
            "txn",
            "--if",
            &now,
            "--if",
            "missing(b)",
            "--if",
            "exists(c)",
            "--if",
            "value(c)=1",
        ];
        let writes = ["--put", "a=2", "--put", "b=@f", "--delete", "c", "--put", "d=x=y"];
        let said = server.kv(home, &[&conditions[..], &writes].concat()).await?.expect(0)?;

        assert_eq!(keys(&server, home).await?, "a:2\nb:from a file\n\nd:x=y\n");
        let revision = server.revision("a").await?;
        assert_eq!(server.revision("d").await?, revision, "one transaction is one revision");
        assert!(
            said.text().contains(&format!("{revision}         a")),
            "{}",
            said.text()
        );
        let said = server.kv(home, &[&conditions[..], &writes].concat()).await?.expect(5)?;
        assert!(said.err.contains("`value(c)=1` does not hold"), "{}", said.err);

        let stale = [
            "txn",
            "--put",
            "z=1",
            "--if",
            &now,
            "--else-get",
            "a",
            "--else-get",
            "nope",
        ];
        let said = server.kv(home, &stale).await?.expect(5)?;
        assert_eq!(said.text(), "a:2\n");
        assert!(
            said.err.contains(&format!("nothing was done: `{now}` does not hold")),
            "{}",
            said.err
        );
        let said = server
            .kv(home, &[&stale[..], &["-o", "json"]].concat())
            .await?
            .expect(5)?;
        assert_eq!(said.json()?["results"][0]["value"], "2");
        assert_eq!(said.error()?["exit_code"], 5);
        server.kv(home, &["get", "z"]).await?.expect(1)?;
        Ok(())
    });
}

#[test]
fn a_transaction_in_consuls_form_is_sent_as_it_is() {
    test(async |home| {
        let server = Server::start(home).await?;
        let ops = r#"[{"KV":{"Verb":"set","Key":"a","Value":"MQ=="}},{"KV":{"Verb":"get","Key":"a"}}]"#;
        let said = server
            .keyway(home)
            .stdin(ops)
            .run(&["kv", "txn", "-", "-o", "json"])
            .await?
            .expect(0)?;
        assert_eq!(said.json()?["results"][1]["value"], "1");

        home.write(
            "ops",
            r#"[{"KV":{"Verb":"cas","Key":"a","Index":1}},{"KV":{"Verb":"get","Key":"b"}}]"#,
        )?;
        let said = server.kv(home, &["txn", "@ops"]).await?.expect(5)?;
        assert!(said.err.contains("operation 0 (cas a): "), "{}", said.err);
        assert!(said.err.contains("operation 1 (get b): "), "{}", said.err);

        home.write("ops", "[{\"KV\":{\"Verb\":\"set\",\"Kye\":\"a\"}}]")?;
        let said = server.kv(home, &["txn", "@ops"]).await?.expect(3)?;
        assert!(said.err.contains("Kye"), "{}", said.err);
        server.kv(home, &["txn", "[]"]).await?.expect(2)?;
        server.kv(home, &["txn", "@nowhere"]).await?.expect(3)?;
        server.kv(home, &["txn"]).await?.expect(2)?;
        server
            .kv(home, &["txn", "--if", "sometimes(a)", "--put", "a=1"])
            .await?
            .expect(2)?;
        server.kv(home, &["txn", "-", "--put", "a=1"]).await?.expect(2)?;
        Ok(())
    });
}

#[test]
fn a_dry_run_of_a_transaction_says_whether_it_would_go_through() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("a", "1").await?;

        let said = server
            .kv(home, &["txn", "--dry-run", "--if", "missing(b)", "--put", "a=2"])
            .await?
            .expect(0)?;
        assert!(
            said.err.contains("every condition holds; nothing was done"),
            "{}",
            said.err
        );
        server
            .kv(home, &["txn", "--dry-run", "--if", "missing(a)", "--put", "a=2"])
            .await?
            .expect(5)?;
        home.write("ops", r#"[{"KV":{"Verb":"cas","Key":"a","Index":1}}]"#)?;
        server.kv(home, &["txn", "--dry-run", "@ops"]).await?.expect(5)?;
        home.write("ops", r#"[{"kv":{"verb":"set","key":"a"}}]"#)?;
        server.kv(home, &["txn", "--dry-run", "@ops"]).await?.expect(3)?;

        assert_eq!(keys(&server, home).await?, "a:1\n");
        Ok(())
    });
}

#[test]
fn a_body_that_is_wrong_is_told_with_its_place_and_what_to_do() {
    test(async |home| {
        let server = Server::start(home).await?;
        for (body, told) in [
            (
                "not json",
                "standard input: this is no list in JSON: expected ident at line 1 column 2",
            ),
            (r#"{"KV":{}}"#, "standard input: this is no list in JSON"),
            (
                r#"[{"KV":{"Verb":"set","Key":"a"}},{"KV":{"Verb":"bogus","Key":"b"}}]"#,
                "standard input: operation 1 (b): `bogus` is no verb",
            ),
            (r#"[{"KV":{"Verb":"set","Key":"a","Value":"!!"}}]"#, "illegal base64"),
        ] {
            let said = server
                .keyway(home)
                .stdin(body)
                .run(&["kv", "txn", "-"])
                .await?
                .expect(3)?;
            assert!(said.err.contains(told), "{body}: {}", said.err);
            assert!(said.err.contains("nothing was done"), "{body}: {}", said.err);
            assert!(!said.err.trim_end().contains("\nerror"), "one error: {}", said.err);
        }
        let said = server.kv(home, &["txn", "@nofile"]).await?.expect(3)?;
        assert!(
            said.err.contains("read the operations from `nofile`") && !said.err.contains("@@"),
            "{}",
            said.err
        );
        server.kv(home, &["get", "a"]).await?.expect(1)?;
        Ok(())
    });
}

/// A way to the server on which the first answer is lost.
async fn lossy(server: &Server) -> anyhow::Result<String> {
    let Address::Tcp(target) = server.address.clone() else {
        anyhow::bail!("not a TCP address");
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        let mut lost = false;
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(&target).await?;
            if std::mem::replace(&mut lost, true) {
                tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
                continue;
            }
            let (mut from_client, to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let passing = tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
            // It is carried out when the answer begins.
            from_server.read_u8().await?;
            passing.abort();
            drop(to_client);
        }
        anyhow::Ok(())
    });
    Ok(address)
}

#[test]
fn what_was_done_and_cannot_be_shown_again_is_a_success() {
    test(async |home| {
        let server = Server::start(home).await?;
        for key in ["large/1", "large/2", "large/3"] {
            server.put(key, vec![b'x'; 500_000]).await?;
        }
        let ops = |key: &str| {
            format!(
                r#"[{{"KV":{{"Verb":"cas","Index":0,"Key":"{key}","Value":"MQ=="}}}},{{"KV":{{"Verb":"get-tree","Key":"large/"}}}}]"#
            )
        };
        home.write("a.json", ops("a"))?;
        home.write("b.json", ops("b"))?;
        let txn = async |file: &str, more: &[&str]| {
            let address = lossy(&server).await?;
            let arguments = [&["kv", "txn", file][..], more].concat();
            server.keyway(home).addr(&address).run(&arguments).await?.expect(0)
        };

        let said = txn("@a.json", &[]).await?;
        let revision = server.revision("a").await?;
        let done = format!("done at revision {revision}, 2 operations as one; ");
        assert!(said.out.is_empty() && said.err.contains(&done), "{said:?}");
        let said = txn("@b.json", &["-o", "json"]).await?.json()?;
        assert_eq!(
            (&said["succeeded"], &said["results_lost"]),
            (&true.into(), &true.into())
        );
        assert_eq!(said["revision"], server.revision("b").await?);
        Ok(())
    });
}
