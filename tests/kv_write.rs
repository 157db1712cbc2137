//! `keyway kv put` and `delete`: conditions, conflicts, dry runs.

use serde_json::json;

use crate::harness::{Home, Server, test};

async fn value(server: &Server, home: &Home, key: &str) -> anyhow::Result<String> {
    Ok(server.kv(home, &["get", key]).await?.expect(0)?.text())
}

#[test]
fn a_put_on_a_condition_writes_only_if_it_holds() {
    test(async |home| {
        let server = Server::start(home).await?;
        let said = server
            .kv(home, &["put", "k", "1", "--create", "-o", "json"])
            .await?
            .expect(0)?;
        let revision = server.revision("k").await?;
        assert_eq!(
            said.json()?,
            json!({"key": "k", "written": true, "bytes": 1, "revision": revision})
        );
        server.kv(home, &["put", "k", "2", "--create"]).await?.expect(5)?;
        server
            .kv(home, &["put", "k", "2", "--if-value", "1"])
            .await?
            .expect(0)?;
        home.write("two", "2")?;
        server
            .kv(home, &["put", "k", "3", "--if-value", "@two"])
            .await?
            .expect(0)?;
        let said = server
            .kv(home, &["put", "k", "4", "--if-value", "2"])
            .await?
            .expect(5)?;
        assert!(said.err.contains("another value than you expected"), "{}", said.err);
        let said = server
            .kv(home, &["put", "new", "4", "--if-value", ""])
            .await?
            .expect(5)?;
        assert!(said.err.contains("there is no key `new`"), "{}", said.err);
        let now = server.revision("k").await?.to_string();
        server.kv(home, &["put", "k", "5", "--if-rev", &now]).await?.expect(0)?;
        server.kv(home, &["put", "k", "6", "--if-rev", &now]).await?.expect(5)?;
        assert_eq!(value(&server, home, "k").await?, "5");
        server
            .kv(home, &["put", "k", "-", "--if-value", "-"])
            .await?
            .expect(2)?;
        server
            .kv(home, &["put", "k", "no base64!", "--base64"])
            .await?
            .expect(3)?;
        Ok(())
    });
}

#[test]
fn who_comes_too_late_is_told_who_was_faster_and_the_next_command_works() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/port", "80").await?;
        let seen = server.revision("app/port").await?;
        let theirs = ["put", "app/port", "8080", "--author", "alice@ci", "-m", "open 8080"];
        server.kv(home, &theirs).await?.expect(0)?;
        let now = server.revision("app/port").await?;

        let mine = ["put", "app/port", "84 43", "--if-rev", &seen.to_string()];
        let said = server.kv(home, &mine).await?.expect(5)?;

        let what = format!("you expected revision {seen}, it is now {now} (claimed by alice@ci, ");
        assert!(said.err.contains(&what), "{}", said.err);
        assert!(said.err.contains("\"open 8080\""), "{}", said.err);
        let diff = format!("keyway kv diff app/port --rev {seen}..{now}");
        assert!(said.err.contains(&diff), "{}", said.err);
        let again = said.err.lines().find_map(|line| line.split_once("go on with"));
        let (_, again) = again.expect("it says how to go on");
        let words = shlex::split(again.trim()).expect("it is quoted for a shell");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        server.keyway(home).run(&words[1..]).await?.expect(0)?;
        assert_eq!(value(&server, home, "app/port").await?, "84 43");

        let mine = ["delete", "app/port", "--if-rev", &seen.to_string(), "-o", "json"];
        let said = server.kv(home, &mine).await?.expect(5)?;
        assert_eq!(said.error()?["exit_code"], 5);
        assert_eq!(value(&server, home, "app/port").await?, "84 43");
        server.kv(home, &["delete", "app/port"]).await?.expect(0)?;
        let mine = ["put", "app/port", "1", "--if-rev", &seen.to_string()];
        let said = server.kv(home, &mine).await?.expect(5)?;
        assert!(said.err.contains("`app/port` is gone"), "{}", said.err);
        Ok(())
    });
}

#[test]
fn a_dry_run_shows_what_would_change_and_changes_nothing() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("a/b", "1").await?;
        server.put("a/c", "1").await?;
        let before = server.revision("a/c").await?;

        let said = server.kv(home, &["put", "a/b", "2", "--dry-run"]).await?.expect(0)?;
        assert!(said.text().ends_with("@@ -1 +1 @@\n-1\n+2\n"), "{}", said.text());
        let said = server
            .kv(home, &["put", "a/b", "1", "--dry-run", "-o", "json"])
            .await?
            .expect(0)?;
        assert_eq!(
            said.json()?,
            json!({"key": "a/b", "written": false, "dry_run": true, "bytes": 1, "difference": null})
        );
        server
            .kv(home, &["put", "a/b", "2", "--dry-run", "--create"])
            .await?
            .expect(5)?;
        let said = server.kv(home, &["delete", "-r", "a", "--dry-run"]).await?.expect(0)?;
        assert_eq!(said.text(), "a/b\na/c\n");
        server
            .kv(home, &["delete", "a/b", "--if-rev", "999", "--dry-run"])
            .await?
            .expect(5)?;

        assert_eq!(value(&server, home, "a/b").await?, "1");
        server.put("z", "1").await?;
        assert_eq!(server.revision("z").await?, before + 1, "no revision was spent");
        Ok(())
    });
}

#[test]
fn everything_is_deleted_only_by_its_own_flag() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("a", "1").await?;
        for all in ["", "/"] {
            let said = server.kv(home, &["delete", "-r", all]).await?.expect(2)?;
            assert!(said.err.contains("--all"), "{}", said.err);
        }
        server.kv(home, &["delete", ""]).await?.expect(3)?;
        assert_eq!(value(&server, home, "a").await?, "1");
        server.kv(home, &["delete", "-r", "--all", "-y"]).await?.expect(0)?;
        server.kv(home, &["get", "a"]).await?.expect(1)?;
        Ok(())
    });
}

/// Consul's rule for paths makes `a/b` of `a//b`; a transaction and a document carry both.
#[test]
fn a_key_that_a_path_does_not_carry_is_not_taken_for_its_neighbour() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("a/b", "1").await?;
        server.kv(home, &["txn", "--put", "a//b=2"]).await?.expect(0)?;
        for arguments in [
            &["put", "a//b", "x"][..],
            &["put", "a/../b", "x"],
            &["get", "a//b"],
            &["get", "-recurse", "a//"],
            &["get", "-keys", "a//"],
            &["delete", "a//b"],
            &["delete", "a//b", "a/b"],
            &["history", "a//b"],
            &["revert", "a//b", "--to", "2"],
            &["diff", "a//b", "--rev", "2..3"],
            &["edit", "a//b"],
            &["edit", "a//"],
        ] {
            let said = server
                .keyway(home)
                .env("EDITOR", "true")
                .run(&[&["kv"], arguments].concat())
                .await?;
            let said = said.expect(3)?;
            assert!(
                said.err.contains("would be taken for another key"),
                "{arguments:?}: {}",
                said.err
            );
            assert!(said.err.contains("write it as `"), "{arguments:?}: {}", said.err);
        }
        let said = server.kv(home, &["put", "a/../b", "x"]).await?.expect(3)?;
        assert!(said.err.contains("write it as `b`"), "{}", said.err);
        let condition = ["txn", "--if", "value(a//b)=2", "--delete", "a/b"];
        server.kv(home, &condition).await?.expect(2)?;
        assert_eq!(value(&server, home, "a/b").await?, "1");

        // One setting alone would go by a path.
        let document = r#"[{"key":"a//c","value":"MQ=="}]"#;
        server.kv(home, &["import", document]).await?.expect(0)?;
        assert_eq!(server.kv(home, &["ls", "-r"]).await?.text(), "a//b\na//c\na/b\n");
        assert_eq!(server.kv(home, &["ls", "-r", "a//b"]).await?.text(), "a//b\n");
        server.kv(home, &["delete", "-r", "a//b"]).await?.expect(0)?;
        let edited = server.keyway(home).env("EDITOR", "sed -i s/1/7/").env("VISUAL", "");
        edited.run(&["kv", "edit", "-y", "a/"]).await?.expect(0)?;
        assert_eq!(
            server.kv(home, &["get", "-recurse", "a/"]).await?.text(),
            "a//c:7\na/b:7\n"
        );
        let only = server
            .keyway(home)
            .env("EDITOR", "sed -i '0,/7/s//8/'")
            .env("VISUAL", "");
        only.run(&["kv", "edit", "-y", "a/"]).await?.expect(0)?;
        let now = server.kv(home, &["get", "-recurse", "a/"]).await?.text();
        assert_eq!(now.matches(":8").count(), 1, "{now}");
        assert_eq!(now.lines().count(), 2, "{now}");
        Ok(())
    });
}

#[test]
fn a_flag_of_consul_kv_is_never_taken_for_a_cry_for_help() {
    test(async |home| {
        let server = Server::start(home).await?;
        let address = format!("-http-addr={}", server.address);
        let elsewhere = || server.keyway(home).addr("http://127.0.0.1:1");

        elsewhere().run(&["kv", "put", &address, "k", "1"]).await?.expect(0)?;
        assert_eq!(value(&server, home, "k").await?, "1");
        let said = elsewhere()
            .run(&["kv", "put", "-http-adr=x", "k", "2"])
            .await?
            .expect(2)?;
        assert!(said.err.contains("unexpected argument"), "{}", said.err);
        Ok(())
    });
}

#[test]
fn what_the_server_does_not_take_is_told_with_a_remedy() {
    test(async |home| {
        let server = Server::start(home).await?;
        let large = server.keyway(home).stdin(vec![b'x'; 524_289]);
        let said = large.run(&["kv", "put", "large", "-"]).await?.expect(3)?;
        assert!(
            said.err.contains("max size: 524288 bytes") && said.err.contains("--max-value-size"),
            "{}",
            said.err
        );
        let said = server.kv(home, &["put", "two\nlines", "1"]).await?.expect(3)?;
        assert!(said.err.contains("answered 400 Bad Request\n"), "{}", said.err);
        assert!(said.err.contains("a line break in a key"), "{}", said.err);
        let long = "x".repeat(5000);
        let said = server.kv(home, &["put", "-m", &long, "a", "1"]).await?.expect(3)?;
        assert!(said.err.contains("help: say it in fewer words with -m"), "{}", said.err);
        let said = server
            .kv(home, &["diff", "nowhere", "--rev", "1..1"])
            .await?
            .expect(0)?;
        assert!(said.err.contains("nothing on either side"), "{}", said.err);
        let said = server.kv(home, &["import", "nowhere.json"]).await?.expect(3)?;
        assert!(
            said.err.contains("nowhere.json") && said.err.contains("- for standard input"),
            "{}",
            said.err
        );
        assert!(server.kv(home, &["ls"]).await?.out.is_empty());
        Ok(())
    });
}
