//! The program's environment: variables from keys, and what is inherited.

use std::collections::BTreeMap;

use bytes::Bytes;
use kvapi::client::WriteOptions;
use kvapi::types::TxnOp;

use crate::harness::{Agent, Exit, Home, Server, command, eventually, holds, test};

/// Tells its environment each time it is started, and stays.
const TELLS: &str = "echo started; env >told.new; mv told.new told; while :; do sleep 0.02; done";

fn run(home: &Home, server: &Server, flags: &[&str], script: &str) -> anyhow::Result<Agent> {
    let arguments = [flags, &["--", "/bin/sh", "-c", script]].concat();
    Agent::run(home, &server.address.to_string(), &arguments)
}

/// One transaction.
async fn put_all(server: &Server, values: &[(&str, &str)]) -> anyhow::Result<()> {
    let set = |(key, value): &(&str, &str)| TxnOp::set((*key).to_owned(), Bytes::copy_from_slice(value.as_bytes()));
    let ops: Vec<TxnOp> = values.iter().map(set).collect();
    let done = server.client().txn(&ops, &WriteOptions::default()).await?;
    anyhow::ensure!(done.is_ok(), "{done:?}");
    Ok(())
}

/// What the program that was started last was given.
fn told(home: &Home) -> BTreeMap<String, String> {
    let text = home.read("told").unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

async fn has(home: &Home, name: &str, value: Option<&str>) -> anyhow::Result<()> {
    let what = format!("{name} is {value:?}");
    holds(&what, async || {
        let told = told(home);
        !told.is_empty() && told.get(name).map(String::as_str) == value
    })
    .await
}

#[test]
fn keys_of_a_folder_are_variables_and_a_change_starts_the_program_again_without_any_template() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/env/PORT", "80").await?;
        server.put("app/env/DB/URL", "a=b c").await?;
        server.put("app/environment", "no").await?;
        let mut agent = run(home, &server, &["--env", "app/env"], TELLS)?;
        has(home, "PORT", Some("80")).await?;
        let first = agent.child().await?;
        assert_eq!(told(home).get("DB_URL").map(String::as_str), Some("a=b c"));
        assert!(!told(home).contains_key("ironment") && !told(home).contains_key("environment"));

        // Neither a stranger nor the same value is a change; what comes after them shows it.
        server.put("app/other", "1").await?;
        server.put("app/env/PORT", "80").await?;
        server.put("app/env/PORT", "81").await?;
        has(home, "PORT", Some("81")).await?;
        holds("the first is gone", async || !first.runs()).await?;
        assert_eq!(agent.program.output().matches("started").count(), 2);

        server.put("app/env/NEW", "1").await?;
        has(home, "NEW", Some("1")).await?;
        assert_eq!(agent.stop().await?, Exit::Code(143));
        Ok(())
    });
}

#[test]
fn a_key_that_is_no_variable_is_told_without_its_value_and_the_program_runs_on() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/A", "1").await?;
        let mut agent = run(home, &server, &["--env", "app"], TELLS)?;
        has(home, "A", Some("1")).await?;
        let child = agent.child().await?;

        server.put("app/db-url", "a-secret-value").await?;
        let log = eventually("word of it", async || {
            let log = agent.program.log();
            log.contains("`app/db-url` makes no name of a variable").then_some(log)
        })
        .await?;

        assert!(child.runs() && !log.contains("a-secret-value"), "{log}");
        server.put("app/A", "2").await?;
        server.client().delete("app/db-url", &WriteOptions::default()).await?;
        has(home, "A", Some("2")).await?;
        agent.stop().await?;
        Ok(())
    });
}

#[test]
fn names_rename_keys_and_one_that_is_missing_is_waited_for() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/db-url", "x").await?;
        home.write(
            "agent.toml",
            "[exec.env]\nprefix = [\"app\"]\nupper = true\n\
             names = { DATABASE_URL = \"app/db-url\", LEVEL = \"log/level\" }\n\
             custom = { MODE = \"fixed\", OWN = \"custom\" }\n",
        )?;
        let mut agent = run(home, &server, &["-c", "agent.toml"], TELLS)?;
        holds("the key is named", async || {
            agent.program.log().contains("`log/level` ([exec.env])")
        })
        .await?;
        assert!(told(home).is_empty(), "nothing is started");

        server.put("app/mode", "keyed").await?;
        server.put("log/level", "debug").await?;

        has(home, "LEVEL", Some("debug")).await?;
        let told = told(home);
        let of = |name: &str| told.get(name).map(String::as_str);
        assert_eq!(
            [of("DATABASE_URL"), of("MODE"), of("OWN"), of("DB-URL")],
            [Some("x"), Some("keyed"), Some("custom"), None]
        );
        agent.stop().await?;
        Ok(())
    });
}

#[test]
fn a_change_of_files_and_variables_is_one_restart_with_both_of_one_revision() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("n", "0").await?;
        server.put("env/N", "0").await?;
        home.write("a.hbs", "{{key \"n\"}}")?;
        // Each start, and each HUP, tells what is in the file and in the environment.
        let script = "trap 'echo hup $(cat a) $N' HUP; echo start $(cat a) $N; while :; do sleep 0.01; done";
        let flags = [
            "-t",
            "a.hbs:a",
            "--env",
            "env",
            "--on-change",
            "signal=HUP",
            "--settle",
            "20ms",
        ];
        let mut agent = run(home, &server, &flags, script)?;
        agent
            .program
            .line("the start", 0, |line| (line == "start 0 0").then_some(()))
            .await?;

        for n in 1..=5 {
            put_all(&server, &[("n", &n.to_string()), ("env/N", &n.to_string())]).await?;
            let wanted = format!("start {n} {n}");
            agent
                .program
                .line(&wanted, 0, |line| (line == wanted).then_some(()))
                .await?;
        }

        server.put("n", "6").await?;
        agent
            .program
            .line("a file alone", 0, |line| (line == "hup 6 5").then_some(()))
            .await?;
        assert_eq!(agent.program.output().lines().count(), 7, "{}", agent.program.output());
        agent.stop().await?;
        Ok(())
    });
}

#[test]
fn without_a_restart_a_new_value_waits_for_the_next_start() {
    test(async |home| {
        let server = Server::start(home).await?;
        put_all(&server, &[("n", "1"), ("env/A", "1")]).await?;
        home.write("a.hbs", "{{key \"n\"}}")?;
        let script = "echo start $A; while :; do sleep 0.01; done";
        let on_change = ["--on-change", "none", "--env-on-change", "none"];
        let flags = [
            &["-t", "a.hbs:a", "--env", "env", "--restart", "always"],
            &on_change[..],
        ]
        .concat();
        let mut agent = run(home, &server, &flags, script)?;
        agent
            .program
            .line("the start", 0, |line| (line == "start 1").then_some(()))
            .await?;
        let child = agent.child().await?;

        put_all(&server, &[("n", "2"), ("env/A", "2")]).await?;
        holds("the new revision is in place", async || {
            home.read("a").is_ok_and(|text| text == "2")
        })
        .await?;
        assert!(child.runs());
        child.kill();

        agent
            .program
            .line("the next start", 0, |line| (line == "start 2").then_some(()))
            .await?;
        agent.stop().await?;
        Ok(())
    });
}

#[test]
fn what_is_inherited_is_chosen() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("env/KEYED", "yes").await?;
        for (number, (flags, expected)) in [
            (vec![], vec!["KEYED", "MINE", "OTHER"]),
            (vec!["--env-allow", "M*"], vec!["KEYED", "MINE"]),
            (vec!["--env-allow", "*", "--env-deny", "M?NE"], vec!["KEYED", "OTHER"]),
            (vec!["--env-pristine"], vec!["KEYED"]),
        ]
        .into_iter()
        .enumerate()
        {
            let mut command = command(home, crate::harness::binary("keyway-agent")?);
            command
                .env("KEYWAY_ADDR", server.address.to_string())
                .env("KEYWAY_TOKEN", "t");
            command.env("MINE", "1").env("OTHER", "1");
            command.args(["run", "--env", "env"]).args(flags);
            command.args(["--", "/bin/sh", "-c", "env; exit 3"]);
            let mut program = crate::harness::Program::start(home, &format!("inherits{number}"), &mut command)?;
            assert_eq!(program.exit().await?, Exit::Code(3), "{}", program.log());
            let output = program.output();
            let names: Vec<&str> = output
                .lines()
                .filter_map(|line| line.split_once('='))
                .map(|(name, _)| name)
                .collect();
            let of: Vec<&str> = ["KEYED", "MINE", "OTHER"]
                .into_iter()
                .filter(|name| names.contains(name))
                .collect();
            assert_eq!(of, expected, "{names:?}");
            assert!(
                !names
                    .iter()
                    .any(|name| name.starts_with("KEYWAY_TOKEN") || name.starts_with("KEYWAY_AGENT"))
            );
        }
        Ok(())
    });
}
