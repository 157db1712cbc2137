//! A registry that tells of pushes, and pushes by a script: both roll apps, and go back from what fails.

use std::time::Duration;

use anyhow::Context as _;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::containers::copy_static;
use crate::containers_of_tasks::import_small;
use crate::harness::dev::{Api, Dev};
use crate::harness::{Docker, Exit, Home, Program, Said, Server, alone, ask, command, eventually_within, test};

const BOUND: Duration = Duration::from_secs(180);
const HOOK: &str = "/v1/hooks/registry";

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn push(tag: &str, digest: &str) -> Value {
    json!({ "events": [{
        "id": "1", "action": "push", "request": { "host": "registry:5000" },
        "target": { "repository": "shop/web", "tag": tag, "digest": digest },
    }] })
}

async fn tell(api: &Api, secret: Option<&str>, body: &Value) -> anyhow::Result<(u16, Value)> {
    let mut headers = HeaderMap::new();
    if let Some(secret) = secret {
        headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {secret}"))?);
    }
    api.ask_with(headers, "POST", HOOK, body).await
}

async fn image(api: &Api, app: &str) -> anyhow::Result<String> {
    let json = api.get(&format!("/v2/apps{app}")).await?;
    let image = json["app"]["container"]["docker"]["image"].as_str();
    image.map(str::to_owned).context("an image")
}

#[test]
fn a_push_concerns_the_apps_of_its_tag_and_nothing_else_changes_anything() {
    test(async |home| {
        let file = home.write("secret", "open sesame\n")?.display().to_string();
        let dev = Dev::start(home, "dev", &["--registry-secret-file", &file]).await?;
        for (app, name) in [
            ("/web", "registry:5000/shop/web:1"),
            ("/next", "registry:5000/shop/web:2"),
            ("/other", "elsewhere/shop/web:1"),
        ] {
            let body = json!({ "instances": 0, "container": { "type": "DOCKER", "docker": { "image": name } } });
            let deployment = dev.api.change("PUT", &format!("/v2/apps{app}"), &body).await?;
            dev.api.done(&deployment).await?;
        }

        for secret in [None, Some("open"), Some("open sesame!"), Some("")] {
            let (status, json) = tell(&dev.api, secret, &push("1", &digest('1'))).await?;
            assert_eq!(status, 401, "{json}");
            assert!(!json.to_string().contains("sesame"), "{json}");
        }
        for (body, status, place) in [
            (json!({ "events": 7 }), 422, "/events"),
            (push("1", "sha256:12"), 422, "/events/0/target/digest"),
        ] {
            let (answered, json) = tell(&dev.api, Some("open sesame"), &body).await?;
            assert_eq!(
                (answered, &json["details"][0]["path"]),
                (status, &json!(place)),
                "{json}"
            );
        }
        assert_eq!(image(&dev.api, "/web").await?, "registry:5000/shop/web:1");

        let (status, json) = tell(&dev.api, Some("open sesame"), &push("1", &digest('1'))).await?;
        assert_eq!(
            (status, &json["deployments"][0]["app"]),
            (200, &json!("/web")),
            "{json}"
        );
        dev.api
            .done(json["deployments"][0]["deploymentId"].as_str().context("an id")?)
            .await?;
        let pinned = format!("registry:5000/shop/web:1@{}", digest('1'));
        assert_eq!(image(&dev.api, "/web").await?, pinned);
        assert_eq!(image(&dev.api, "/next").await?, "registry:5000/shop/web:2");
        assert_eq!(image(&dev.api, "/other").await?, "elsewhere/shop/web:1");

        let version = dev.api.get("/v2/apps/web").await?["app"]["version"].clone();
        let (status, json) = tell(&dev.api, Some("open sesame"), &push("1", &digest('1'))).await?;
        assert_eq!(
            (status, &json["deployments"], &json["unchanged"]),
            (200, &json!([]), &json!(["/web"]))
        );
        assert_eq!(dev.api.get("/v2/apps/web").await?["app"]["version"], version);
        // Whoever goes back by hand stays there, however often the registry says the same.
        let back = json!({ "container": { "type": "DOCKER", "docker": { "image": "registry:5000/shop/web:1" } } });
        dev.api
            .done(&dev.api.change("PUT", "/v2/apps/web", &back).await?)
            .await?;
        let (status, json) = tell(&dev.api, Some("open sesame"), &push("1", &digest('1'))).await?;
        assert_eq!(
            (status, &json["deployments"], &json["repeated"]),
            (200, &json!([]), &json!(["/web"]))
        );
        assert_eq!(image(&dev.api, "/web").await?, "registry:5000/shop/web:1");
        let (_, json) = tell(&dev.api, Some("open sesame"), &push("1", &digest('2'))).await?;
        let deployment = json["deployments"][0]["deploymentId"].as_str();
        dev.api.done(deployment.context("an id")?).await?;
        let pinned = format!("registry:5000/shop/web:1@{}", digest('2'));
        assert_eq!(image(&dev.api, "/web").await?, pinned);
        let (status, json) = tell(&dev.api, Some("open sesame"), &push("3", &digest('1'))).await?;
        assert_eq!(
            (status, &json["without_app"]),
            (200, &json!(["registry:5000/shop/web:3"]))
        );
        let pull = json!({ "events": [{ "action": "pull", "target": { "tag": "1" } }] });
        let (status, json) = tell(&dev.api, Some("open sesame"), &pull).await?;
        assert_eq!((status, &json["ignored"][0]["reason"]), (200, &json!("it is no push")));
        assert_eq!(dev.api.ask("GET", HOOK, &Value::Null).await?.0, 405);
        Ok(())
    });
}

/// A registry sends again what is not taken, so nothing is lost.
#[test]
fn a_push_while_the_app_is_being_changed_is_told_to_come_again() {
    test(async |home| {
        let file = home.write("secret", "open sesame")?.display().to_string();
        let dev = Dev::start(home, "dev", &["--registry-secret-file", &file]).await?;
        let docker = json!({ "type": "DOCKER", "docker": { "image": "registry:5000/shop/web:1" } });
        // There is no such machine, so it is never done.
        let nowhere = json!([["hostname", "CLUSTER", "nowhere"]]);
        let body = json!({ "instances": 1, "container": docker, "constraints": nowhere });
        dev.api.change("PUT", "/v2/apps/web", &body).await?;

        let (status, json) = tell(&dev.api, Some("open sesame"), &push("1", &digest('1'))).await?;

        assert_eq!(status, 409, "{json}");
        assert_eq!(image(&dev.api, "/web").await?, "registry:5000/shop/web:1");
        Ok(())
    });
}

#[test]
fn without_a_secret_the_hook_is_off_and_an_empty_one_is_none() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let (status, json) = tell(&dev.api, Some(""), &push("1", &digest('1'))).await?;
        assert_eq!(status, 404);
        assert!(json.to_string().contains("--registry-secret-file"), "{json}");
        let empty = home.write("empty", "\n")?.display().to_string();
        let said = dev
            .keyway(home)
            .run(&["dev", "--http-addr", "127.0.0.1:0", "--registry-secret-file", &empty])
            .await?;
        assert!(
            said.exit != Exit::Code(0) && said.err.contains("holds nothing"),
            "{said:?}"
        );
        Ok(())
    });
}

/// Debian's registry, on a free port, that tells a scheduler.
struct Registry {
    address: String,
    _program: Program,
}

impl Registry {
    async fn start(home: &Home, api: &Api, secret: &str) -> anyhow::Result<Self> {
        let config = format!(
            "version: 0.1\n\
             log: {{level: info, formatter: text}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:0'}}\n\
             notifications:\n  endpoints:\n  - name: keyway\n    url: {}{HOOK}\n    \
             headers: {{Authorization: ['Bearer {secret}']}}\n    timeout: 5s\n    threshold: 5\n    backoff: 100ms\n",
            home.path("registry").display(),
            api.address,
        );
        let config = home.write("registry.yml", config)?;
        let mut program = Program::start(
            home,
            "registry",
            command(home, "docker-registry").arg("serve").arg(config),
        )?;
        let address = eventually_within(Duration::from_secs(20), "the registry listens", async || {
            if let Some(exit) = program.ended() {
                return Some(Err(anyhow::anyhow!("it ended with {exit:?}: {}", program.log())));
            }
            let log = program.log();
            let rest = log.split("listening on ").nth(1)?;
            let address = rest.split(['"', ' ', '\n', '\\']).next()?;
            Some(Ok(address.to_owned()))
        })
        .await??;
        Ok(Self {
            address,
            _program: program,
        })
    }
}

/// A folder from which an image is built that says `greeting`.
fn source(home: &Home, folder: &str, greeting: &str) -> anyhow::Result<String> {
    copy_static(home, "keyway", folder)?;
    home.write(
        &format!("{folder}/app.conf"),
        format!("greeting = {greeting}\nlimit = 5\n"),
    )?;
    home.write(&format!("{folder}/Dockerfile"), "FROM small\nCOPY keyway app.conf /\n")?;
    Ok(home.path(folder).display().to_string())
}

/// What the only instance says once its app says that it has this image.
async fn says(api: &Api, words: &str) -> anyhow::Result<()> {
    eventually_within(Duration::from_secs(60), &format!("all say {words}"), async || {
        let json = api.get("/v2/apps/web").await.ok()?;
        let tasks = json["app"]["tasks"].as_array()?.clone();
        if !json["app"]["deployments"].as_array()?.is_empty() || tasks.is_empty() {
            return None;
        }
        for task in tasks {
            let port = u16::try_from(task["ports"][0].as_u64()?).ok()?;
            let stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
            let said = tokio::task::spawn_blocking(move || ask(stream)).await.ok()?.ok()?;
            if !said.contains(words) {
                return None;
            }
        }
        Some(())
    })
    .await
}

/// The script deploys; a push alone rolls; a version that fails goes back, by both ways.
#[test]
fn a_push_to_a_real_registry_rolls_the_app_and_the_script_does_it_step_by_step() {
    alone(BOUND, async |home| {
        let Some(docker) = Docker::start(home).await? else {
            return Ok(());
        };
        import_small(home, &docker).await?;
        let secret = home.write("secret", "open sesame\n")?.display().to_string();
        let socket = home.path("docker.sock").display().to_string();
        let server = Server::start(home).await?;
        let flags = ["--docker-socket", &socket, "--registry-secret-file", &secret];
        let dev = Dev::alone_with(home, "scheduler", &server.address.to_string(), "tasks", &flags).await?;
        let registry = Registry::start(home, &dev.api, "open sesame").await?;
        let image = format!("{}/shop/web:live", registry.address);
        let app = json!({
            "id": "/web", "instances": 2, "cpus": 0.1, "mem": 64,
            "cmd": "exec /keyway demo-app --config /app.conf --listen 127.0.0.1:$PORT0",
            "container": { "type": "DOCKER", "docker": { "image": "nothing:yet" } },
            "healthChecks": [{ "protocol": "HTTP", "path": "/", "gracePeriodSeconds": 30, "intervalSeconds": 1 }],
            "labels": { "KEYWAY_PROGRESS_DEADLINE": "10s" },
        });
        home.write("web.json", app.to_string())?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/push-to-deploy.sh");
        let deploy = async |folder: String| -> anyhow::Result<Said> {
            let mut shell = command(home, "sh");
            docker.environment(&mut shell);
            let own = std::path::Path::new(env!("CARGO_BIN_EXE_keyway"))
                .parent()
                .context("a folder")?;
            let path = std::env::var("PATH").unwrap_or_default();
            shell
                .args([script, &folder, &image, "web.json"])
                .env("PATH", format!("{}:{path}", own.display()))
                .env("KEYWAY_SCHEDULER_ADDR", &dev.api.address);
            let output = tokio::task::spawn_blocking(move || shell.output()).await??;
            Ok(Said {
                exit: output.status.into(),
                out: output.stdout,
                err: String::from_utf8_lossy(&output.stderr).into_owned(),
            })
        };

        deploy(source(home, "one", "hello from one")?).await?.expect(0)?;
        says(&dev.api, "hello from one").await?;

        let folder = source(home, "two", "hello from two")?;
        docker.run(home, &["build", "-q", "-t", &image, &folder]).await?;
        docker.run(home, &["push", &image]).await?;
        says(&dev.api, "hello from two").await?;
        let pinned = self::image(&dev.api, "/web").await?;
        assert!(pinned.starts_with(&format!("{image}@sha256:")), "{pinned}");
        assert_eq!(dev.api.get("/v2/apps/web").await?["app"]["instances"], 2);

        let folder = source(home, "bad", "")?;
        docker.run(home, &["build", "-q", "-t", &image, &folder]).await?;
        docker.run(home, &["push", &image]).await?;
        let path = "/v1/deployments?app=/web";
        eventually_within(Duration::from_secs(60), "the bad one is taken back", async || {
            let all = dev.api.get(path).await.ok()?;
            let all = all["deployments"].as_array()?;
            (all.iter().any(|one| one["state"] == "failed") && all.iter().all(|one| one["state"] != "running"))
                .then_some(())
        })
        .await?;
        assert_eq!(self::image(&dev.api, "/web").await?, pinned);
        says(&dev.api, "hello from two").await?;

        // The registry says it again, as it does when it was not answered.
        let digests = "{{range .RepoDigests}}{{.}}\n{{end}}";
        let digests = docker.run(home, &["image", "inspect", "-f", digests, &image]).await?;
        let bad = digests
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{}/shop/web@", registry.address)));
        let mut again = push("live", bad.context("a digest")?);
        again["events"][0]["request"]["host"] = json!(registry.address);
        let before = dev.api.get(path).await?;
        let (status, json) = tell(&dev.api, Some("open sesame"), &again).await?;
        assert_eq!((status, &json["repeated"]), (200, &json!(["/web"])), "{json}");
        assert_eq!(dev.api.get(path).await?, before, "nothing is deployed");

        let said = deploy(folder).await?.expect(7)?;
        assert!(said.err.contains("greeting"), "{said:?}");
        assert_eq!(self::image(&dev.api, "/web").await?, pinned);

        let all = dev.api.change("DELETE", "/v2/apps/web", &Value::Null).await?;
        dev.api.done(&all).await?;
        docker.end(home).await
    });
}
