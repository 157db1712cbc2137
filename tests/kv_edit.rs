//! `keyway kv edit` with editors that are small scripts: one transaction, and no typed word is lost.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::Context as _;
use bytes::Bytes;
use kvapi::client::WriteOptions;
use kvapi::{Consistency, Entry};
use nix::sys::signal::Signal;

use crate::harness::{Exit, Home, Keyway, Said, Server, holds, test};

/// Where a run lays its documents.
const DESK: &str = "desk";

fn keyway(server: &Server, home: &Home, editor: &str) -> anyhow::Result<Keyway> {
    let desk = home.path(DESK);
    std::fs::create_dir_all(&desk)?;
    Ok(server
        .keyway(home)
        .env("EDITOR", editor)
        .env("VISUAL", "")
        .env("TMPDIR", &desk.display().to_string()))
}

async fn edit(server: &Server, home: &Home, editor: &str, arguments: &[&str]) -> anyhow::Result<Said> {
    let arguments = [&["kv", "edit", "-y"], arguments].concat();
    keyway(server, home, editor)?.run(&arguments).await
}

/// An editor that runs a script; the document is "$1".
fn script(home: &Home, lines: &str) -> anyhow::Result<String> {
    let path = home.write("editor.sh", format!("set -e\n{lines}\n"))?;
    Ok(format!("sh {}", path.display()))
}

async fn entries(server: &Server) -> anyhow::Result<Vec<Entry>> {
    Ok(server.client().list("", Consistency::Default).await?.value)
}

async fn value(server: &Server, key: &str) -> anyhow::Result<Option<Bytes>> {
    let found = server.client().get(key, Consistency::Default).await?.value;
    Ok(found.map(|entry| entry.value))
}

/// What is left on the desk.
fn left(home: &Home) -> anyhow::Result<Vec<PathBuf>> {
    let folders = std::fs::read_dir(home.path(DESK))?;
    folders.map(|entry| Ok(entry?.path())).collect()
}

/// The arguments of the command that a failure says goes on.
fn how_to_go_on(said: &Said) -> anyhow::Result<Vec<String>> {
    let line = said.err.lines().find_map(|line| line.split_once("keyway kv edit "));
    let line = line.with_context(|| format!("no command in: {}", said.err))?.1;
    shlex::split(line).with_context(|| format!("no command line: {line}"))
}

async fn go_on(server: &Server, home: &Home, editor: &str, said: &Said) -> anyhow::Result<Said> {
    let arguments = how_to_go_on(said)?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    edit(server, home, editor, &arguments).await
}

#[test]
fn one_value_is_edited_as_it_is() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/motd", "good morning").await?;

        let said = edit(&server, home, "sed -i s/morning/evening/", &["app/motd"])
            .await?
            .expect(0)?;

        assert!(said.err.contains("-good morning\n+good evening"), "{}", said.err);
        assert_eq!(value(&server, "app/motd").await?.unwrap(), "good evening");
        let writes = script(home, "echo new > \"$1\"")?;
        edit(&server, home, &writes, &["app/new"]).await?.expect(0)?;
        assert_eq!(value(&server, "app/new").await?.unwrap(), "new");
        assert!(left(home)?.is_empty());

        let said = edit(&server, home, "true", &["app"]).await?.expect(1)?;
        assert!(said.err.contains("keyway kv edit app/"), "{}", said.err);
        Ok(())
    });
}

#[test]
fn a_subtree_is_one_document_and_one_transaction() {
    test(async |home| {
        let server = Server::start(home).await?;
        for (key, value) in [("app/a", "1"), ("app/b/c", "2"), ("app/gone", "3"), ("apple", "4")] {
            server.put(key, value).await?;
        }
        let before = entries(&server).await?;
        let changes = script(
            home,
            "sed -i -e 's/\"2\"/two/' -e /gone/d \"$1\"; echo 'new: 1.10' >> \"$1\"",
        )?;

        let said = edit(&server, home, &changes, &["app/", "-m", "why"]).await?.expect(0)?;

        assert!(said.err.contains("wrote 2 keys, deleted 1"), "{}", said.err);
        let after = entries(&server).await?;
        let shown: Vec<(&str, &[u8])> = after.iter().map(|entry| (entry.key.as_str(), &*entry.value)).collect();
        assert_eq!(
            shown,
            [
                ("app/a", &b"1"[..]),
                ("app/b/c", b"two"),
                ("app/new", b"1.10"),
                ("apple", b"4")
            ]
        );
        assert_eq!(after[0], before[0], "what was not touched is not written");
        assert_eq!(after[1].modify_index, after[2].modify_index, "one revision");
        Ok(())
    });
}

#[test]
fn every_form_can_be_edited_and_what_is_no_text_comes_back_as_it_was() {
    test(async |home| {
        let server = Server::start(home).await?;
        let every_byte: Vec<u8> = (0..=255).collect();
        server.put("t/bytes", every_byte.clone()).await?;
        let flags = WriteOptions {
            flags: 7,
            ..WriteOptions::default()
        };
        server.client().put("t/flags", "f", &flags).await?;
        for (n, form) in ["json", "yaml", "toml"].into_iter().enumerate() {
            server.put("t/port", "8080").await?;
            edit(&server, home, "sed -i s/8080/9090/", &["t/", "--as", form])
                .await?
                .expect(0)?;
            assert_eq!(value(&server, "t/port").await?.unwrap(), "9090", "{form} {n}");
        }
        let after = entries(&server).await?;
        assert_eq!((&*after[0].value, after[1].flags), (&every_byte[..], 7));

        server.put("e/PORT", "8080").await?;
        edit(&server, home, "sed -i s/8080/9090/", &["e/", "--as", "env"])
            .await?
            .expect(0)?;
        assert_eq!(value(&server, "e/PORT").await?.unwrap(), "9090");
        let said = edit(&server, home, "false", &["t/", "--as", "env"]).await?.expect(3)?;
        assert!(said.err.contains("`bytes` is binary"), "{}", said.err);

        // A single one is base64, and can be replaced by other bytes.
        edit(&server, home, "true", &["t/bytes"]).await?.expect(0)?;
        assert_eq!(value(&server, "t/bytes").await?.unwrap(), every_byte);
        let replaces = script(home, "grep -q 'base64' \"$1\"; echo AP8= > \"$1\"")?;
        edit(&server, home, &replaces, &["t/bytes"]).await?.expect(0)?;
        assert_eq!(value(&server, "t/bytes").await?.unwrap(), &b"\0\xff"[..]);
        Ok(())
    });
}

#[test]
fn nothing_changed_is_nothing_written() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/a", "1").await?;
        let before = entries(&server).await?;
        // The document is private while it lies there.
        let looks = script(home, "stat -c %a \"$1\" > mode; echo '# a comment' >> \"$1\"")?;

        let said = edit(&server, home, &looks, &["app/"]).await?.expect(0)?;

        assert!(
            said.err.contains("nothing changed, nothing was written"),
            "{}",
            said.err
        );
        assert_eq!(home.read("mode")?, "600\n");
        assert_eq!(entries(&server).await?, before);
        assert!(left(home)?.is_empty());
        Ok(())
    });
}

#[test]
fn a_key_that_is_not_there_is_made_only_if_something_was_typed() {
    test(async |home| {
        let server = Server::start(home).await?;

        let said = edit(&server, home, "true", &["app/new"]).await?.expect(0)?;

        assert!(
            said.err.contains("nothing changed, nothing was written"),
            "{}",
            said.err
        );
        assert!(entries(&server).await?.is_empty() && left(home)?.is_empty());
        let empty = script(home, "echo > \"$1\"")?;
        edit(&server, home, &empty, &["app/new"]).await?.expect(0)?;
        assert_eq!(value(&server, "app/new").await?.unwrap(), "");
        Ok(())
    });
}

#[test]
fn term_ends_an_edit_that_has_begun_and_keeps_what_was_typed() {
    test(async |home| {
        let server = Server::start(home).await?;
        let waits = script(
            home,
            "trap 'kill $!; exit 0' TERM; echo typing > \"$1\"; sleep 300 & wait",
        )?;
        let mut edits = keyway(&server, home, &waits)?.start(home, "edit", &["kv", "edit", "-y", "app/a"])?;
        holds("it is typed", async || {
            let desk = left(home).unwrap_or_default();
            desk.iter()
                .any(|folder| std::fs::read(folder.join("a")).is_ok_and(|text| text == b"typing\n"))
        })
        .await?;

        edits.signal(Signal::SIGTERM)?;

        let exit = edits.exit().await?;
        let said = Said {
            exit,
            out: Vec::new(),
            err: edits.log(),
        };
        assert_eq!(exit, Exit::Code(130), "{}", said.err);
        assert!(
            said.err.contains("ended by TERM, nothing was written") && said.err.contains("what you typed is kept in"),
            "{}",
            said.err
        );
        assert_eq!(value(&server, "app/a").await?, None);
        go_on(&server, home, "true", &said).await?.expect(0)?;
        assert_eq!(value(&server, "app/a").await?.unwrap(), "typing");
        Ok(())
    });
}

#[test]
fn bad_syntax_keeps_what_was_typed_and_says_how_to_go_on() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/a", "1").await?;
        let breaks = script(home, "echo 'b: [1' >> \"$1\"")?;

        let said = edit(&server, home, &breaks, &["app/"]).await?.expect(3)?;

        assert_eq!(entries(&server).await?.len(), 1);
        let arguments = how_to_go_on(&said)?;
        let kept = PathBuf::from(arguments.last().context("a file")?);
        assert!(std::fs::read_to_string(&kept)?.ends_with("b: [1\n"));
        assert_eq!(std::fs::metadata(&kept)?.permissions().mode() & 0o777, 0o600);
        let said = go_on(&server, home, "sed -i s/.1$/two/", &said).await?.expect(0)?;
        assert!(said.err.contains("wrote 1 key"), "{}", said.err);
        assert_eq!(value(&server, "app/b").await?.unwrap(), "two");
        assert!(left(home)?.is_empty(), "what is written is kept no longer");

        server.put("app/conf", "{}").await?;
        let breaks = script(home, "echo '{\"a\":' > \"$1\"")?;
        let said = edit(&server, home, &breaks, &["app/conf", "--as", "json"])
            .await?
            .expect(3)?;
        assert!(said.err.contains("line 1"), "{}", said.err);
        assert_eq!(value(&server, "app/conf").await?.unwrap(), "{}");
        Ok(())
    });
}

#[test]
fn who_was_slower_keeps_what_they_typed_and_the_changes_of_both_stay() {
    test(async |home| {
        let server = Server::start(home).await?;
        for key in ["app/a", "app/b", "app/c"] {
            server.put(key, "1").await?;
        }
        let binary = env!("CARGO_BIN_EXE_keyway");
        let meanwhile = script(
            home,
            &format!(
                "sed -i -e 's/^a: .*/a: mine/' -e 's/^b: .*/b: mine/' \"$1\"\n\
                 {binary} kv put app/b theirs; {binary} kv put app/c theirs"
            ),
        )?;

        let said = edit(&server, home, &meanwhile, &["app/"]).await?.expect(5)?;

        assert!(
            said.err.contains("somebody else was faster") && said.err.contains("`app/b`"),
            "{}",
            said.err
        );
        assert_eq!(value(&server, "app/a").await?.unwrap(), "1", "all or nothing");
        let said = go_on(&server, home, "true", &said).await?.expect(0)?;
        assert!(said.err.contains("app/b: somebody else changed it"), "{}", said.err);
        assert!(!said.err.contains("app/c"), "{}", said.err);
        for (key, expected) in [("app/a", "mine"), ("app/b", "mine"), ("app/c", "theirs")] {
            assert_eq!(value(&server, key).await?.unwrap(), expected, "{key}");
        }
        assert!(left(home)?.is_empty());
        Ok(())
    });
}

#[test]
fn an_editor_that_fails_writes_nothing() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/a", "1").await?;
        let fails = script(home, "echo 'b: 2' >> \"$1\"; exit 3")?;

        let said = edit(&server, home, &fails, &["app/"]).await?.expect(3)?;
        assert!(said.err.contains("ended with exit status: 3"), "{}", said.err);
        go_on(&server, home, "true", &said).await?.expect(0)?;
        assert_eq!(value(&server, "app/b").await?.unwrap(), "2");

        for editor in ["/nowhere/editor", "'", "false"] {
            let said = edit(&server, home, editor, &["app/"]).await?;
            assert!(
                said.err.contains("editor") && !said.err.contains("kept"),
                "{}",
                said.err
            );
        }
        let removes = script(home, "rm \"$1\"")?;
        let said = edit(&server, home, &removes, &["app/"]).await?.expect(3)?;
        assert!(
            said.err.contains("an editor has to leave what is typed") && !said.err.contains("kept in"),
            "{}",
            said.err
        );
        assert!(left(home)?.is_empty(), "of what was not touched nothing is kept");
        assert_eq!(entries(&server).await?.len(), 2);
        Ok(())
    });
}

#[test]
fn a_lost_server_and_too_large_a_transaction_lose_nothing() {
    test(async |home| {
        let mut server = Server::start(home).await?;
        server.put("app/a", "1").await?;
        let many = script(home, "seq -f 'k%g: x' 200 >> \"$1\"")?;
        let said = edit(&server, home, &many, &["app/"]).await?.expect(3)?;
        assert!(said.err.contains("too much for one transaction"), "{}", said.err);
        assert_eq!(entries(&server).await?.len(), 1);
        let fewer = script(home, "sed -i '/^k1[0-9]*:/d' \"$1\"")?;
        go_on(&server, home, &fewer, &said).await?.expect(0)?;
        assert_eq!(entries(&server).await?.len(), 90);

        let kills = script(
            home,
            &format!("echo 'b: 2' >> \"$1\"; kill -9 {}", server.program.pid()),
        )?;
        let said = keyway(&server, home, &kills)?
            .timeout("1s")
            .run(&["kv", "edit", "-y", "app/"])
            .await?;
        assert_ne!(said.exit, crate::harness::Exit::Code(0), "{said:?}");
        server.restart(home).await?;
        go_on(&server, home, "true", &said).await?.expect(0)?;
        assert_eq!(value(&server, "app/b").await?.unwrap(), "2");
        assert!(left(home)?.is_empty());
        Ok(())
    });
}

#[test]
fn without_a_yes_nothing_is_written_and_a_dry_run_only_shows() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/a", "1").await?;
        let changes = "sed -i s/1/2/";

        let said = keyway(&server, home, changes)?
            .run(&["kv", "edit", "app/"])
            .await?
            .expect(2)?;
        assert!(said.err.contains("Write 1 key in one transaction?"), "{}", said.err);
        assert_eq!(value(&server, "app/a").await?.unwrap(), "1");
        go_on(&server, home, "true", &said).await?.expect(0)?;
        assert_eq!(value(&server, "app/a").await?.unwrap(), "2");

        let said = edit(&server, home, "sed -i s/2/3/", &["app/", "--dry-run"])
            .await?
            .expect(0)?;
        assert!(said.text().contains("-2\n+3"), "{said:?}");
        assert_eq!(value(&server, "app/a").await?.unwrap(), "2");
        go_on(&server, home, "true", &said).await?.expect(0)?;
        assert_eq!(value(&server, "app/a").await?.unwrap(), "3");
        Ok(())
    });
}

#[test]
fn output_that_nobody_reads_loses_nothing_that_was_typed() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/a", "1").await?;

        for quiet in [&["-q"][..], &[]] {
            let arguments = [&["kv", "edit", "app/", "--dry-run"], quiet].concat();
            let said = keyway(&server, home, "sed -i s/1/2/")?
                .unread()
                .run(&arguments)
                .await?
                .expect(0)?;
            let folder = home.path(DESK).display().to_string();
            let kept = format!("what you typed is kept in {folder}");
            assert!(said.err.contains(&kept), "{quiet:?}: {}", said.err);
            assert_eq!(value(&server, "app/a").await?.unwrap(), "1");
            go_on(&server, home, "true", &said).await?.expect(0)?;
            assert_eq!(value(&server, "app/a").await?.unwrap(), "2");
            server.put("app/a", "1").await?;
        }

        // What is written is not kept as if it were not.
        let written = keyway(&server, home, "sed -i s/1/2/")?.unread();
        let said = written
            .run(&["kv", "edit", "-y", "app/", "-o", "json"])
            .await?
            .expect(0)?;
        assert!(!said.err.contains("kept"), "{}", said.err);
        assert_eq!(value(&server, "app/a").await?.unwrap(), "2");
        assert!(left(home)?.is_empty());
        Ok(())
    });
}

#[test]
fn ctrl_c_at_the_question_ends_an_edit_and_keeps_what_was_typed() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/a", "1").await?;
        let mut terminal = keyway(&server, home, "sed -i s/1/2/")?.on_a_terminal(&["kv", "edit", "app/a"])?;
        let (exit, shown) = tokio::task::spawn_blocking(move || {
            terminal.until("[y/N]")?;
            terminal.signal(nix::sys::signal::Signal::SIGINT)?;
            terminal.exit()
        })
        .await??;
        assert_eq!(exit, crate::harness::Exit::Code(130), "{shown}");
        assert!(shown.contains("interrupted, nothing was done"), "{shown}");
        assert_eq!(value(&server, "app/a").await?.unwrap(), "1");
        let kept = left(home)?.pop().context("it is kept")?.join("a");
        assert_eq!(std::fs::read(kept)?, b"2");
        Ok(())
    });
}
