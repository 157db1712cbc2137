//! `--report`: what an agent tells of itself in the store, and that it harms nobody.

use anyhow::Context as _;
use serde_json::Value;

use crate::harness::{Agent, Exit, Home, Options, Server, Stream, eventually, test};

const KEY: &str = "_keyway/agents/web-1";

/// What a report says, if there is one.
async fn report(server: &Server) -> Option<Value> {
    let entry = server.client().get(KEY, Default::default()).await.ok()?.value?;
    serde_json::from_slice(&entry.value).ok()
}

/// The first report that is as it is wanted.
async fn until(server: &Server, what: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    eventually(what, async || report(server).await.filter(|report| wanted(report))).await
}

/// An agent that reports as `web-1` and writes the file `name` from `app/a`.
fn start(home: &Home, server: &Server, name: &str, flags: &[&str]) -> anyhow::Result<Agent> {
    let source = home.write(&format!("{name}.hbs"), "{{key \"app/a\"}}")?;
    let files = format!("{}:{}", source.display(), home.path(name).display());
    let report = ["-t", &files, "--report", "--name", "web-1"];
    Agent::run(home, &server.address.to_string(), &[&report, flags].concat())
}

#[test]
fn an_agent_reports_in_one_key_what_it_uses_at_most_once_a_second_and_removes_it_at_the_end() {
    test(async |home| {
        let server = Server::start(home).await?;
        let mut reports = Stream::get(&server, &format!("key={KEY}"), &[]).await?;
        reports.snapshot().await?;
        let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(change) = reports.change().await {
                let _ = sender.send(change.at);
            }
        });
        let mut agent = start(home, &server, "a", &["--settle", "0ms"])?;
        let waiting = until(&server, "it waits", |report| report["state"] == "waiting").await?;
        assert_eq!(waiting["templates"][0]["keys"][0]["key"], "app/a", "{waiting}");
        assert_eq!(waiting["ready"], false);

        // Many changes, until three more reports have come: each a second behind the one before.
        let mut times = Vec::new();
        let mut value = 0;
        while times.len() < 4 {
            value += 1;
            server.put("app/a", value.to_string()).await?;
            eventually("the file follows", async || {
                (home.read("a").ok()? == value.to_string()).then_some(())
            })
            .await?;
            while let Ok(at) = seen.try_recv() {
                times.push(at);
            }
        }
        assert!(value > 8, "{value} changes and {} reports", times.len());
        assert!(times.windows(2).all(|pair| pair[0] + 990 < pair[1]), "{times:?}");

        let newest = server.revision("app/a").await?;
        let good = until(&server, "the newest revision", |report| {
            report["revisions"]["applied"]["settings"] == newest
        })
        .await?;
        for step in ["seen", "rendered"] {
            assert_eq!(good["revisions"][step]["settings"], newest, "{good}");
        }
        assert_eq!((&good["state"], &good["ready"]), (&"in_place".into(), &true.into()));
        assert_eq!(good["agent"]["pid"], agent.program.pid());
        assert_eq!(good["agent"]["name"], "web-1");
        let file = &good["templates"][0];
        assert_eq!(file["destination"], home.path("a").display().to_string());
        assert_eq!(file["sha256"].as_str().context("a hash")?.len(), 64);

        assert_eq!(agent.stop().await?, Exit::Code(0));
        assert_eq!(report(&server).await, None, "it went with the agent");
        Ok(())
    });
}

#[test]
fn a_report_that_cannot_be_written_is_told_once_and_harms_nobody() {
    test(async |home| {
        let flags = vec!["--max-value-size".to_owned(), "100B".to_owned()];
        let mut server = Server::with(
            home,
            Options {
                flags,
                ..Options::default()
            },
        )
        .await?;
        server.put("app/a", "0").await?;
        let mut agent = start(home, &server, "a", &[])?;
        for value in 1.. {
            server.put("app/a", value.to_string()).await?;
            eventually("the file follows", async || {
                (home.read("a").ok()? == value.to_string()).then_some(())
            })
            .await?;
            let told = agent.program.log();
            if told.contains("cannot be written") && value >= 5 {
                break;
            }
        }
        assert_eq!(report(&server).await, None);
        let log = agent.program.log();
        assert_eq!(log.matches("cannot be written").count(), 1, "{log}");
        assert!(log.contains(KEY), "{log}");

        server.program.kill().await?;
        assert_eq!(agent.stop().await?, Exit::Code(0), "nor does a store that is gone");
        Ok(())
    });
}

#[test]
fn two_agents_of_one_name_are_told_so_and_neither_removes_the_others_report() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/a", "1").await?;
        let mut first = start(home, &server, "a", &[])?;
        until(&server, "the first reports", |report| {
            report["state"] == "in_place" && report["agent"]["pid"] == first.program.pid()
        })
        .await?;
        let second = start(home, &server, "b", &[])?;
        until(&server, "the second reports", |report| {
            report["state"] == "in_place" && report["agent"]["pid"] == second.program.pid()
        })
        .await?;

        first.stop().await?;

        let left = report(&server).await.context("the second one's report")?;
        assert_eq!(left["agent"]["pid"], second.program.pid(), "{left}");
        Ok(())
    });
}
