//! What an agent tells of itself: `agent status`, its socket, its metrics, the revision in its log.

use serde_json::Value;

use crate::harness::{Agent, Exit, Home, Keyway, Server, eventually, test};

/// `keyway-agent status` of the agent that writes `files`, as JSON, and its exit code.
async fn status(home: &Home, files: &str) -> anyhow::Result<(Exit, Value)> {
    let mut asking = Agent::ask(home, &["status", "-t", files, "-o", "json"])?;
    let exit = asking.exit().await?;
    let document = {
        // What was asked before stands in front of it.
        let output = asking.output();
        serde_json::from_str(output.lines().last().unwrap_or_default()).unwrap_or(Value::Null)
    };
    Ok((exit, document))
}

/// Asks until the whole is in that state.
async fn until(home: &Home, files: &str, state: &str) -> anyhow::Result<(Exit, Value)> {
    eventually(&format!("the agent is {state}"), async || {
        let (exit, document) = status(home, files).await.ok()?;
        (document["state"] == state).then_some((exit, document))
    })
    .await
}

fn files(home: &Home, text: &str) -> anyhow::Result<String> {
    let source = home.write("a.hbs", text)?;
    Ok(format!("{}:{}", source.display(), home.path("a").display()))
}

#[test]
fn an_agent_tells_what_it_waits_for_and_then_that_all_is_in_place() {
    test(async |home| {
        let server = Server::start(home).await?;
        let files = files(home, "{{key \"app/a\"}}")?;
        let (exit, _) = status(home, &files).await?;
        assert_eq!(exit, Exit::Code(6), "there is no agent yet");
        let script = "trap '' HUP; while :; do sleep 0.05; done";
        let flags = ["-t", &files, "--on-change", "signal=HUP", "--", "sh", "-c", script];
        let mut agent = Agent::run(home, &server.address.to_string(), &flags)?;

        let (exit, waiting) = eventually("it waits for the key", async || {
            let (exit, document) = status(home, &files).await.ok()?;
            (!document["templates"][0]["keys"][0].is_null()).then_some((exit, document))
        })
        .await?;
        assert_eq!(exit, Exit::Code(1), "{waiting}");
        let told = waiting["waiting"]["for"].as_str().unwrap_or_default();
        assert!(told.contains("the key `app/a`"), "{waiting}");
        assert_eq!(waiting["child"]["state"], "not_started");
        assert_eq!(waiting["templates"][0]["keys"][0]["key"], "app/a");

        server.put("app/a", "1").await?;
        let (exit, good) = until(home, &files, "in_place").await?;
        assert_eq!(exit, Exit::Code(0), "{good}");
        assert_eq!(good["child"]["pid"], agent.child().await?.pid, "{good}");
        assert_eq!(
            good["revisions"]["applied"]["settings"],
            server.revision("app/a").await?,
            "{good}"
        );
        // printf 1 | sha256sum
        let hash = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";
        assert_eq!(good["templates"][0]["sha256"], hash);
        assert_eq!(good["waiting"], Value::Null);

        agent.stop().await?;
        assert_eq!(
            status(home, &files).await?.0,
            Exit::Code(6),
            "the socket went with the agent"
        );
        Ok(())
    });
}

#[test]
fn a_refused_set_is_told_with_its_revision_and_without_the_value() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/a", "good").await?;
        let files = files(home, "{{key \"app/a\"}}")?;
        let flags = ["-t", &files, "--check", "! { cat {}; grep -q marked {}; }"];
        let mut agent = Agent::run(home, &server.address.to_string(), &flags)?;
        until(home, &files, "in_place").await?;

        server.put("app/a", "marked-and-secret").await?;
        let (exit, failed) = until(home, &files, "failed").await?;

        assert_eq!(exit, Exit::Code(1));
        let revision = server.revision("app/a").await?;
        assert_eq!(failed["templates"][0]["state"], "refused", "{failed}");
        assert_eq!(failed["last_refusal"]["revision"], revision);
        let reason = failed["last_refusal"]["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("‹app/a›"), "{failed}");
        let log = agent.program.log();
        let line = log.lines().find(|line| line.contains("is refused")).unwrap_or_default();
        assert!(line.contains(&format!("rev={revision}")), "{log}");
        assert!(
            !log.contains("marked-and-secret") && !failed.to_string().contains("marked-and-secret"),
            "{log}"
        );
        agent.stop().await?;
        Ok(())
    });
}

/// One request over the socket.
async fn get(home: &Home, path: &str) -> anyhow::Result<(u16, String)> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::UnixStream::connect(home.path("s")).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let code = answer.get(9..12).unwrap_or_default().parse()?;
    Ok((code, answer))
}

#[test]
fn the_status_socket_tells_life_readiness_and_metrics_and_silent_clients_are_in_nobodys_way() {
    test(async |home| {
        let server = Server::start(home).await?;
        let files = files(home, "{{key \"app/a\"}}")?;
        let socket = home.path("s").display().to_string();
        drop(std::os::unix::net::UnixListener::bind(&socket)?);
        let mut agent = Agent::run(home, &server.address.to_string(), &["-t", &files, "--status", &socket])?;
        eventually("the agent lives", async || {
            get(home, "/livez").await.ok().filter(|(code, _)| *code == 200)
        })
        .await?;
        assert_eq!(get(home, "/readyz").await?.0, 503);
        assert_eq!(get(home, "/no").await?.0, 404);
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket)?.permissions());
        assert_eq!(mode & 0o777, 0o600);

        server.put("app/a", "1").await?;
        eventually("the agent is ready", async || {
            get(home, "/readyz").await.ok().filter(|(code, _)| *code == 200)
        })
        .await?;
        server.put("app/a", "2").await?;
        let text = eventually("the change is counted", async || {
            let (_, text) = get(home, "/metrics").await.ok()?;
            text.contains("keyway_agent_apply_duration_seconds_count 1")
                .then_some(text)
        })
        .await?;
        let page = include_str!("../docs/metrics.md");
        let on_page: std::collections::BTreeSet<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `keyway_agent_")?.split('`').next())
            .collect();
        let told: std::collections::BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE keyway_agent_")?.split(' ').next())
            .collect();
        assert_eq!(on_page, told, "docs/metrics.md and what an agent answers");

        let mut silent = Vec::new();
        for _ in 0..40 {
            silent.push(tokio::net::UnixStream::connect(&socket).await?);
        }
        eventually("silent clients are sent away", async || {
            get(home, "/livez").await.ok().filter(|(code, _)| *code == 200)
        })
        .await?;
        agent.stop().await?;
        assert!(!home.path("s").exists());
        Ok(())
    });
}

/// One request over TCP, with a header line.
async fn ask(address: &str, path: &str, line: &str) -> anyhow::Result<(u16, String)> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\n{line}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok((answer.get(9..12).unwrap_or_default().parse()?, answer))
}

#[test]
fn an_address_tells_the_same_as_the_socket_and_not_to_web_pages() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/a", "1").await?;
        let files = files(home, "{{key \"app/a\"}}")?;
        let flags = ["-t", &files, "--listen", "localhost:0", "--name", "web/1"];
        let mut agent = Agent::run(home, &server.address.to_string(), &flags)?;
        let (_, by_socket) = until(home, &files, "in_place").await?;
        let log = agent.program.log();
        let address = log.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        let address = address.unwrap_or_default();

        let (code, answer) = ask(address, "/status", &format!("host: {address}")).await?;
        assert_eq!(code, 200, "{answer}");
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        let mut by_address: Value = serde_json::from_str(body)?;
        by_address["at"] = by_socket["at"].clone();
        assert_eq!(by_address, by_socket);
        assert_eq!(by_address["agent"]["name"], "web/1");
        for (path, line, code) in [
            ("/readyz", "host: localhost", 200),
            ("/livez", "host: [::1]:80", 200),
            ("/metrics", "host: 127.0.0.1", 200),
            ("/status", "host: evil.example", 403),
            ("/status", "host: localhost\r\norigin: http://localhost", 403),
            ("/status", "accept: */*", 403),
        ] {
            assert_eq!(ask(address, path, line).await?.0, code, "{path} {line}");
        }

        agent.stop().await?;
        assert!(
            ask(address, "/livez", "host: localhost").await.is_err(),
            "it went with the agent"
        );
        Ok(())
    });
}

#[test]
fn an_address_that_others_reach_is_refused_unless_that_was_asked_for() {
    test(async |home| {
        let files = files(home, "x")?;
        let flags = ["agent", "validate", "-t", &files, "--listen", "0.0.0.0:0", "--", "true"];
        let refused = Keyway::new(home).run(&flags).await?.expect(3)?;
        assert!(refused.err.contains("--insecure-listen"), "{}", refused.err);
        let accepted = Keyway::new(home).env("KEYWAY_AGENT_INSECURE_LISTEN", "true");
        accepted.run(&flags).await?.expect(0)?;

        let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
        let server = Server::start(home).await?;
        let address = taken.local_addr()?.to_string();
        let mut agent = Agent::run(home, &server.address.to_string(), &["-t", &files, "--listen", &address])?;
        assert_eq!(agent.program.exit().await?, Exit::Code(125));
        assert!(agent.program.log().contains(&format!("cannot listen on {address}")));
        Ok(())
    });
}
