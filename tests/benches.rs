//! `keyway bench`: what it measures, and that nothing is left of what it started.

use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::deploying::processes;
use crate::harness::{Containers, Docker, Exit, Keyway, Server, alone, holds, long, test};
use crate::microbots::{IMAGE, build};

#[test]
fn bench_measures_any_server_and_says_so_in_json() {
    test(async |home| {
        let server = Server::start(home).await?;
        let load = ["--clients", "4", "--duration", "200ms"];
        let watch = ["--streams", "5", "--rounds", "3"];
        let render = ["--templates", "4", "--readers", "1,4", "--rounds", "3"];
        let fleet = ["--agents", "3", "--keys", "5", "--by", "prefix", "--rounds", "3"];
        for arguments in [
            ["put"].iter().chain(&load).collect::<Vec<_>>(),
            ["get"].iter().chain(&load).collect(),
            ["watch"].iter().chain(&watch).collect(),
            ["watch", "--blocking"].iter().chain(&watch).collect(),
            ["render"].iter().chain(&render).collect(),
            ["render"].iter().chain(&fleet).collect(),
        ] {
            let mut all = vec!["bench", "-o", "json"];
            all.extend(arguments);
            let said = server.keyway(home).run(&all).await?.expect(0)?;
            serde_json::from_slice::<Value>(&said.out).with_context(|| format!("{all:?}: {}", said.text()))?;
        }
        Ok(())
    });
}

#[test]
fn bench_starts_as_many_servers_as_it_is_told_to_and_asks_those_it_is_told_to() {
    test(async |home| {
        for (ask, count) in [("leader", 1), ("follower", 1), ("all", 3)] {
            let load = ["--clients", "4", "--duration", "200ms", "--servers", "3", "--ask", ask];
            let all = [&["bench", "put", "-o", "json"], &load[..]].concat();
            let said = Keyway::new(home).run(&all).await?.expect(0)?.json()?;
            let asked = said["about"]["address"].as_str().unwrap_or_default();
            assert_eq!(asked.split(',').count(), count, "{said}");
        }
        Ok(())
    });
}

#[test]
fn bench_kills_leaders_and_says_how_long_no_write_was_taken() {
    alone(Duration::from_secs(180), async |home| {
        let arguments = ["bench", "failover", "--rounds", "2", "--clients", "4", "-o", "json"];
        let said = Keyway::new(home).run(&arguments).await?.expect(0)?.json()?;
        let [killed, writes, ..] = said["lines"].as_array().map_or(&[][..], Vec::as_slice) else {
            anyhow::bail!("{said}");
        };
        assert_eq!(killed["kills"], 2, "{said}");
        let ms = |name: &str| killed[name].as_f64().unwrap_or_default();
        // The others stay true to a leader for a second, and nobody is elected before.
        assert!(ms("min_ms") > 500.0 && ms("min_ms") <= ms("median_ms"), "{said}");
        assert!(ms("median_ms") <= ms("max_ms") && ms("max_ms") < 30_000.0, "{said}");
        assert!(writes["acknowledged"].as_u64() > Some(20), "{said}");
        assert_eq!(
            writes["unknown"], 0,
            "the clients repeat what was lost, under its request id: {said}"
        );

        let named = Keyway::new(home)
            .run(&["bench", "failover", "--addr", "http://127.0.0.1:1"])
            .await?;
        let refused = named.expect(2)?;
        assert!(
            refused
                .err
                .contains("servers that somebody else started are not killed")
        );
        Ok(())
    });
}

/// A figure of a run; 0 if it is not there.
fn figure(said: &Value, what: &str, name: &str) -> f64 {
    let mut lines = said["lines"].as_array().into_iter().flatten();
    let line = lines.find(|line| line["what"] == what);
    line.and_then(|line| line[name].as_f64()).unwrap_or_default()
}

#[test]
fn bench_deploys_rolls_and_says_what_it_took() {
    alone(Duration::from_secs(120), async |home| {
        let folder = home.path("").display().to_string();
        let arguments = [
            "bench",
            "deploy",
            "--instances",
            "4",
            "--by",
            "2",
            "--dir",
            &folder,
            "-o",
            "json",
        ];
        let said = Keyway::new(home).run(&arguments).await?.expect(0)?.json()?;
        for (what, name) in [
            ("deployed", "seconds"),
            ("at rest", "agent_mib"),
            ("GET /v2/apps?embed=apps.tasks", "p99_ms"),
            ("put, until the last is signalled", "seconds"),
            ("rolled", "seconds"),
            ("GET /v2/apps?embed=apps.tasks, while it rolls", "p99_ms"),
            ("all stopped", "seconds"),
            ("healthy, until haproxy leads to it", "p50_ms"),
        ] {
            assert!(figure(&said, what, name) > 0.0, "{what}: {said}");
        }

        let named = ["bench", "deploy", "--addr", "http://127.0.0.1:1"];
        let refused = Keyway::new(home).run(&named).await?.expect(2)?;
        assert!(
            refused
                .err
                .contains("nothing is deployed on what somebody else started"),
            "{}",
            refused.err
        );
        Ok(())
    });
}

/// Beside what the Engine alone takes, and nothing is left.
#[test]
fn bench_deploys_containers_and_says_what_the_engine_alone_takes() {
    alone(Duration::from_secs(900), async |home| {
        let Some(docker) = Docker::with_network(home, Containers::End).await? else {
            return Ok(());
        };
        build(home, &docker).await?;
        let folder = home.path("").display().to_string();
        let socket = home.path("docker.sock").display().to_string();
        let deploy = [
            "bench",
            "deploy",
            "--instances",
            long("3", "100"),
            "--by",
            long("1", "10"),
            "--dir",
            &folder,
            "-o",
            "json",
        ];
        let image = ["--image", IMAGE, "--docker-socket", &socket];
        let said = Keyway::new(home)
            .run(&[&deploy[..], &image[..]].concat())
            .await?
            .expect(0)?
            .json()?;
        println!("{said:#}");
        for (what, name) in [
            ("deployed", "seconds"),
            ("at rest", "agent_mib"),
            ("rolled", "seconds"),
            ("GET /v2/apps?embed=apps.tasks, while it rolls", "p99_ms"),
            ("all stopped", "seconds"),
            ("yardstick: the Engine alone, created and started", "seconds"),
            ("yardstick: the Engine alone, stopped and removed", "seconds"),
        ] {
            assert!(figure(&said, what, name) > 0.0, "{what}: {said}");
        }
        let seconds = |what: &str| figure(&said, what, "seconds");
        let ratio = figure(&said, "ours to the Engine alone", "deploy_ratio");
        let wanted = seconds("deployed") / seconds("yardstick: the Engine alone, created and started");
        assert!((ratio - wanted).abs() < 1e-6, "{ratio} is not {wanted}: {said}");
        assert_eq!(docker.run(home, &["ps", "-aq"]).await?, "");
        docker.end(home).await
    });
}

#[test]
fn bench_deploy_that_is_interrupted_leaves_nothing_of_what_it_has_deployed() {
    alone(Duration::from_secs(60), async |home| {
        let folder = home.path("").display().to_string();
        let deploy = ["bench", "deploy", "--instances", "4", "--dir", &folder];
        let mut bench = Keyway::new(home).start(home, "bench", &deploy)?;
        // Each is an agent and a server.
        holds("all run", async || processes(home).len() >= 8).await?;

        bench.signal(Signal::SIGINT)?;

        assert_eq!(bench.exit().await?, Exit::Code(130), "{}", bench.log());
        holds("no process is left", async || processes(home).is_empty()).await
    });
}
