//! Secrets of apps: in the program's environment and in its files, and nowhere else.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use kvapi::Consistency;
use serde_json::{Value, json};

use crate::containers_of_tasks::import_small;
use crate::harness::dev::{Api, Dev};
use crate::harness::{Docker, Home, Keyway, Options, Server, alone, by_environment, eventually, holds, test};

/// Every secret of these tests begins so.
const MARK: &str = "marked-";

/// No text, and so no variable.
const BINARY: &[u8] = b"marked-\0\xff-key";

/// A store that agents reach by a socket, and a scheduler.
async fn start(home: &Home, flags: &[&str]) -> anyhow::Result<(Server, Dev)> {
    std::fs::create_dir(home.path("agents"))?;
    let socket = home.path("agents/agent.sock").display().to_string();
    let options = Options {
        flags: vec!["--agent-socket".into(), socket.clone()],
        ..Options::default()
    };
    let server = Server::with(home, options).await?;
    let agents = format!("unix://{socket}");
    let flags = [&["-vv", "--agent-addr", &agents], flags].concat();
    let dev = Dev::alone_with(home, "scheduler", &server.address.to_string(), "tasks", &flags).await?;
    holds("it leads", async || dev.api.get("/v2/apps").await.is_ok()).await?;
    Ok((server, dev))
}

async fn put(dev: &Dev, home: &Home, source: &str, value: &[u8]) -> anyhow::Result<()> {
    let key = format!("_keyway/secrets/{source}");
    let put = dev.keyway(home).stdin(value);
    put.run(&["kv", "put", &key, "-"]).await?.expect(0)?;
    Ok(())
}

/// Why an app's only instance does not start, once that has this part.
async fn waits(api: &Api, app: &str, part: &str) -> anyhow::Result<String> {
    eventually(&format!("{app} waits for {part}"), async || {
        let json = api.get("/v2/queue").await.ok()?;
        let item = json["queue"].as_array()?.iter().find(|item| item["app"]["id"] == app)?;
        let reason = item["processedOffersSummary"]["rejectSummaryLastOffers"][0]["reason"].as_str()?;
        reason.contains(part).then(|| reason.to_owned())
    })
    .await
}

/// All that the scheduler's event stream says from now on.
fn listen(api: &Api) -> anyhow::Result<Arc<Mutex<Vec<u8>>>> {
    let mut stream = TcpStream::connect(api.address.trim_start_matches("http://"))?;
    stream.write_all(b"GET /v2/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")?;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&heard);
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut piece) {
            all.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(&piece[..read]);
        }
    });
    Ok(heard)
}

fn text(heard: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&heard.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

/// Everything that the scheduler says of its apps, and everything that the store has but the secrets themselves.
async fn everything(server: &Server, dev: &Dev) -> anyhow::Result<String> {
    let mut all = dev.program.log() + &dev.program.output() + &server.program.log();
    for path in [
        "/v2/apps?embed=apps.tasks&embed=apps.taskStats&embed=apps.lastTaskFailure",
        "/v2/tasks",
        "/v2/queue",
        "/v2/groups",
        "/v2/deployments",
        "/v2/apps/web/versions",
        "/v1/apps/web/instances",
        "/v1/deployments",
    ] {
        all += &dev.api.get(path).await?.to_string();
    }
    let rows = server.client().list("_keyway/", Consistency::Default).await?.value;
    let others: Vec<_> = rows
        .iter()
        .filter(|row| !row.key.starts_with("_keyway/secrets/"))
        .collect();
    anyhow::ensure!(others.len() < rows.len(), "the secrets are there: {others:?}");
    for row in others {
        all += &format!("{} {}\n", row.key, String::from_utf8_lossy(&row.value));
    }
    Ok(all)
}

fn app(home: &Home) -> Value {
    let (keyway, got) = (env!("CARGO_BIN_EXE_keyway"), home.path("got").display().to_string());
    let line = format!(
        "'{keyway}' kv get _keyway/secrets/shop/db >'{got}.peek' 2>&1; echo $? >'{got}.code'; \
         cat conf/key >'{got}.key'; printf %s \"$PASSWORD\" >'{got}.new'; mv '{got}.new' '{got}'; exec sleep 1000"
    );
    json!({
        "id": "/web", "instances": 1, "cpus": 0.1, "mem": 64, "cmd": line,
        "env": { "PASSWORD": { "secret": "db" } },
        "secrets": { "db": { "source": "shop/db" }, "key": { "source": "/shop/key" } },
        "container": { "type": "MESOS", "volumes": [{ "containerPath": "/conf/key", "secret": "key" }] },
    })
}

/// Waits until the program has this as its variable.
async fn got(home: &Home, what: &str) -> anyhow::Result<()> {
    holds(&format!("it has {what}"), async || {
        home.read("got").is_ok_and(|got| got == what)
    })
    .await
}

#[test]
fn a_process_has_its_secrets_and_nothing_else_shows_them() {
    test(async |home| {
        let (server, dev) = start(home, &[]).await?;
        let heard = listen(&dev.api)?;
        let deployment = dev.api.change("PUT", "/v2/apps/web", &app(home)).await?;
        let reason = waits(&dev.api, "/web", "shop/db").await?;
        assert!(reason.contains("`keyway kv put _keyway/secrets/shop/db "), "{reason}");
        let said = dev.keyway(home).run(&["deploy", "status", "/web"]).await?;
        assert!(said.text().contains("_keyway/secrets/shop/db has no value"), "{said:?}");

        put(&dev, home, "shop/db", b"marked-first").await?;
        waits(&dev.api, "/web", "shop/key").await?;
        put(&dev, home, "shop/key", BINARY).await?;
        dev.api.done(&deployment).await?;

        got(home, "marked-first").await?;
        assert_eq!(std::fs::read(home.path("got.key"))?, BINARY);
        assert_ne!(
            home.read("got.code")?.trim(),
            "0",
            "its agent's socket shows no secrets"
        );
        assert!(!home.read("got.peek")?.contains(MARK), "{}", home.read("got.peek")?);
        let tasks = dev.api.get("/v2/apps/web/tasks").await?;
        let task = tasks["tasks"][0]["id"].as_str().context("a task")?.to_owned();
        let file = home.path("tasks/tasks").join(&task).join("conf/key");
        assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o400);

        let there = by_environment("KEYWAY_TASK", &task);
        assert!(!there.is_empty(), "it runs");
        for process in there {
            let words = std::fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).into_owned();
            assert!(!words.contains(MARK), "{words}");
        }

        put(&dev, home, "shop/db", b"marked-second").await?;
        let json = dev.api.get("/v2/apps/web/tasks").await?;
        assert_eq!(json["tasks"][0]["id"], task.as_str(), "what runs keeps what it has");
        let restart = dev.api.change("POST", "/v2/apps/web/restart", &Value::Null).await?;
        dev.api.done(&restart).await?;
        got(home, "marked-second").await?;

        let mut bad = app(home);
        (bad["id"], bad["env"]["PASSWORD"]["secret"]) = (json!("/bad"), json!("key"));
        dev.api.change("PUT", "/v2/apps/bad", &bad).await?;
        waits(&dev.api, "/bad", "cannot be the variable PASSWORD: it is no UTF-8").await?;

        let all = everything(&server, &dev).await?;
        assert!(!all.contains(MARK), "{all}");
        holds("its deployment is told", async || {
            text(&heard).contains("deployment_success")
        })
        .await?;
        assert!(!text(&heard).contains(MARK), "{}", text(&heard));
        let gone = dev.api.change("DELETE", "/v2/apps/web", &Value::Null).await?;
        dev.api.done(&gone).await?;
        holds("no file is left", async || {
            let folders = std::fs::read_dir(home.path("tasks/tasks"));
            folders.is_ok_and(|all| all.flatten().all(|folder| !folder.path().join("conf/key").exists()))
        })
        .await
    });
}

#[test]
fn a_container_has_its_secrets_as_variables_and_as_files_of_its_user() {
    alone(std::time::Duration::from_secs(180), async |home| {
        let Some(docker) = Docker::start(home).await? else {
            return Ok(());
        };
        import_small(home, &docker).await?;
        let socket = home.path("docker.sock").display().to_string();
        let (server, dev) = start(home, &["--docker-socket", &socket]).await?;
        put(&dev, home, "shop/db", b"marked-first").await?;
        put(&dev, home, "shop/key", BINARY).await?;
        let app = json!({
            "id": "/web", "instances": 1, "cpus": 0.1, "mem": 64, "user": "1234",
            "cmd": "echo \"has $PASSWORD\"; cat /conf/key; echo; exec sleep 1000",
            "env": { "PASSWORD": { "secret": "db" } },
            "secrets": { "db": { "source": "shop/db" }, "key": { "source": "shop/key" } },
            "container": {
                "type": "DOCKER", "docker": { "image": "small" },
                "volumes": [{ "containerPath": "/conf/key", "secret": "key" }],
            },
        });

        let deployment = dev.api.change("PUT", "/v2/apps/web", &app).await?;
        dev.api.done(&deployment).await?;

        let tasks = dev.api.get("/v2/apps/web/tasks").await?;
        let task = tasks["tasks"][0]["id"].as_str().context("a task")?.to_owned();
        let said = docker.says(home, &task, "-key").await?;
        assert!(said.contains("has marked-first"), "{said}");
        let files: Vec<_> = std::fs::read_dir(home.path("tasks/secrets").join(&task))?.collect::<Result<_, _>>()?;
        assert_eq!(files.len(), 1);
        let about = files[0].metadata()?;
        assert_eq!((about.permissions().mode() & 0o777, about.uid()), (0o400, 1234));
        let shown = "{{json .Path}} {{json .Args}} {{json .Config.Labels}} {{json .HostConfig}} {{json .Mounts}}";
        let shown = docker.run(home, &["inspect", "-f", shown, &task]).await?;
        assert!(shown.contains("/conf/key") && !shown.contains(MARK), "{shown}");
        let all = everything(&server, &dev).await?;
        assert!(!all.contains(MARK), "{all}");

        let mut named = app.clone();
        (named["id"], named["user"]) = (json!("/named"), json!("somebody"));
        dev.api.change("PUT", "/v2/apps/named", &named).await?;
        waits(&dev.api, "/named", "say user by its number").await?;
        for id in ["/web", "/named"] {
            let path = format!("/v2/apps{id}?force=true");
            let gone = dev.api.change("DELETE", &path, &Value::Null).await?;
            dev.api.done(&gone).await?;
        }
        holds("no file is left", async || {
            std::fs::read_dir(home.path("tasks/secrets")).is_ok_and(|mut all| all.next().is_none())
        })
        .await?;
        docker.end(home).await
    });
}

#[test]
fn containers_are_never_given_the_socket_at_which_everything_may_be_written() {
    test(async |home| {
        let folder = home.path("tasks").display().to_string();
        let engine = home.path("docker.sock").display().to_string();
        let keyway = || Keyway::new(home).addr("unix:///run/keyway/whole.sock");
        let flags = ["scheduler", "--state-dir", &folder, "--http-addr", "127.0.0.1:0"];

        let said = keyway()
            .run(&[&flags[..], &["--docker-socket", &engine]].concat())
            .await?
            .expect(2)?;

        assert!(
            said.err.contains("/run/keyway/whole.sock") && said.err.contains("--agent-addr"),
            "{}",
            said.err
        );
        Ok(())
    });
}
