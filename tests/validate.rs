//! Never live unchecked: files are checked before they replace the old ones.

use kvapi::client::WriteOptions;
use kvapi::types::TxnOp;

use crate::harness::{Agent, Exit, Home, Keyway, Options, Server, holds, test};

/// The child: goes on until it is told to stop, and counts HUPs.
const CHILD: &str = "trap 'echo hup' HUP; echo ready; while :; do sleep 0.05; done";

async fn with_check(home: &Home) -> anyhow::Result<(Server, Agent)> {
    let server = Server::start(home).await?;
    server.put("number", "1").await?;
    let source = home.write("n.hbs", "{{key \"number\"}}")?;
    let files = format!("{}:{}", source.display(), home.path("n").display());
    let check = format!("grep -qE ^[0-9]+$ {}", "{}");
    let arguments = [
        "-t",
        &files,
        "--check",
        &check,
        "--on-change",
        "signal=HUP",
        "--",
        "sh",
        "-c",
        CHILD,
    ];
    let mut agent = Agent::run(home, &server.address.to_string(), &arguments)?;
    agent
        .program
        .line("the child is ready", 0, |line| line.contains("ready").then_some(()))
        .await?;
    Ok((server, agent))
}

#[test]
fn a_value_that_the_check_refuses_leaves_the_old_file_and_no_reload() {
    test(async |home| {
        let (server, mut agent) = with_check(home).await?;
        assert_eq!(home.read("n")?, "1");

        server.put("number", "none").await?;
        holds("the agent says that the check failed", async || {
            agent.program.log().contains("check")
        })
        .await?;
        assert_eq!(home.read("n")?, "1");

        server.put("number", "2").await?;
        holds("the next good value", async || home.read("n").is_ok_and(|n| n == "2")).await?;
        agent
            .program
            .line("its reload", 0, |line| (line == "hup").then_some(()))
            .await?;
        assert_eq!(
            agent.program.output().matches("hup").count(),
            1,
            "one reload, for the good value"
        );
        agent.stop().await?;
        Ok(())
    });
}

#[test]
fn a_first_set_that_the_check_refuses_starts_nothing() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("number", "none").await?;
        let source = home.write("n.hbs", "{{key \"number\"}}")?;
        let files = format!("{}:{}", source.display(), home.path("n").display());

        let said = Keyway::program(home, "keyway-agent")?
            .addr(&server.address.to_string())
            .run(&["once", "-t", &files, "--check", "grep -qE ^[0-9]+$ {}"])
            .await?;

        assert_ne!(said.exit, Exit::Code(0), "{said:?}");
        assert!(!home.path("n").exists());
        Ok(())
    });
}

#[test]
fn a_missing_key_is_named_with_its_place_and_the_nearest_good_one() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/port", "80").await?;
        let source = home.write("n.hbs", "listen on\n{{key \"app/prot\"}}")?;
        let files = format!("{}:{}", source.display(), home.path("n").display());

        let said = Keyway::program(home, "keyway-agent")?
            .addr(&server.address.to_string())
            .run(&["once", "--missing", "fail", "-t", &files])
            .await?
            .expect(3)?;

        for word in ["n.hbs", "app/prot", "2"] {
            assert!(said.err.contains(word), "{word}: {}", said.err);
        }
        assert!(!home.path("n").exists());
        Ok(())
    });
}

#[test]
fn nothing_is_written_or_started_before_every_key_is_there() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("here", "1").await?;
        let (a, b) = (
            home.write("a.hbs", "{{key \"here\"}}")?,
            home.write("b.hbs", "{{key \"later\"}}")?,
        );
        let files = [&a, &b].map(|source| format!("{}:{}", source.display(), source.with_extension("").display()));
        let arguments = ["-t", &files[0], "-t", &files[1], "--", "sh", "-c", CHILD];
        let mut agent = Agent::run(home, &server.address.to_string(), &arguments)?;
        holds("the agent names the key that it waits for", async || {
            agent.program.log().contains("later")
        })
        .await?;
        assert!(!home.path("a").exists() && !home.path("b").exists());
        assert_eq!(agent.program.output(), "");

        server.put("later", "2").await?;

        agent
            .program
            .line("the child", 0, |line| line.contains("ready").then_some(()))
            .await?;
        assert_eq!((home.read("a")?, home.read("b")?), ("1".into(), "2".into()));
        agent.stop().await?;
        Ok(())
    });
}

#[test]
fn only_templates_whose_keys_changed_are_rendered_and_equal_files_are_left_alone() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("one", "1").await?;
        server.put("two", "2").await?;
        let (a, b) = (
            home.write("a.hbs", "{{key \"one\"}}")?,
            home.write("b.hbs", "{{key \"two\"}}")?,
        );
        let files = [&a, &b].map(|source| format!("{}:{}", source.display(), source.with_extension("").display()));
        let arguments = [
            "-t",
            &files[0],
            "-t",
            &files[1],
            "--on-change",
            "signal=HUP",
            "--",
            "sh",
            "-c",
            CHILD,
        ];
        let mut agent = Agent::run(home, &server.address.to_string(), &arguments)?;
        agent
            .program
            .line("the child", 0, |line| line.contains("ready").then_some(()))
            .await?;
        let before = std::fs::metadata(home.path("b"))?;

        server.put("one", "changed").await?;
        holds("the change", async || home.read("a").is_ok_and(|a| a == "changed")).await?;

        use std::os::unix::fs::MetadataExt as _;
        let after = std::fs::metadata(home.path("b"))?;
        assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
        agent.stop().await?;
        Ok(())
    });
}

#[test]
fn a_template_reads_any_number_of_keys() {
    test(async |home| {
        let flags = ["--max-txn-ops", "6000", "--max-txn-size", "4MiB"];
        let options = Options {
            flags: flags.map(str::to_owned).to_vec(),
            ..Options::default()
        };
        let server = Server::with(home, options).await?;
        let names: Vec<String> = (0..5_000).map(|n| format!("app/{n:04}")).collect();
        let mut ops: Vec<TxnOp> = names.iter().map(|name| TxnOp::set(name, "x")).collect();
        ops.push(TxnOp::set("names", names.join(",")));
        assert!(server.client().txn(&ops, &WriteOptions::default()).await?.is_ok());
        let source = home.write(
            "all.hbs",
            "{{#each (split (key \"names\") \",\")}}{{key this}}{{/each}}",
        )?;
        let target = home.path("all");
        let files = format!("{}:{}", source.display(), target.display());

        Keyway::program(home, "keyway-agent")?
            .addr(&server.address.to_string())
            .timeout("20s")
            .run(&["once", "-t", &files])
            .await?
            .expect(0)?;

        assert_eq!(home.read("all")?, "x".repeat(5_000));
        Ok(())
    });
}
