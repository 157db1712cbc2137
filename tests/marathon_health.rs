//! Health and readiness checks of real programs: cases of docs/marathon-cases.md.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::dev::Dev;
use crate::harness::{Home, eventually, holds, test};
use crate::marathon_apps::{idle, names};

/// Answers with the statuses that a path names, the last of them again and again: `/200,503`. With 0 it answers nothing
/// until whoever asked is gone; 1xx is all that it says then.
#[derive(Clone, Default)]
struct Answers(Arc<Mutex<BTreeMap<String, usize>>>);

impl Answers {
    async fn start() -> anyhow::Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let answers = Self::default();
        let told = answers.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever asks may be gone before it is answered.
                tokio::spawn(told.clone().answer(stream));
            }
        });
        Ok((answers, address))
    }

    /// How often a path was asked for.
    fn asked(&self, path: &str) -> usize {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(path).copied().unwrap_or_default()
    }

    async fn answer(self, stream: TcpStream) -> anyhow::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next_line().await?.context("a request")?;
        while !lines.next_line().await?.context("a head")?.is_empty() {}
        let path = first.split(' ').nth(1).context("a path")?.to_owned();
        let nth = {
            let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let nth = asked.entry(path.clone()).or_default();
            *nth += 1;
            *nth - 1
        };
        let statuses: Vec<u16> = path[1..].split(',').filter_map(|status| status.parse().ok()).collect();
        let status = statuses.get(nth).or(statuses.last()).context("a status")?;
        let more = match status {
            0 => {
                while lines.next_line().await?.is_some() {}
                return Ok(());
            }
            100..=199 => "",
            300..=399 => "Location: /500\r\nContent-Length: 0\r\n",
            _ => "Content-Length: 0\r\n",
        };
        let head = format!("HTTP/1.1 {status} As asked\r\n{more}\r\n");
        lines.into_inner().into_inner().write_all(head.as_bytes()).await?;
        Ok(())
    }
}

/// A check of a server that is not the app's own.
fn check(protocol: &str, server: SocketAddr, path: &str, most: u32) -> Value {
    json!({
        "protocol": protocol, "path": path, "port": server.port(), "gracePeriodSeconds": 0, "delaySeconds": 0,
        "intervalSeconds": 1, "timeoutSeconds": 1, "maxConsecutiveFailures": most,
    })
}

/// Case 51.
#[test]
fn statuses_from_200_to_399_are_well_and_1xx_is_ignored_only_if_that_is_asked() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let (answers, server) = Answers::start().await?;
        let cases = [
            ("/200", false, Some(true)),
            ("/302", false, Some(true)),
            ("/404", false, Some(false)),
            ("/500", false, Some(false)),
            ("/0", false, Some(false)),
            ("/103", false, Some(false)),
            ("/101", false, Some(false)),
            ("/200,103", false, Some(false)),
            ("/103,103", true, None),
            ("/101,101", true, None),
            ("/200,103,101", true, Some(true)),
            ("/200,500,103,101", true, Some(false)),
        ];
        for (nth, (path, ignores, _)) in cases.iter().enumerate() {
            let mut app = idle(&format!("/web{nth}"), 1);
            let mut check = check("HTTP", server, path, 0);
            check["ignoreHttp1xx"] = json!(ignores);
            app["healthChecks"] = json!([check]);
            dev.api.change("POST", "/v2/apps", &app).await?;
        }
        for (nth, (path, ignores, alive)) in cases.iter().enumerate() {
            let mut last = Value::Null;
            let known = eventually("it is as it was answered", async || {
                // Until it is well it is asked again and again, and in its first second no failure counts.
                let enough = if alive.is_none() { 12 } else { 4 };
                if answers.asked(path) < enough {
                    return None;
                }
                let tasks = dev.api.tasks(&format!("/web{nth}")).await.ok()?;
                last = tasks.first()?["healthCheckResults"].clone();
                let is_so = match alive {
                    Some(alive) => last[0]["alive"] == *alive,
                    None => last.is_null(),
                };
                is_so.then(|| last.clone())
            });
            let known = known.await.with_context(|| format!("{path}: {last}"))?;
            let failures = known[0]["consecutiveFailures"].as_u64().unwrap_or_default();
            match (ignores, alive) {
                (true, Some(false)) => assert_eq!(failures, 1, "{path}: {known}"),
                (_, Some(false)) => assert!(failures > 0, "{path}: {known}"),
                (_, _) => assert_eq!(failures, 0, "{path}: {known}"),
            }
        }
        Ok(())
    });
}

/// Cases 52 and 54, with real checks.
#[test]
fn an_instance_that_fails_as_often_as_it_may_is_ended_and_load_balancers_hear_of_the_first_time() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let (_, server) = Answers::start().await?;
        let kinds = [
            "health_status_changed_event",
            "failed_health_check_event",
            "unhealthy_instance_kill_event",
        ];
        let mut command = check("COMMAND", server, "/", 3);
        let line = format!("echo >>'{0}'; [ $(wc -l <'{0}') = 1 ]", home.path("asked").display());
        command["command"] = json!({ "value": line });
        for (nth, (check, failures)) in [
            (check("HTTP", server, "/200,503", 3), 4),
            (check("MESOS_HTTP", server, "/200,500", 3), 3),
            (command, 3),
        ]
        .into_iter()
        .enumerate()
        {
            let query = kinds.map(|kind| format!("event_type={kind}")).join("&");
            let mut events = dev.api.events(&query).await?;
            let id = format!("/web{nth}");
            let mut app = idle(&id, 1);
            app["healthChecks"] = json!([check]);
            dev.api.changed("POST", "/v2/apps", &app).await?;
            let mut told = Vec::new();
            while told.last() != Some(&kinds[2].to_owned()) {
                let (kind, event) = events.json().await?;
                // The one before goes on until it is gone.
                if event["appId"] != id.as_str() {
                    continue;
                }
                if kind == kinds[0] {
                    assert_eq!(event["alive"], told.is_empty(), "{event}");
                }
                told.push(kind);
            }
            let count = |kind: &str| told.iter().filter(|other| *other == kind).count();
            assert_eq!((count(kinds[0]), count(kinds[1])), (2, failures), "{told:?}");
            assert_eq!(told[..3], [kinds[0], kinds[1], kinds[0]], "alive, a failure, not alive");
            dev.api.change("DELETE", &format!("/v2/apps{id}"), &Value::Null).await?;
        }
        Ok(())
    });
}

/// An app whose program answers what files in a folder of the test's say, one folder for each version.
pub(crate) fn answering(home: &Home, id: &str, version: &str, instances: u32) -> Value {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/children/answers.py");
    let mut app = idle(id, instances);
    let folder = home.path(version).display().to_string();
    app["cmd"] = json!(format!("exec python3 '{}' $PORT0 '{folder}'", program.display()));
    app["mem"] = json!(64);
    app["portDefinitions"] = json!([{ "port": 0, "name": "http-api" }]);
    app["healthChecks"] = json!([{
        "protocol": "HTTP", "path": "/health", "gracePeriodSeconds": 30, "intervalSeconds": 1, "timeoutSeconds": 1,
    }]);
    app
}

/// Case 40.
#[test]
fn what_is_healthy_and_not_ready_takes_no_place() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let version = |version: &str| {
            let mut app = answering(home, "/web", version, 1);
            app["readinessChecks"] = json!([{ "path": "/ready", "intervalSeconds": 2, "timeoutSeconds": 1 }]);
            app
        };
        dev.api.changed("POST", "/v2/apps", &version("v1")).await?;
        let old = names(&dev.api.tasks("/web").await?);
        home.write("v2/ready", "503")?;

        let deployment = dev.api.change("PUT", "/v2/apps/web", &version("v2")).await?;
        let result = eventually("the new one is healthy, and says that it is not ready", async || {
            let app = dev.api.get("/v2/apps/web").await.ok()?;
            let deployments = dev.api.get("/v2/deployments").await.ok()?;
            let results = deployments[0]["currentActions"][0]["readinessCheckResults"].clone();
            let of_new = results
                .as_array()?
                .iter()
                .find(|one| !old.contains(one["taskId"].as_str().unwrap_or_default()))?;
            (app["app"]["tasksHealthy"] == 2 && of_new["lastResponse"]["status"] == 503).then(|| of_new.clone())
        })
        .await?;
        assert_eq!(
            (&result["ready"], &result["name"]),
            (&json!(false), &json!("readinessCheck")),
            "{result}"
        );
        let body = result["lastResponse"]["body"].as_str().context("a body")?;
        assert_eq!(result["taskId"], body, "{result}");
        let tasks = dev.api.tasks("/web").await?;
        assert!(tasks.len() == 2 && names(&tasks).is_superset(&old), "{tasks:?}");
        assert!(tasks.iter().all(|task| task["state"] == "TASK_RUNNING"), "{tasks:?}");

        home.write("v2/ready", "200")?;
        dev.api.done(&deployment).await?;
        holds("the old one is gone", async || {
            dev.api
                .tasks("/web")
                .await
                .is_ok_and(|tasks| names(&tasks).is_disjoint(&old) && tasks.len() == 1)
        })
        .await
    });
}
