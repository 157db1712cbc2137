//! A running process outlives any outage of the store: it never notices, and when the store is
//! back it gets the newest revision, once.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::harness::{Agent, Exit, Home, Link, Server, alone, eventually, holds, long, write_file};

/// What the child answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Answer {
    pid: i32,
    read: usize,
    text: String,
}

/// One connection to the child, kept open: a process that goes away takes it along.
struct Child {
    requests: http1::SendRequest<Empty<Bytes>>,
}

impl Child {
    async fn connect(home: &Home) -> anyhow::Result<Self> {
        let port: u16 = eventually("the child's port", async || home.read("port").ok()?.parse().ok()).await?;
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let (requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { requests })
    }

    async fn ask(&mut self) -> anyhow::Result<Answer> {
        let request = hyper::Request::get("/")
            .header("host", "localhost")
            .body(Empty::new())?;
        self.requests.ready().await?;
        let answer = self.requests.send_request(request).await?;
        Ok(serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?)
    }
}

/// Starts an agent with the web server as its child; the file shows `app/colour`.
fn start_agent(home: &Home, address: &str) -> anyhow::Result<Agent> {
    start_agent_with(home, address, &[])
}

fn start_agent_with(home: &Home, address: &str, flags: &[&str]) -> anyhow::Result<Agent> {
    let source = home.write("page.hbs", "{{key \"app/colour\"}}")?;
    let target = home.path("page");
    let (files, port) = (format!("{}:{}", source.display(), target.display()), home.path("port"));
    let web = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/children/web.py");
    let (target, port) = (target.display().to_string(), port.display().to_string());
    let program = ["--", "python3", web, &target, &port];
    let common = ["-t", &files, "--on-change", "signal=HUP"];
    Agent::run(home, address, &[&common[..], flags, &program[..]].concat())
}

#[test]
fn the_child_never_notices_that_the_store_is_away_and_then_gets_the_newest_revision_once() {
    alone(Duration::from_secs(240), async |home| {
        let mut server = Server::start(home).await?;
        let link = Link::to(&server.address).await?;
        server.put("app/colour", "red").await?;
        let mut agent = start_agent(home, &link.address)?;
        let mut child = Child::connect(home).await?;
        let before = child.ask().await?;
        assert_eq!((before.read, before.text.as_str()), (1, "red"));

        // The wire is cut, the server killed and started again, and what it holds changes twice
        // while the agent cannot see it.
        let away = Instant::now() + Duration::from_secs(long(10, 60));
        link.cut();
        server.program.kill().await?;
        server.restart(home).await?;
        server.put("app/colour", "green").await?;
        server.put("app/colour", "blue").await?;
        let mut every = interval(Duration::from_millis(50));
        every.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while Instant::now() < away {
            every.tick().await;
            assert_eq!(child.ask().await?, before, "during the outage");
        }
        link.mend();

        let after = eventually("the newest revision", async || {
            child.ask().await.ok().filter(|answer| answer.text != "red")
        })
        .await?;
        assert_eq!(
            after,
            Answer {
                read: 2,
                text: "blue".into(),
                ..before.clone()
            }
        );
        // What would be rendered again would be rendered with the next change at the latest.
        server.put("app/colour", "white").await?;
        let last = eventually("the change after it", async || {
            child.ask().await.ok().filter(|answer| answer.text == "white")
        })
        .await?;
        assert_eq!(
            last,
            Answer {
                read: 3,
                text: "white".into(),
                ..before
            }
        );
        agent.stop().await?;
        Ok(())
    });
}

#[test]
fn an_agent_that_starts_before_the_store_waits_for_it() {
    alone(Duration::from_secs(60), async |home| {
        let mut server = Server::start(home).await?;
        server.put("app/colour", "red").await?;
        server.stop().await?;
        let mut agent = start_agent(home, &server.address.to_string())?;
        eventually("the agent says that it waits", async || {
            (!agent.program.log().is_empty()).then_some(())
        })
        .await?;
        assert_eq!(agent.program.ended(), None);
        assert!(
            !home.path("page").exists(),
            "nothing is written before everything is known"
        );

        server.restart(home).await?;

        let mut child = Child::connect(home).await?;
        assert_eq!(child.ask().await?.text, "red");
        agent.stop().await?;
        Ok(())
    });
}

/// The folder of the cache, as a flag.
fn cached(home: &Home) -> [String; 2] {
    ["--cache-dir".to_owned(), home.path("cache").display().to_string()]
}

/// A run with a cache that has gone well and has ended; the server has ended too, and the files are gone.
async fn after_a_good_run(home: &Home) -> anyhow::Result<Server> {
    let mut server = Server::start(home).await?;
    server.put("app/colour", "red").await?;
    let [flag, folder] = cached(home);
    let mut agent = start_agent_with(home, &server.address.to_string(), &[&flag, &folder])?;
    Child::connect(home).await?;
    agent.stop().await?;
    server.stop().await?;
    std::fs::remove_file(home.path("page"))?;
    std::fs::remove_file(home.path("port"))?;
    Ok(server)
}

#[test]
fn an_agent_started_while_the_store_is_away_begins_from_its_cache_and_renders_once_more() {
    alone(Duration::from_secs(120), async |home| {
        let mut server = after_a_good_run(home).await?;
        let link = Link::to(&server.address).await?;
        link.cut();
        let [flag, folder] = cached(home);
        let file = std::fs::read_dir(&folder)?.next().context("a cache")??;
        let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions());
        assert_eq!(mode & 0o777, 0o600);

        let mut agent = start_agent_with(home, &link.address, &[&flag, &folder])?;
        let mut child = Child::connect(home).await?;
        let first = child.ask().await?;
        assert_eq!((first.read, first.text.as_str()), (1, "red"));
        assert!(
            agent.program.log().contains("begins from the cache"),
            "{}",
            agent.program.log()
        );

        server.restart(home).await?;
        server.put("app/colour", "green").await?;
        server.put("app/colour", "blue").await?;
        link.mend();
        let after = eventually("the newest revision", async || {
            child.ask().await.ok().filter(|answer| answer.text != "red")
        })
        .await?;
        assert_eq!((after.pid, after.read, after.text.as_str()), (first.pid, 2, "blue"));
        // What would be rendered again would be rendered with the next change at the latest.
        server.put("app/colour", "white").await?;
        let last = eventually("the change after it", async || {
            child.ask().await.ok().filter(|answer| answer.text == "white")
        })
        .await?;
        assert_eq!(last.read, 3);
        agent.stop().await?;
        Ok(())
    });
}

#[test]
fn a_cache_that_is_too_old_or_damaged_is_told_and_not_used_and_retry_for_ends_the_wait() {
    alone(Duration::from_secs(120), async |home| {
        let server = after_a_good_run(home).await?;
        let address = server.address.to_string();
        let [flag, folder] = cached(home);
        let file = std::fs::read_dir(&folder)?.next().context("a cache")??.path();
        let old = std::time::SystemTime::now() - Duration::from_secs(7200);
        std::fs::File::options().write(true).open(&file)?.set_modified(old)?;
        let flags = [&flag, folder.as_str(), "--max-stale", "1h", "--retry-for", "300ms"];

        let mut agent = start_agent_with(home, &address, &flags)?;
        assert_eq!(agent.program.exit().await?, Exit::Code(6));
        let log = agent.program.log();
        assert!(log.contains("max_stale is 1h"), "{log}");
        assert!(log.contains("did not tell within 300ms"), "{log}");

        let mut bytes = std::fs::read(&file)?;
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        write_file(&file, bytes)?;
        let mut agent = start_agent_with(home, &address, &flags)?;
        assert_eq!(agent.program.exit().await?, Exit::Code(6));
        assert!(agent.program.log().contains("is damaged"), "{}", agent.program.log());
        assert!(!home.path("page").exists(), "nothing is blank");
        Ok(())
    });
}

#[test]
fn agents_spread_over_two_addresses_and_take_the_one_that_is_up() {
    alone(Duration::from_secs(120), async |home| {
        let server = Server::start(home).await?;
        server.put("app/colour", "red").await?;
        let links = [Link::to(&server.address).await?, Link::to(&server.address).await?];
        let both = format!("{},{}", links[0].address, links[1].address);
        let source = home.write("page.hbs", "{{key \"app/colour\"}}")?;
        let files = format!("{}:{}", source.display(), home.path("page").display());
        let once = async || {
            let mut once = Agent::ask(home, &["once", "-t", &files, "--addr", &both, "--retry-for", "60s"])?;
            let exit = once.exit().await?;
            anyhow::ensure!(exit == Exit::Code(0), "{exit:?}\n{}", once.log());
            Ok(())
        };
        let made = || links.each_ref().map(|link| link.made.load(Ordering::Relaxed));
        // That all of them have the same order by chance happens once in a million times.
        for _ in 0..21 {
            once().await?;
        }
        anyhow::ensure!(made().into_iter().all(|count| count > 0), "{:?}", made());

        // Whichever of the two is down, and whichever comes first.
        for down in [0, 1] {
            links[down].cut();
            let before = made();
            while made()[down] == before[down] {
                once().await?;
            }
            links[down].mend();
        }

        // One that runs goes on at the other address, and back.
        let mut agent = start_agent(home, &both)?;
        let shows = async |text: &str| {
            server.put("app/colour", text.to_owned()).await?;
            holds("the page", async || home.read("page").is_ok_and(|page| page == text)).await
        };
        shows("green").await?;
        for (down, text) in [(0, "blue"), (1, "white"), (0, "black")] {
            links[1 - down].mend();
            links[down].cut();
            shows(text).await?;
        }
        agent.stop().await?;
        Ok(())
    });
}
