//! `keyway kv` as a script uses it: bytes, exit codes, words.

use anyhow::Context as _;

use crate::harness::{Home, Keyway, Said, Server, holds, test};

async fn kv(server: &Server, home: &Home, arguments: &[&str]) -> anyhow::Result<Said> {
    server.keyway(home).run(&[&["kv"], arguments].concat()).await
}

#[test]
fn a_value_on_a_pipe_is_exact_to_the_byte() {
    test(async |home| {
        let server = Server::start(home).await?;
        let every_byte: Vec<u8> = (0..=255).cycle().take(70_000).collect();
        for value in [every_byte, b"line\n".to_vec(), b"no line".to_vec(), Vec::new()] {
            server
                .keyway(home)
                .stdin(value.clone())
                .run(&["kv", "put", "k", "-"])
                .await?
                .expect(0)?;

            let said = kv(&server, home, &["get", "k"]).await?.expect(0)?;

            assert!(
                said.out == value,
                "{} bytes came back as {}",
                value.len(),
                said.out.len()
            );
        }
        Ok(())
    });
}

#[test]
fn a_value_is_text_a_file_or_standard_input() {
    test(async |home| {
        let server = Server::start(home).await?;
        home.write("value", "from a file\n")?;
        for (argument, expected) in [
            ("text", "text"),
            ("@value", "from a file\n"),
            ("@@value", "@value"),
            ("-5", "-5"),
        ] {
            kv(&server, home, &["put", "k", argument]).await?.expect(0)?;
            assert_eq!(kv(&server, home, &["get", "k"]).await?.text(), expected, "{argument}");
        }
        kv(&server, home, &["put", "k", "--", "-cas"]).await?.expect(0)?;
        assert_eq!(kv(&server, home, &["get", "k"]).await?.text(), "-cas");
        let said = kv(&server, home, &["put", "k", "@nowhere"]).await?;
        assert!(said.err.contains("nowhere"), "{said:?}");
        assert_eq!(kv(&server, home, &["get", "k"]).await?.text(), "-cas");
        Ok(())
    });
}

#[test]
fn what_is_not_there_is_exit_code_1_and_a_hint() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/port", "80").await?;

        let said = kv(&server, home, &["get", "app/prot"]).await?.expect(1)?;

        assert!(said.out.is_empty(), "{said:?}");
        assert!(
            said.err.starts_with("error[E0201]: no such key `app/prot`"),
            "{}",
            said.err
        );
        assert!(said.err.contains("app/port"), "{}", said.err);
        Ok(())
    });
}

#[test]
fn each_way_to_fail_has_its_exit_code() {
    test(async |home| {
        let mut server = Server::start(home).await?;
        server.put("k", "1").await?;
        kv(&server, home, &["get"]).await?.expect(2)?;
        kv(&server, home, &["get", "k", "--no-such-flag"]).await?.expect(2)?;
        kv(&server, home, &["put", "k", "2", "-cas", "-modify-index=1"])
            .await?
            .expect(5)?;
        kv(&server, home, &["get", "k"]).await?.expect(0)?;
        server.stop().await?;
        let said = kv(&server, home, &["get", "k"]).await?.expect(6)?;
        assert!(said.err.contains("help:"), "{}", said.err);
        let said = server
            .keyway(home)
            .run(&["kv", "get", "k", "-o", "json"])
            .await?
            .expect(6)?;
        let error: serde_json::Value = serde_json::from_str(said.err.trim()).context("an error as one JSON object")?;
        assert!(error.is_object() && said.out.is_empty(), "{said:?}");
        Ok(())
    });
}

#[test]
fn the_flags_of_consul_kv_are_understood() {
    test(async |home| {
        let server = Server::start(home).await?;
        kv(&server, home, &["put", "-flags=7", "app/a", "1"]).await?.expect(0)?;
        kv(&server, home, &["put", "app/b/c", "2"]).await?.expect(0)?;

        let keys = kv(&server, home, &["get", "-keys", "app/"]).await?.expect(0)?.text();
        assert_eq!(keys, "app/a\napp/b/\n");
        let all = kv(&server, home, &["get", "-recurse", "app/"]).await?.expect(0)?.text();
        assert!(all.contains("app/a:1") && all.contains("app/b/c:2"), "{all}");
        kv(&server, home, &["delete", "-recurse", "app/"]).await?.expect(0)?;
        kv(&server, home, &["get", "app/a"]).await?.expect(1)?;
        Ok(())
    });
}

#[test]
fn a_recursive_delete_goes_by_path_segments() {
    test(async |home| {
        let server = Server::start(home).await?;
        for key in ["foo/a", "foo/b/c", "foo_bar/a", "foobar"] {
            server.put(key, "1").await?;
        }

        kv(&server, home, &["delete", "-r", "-y", "foo"]).await?.expect(0)?;

        let left = server.client().keys("", None, Default::default()).await?.value;
        assert_eq!(left, ["foo_bar/a", "foobar"]);
        Ok(())
    });
}

#[test]
fn what_lies_under_a_folder_is_the_same_to_a_listing_a_question_and_a_deletion() {
    test(async |home| {
        let server = Server::start(home).await?;
        for n in 0..15 {
            server.put(&format!("_keyway/agents/{n:02}"), "1").await?;
        }
        server.put("a", "1").await?;

        for folder in ["_keyway/", "_keyway"] {
            let listed = kv(&server, home, &["ls", "-r", folder]).await?.expect(0)?.text();
            assert_eq!(listed.lines().count(), 15, "{folder}: {listed}");
            let doomed = kv(&server, home, &["delete", "-r", "--dry-run", folder]).await?.text();
            assert_eq!(doomed, listed, "{folder}");
            let refused = kv(&server, home, &["delete", "-r", folder]).await?.expect(2)?;
            assert!(refused.err.contains("15 keys"), "{refused:?}");
        }
        let long = kv(&server, home, &["ls", "-l", "_keyway/"]).await?.expect(0)?.text();
        assert!(long.contains("_keyway/agents/"), "{long}");
        let done = kv(&server, home, &["delete", "-r", "-y", "_keyway/"])
            .await?
            .expect(0)?;
        assert!(done.err.contains("deleted 15 keys"), "{done:?}");
        kv(&server, home, &["ls", "_keyway/"]).await?.expect(1)?;
        kv(&server, home, &["get", "a"]).await?.expect(0)?;
        Ok(())
    });
}

#[test]
fn a_deletion_says_what_was_not_there() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("here", "1").await?;

        let said = kv(&server, home, &["delete", "nope"]).await?.expect(0)?;
        assert_eq!(said.err, "there was no key `nope`\n");
        let said = kv(&server, home, &["delete", "-r", "nope"]).await?.expect(0)?;
        assert_eq!(said.err, "nothing was under `nope/`\n");
        let said = kv(&server, home, &["delete", "nope", "here"]).await?.expect(0)?;
        assert_eq!(said.err, "there was no key `nope`\ndeleted here\n");
        let said = kv(&server, home, &["delete", "here", "-o", "json"]).await?.expect(0)?;
        let document: serde_json::Value = serde_json::from_slice(&said.out)?;
        assert_eq!(document["keys"], serde_json::json!([]), "{document}");
        assert_eq!(document["absent"], serde_json::json!(["here"]), "{document}");
        Ok(())
    });
}

#[test]
fn a_revision_in_the_wrong_place_is_refused_with_the_remedy() {
    test(async |home| {
        let server = Server::start(home).await?;
        let said = kv(&server, home, &["put", "a/b", "5", "--cas", "0"]).await?.expect(2)?;
        assert!(said.err.contains("--cas --modify-index 0"), "{}", said.err);
        // A revision alone would be a write without a condition.
        let said = kv(&server, home, &["put", "a/b", "5", "-modify-index=7"]).await?;
        assert!(said.expect(2)?.err.contains("--cas"));
        kv(&server, home, &["get", "a/b"]).await?.expect(1)?;
        Ok(())
    });
}

#[test]
fn json_is_one_document_with_what_was_stored() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("k", "größer").await?;

        let said = kv(&server, home, &["get", "k", "-o", "json"]).await?.expect(0)?;

        let document: serde_json::Value = serde_json::from_slice(&said.out)?;
        assert_eq!(document["key"], "k", "{document}");
        Ok(())
    });
}

#[test]
fn a_watch_prints_every_revision_over_a_restart_of_the_store() {
    test(async |home| {
        let mut server = Server::start(home).await?;
        server.put("k", "0").await?;
        let mut watch = server
            .keyway(home)
            .start(home, "kv-watch", &["kv", "watch", "k", "-o", "jsonl"])?;
        holds("the watch has begun", async || watch.log().contains("watching")).await?;

        server.put("k", "first").await?;
        holds("the first change", async || watch.output().lines().count() == 1).await?;
        server.stop().await?;
        server.restart(home).await?;
        for value in ["second", "third"] {
            server.put("k", value).await?;
        }

        holds("every change", async || watch.output().lines().count() == 3).await?;
        for line in watch.output().lines() {
            serde_json::from_str::<serde_json::Value>(line)?;
        }
        watch.signal(nix::sys::signal::Signal::SIGINT)?;
        assert_eq!(watch.exit().await?, crate::harness::Exit::Code(0));
        Ok(())
    });
}

#[test]
fn the_address_comes_from_the_flag_then_the_environment_then_a_file() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("k", "here").await?;
        let here = server.address.to_string();
        let nowhere = "http://127.0.0.1:1";

        let flag = Keyway::new(home)
            .addr(nowhere)
            .run(&["--addr", &here, "kv", "get", "k"])
            .await?
            .expect(0)?;
        assert_eq!(flag.text(), "here");
        home.write("keyway.toml", format!("addr = \"{here}\"\n"))?;
        assert_eq!(
            Keyway::new(home).run(&["kv", "get", "k"]).await?.expect(0)?.text(),
            "here"
        );
        Keyway::new(home)
            .addr(nowhere)
            .run(&["kv", "get", "k"])
            .await?
            .expect(6)?;
        let both = format!("{nowhere},{here}");
        assert_eq!(
            Keyway::new(home)
                .addr(&both)
                .run(&["kv", "get", "k"])
                .await?
                .expect(0)?
                .text(),
            "here"
        );
        home.write("keyway.toml", "adr = \"x\"\n")?;
        let said = Keyway::new(home).run(&["kv", "get", "k"]).await?;
        assert!(said.err.contains("addr"), "it names the nearest good one: {said:?}");
        // Somebody's real Consul is never touched because its address stands in the environment.
        home.write("keyway.toml", "")?;
        let said = Keyway::new(home)
            .env("CONSUL_HTTP_ADDR", &here)
            .timeout("2s")
            .run(&["kv", "get", "k"])
            .await?;
        assert_ne!(said.text(), "here");
        Ok(())
    });
}

#[test]
fn version_help_and_completions_need_no_server() {
    test(async |home| {
        let version = Keyway::new(home).run(&["version"]).await?.expect(0)?;
        assert!(version.text().contains(env!("CARGO_PKG_VERSION")), "{version:?}");
        let codes = Keyway::new(home).run(&["help", "exit-codes"]).await?.expect(0)?.text();
        assert!(codes.contains("124") && codes.contains("125"), "{codes}");
        for shell in ["bash", "zsh", "fish"] {
            assert!(
                Keyway::new(home)
                    .run(&["completions", shell])
                    .await?
                    .expect(0)?
                    .out
                    .len()
                    > 1_000,
                "{shell}"
            );
        }
        Ok(())
    });
}

#[test]
fn what_could_not_be_written_is_no_success_not_even_help() {
    for arguments in [&["--help"][..], &["kv", "--help"], &["--version"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();

        let said = std::process::Command::new(env!("CARGO_BIN_EXE_keyway"))
            .args(arguments)
            .stdout(full)
            .output()
            .unwrap();

        let error = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(8), "{arguments:?}: {error}");
        assert!(error.contains("write the output"), "{arguments:?}: {error}");
    }
}
