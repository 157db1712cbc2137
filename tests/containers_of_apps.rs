//! Apps with images through the whole scheduler, with a real Docker Engine; either is killed in the middle of a roll.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::containers::copy_static;
use crate::harness::dev::Dev;
use crate::harness::{Containers, Docker, Exit, Home, Options, Server, alone, ask, eventually, holds};

const BOUND: Duration = Duration::from_secs(300);

/// The store's socket for agents, alone in its folder.
const AGENTS: &str = "agents/agent.sock";

/// A store with a socket for agents, a Docker Engine with two versions of an image, a container that is nobody's, and a
/// scheduler.
struct Scene {
    docker: Docker,
    server: Server,
    dev: Dev,
    stranger: String,
}

impl Scene {
    async fn start(home: &Home, containers: Containers) -> anyhow::Result<Option<Self>> {
        let Some(docker) = Docker::with_network(home, containers).await? else {
            return Ok(None);
        };
        copy_static(home, "keyway", "image")?;
        home.write("image/app.conf", "greeting = nobody changes me\nlimit = 5\n")?;
        home.write(
            "image/Dockerfile",
            "FROM scratch\nCOPY keyway app.conf /\nENTRYPOINT [\"/keyway\"]\n",
        )?;
        let folder = home.path("image").display().to_string();
        docker
            .run(home, &["build", "-q", "-t", "app:1", "-t", "app:2", &folder])
            .await?;
        let words = ["run", "-d", "--name", "stranger", "--network", "none", "app:1"];
        let program = ["demo-app", "--config", "/app.conf"];
        let stranger = docker.run(home, &[&words[..], &program[..]].concat()).await?;
        let socket = home.path(AGENTS).display().to_string();
        std::fs::create_dir(home.path("agents"))?;
        let options = Options {
            flags: vec!["--agent-socket".into(), socket],
            ..Options::default()
        };
        let server = Server::with(home, options).await?;
        server.put("app/greeting", "hello").await?;
        let dev = scheduler(home, &server, "scheduler").await?;
        Ok(Some(Self {
            docker,
            server,
            dev,
            stranger,
        }))
    }

    async fn tasks(&self) -> anyhow::Result<Vec<Value>> {
        let json = self.dev.api.get("/v2/apps/web").await?;
        Ok(json["app"]["tasks"].as_array().cloned().unwrap_or_default())
    }

    /// The names of all containers that a scheduler has made, or of those that run.
    async fn containers(&self, home: &Home, flags: &[&str]) -> anyhow::Result<BTreeSet<String>> {
        let words = ["ps", "--filter", "label=keyway.task", "--format", "{{.Names}}"];
        let listed = self.docker.run(home, &[&words, flags].concat()).await?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    /// Three instances are well, each answers at its port with these words, and nothing else of ours is there.
    async fn is_whole(&self, home: &Home, words: &str) -> anyhow::Result<()> {
        let tasks = self.tasks().await?;
        let names: BTreeSet<String> = tasks
            .iter()
            .filter_map(|task| task["id"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(names.len(), 3, "{tasks:?}");
        holds("there are as many containers as tasks", async || {
            let (all, running) = (self.containers(home, &["-a"]).await, self.containers(home, &[]).await);
            all.is_ok_and(|all| all == names) && running.is_ok_and(|running| running == names)
        })
        .await?;
        for task in &tasks {
            let port = task["ports"][0].as_u64().and_then(|port| u16::try_from(port).ok());
            let port = port.context("a port")?;
            holds(&format!("{task} says `{words}`"), async || {
                says(port).await.is_some_and(|text| text.contains(words))
            })
            .await?;
            let name = task["id"].as_str().context("a name")?;
            let published = self.docker.run(home, &["port", name, "8080/tcp"]).await?;
            assert_eq!(published, format!("127.0.0.1:{port}"));
        }
        Ok(())
    }

    /// The tasks whose containers have been started since the Engine runs, as often as they were.
    async fn starts(&self, home: &Home) -> anyhow::Result<Vec<String>> {
        // It tells until then, and what has happened is in it.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let until = (now.as_secs() + 1).to_string();
        let words = [
            "events",
            "--since",
            "1h",
            "--until",
            &until,
            "--format",
            "{{.Actor.Attributes.name}}",
        ];
        let filters = [
            "--filter",
            "type=container",
            "--filter",
            "event=start",
            "--filter",
            "label=keyway.task",
        ];
        let told = self.docker.run(home, &[&words[..], &filters].concat()).await?;
        Ok(told.lines().map(str::to_owned).collect())
    }

    async fn end(mut self, home: &Home) -> anyhow::Result<()> {
        self.dev.program.signal(Signal::SIGTERM)?;
        assert_eq!(self.dev.program.exit().await?, Exit::Code(0));
        drop(self.server);
        self.docker.end(home).await
    }
}

/// One for the store and the Engine of a test; it leads.
async fn scheduler(home: &Home, server: &Server, name: &str) -> anyhow::Result<Dev> {
    let engine = home.path("docker.sock").display().to_string();
    let agents = format!("unix://{}", home.path(AGENTS).display());
    let flags = ["--docker-socket", &engine, "--agent-addr", &agents];
    let dev = Dev::alone_with(home, name, &server.address.to_string(), "tasks", &flags).await?;
    holds("it leads", async || dev.api.get("/v2/apps").await.is_ok()).await?;
    Ok(dev)
}

/// What an instance says at a port.
async fn says(port: u16) -> Option<String> {
    let asked = tokio::task::spawn_blocking(move || ask(TcpStream::connect(("127.0.0.1", port)).ok()?).ok());
    asked.await.ok()?
}

fn app(home: &Home) -> anyhow::Result<Value> {
    let template = home.write("app.conf.hbs", "greeting = {{key \"app/greeting\"}}\nlimit = 5\n")?;
    Ok(json!({
        "id": "/web", "instances": 3, "cpus": 0.1, "mem": 128,
        "args": ["demo-app", "--config", "/settings/app.conf", "--listen", "0.0.0.0:8080"],
        "container": {
            "type": "DOCKER", "docker": { "image": "app:1" },
            "portMappings": [{ "containerPort": 8080, "hostPort": 0, "name": "http" }],
        },
        "networks": [{ "mode": "container/bridge" }],
        "labels": {
            "KEYWAY_TEMPLATE": format!("{}:/settings/app.conf", template.display()),
            "KEYWAY_ON_CHANGE": "signal=HUP",
        },
        "healthChecks": [{
            "protocol": "HTTP", "path": "/", "portIndex": 0, "gracePeriodSeconds": 60, "intervalSeconds": 1,
        }],
        "upgradeStrategy": { "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.4 },
    }))
}

/// What is killed in the middle of a roll, by KILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Killed {
    /// The Engine, and what becomes of the containers then.
    Engine(Containers),
    /// The scheduler; another one comes.
    Scheduler,
}

/// Case 73. The containers live on without their Engine.
#[test]
fn the_engine_is_killed_in_a_roll_and_no_container_is_started_twice_or_forgotten() {
    alone(BOUND, async |home| roll(home, Killed::Engine(Containers::Live)).await);
}

/// The containers end with it.
#[test]
fn the_engine_and_all_its_containers_are_killed_in_a_roll_and_the_roll_ends_right() {
    alone(BOUND, async |home| roll(home, Killed::Engine(Containers::End)).await);
}

#[test]
fn the_scheduler_is_killed_in_a_roll_and_another_starts_no_container_twice_and_forgets_none() {
    alone(BOUND, async |home| roll(home, Killed::Scheduler).await);
}

async fn roll(home: &Home, killed: Killed) -> anyhow::Result<()> {
    let containers = match killed {
        Killed::Engine(containers) => containers,
        Killed::Scheduler => Containers::Live,
    };
    let Some(mut scene) = Scene::start(home, containers).await? else {
        return Ok(());
    };
    let first = app(home)?;
    let deployment = scene.dev.api.change("PUT", "/v2/apps/web", &first).await?;
    scene.dev.api.done(&deployment).await?;
    scene.is_whole(home, "hello").await?;
    scene.server.put("app/greeting", "good day").await?;
    scene.is_whole(home, "good day").await?;
    let before = scene.containers(home, &[]).await?;

    let mut second = first;
    second["container"]["docker"]["image"] = json!("app:2");
    let deployment = scene.dev.api.change("PUT", "/v2/apps/web", &second).await?;
    eventually("the roll is in its middle", async || {
        let running = scene.containers(home, &[]).await.ok()?;
        (!running.is_subset(&before) && !running.is_disjoint(&before)).then_some(())
    })
    .await?;
    match killed {
        Killed::Engine(_) => scene.docker.kill(home).await?,
        Killed::Scheduler => {
            scene.dev.program.kill().await?;
            scene.dev = scheduler(home, &scene.server, "another").await?;
        }
    }
    scene.dev.api.done(&deployment).await?;

    scene.is_whole(home, "good day").await?;
    let after = scene.containers(home, &["-a"]).await?;
    assert!(after.is_disjoint(&before));
    if killed == Killed::Scheduler {
        // Each once, and none that was not needed: what was under way was gone on with.
        let mut starts = scene.starts(home).await?;
        starts.sort();
        assert!(
            starts.iter().eq(before.union(&after)),
            "{starts:?}, {before:?}, {after:?}"
        );
    }
    let ask = [
        "inspect",
        "-f",
        "{{.Id}} {{.State.Running}} {{.RestartCount}}",
        "stranger",
    ];
    let stranger = scene.docker.run(home, &ask).await?;
    let lives = containers == Containers::Live;
    assert_eq!(stranger, format!("{} {lives} 0", scene.stranger));

    let gone = scene.dev.api.change("DELETE", "/v2/apps/web", &Value::Null).await?;
    scene.dev.api.done(&gone).await?;
    holds("nothing of ours is left", async || {
        scene.containers(home, &["-a"]).await.is_ok_and(|all| all.is_empty())
    })
    .await?;
    ends(&scene).await?;
    is_missing(home, &scene).await?;
    scene.end(home).await
}

/// Nothing is to be rendered in them, and their image knows nothing of an agent.
#[test]
fn every_container_has_an_agent_that_reports_unless_its_app_wants_none() {
    alone(BOUND, async |home| {
        let Some(scene) = Scene::start(home, Containers::End).await? else {
            return Ok(());
        };
        let mut plain = json!({
            "id": "/plain", "instances": 2, "cpus": 0.1, "mem": 128,
            "args": ["demo-app", "--config", "/app.conf"],
            // One who may write nowhere.
            "container": {
                "type": "DOCKER", "docker": { "image": "app:1", "parameters": [{ "key": "user", "value": "1000" }] },
            },
            "networks": [{ "mode": "container/bridge" }],
        });
        let deployment = scene.dev.api.change("PUT", "/v2/apps/plain", &plain).await?;
        scene.dev.api.done(&deployment).await?;
        let first_words = async |app: &str| {
            let json = scene.dev.api.get(&format!("/v1/apps{app}/instances")).await?;
            let mut words = Vec::new();
            for instance in json["instances"].as_array().into_iter().flatten() {
                let name = instance["task"].as_str().context("a name")?;
                let first = scene.docker.first(home, name).await?;
                let line = std::fs::read_to_string(format!("/proc/{}/cmdline", first.pid))?;
                words.push(line.split('\0').next().unwrap_or_default().to_owned());
            }
            anyhow::Ok(words)
        };
        assert_eq!(first_words("/plain").await?, ["/.keyway/agent"; 2]);
        let reports = async |app: &str, say: &dyn Fn(&Value) -> bool| {
            let json = scene.dev.api.get(&format!("/v1/apps{app}/instances")).await;
            json.is_ok_and(|json| json["instances"].as_array().is_some_and(|all| all.iter().all(say)))
        };
        holds("their agents report", async || {
            reports("/plain", &|one| one["agent_state"].is_string()).await
        })
        .await?;

        plain["labels"] = json!({ "KEYWAY_AGENT": "off" });
        let deployment = scene.dev.api.change("PUT", "/v2/apps/plain", &plain).await?;
        scene.dev.api.done(&deployment).await?;
        holds("they have no agent any more", async || {
            first_words("/plain").await.is_ok_and(|words| words == ["/keyway"; 2])
        })
        .await?;

        let deployment = scene.dev.api.change("PUT", "/v2/apps/web", &app(home)?).await?;
        scene.dev.api.done(&deployment).await?;
        let revision = scene.server.revision("app/greeting").await?;
        holds(
            "the view has what each has rendered, and from which revision",
            async || {
                reports("/web", &|one| {
                    let hash = &one["files"][0]["sha256"];
                    one["settings_revision"].as_u64() >= Some(revision) && hash.is_string()
                })
                .await
            },
        )
        .await?;
        scene.end(home).await
    });
}

/// An image that the Engine does not have, and that nobody gives it, is a reason in the queue and on the command line.
async fn is_missing(home: &Home, scene: &Scene) -> anyhow::Result<()> {
    let image = "127.0.0.1:1/nobody/has-this:1";
    let app = json!({
        "id": "/missing", "cpus": 0.1, "mem": 64, "container": { "type": "DOCKER", "docker": { "image": image } },
    });
    scene.dev.api.change("PUT", "/v2/apps/missing", &app).await?;
    let words = format!("the image {image} cannot be had: ");
    let mut last = Value::Null;
    let queue = eventually("the queue says why", async || {
        last = scene.dev.api.get("/v2/queue").await.ok()?;
        let reasons = &last["queue"][0]["processedOffersSummary"]["rejectSummaryLastOffers"];
        reasons[0]["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains(&words))
            .then_some(())
    });
    queue.await.with_context(|| last.to_string())?;
    let status = eventually("the command line says it too", async || {
        let said = scene
            .dev
            .keyway(home)
            .run(&["deploy", "status", "/missing"])
            .await
            .ok()?;
        format!("{}{}", said.text(), said.err).contains(&words).then_some(())
    });
    status.await?;
    let gone = scene
        .dev
        .api
        .change("DELETE", "/v2/apps/missing?force=true", &Value::Null)
        .await?;
    scene.dev.api.done(&gone).await
}

/// How a program ended in a container is told with its code and its last words.
async fn ends(scene: &Scene) -> anyhow::Result<()> {
    let api = &scene.dev.api;
    for (id, arguments, state, message, words) in [
        (
            "bad",
            json!(["demo-app", "--config", "/nothing"]),
            "TASK_FAILED",
            "it ended with code 3",
            "/nothing",
        ),
        (
            "well",
            json!(["--version"]),
            "TASK_FINISHED",
            "it ended by itself",
            "keyway ",
        ),
    ] {
        let app = json!({
            "id": format!("/{id}"), "instances": 1, "cpus": 0.1, "mem": 64, "args": arguments,
            "container": { "type": "DOCKER", "docker": { "image": "app:1" } },
            "networks": [{ "mode": "host" }],
        });
        let path = format!("/v2/apps/{id}");
        api.change("PUT", &path, &app).await?;
        let failure = eventually("its end is told", async || {
            let json = api.get(&path).await.ok()?;
            let failure = json["app"]["lastTaskFailure"].clone();
            failure.is_object().then_some(failure)
        })
        .await?;
        assert_eq!(failure["state"], state, "{failure}");
        let told = failure["message"].as_str().unwrap_or_default();
        assert!(told.contains(message), "{failure}");
        let logs = format!("/v1/tasks/{}/logs", failure["taskId"].as_str().unwrap_or_default());
        let said = api.text(&logs).await?;
        assert!(said.contains(words), "{said}");
        api.changed("DELETE", &format!("{path}?force=true"), &Value::Null)
            .await?;
    }
    Ok(())
}
