//! `keyway kv watch`: every revision over cuts, gaps that are said, and the command that is told.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Exit, Link, Options, Process, Program, Server, eventually, holds, test};

/// The lines of a watch, as JSON.
fn events(watch: &Program) -> Vec<Value> {
    let output = watch.output();
    output
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

async fn begun(watch: &Program) -> anyhow::Result<()> {
    holds("the watch has begun", async || watch.log().contains("watching")).await
}

async fn keep(server: &Server, revisions: u64) -> anyhow::Result<()> {
    let body = json!({"Revisions": revisions, "Versions": 1}).to_string();
    let put = server
        .client()
        .send("PUT".parse()?, "/v1/history", body.into(), Default::default())
        .await?;
    anyhow::ensure!(put.status == 200, "{put:?}");
    Ok(())
}

#[test]
fn a_watch_shows_every_revision_over_a_cut_link() {
    test(async |home| {
        let server = Server::start(home).await?;
        let link = Link::to(&server.address).await?;
        server.put("app/k", "0").await?;
        let watch =
            server
                .keyway(home)
                .addr(&link.address)
                .start(home, "watch", &["kv", "watch", "app/", "-o", "jsonl"])?;
        begun(&watch).await?;
        for round in 0..3 {
            server.put("app/k", format!("before {round}")).await?;
            link.cut();
            for value in ["a", "b"] {
                server.put("app/k", format!("{value} {round}")).await?;
            }
            link.mend();
            server.put("app/k", format!("after {round}")).await?;
        }

        holds("every change", async || events(&watch).len() >= 12).await?;

        let events = events(&watch);
        let values = events.iter().map(|event| &event["changes"][0]["entry"]["value"]);
        let expected =
            (0..3).flat_map(|round| ["before", "a", "b", "after"].map(|word| json!(format!("{word} {round}"))));
        assert_eq!(values.cloned().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        let revisions: Vec<u64> = events.iter().filter_map(|event| event["revision"].as_u64()).collect();
        assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
        Ok(())
    });
}

#[test]
fn what_was_missed_for_good_is_said_with_its_range() {
    test(async |home| {
        let mut server = Server::start(home).await?;
        let link = Link::to(&server.address).await?;
        server.put("k", "0").await?;
        let start = |name: &str, flags: &[&str]| {
            let arguments = [&["kv", "watch", "k"], flags].concat();
            server.keyway(home).addr(&link.address).start(home, name, &arguments)
        };
        let text = start("text", &[])?;
        let lines = start("lines", &["-o", "jsonl"])?;
        let told = start("told", &["--", "sh", "-c", "cat >> told"])?;
        for watch in [&text, &lines, &told] {
            begun(watch).await?;
        }
        link.cut();
        // The cut takes a moment, in which a revision may still pass.
        for watch in [&text, &lines, &told] {
            holds("it is cut off", async || watch.log().contains("no connection")).await?;
        }
        let seen = server.revision("k").await?;
        for value in ["1", "2", "3"] {
            server.put("k", value).await?;
        }
        keep(&server, 1).await?;
        server.put("k", "4").await?;
        // What a server has sent lately it remembers, until it is started again.
        server.stop().await?;
        server.restart(home).await?;
        link.mend();

        holds("the gap", async || text.output().contains("compacted")).await?;
        holds("the state", async || text.output().contains("is k 4")).await?;
        let (first, _) = text
            .output()
            .split_once('\n')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .unwrap_or_default();
        let (from, to) = (seen + 1, seen + 3);
        let told_gap = format!(
            "compacted: the changes of revisions {from} to {to} are no longer kept in full; the state now follows"
        );
        assert_eq!(first, told_gap);
        holds("the state as JSON", async || events(&lines).len() == 2).await?;
        assert_eq!(
            events(&lines)[0],
            json!({"event": "compacted", "from_revision": from, "to_revision": to})
        );
        assert_eq!(events(&lines)[1]["entries"][0]["value"], "4");
        // The command gets the gap and the state together.
        holds("the command is told", async || {
            home.read("told").is_ok_and(|text| text.lines().count() == 2)
        })
        .await
    });
}

#[test]
fn a_watch_goes_on_from_a_revision_or_a_time() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("k", "1").await?;
        let since = server.revision("k").await?.to_string();
        server.put("k", "2").await?;
        server.put("k", "3").await?;

        let said = server
            .kv(home, &["watch", "k", "--since", &since, "--once"])
            .await?
            .expect(0)?;
        assert!(said.text().ends_with(" put k 2\n"), "{}", said.text());
        let said = server
            .kv(home, &["watch", "k", "--since", "1h", "--once"])
            .await?
            .expect(0)?;
        assert!(said.text().ends_with(" put k 1\n"), "{}", said.text());
        let said = server
            .kv(home, &["watch", "k", "--initial", "--once", "-o", "jsonl"])
            .await?
            .expect(0)?;
        assert_eq!(said.json()?["entries"][0]["value"], "3");
        keep(&server, 1).await?;
        server.put("k", "4").await?;
        let said = server
            .kv(home, &["watch", "k", "--since", "1h", "--once"])
            .await?
            .expect(0)?;
        let newest = server.revision("k").await?;
        assert_eq!(
            said.text(),
            format!(
                "compacted: the changes of revisions 2 to {} are no longer kept in full; the state now follows\n\
                 {newest} is k 4\n",
                newest - 1
            )
        );

        server.kv(home, &["watch"]).await?.expect(2)?;
        server.kv(home, &["watch", "k", "--since", "then"]).await?.expect(2)?;
        server.kv(home, &["watch", "k", "--debounce", "1s"]).await?.expect(2)?;
        let nobody = server.keyway(home).addr("http://127.0.0.1:1").timeout("300ms");
        nobody.run(&["kv", "watch", "k"]).await?.expect(6)?;
        Ok(())
    });
}

#[test]
fn a_gap_is_told_where_there_is_one_and_as_wide_as_it_is() {
    test(async |home| {
        let server = Server::start(home).await?;
        for value in ["1", "2", "3"] {
            server.put("a", value).await?;
        }
        let since = async |since: &str| {
            let arguments = ["watch", "a", "--once", "--since", since];
            anyhow::Ok(server.kv(home, &arguments).await?.expect(0)?.text())
        };

        // Nothing is forgotten: before the first change there was nothing.
        for revision in ["0", "1"] {
            assert_eq!(since(revision).await?, "2 put a 1\n", "{revision}");
        }

        let body = json!({"CompactTo": 3}).to_string();
        let done = server
            .client()
            .send("PUT".parse()?, "/v1/history", body.into(), Default::default())
            .await?;
        anyhow::ensure!(done.status == 200, "{done:?}");
        assert_eq!(since("3").await?, "4 put a 3\n");
        for (revision, missed) in [
            ("2", "revision 3"),
            ("1", "revisions 2 to 3"),
            ("0", "revisions 2 to 3"),
        ] {
            let told = format!(
                "compacted: the changes of {missed} are no longer kept in full; the state now follows\n4 is a 3\n"
            );
            assert_eq!(since(revision).await?, told);
        }
        Ok(())
    });
}

#[test]
fn a_server_that_takes_the_watch_and_does_not_answer_is_named() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.program.signal(Signal::SIGSTOP)?;

        let said = server.kv(home, &["watch", "app/a", "--timeout", "1s"]).await;

        server.program.signal(Signal::SIGCONT)?;
        let said = said?.expect(124)?;
        let told = format!("no answer from {} within 1s", server.address);
        assert!(said.err.contains(&told), "{}", said.err);
        Ok(())
    });
}

#[test]
fn a_command_is_told_every_change_once_and_in_order() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/k", "start").await?;
        let arguments = ["kv", "watch", "app/", "--", "sh", "-c", "cat >> told; exit 3"];
        let mut watch = server.keyway(home).start(home, "watch", &arguments)?;
        begun(&watch).await?;
        for n in 0..20 {
            server.put("app/k", n.to_string()).await?;
        }

        let told = || home.read("told").unwrap_or_default();
        holds("everything is told", async || told().lines().count() >= 20).await?;

        let values: Vec<Value> = told()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_default())
            .collect();
        let values: Vec<&Value> = values
            .iter()
            .map(|event| &event["changes"][0]["entry"]["value"])
            .collect();
        let expected: Vec<Value> = (0..20).map(|n| json!(n.to_string())).collect();
        assert_eq!(values, expected.iter().collect::<Vec<_>>());
        holds("its failure is said", async || {
            watch.log().contains("the command ended with 3")
        })
        .await?;
        assert_eq!(watch.output(), "");
        watch.signal(Signal::SIGINT)?;
        assert_eq!(watch.exit().await?, Exit::Code(0));
        Ok(())
    });
}

#[test]
fn changes_that_follow_each_other_closely_are_one_batch() {
    test(async |home| {
        let server = Server::start(home).await?;
        let arguments = [
            "kv",
            "watch",
            "k",
            "--debounce",
            "500ms",
            "--once",
            "--",
            "sh",
            "-c",
            "wc -l; exit 7",
        ];
        let mut watch = server.keyway(home).start(home, "watch", &arguments)?;
        begun(&watch).await?;
        for n in 0..5 {
            server.put("k", n.to_string()).await?;
        }

        assert_eq!(watch.exit().await?, Exit::Code(7));
        assert_eq!(watch.output().trim(), "5");
        Ok(())
    });
}

#[test]
fn a_command_that_runs_is_ended_with_the_watch() {
    test(async |home| {
        let server = Server::start(home).await?;
        let script = "trap 'echo ended; exit 0' TERM; echo runs; sleep 60 & wait";
        let mut watch = server
            .keyway(home)
            .start(home, "watch", &["kv", "watch", "k", "--", "sh", "-c", script])?;
        begun(&watch).await?;
        server.put("k", "1").await?;
        holds("it runs", async || watch.output().contains("runs")).await?;

        watch.signal(Signal::SIGTERM)?;

        assert_eq!(watch.exit().await?, Exit::Code(0));
        assert_eq!(watch.output(), "runs\nended\n");
        server.put("k", "2").await?;
        let missing = ["watch", "k", "--initial", "--", "./no-such-program"];
        let said = server.kv(home, &missing).await?.expect(127)?;
        assert!(said.err.contains("no-such-program"), "{}", said.err);
        Ok(())
    });
}

#[test]
fn ctrl_c_ends_all_that_the_command_has_started_and_a_second_one_kills_it() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("a", "1").await?;
        let start = |name: &str, script: &str| {
            let arguments = ["kv", "watch", "a", "--since", "1", "--", "sh", "-c", script];
            server.keyway(home).start(home, name, &arguments)
        };
        let children = async |watch: &Program| {
            eventually("the command and its own child", async || {
                let children = watch.children();
                (children.len() == 2).then_some(children)
            })
            .await
        };

        let mut watch = start("willing", "sleep 300; true")?;
        let started = children(&watch).await?;
        watch.signal(Signal::SIGINT)?;
        assert_eq!(watch.exit().await?, Exit::Code(0));
        holds("nothing of it is left", async || !started.iter().any(Process::runs)).await?;

        let mut watch = start("deaf", "trap '' TERM; sleep 300; true")?;
        let started = children(&watch).await?;
        watch.signal(Signal::SIGINT)?;
        holds("it says what it waits for", async || {
            watch
                .log()
                .contains("waiting for `sh` to end, at most 30s; a second Ctrl-C kills it")
        })
        .await?;
        watch.signal(Signal::SIGINT)?;
        assert_eq!(watch.exit().await?, Exit::Code(130));
        holds("nothing of it is left", async || !started.iter().any(Process::runs)).await
    });
}

#[test]
fn another_cluster_behind_the_address_ends_the_watch() {
    test(async |home| {
        let mut server = Server::start(home).await?;
        let mut watch = server.keyway(home).start(home, "watch", &["kv", "watch", "k"])?;
        begun(&watch).await?;
        server.stop().await?;
        let (address, data) = (Some(server.address.to_string()), Some(home.path("other")));
        let _other = Server::with(
            home,
            Options {
                address,
                data,
                ..Options::default()
            },
        )
        .await?;

        assert_eq!(watch.exit().await?, Exit::Code(5));
        assert!(watch.log().contains("another cluster"), "{}", watch.log());
        Ok(())
    });
}
