//! `keyway dev` and `keyway scheduler`: apps deployed, rolled and kept well, with real processes.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::dev::{Api, Dev};
use crate::harness::{Exit, Home, Server, by_environment, eventually, eventually_within, holds, test};

/// An app whose program says what a template made of the settings, and is asked how it is.
pub(crate) fn app(home: &Home, instances: u32) -> anyhow::Result<Value> {
    home.write("app.conf.hbs", "greeting = {{key \"app/greeting\"}}\nlimit = 5\n")?;
    let program = env!("CARGO_BIN_EXE_keyway");
    Ok(json!({
        "id": "/web", "instances": instances, "cpus": 0.1, "mem": 64,
        "cmd": format!("exec '{program}' demo-app --config app.conf --listen 127.0.0.1:$PORT0"),
        "labels": {
            "KEYWAY_TEMPLATE": format!("{}:app.conf", home.path("app.conf.hbs").display()),
            "KEYWAY_ON_CHANGE": "signal=HUP",
        },
        "healthChecks": [{ "protocol": "HTTP", "path": "/", "gracePeriodSeconds": 30, "intervalSeconds": 2 }],
        "upgradeStrategy": { "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.5 },
    }))
}

/// Stores the setting. At which revision.
async fn put(dev: &Dev, home: &Home, greeting: &str) -> anyhow::Result<u64> {
    let words = ["kv", "put", "app/greeting", greeting, "-o", "json"];
    let said = dev.keyway(home).run(&words).await?.expect(0)?.json()?;
    said["revision"].as_u64().with_context(|| said.to_string())
}

/// The revision of the settings that each instance is at, by the name of its task; `None` while one of them does not tell.
async fn revisions(api: &Api) -> Option<BTreeMap<String, u64>> {
    let json = api.get("/v1/apps/web/instances").await.ok()?;
    let all = json["instances"].as_array()?.iter();
    all.map(|one| Some((one["task"].as_str()?.to_owned(), one["settings_revision"].as_u64()?)))
        .collect()
}

/// What the instance at a port says.
async fn says(port: u64) -> Option<String> {
    let asked = tokio::task::spawn_blocking(move || {
        let port = u16::try_from(port).ok()?;
        crate::harness::ask(std::net::TcpStream::connect(("127.0.0.1", port)).ok()?).ok()
    });
    asked.await.ok()?
}

async fn tasks(api: &Api) -> anyhow::Result<Vec<Value>> {
    let json = api.get("/v2/apps/web").await?;
    Ok(json["app"]["tasks"].as_array().cloned().unwrap_or_default())
}

/// All processes of tasks that a scheduler with this folder below the test's has started.
pub(crate) fn processes(home: &Home) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let here = format!("KEYWAY_TASK_DIR={}", home.path("").display());
    let ours = all.filter(|entry| {
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        environ
            .split(|byte| *byte == 0)
            .any(|part| part.starts_with(here.as_bytes()))
    });
    ours.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

#[test]
fn an_app_is_deployed_gets_its_settings_is_rolled_and_leaves_nothing() {
    test(async |home| {
        let mut dev = Dev::start(home, "dev", &["--data-dir", &home.path("d").display().to_string()]).await?;
        let stored = put(&dev, home, "hello").await?;
        let first = app(home, 3)?;

        let deployment = dev.api.change("PUT", "/v2/apps/web", &first).await?;
        dev.api.done(&deployment).await?;
        let before = tasks(&dev.api).await?;
        assert_eq!(before.len(), 3);
        for task in &before {
            let port = task["ports"][0].as_u64().unwrap();
            assert!(says(port).await.is_some_and(|text| text.contains("hello")));
        }

        let old = eventually("each instance's agent tells its revision", async || {
            revisions(&dev.api).await.filter(|all| all.len() == 3)
        })
        .await?;
        let changed = put(&dev, home, "good day").await?;
        assert!(
            old.values().all(|at| (stored..changed).contains(at)),
            "{old:?} are of a setting of {stored}, before {changed}"
        );
        let mut seen = vec![old.clone()];
        let all_have = eventually("each is at the revision of what was put", async || {
            let now = revisions(&dev.api).await?;
            let is_new = now.values().all(|at| *at >= changed);
            seen.push(now);
            is_new.then_some(())
        });
        all_have.await.with_context(|| format!("{changed}: {seen:?}"))?;
        for (before, after) in seen.iter().zip(&seen[1..]) {
            assert!(before.keys().eq(old.keys()) && after.keys().eq(old.keys()), "{seen:?}");
            assert!(
                before.iter().all(|(task, at)| after[task] >= *at),
                "none goes back: {seen:?}"
            );
        }
        for task in &before {
            let port = task["ports"][0].as_u64().unwrap();
            holds("all follow the setting", async || {
                says(port).await.is_some_and(|text| text.contains("good day"))
            })
            .await?;
        }

        let mut second = first;
        second["env"] = json!({ "VERSION": "2" });
        let deployment = dev.api.change("PUT", "/v2/apps/web", &second).await?;
        dev.api.done(&deployment).await?;
        let after = tasks(&dev.api).await?;
        assert_eq!(after.len(), 3);
        assert!(
            after
                .iter()
                .all(|task| before.iter().all(|old| old["id"] != task["id"]))
        );

        let services = dev
            .keyway(home)
            .run(&["kv", "ls", "_keyway/services/web/"])
            .await?
            .expect(0)?;
        assert_eq!(services.text().lines().count(), 3);

        dev.program.signal(Signal::SIGINT)?;
        assert_eq!(dev.program.exit().await?, Exit::Code(0));
        assert_eq!(processes(home), Vec::<i32>::new());
        Ok(())
    });
}

/// Case 42.
#[test]
fn a_scheduler_that_is_killed_in_the_middle_of_a_roll_is_followed_by_another_that_goes_on() {
    test(async |home| {
        let server = Server::start(home).await?;
        let store = server.address.to_string();
        let mut one = Dev::alone(home, "one", &store, "tasks").await?;
        put(&one, home, "hello").await?;
        let first = app(home, 4)?;
        holds("it leads", async || one.api.get("/v2/apps").await.is_ok()).await?;
        let deployment = one.api.change("PUT", "/v2/apps/web", &first).await?;
        one.api.done(&deployment).await?;
        let mut second = first;
        second["env"] = json!({ "VERSION": "2" });
        let deployment = one.api.change("PUT", "/v2/apps/web", &second).await?;
        eventually("a new one runs", async || {
            let all = tasks(&one.api).await.ok()?;
            let version = all
                .iter()
                .map(|task| task["version"].as_str().unwrap_or_default().to_owned())
                .max()?;
            (all.iter().filter(|task| task["version"] == version.as_str()).count() < all.len()).then_some(())
        })
        .await?;

        one.program.kill().await?;
        let before = processes(home);
        let mut two = Dev::alone(home, "two", &store, "tasks").await?;
        holds("it leads", async || two.api.get("/v2/apps").await.is_ok()).await?;
        two.api.done(&deployment).await?;

        let all = tasks(&two.api).await?;
        assert_eq!(all.len(), 4);
        for task in &all {
            let of_task = by_environment("MESOS_TASK_ID", task["id"].as_str().unwrap());
            assert!(!of_task.is_empty(), "{task}");
        }
        assert!(!before.is_empty());
        let gone = two.api.change("DELETE", "/v2/apps/web", &Value::Null).await?;
        two.api.done(&gone).await?;
        holds("nothing is left", async || processes(home).is_empty()).await?;
        two.program.signal(Signal::SIGTERM)?;
        assert_eq!(two.program.exit().await?, Exit::Code(0));
        Ok(())
    });
}

#[test]
fn how_a_task_ends_is_told_by_a_scheduler_that_did_not_start_it() {
    test(async |home| {
        let server = Server::start(home).await?;
        let store = server.address.to_string();
        let mut one = Dev::alone(home, "one", &store, "tasks").await?;
        put(&one, home, "hello").await?;
        let mut waits = app(home, 1)?;
        let end = home.path("end").display().to_string();
        waits["cmd"] = json!(format!(
            "until [ -e '{end}' ]; do sleep 0.05; done; echo last words; exit 3"
        ));
        waits["healthChecks"] = json!([]);
        holds("it leads", async || one.api.get("/v2/apps").await.is_ok()).await?;
        let deployment = one.api.change("PUT", "/v2/apps/web", &waits).await?;
        one.api.done(&deployment).await?;
        let task = tasks(&one.api).await?[0]["id"].clone();
        one.program.kill().await?;

        let two = Dev::alone(home, "two", &store, "tasks").await?;
        holds("it has found the task", async || {
            tasks(&two.api)
                .await
                .is_ok_and(|all| all.iter().any(|one| one["id"] == task))
        })
        .await?;
        home.write("end", "")?;
        let failure = eventually("its end is told", async || {
            let json = two.api.get("/v2/apps/web").await.ok()?;
            let failure = json["app"]["lastTaskFailure"].clone();
            failure.is_object().then_some(failure)
        })
        .await?;
        assert_eq!(failure["state"], "TASK_FAILED", "{failure}");
        let message = failure["message"].as_str().unwrap_or_default();
        assert!(message.contains("it ended with code 3"), "{failure}");
        let said = two
            .api
            .text(&format!("/v1/tasks/{}/logs", task.as_str().unwrap_or_default()))
            .await?;
        assert!(said.contains("last words"), "{said}");
        let gone = two.api.change("DELETE", "/v2/apps/web", &Value::Null).await?;
        two.api.done(&gone).await
    });
}

#[test]
fn a_version_that_never_is_healthy_is_rolled_back_by_itself_and_the_old_ones_stay() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        put(&dev, home, "hello").await?;
        let mut good = app(home, 2)?;
        good["labels"]["KEYWAY_PROGRESS_DEADLINE"] = json!("3s");
        let deployment = dev.api.change("PUT", "/v2/apps/web", &good).await?;
        dev.api.done(&deployment).await?;

        let mut bad = good.clone();
        bad["cmd"] = json!("echo this version is bad; exit 3");
        let deployment = dev.api.change("PUT", "/v2/apps/web", &bad).await?;
        let queue = eventually("the queue says why", async || {
            let json = dev.api.get("/v2/queue").await.ok()?;
            let reason = json["queue"][0]["processedOffersSummary"]["rejectSummaryLastOffers"][0]["reason"].clone();
            reason.as_str().map(str::to_owned)
        })
        .await?;
        assert!(queue.contains("it failed, and is started again in"), "{queue}");

        let end = dev.api.end_of(&deployment).await?;
        assert_eq!(end["state"], "failed", "{end}");
        let reason = end["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("it ended with code 3"), "{reason}");
        dev.api.done(end["undone_by"].as_str().unwrap()).await?;
        let failed = end["apps"][0]["failure"]["task"].as_str().unwrap().to_owned();
        let said = dev.api.text(&format!("/v1/tasks/{failed}/logs")).await?;
        assert!(said.contains("this version is bad"), "{said}");
        assert_eq!(tasks(&dev.api).await?.len(), 2);
        Ok(())
    });
}

#[test]
fn an_engine_that_does_not_answer_holds_up_containers_and_no_processes() {
    test(async |home| {
        let server = Server::start(home).await?;
        let socket = home.path("nobody.sock").display().to_string();
        let store = server.address.to_string();
        let dev = Dev::alone_with(home, "one", &store, "tasks", &["--docker-socket", &socket]).await?;
        holds("it leads", async || dev.api.get("/v2/apps").await.is_ok()).await?;
        let process = json!({ "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16 });
        let deployment = dev.api.change("PUT", "/v2/apps/web", &process).await?;
        dev.api.done(&deployment).await?;
        let image =
            json!({ "container": { "type": "DOCKER", "docker": { "image": "app:1" } }, "cpus": 0.1, "mem": 16 });
        dev.api.change("PUT", "/v2/apps/boxed", &image).await?;
        holds("it is said why", async || {
            let json = dev.api.get("/v2/apps/boxed").await.unwrap_or_default();
            let message = json["app"]["lastTaskFailure"]["message"].as_str().unwrap_or_default();
            message.starts_with("the Docker Engine does not answer: ")
        })
        .await?;
        for app in ["web", "boxed"] {
            dev.api
                .change("DELETE", &format!("/v2/apps/{app}?force=true"), &Value::Null)
                .await?;
        }
        holds("nothing is left", async || processes(home).is_empty()).await
    });
}

#[test]
fn what_is_wrong_with_a_definition_is_told_with_its_place() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        for (body, status, words) in [
            (json!({ "cmd": "sleep 1", "args": ["x"] }), 422, "Object is not valid"),
            (
                json!({ "cmd": "x", "upgradeStrategy": { "minimumHealthCapacity": 1.5 } }),
                422,
                "/upgradeStrategy/minimumHealthCapacity",
            ),
            (json!({ "cmd": "x", "instances": -1 }), 422, "/instances"),
            (
                json!({ "cmd": "x", "labels": { "KEYWAY_DRAIN": "soon" } }),
                422,
                "/labels/KEYWAY_DRAIN",
            ),
        ] {
            let (answered, json) = dev.api.ask("PUT", "/v2/apps/web", &body).await?;
            assert_eq!(answered, status, "{body}: {json}");
            assert!(json.to_string().contains(words), "{json}");
        }
        assert_eq!(dev.api.ask("GET", "/v2/apps/web", &Value::Null).await?.0, 404);
        assert_eq!(
            dev.api
                .ask("PATCH", "/v2/apps/web", &json!({ "instances": 1 }))
                .await?
                .0,
            404
        );
        assert_eq!(dev.api.ask("GET", "/v2/nowhere", &Value::Null).await?.0, 404);
        Ok(())
    });
}

/// Case 44, 49 and 15 with real processes.
#[test]
fn an_app_is_scaled_its_tasks_are_killed_by_name_and_what_ignores_its_end_is_forced() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let stubborn = json!({
            "id": "/web", "cmd": "trap '' TERM; while :; do sleep 0.1; done", "instances": 3, "cpus": 0.1, "mem": 32,
            "taskKillGracePeriodSeconds": 1,
        });
        let deployment = dev.api.change("PUT", "/v2/apps/web", &stubborn).await?;
        dev.api.done(&deployment).await?;
        let before = tasks(&dev.api).await?;

        let named = json!({ "ids": [before[0]["id"], "web.instance-00000000-0000-4000-8000-000000000000._app.1"] });
        let deployment = dev.api.change("POST", "/v2/tasks/delete?scale=true", &named).await?;
        dev.api.done(&deployment).await?;
        let after = tasks(&dev.api).await?;
        assert_eq!(after.len(), 2);
        assert!(after.iter().all(|task| task["id"] != before[0]["id"]));
        assert_eq!(
            dev.api
                .ask("POST", "/v2/tasks/delete", &json!({ "ids": ["web"] }))
                .await?
                .0,
            400
        );

        let deployment = dev.api.change("DELETE", "/v2/apps/web", &Value::Null).await?;
        dev.api.done(&deployment).await?;
        assert_eq!(dev.api.get("/v2/tasks").await?["tasks"], json!([]));
        eventually_within(Duration::from_secs(5), "their processes are gone", async || {
            let left = by_environment("MARATHON_APP_ID", "/web");
            let ours = left.iter().filter(|process| {
                before.iter().any(|task| {
                    by_environment("MESOS_TASK_ID", task["id"].as_str().unwrap_or_default())
                        .iter()
                        .any(|one| one.pid == process.pid)
                })
            });
            (ours.count() == 0).then_some(())
        })
        .await?;
        Ok(())
    });
}
