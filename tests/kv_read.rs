//! `keyway kv get`, `ls` and `tree`: what they show, and waiting for a key.

use serde_json::json;

use crate::harness::{Exit, Keyway, Server, holds, test};

#[test]
fn a_get_waits_for_its_key() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("there", "1").await?;
        let said = server.kv(home, &["get", "there", "--wait"]).await?.expect(0)?;
        assert_eq!(said.text(), "1");
        let said = server.kv(home, &["get", "late", "--wait=50ms"]).await?.expect(124)?;
        assert!(said.err.contains("no key `late` after 50ms"), "{}", said.err);
        let said = server
            .kv(home, &["get", "late", "-wait=50ms", "--default", "x"])
            .await?
            .expect(0)?;
        assert_eq!(said.text(), "x");

        let mut waiting = server
            .keyway(home)
            .start(home, "wait", &["kv", "get", "late", "--wait"])?;
        server.put("other", "1").await?;
        server.put("late", "now").await?;

        assert_eq!(waiting.exit().await?, Exit::Code(0));
        assert_eq!(waiting.output(), "now");
        Ok(())
    });
}

#[test]
fn a_get_that_waits_outlasts_a_restart_of_the_server() {
    test(async |home| {
        let mut server = Server::start(home).await?;
        let mut waiting = server.keyway(home).env("KEYWAY_LOG", "keyway=info").start(
            home,
            "wait",
            &["kv", "get", "late", "--wait"],
        )?;
        holds("it watches", async || waiting.log().contains("waiting")).await?;
        server.stop().await?;
        server.restart(home).await?;
        server.put("late", "now").await?;

        assert_eq!(waiting.exit().await?, Exit::Code(0));
        assert_eq!(waiting.output(), "now");
        Ok(())
    });
}

#[test]
fn a_list_is_ordered_as_it_is_asked_for() {
    test(async |home| {
        let server = Server::start(home).await?;
        for (key, value) in [("a/b", "22"), ("a/c", "333"), ("d", "1"), ("a/b", "22!")] {
            server.put(key, value).await?;
        }
        for (arguments, expected) in [
            (vec!["ls", "-r"], "a/b\na/c\nd\n"),
            (vec!["ls", "--sort", "rev"], "a/\nd\n"),
            (vec!["ls", "-r", "--sort", "rev"], "a/b\nd\na/c\n"),
            (vec!["ls", "-r", "--sort", "size"], "a/b\na/c\nd\n"),
            (vec!["ls", "-r", "--sort", "time", "a"], "a/b\na/c\n"),
        ] {
            let said = server.kv(home, &arguments).await?.expect(0)?;
            assert_eq!(said.text(), expected, "{arguments:?}");
        }
        let said = server
            .kv(home, &["ls", "-lr", "--sort", "rev", "-o", "json"])
            .await?
            .expect(0)?;
        assert_eq!(said.json()?["entries"][0]["key"], "a/b");
        server.kv(home, &["ls", "--sort", "colour"]).await?.expect(2)?;
        server.kv(home, &["ls", "nowhere"]).await?.expect(1)?;
        Ok(())
    });
}

#[test]
fn a_tree_shows_folders_and_values() {
    test(async |home| {
        let server = Server::start(home).await?;
        for key in ["app/web/port", "app/web/host", "app/db", "x"] {
            server.put(key, "1").await?;
        }

        let said = server.kv(home, &["tree"]).await?.expect(0)?;
        assert_eq!(
            said.text(),
            "/\n├── app/\n│   ├── db\n│   └── web/\n│       ├── host\n│       └── port\n└── x\n"
        );
        let said = server
            .kv(home, &["tree", "app", "-L", "1", "--values"])
            .await?
            .expect(0)?;
        assert_eq!(said.text(), "app/\n├── db = 1\n└── web/ (2 keys)\n");
        let said = server.kv(home, &["tree", "app/web", "-o", "json"]).await?.expect(0)?;
        assert_eq!(
            said.json()?["tree"]["children"][1],
            json!({"name": "port", "key": "app/web/port"})
        );
        server.kv(home, &["tree", "nowhere"]).await?.expect(1)?;
        server.kv(home, &["tree", "-L", "0"]).await?.expect(2)?;
        Ok(())
    });
}

#[test]
fn every_command_says_so_when_nobody_answers() {
    test(async |home| {
        for arguments in [
            vec!["get", "k"],
            vec!["get", "k", "--wait"],
            vec!["put", "k", "1"],
            vec!["put", "k", "1", "--if-value", "0"],
            vec!["delete", "k"],
            vec!["ls"],
            vec!["tree"],
            vec!["watch", "k"],
            vec!["watch", "k", "--since", "10m"],
            vec!["history", "k"],
            vec!["diff", "a", "b"],
            vec!["revert", "k", "--to", "2"],
            vec!["txn", "--put", "a=1"],
        ] {
            let nobody = Keyway::new(home).addr("http://127.0.0.1:1").timeout("500ms");
            let said = nobody
                .run(&[&["kv", "-o", "json"], arguments.as_slice()].concat())
                .await?;
            let error = said.expect(6)?.error()?;
            assert_eq!(error["exit_code"], 6, "{arguments:?}");
            assert!(error["help"].as_array().is_some_and(|help| !help.is_empty()), "{error}");
        }
        Ok(())
    });
}
