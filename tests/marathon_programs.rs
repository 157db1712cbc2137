//! What marathon-lb, zdd.py and scripts of curl ask, request by request, where the programs themselves are not installed: cases
//! of docs/marathon-cases.md. What is read here is read as they read it: what is not there is an error.

use std::collections::BTreeMap;
use std::net::TcpStream;

use anyhow::Context as _;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::harness::dev::{Api, Dev};
use crate::harness::{Stream, ask, by_environment, eventually, holds, test};
use crate::marathon_apps::{get, idle, names};
use crate::marathon_health::answering;

/// marathon-lb with `--sse` and `--health-check`.
struct Balancer {
    api: Api,
    events: Stream,
}

/// What it leads to: tasks by the addresses of their first ports.
type Servers = BTreeMap<String, String>;

/// The field of this name, which has to be there.
fn field<'a>(of: &'a Value, name: &str) -> anyhow::Result<&'a Value> {
    of.get(name).with_context(|| format!("no {name} in {of}"))
}

fn list<'a>(of: &'a Value, name: &str) -> anyhow::Result<&'a Vec<Value>> {
    field(of, name)?
        .as_array()
        .with_context(|| format!("{name} of {of} is no list"))
}

impl Balancer {
    async fn start(api: &Api) -> anyhow::Result<Self> {
        let kinds = ["api_post_event", "health_status_changed_event", "status_update_event"];
        let kinds = kinds.map(|kind| format!("&event_type={kind}")).concat();
        Ok(Self {
            api: api.clone(),
            events: api.events(&format!("plan-format=light{kinds}")).await?,
        })
    }

    /// All servers of apps that run, are not about to end, and are well if somebody asks.
    async fn servers(&self) -> anyhow::Result<Servers> {
        let apps = self.api.get("/v2/apps?embed=apps.tasks").await?;
        let mut servers = Servers::new();
        for app in list(&apps, "apps")? {
            field(app, "labels")?.as_object().context("labels")?;
            field(app, "instances")?.as_u64().context("a number")?;
            assert_eq!(field(app, "networks")?[0]["mode"], "host");
            let has_checks = !list(app, "healthChecks")?.is_empty();
            for check in list(app, "healthChecks")? {
                for name in [
                    "protocol",
                    "timeoutSeconds",
                    "intervalSeconds",
                    "gracePeriodSeconds",
                    "maxConsecutiveFailures",
                ] {
                    field(check, name)?;
                }
            }
            for task in list(app, "tasks")? {
                let state = field(task, "state")?.as_str().context("a state")?;
                if ["TASK_STAGING", "TASK_STARTING", "TASK_KILLING"].contains(&state) {
                    continue;
                }
                // There may be none yet: then it is not alive.
                let results = task["healthCheckResults"].as_array();
                let is_alive = results.is_some_and(|all| all.iter().any(|result| result["alive"] == true));
                if has_checks && !is_alive {
                    continue;
                }
                let ports = list(task, "ports")?.iter().zip(list(app, "portDefinitions")?);
                let (port, service) = ports.into_iter().next().context("a port")?;
                field(service, "port")?.as_u64().context("a service port")?;
                field(&field(task, "ipAddresses")?[0], "ipAddress")?;
                let host = field(task, "host")?.as_str().context("a host")?;
                let id = field(task, "id")?.as_str().context("an id")?;
                servers.insert(format!("{host}:{port}"), id.into());
            }
        }
        Ok(servers)
    }

    /// Reads everything again at each event, until what it leads to is so.
    async fn until(&mut self, what: &str, is_so: impl Fn(&Servers) -> bool) -> anyhow::Result<Servers> {
        loop {
            let servers = self.servers().await?;
            if is_so(&servers) {
                return Ok(servers);
            }
            let next = self.events.json().await;
            next.with_context(|| format!("no event led to this: {what}; it is {servers:?}"))?;
        }
    }
}

/// What a server says.
async fn says(server: &str) -> anyhow::Result<String> {
    let server = server.to_owned();
    tokio::task::spawn_blocking(move || ask(TcpStream::connect(server)?)).await?
}

/// Case 68.
#[test]
fn what_marathon_lb_asks_leads_it_to_those_that_are_well_and_away_from_those_that_are_about_to_end() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let mut balancer = Balancer::start(&dev.api).await?;
        let mut app = answering(home, "/web", "v1", 3);
        app["labels"] = json!({ "HAPROXY_GROUP": "external", "KEYWAY_DRAIN": "3s" });
        dev.api.change("POST", "/v2/apps", &app).await?;
        let three = balancer.until("three servers", |servers| servers.len() == 3).await?;
        for (server, task) in &three {
            assert_eq!(says(server).await?, *task);
        }

        let (server, task) = three.first_key_value().context("one of three")?;
        let kill = json!({ "ids": [task] });
        dev.api.change("POST", "/v2/tasks/delete?scale=true", &kill).await?;
        balancer
            .until("it is not led to any more", |servers| !servers.contains_key(server))
            .await?;
        assert_eq!(says(server).await?, *task, "it answers whoever was led to it before");
        holds("it is gone", async || by_environment("MESOS_TASK_ID", task).is_empty()).await?;

        home.write("v1/health", "503")?;
        balancer.until("none is well", Servers::is_empty).await?;
        let tasks = dev.api.tasks("/web").await?;
        assert!(tasks.iter().all(|task| task["state"] == "TASK_RUNNING"), "{tasks:?}");
        home.write("v1/health", "200")?;
        balancer.until("two are", |servers| servers.len() == 2).await?;
        Ok(())
    });
}

/// zdd.py, of which this is what it asks of Marathon. What it asks of HAProxy, which servers are drained, is that all are.
struct Zdd {
    api: Api,
}

impl Zdd {
    async fn deploy(&self, mut app: Value) -> anyhow::Result<()> {
        let all = self.api.get("/v2/apps").await?;
        let group = app["labels"]["HAPROXY_DEPLOYMENT_GROUP"].clone();
        let of_group = list(&all, "apps")?.iter();
        let former: Vec<&Value> = of_group
            .filter(|other| other["labels"]["HAPROXY_DEPLOYMENT_GROUP"] == group)
            .collect();
        let former = former.first().copied().cloned();
        let (colour, port, target) = match &former {
            None => (
                "blue",
                app["portDefinitions"][0]["port"].clone(),
                app["instances"].clone(),
            ),
            Some(former) => {
                let labels = field(former, "labels")?;
                let is_blue = field(labels, "HAPROXY_DEPLOYMENT_COLOUR")? == "blue";
                let other = field(labels, "HAPROXY_DEPLOYMENT_ALT_PORT")?
                    .as_str()
                    .context("a text")?;
                let target = field(former, "instances")?.clone();
                app["instances"] = json!(1);
                (
                    if is_blue { "green" } else { "blue" },
                    json!(other.parse::<u16>()?),
                    target,
                )
            }
        };
        let id = format!("{}-{colour}", app["id"].as_str().context("an id")?);
        app["labels"]["HAPROXY_APP_ID"] = app["id"].clone();
        app["labels"]["HAPROXY_0_PORT"] = app["portDefinitions"][0]["port"].to_string().into();
        app["labels"]["HAPROXY_DEPLOYMENT_COLOUR"] = json!(colour);
        app["labels"]["HAPROXY_DEPLOYMENT_NEW_INSTANCES"] = json!("0");
        app["labels"]["HAPROXY_DEPLOYMENT_TARGET_INSTANCES"] = json!(target.to_string());
        app["labels"]["HAPROXY_DEPLOYMENT_STARTED_AT"] = json!("2026-01-02T03:04:05.678901");
        app["portDefinitions"][0]["port"] = port;
        app["id"] = json!(id);
        let (status, told) = self.api.ask("POST", "/v2/apps", &app).await?;
        anyhow::ensure!(status < 400, "{status} {told}");
        match former {
            None => Ok(()),
            Some(former) => self.swap(former["id"].as_str().context("an id")?, &id).await,
        }
    }

    /// An app that nobody changes just now.
    async fn fetch(&self, id: &str) -> anyhow::Result<Value> {
        eventually("its deployment has ended", async || {
            let app = get(&self.api, id).await.ok()?;
            app["deployments"].as_array()?.is_empty().then_some(app)
        })
        .await
    }

    /// The old one shrinks as the new one grows by half of what it has, until it has as many, and then the old one goes.
    async fn swap(&self, old: &str, new: &str) -> anyhow::Result<()> {
        loop {
            let (old_app, new_app) = (self.fetch(old).await?, self.fetch(new).await?);
            let number = |app: &Value| field(app, "instances")?.as_u64().context("a number");
            let (before, now) = (number(&old_app)?, number(&new_app)?);
            let target = field(&new_app["labels"], "HAPROXY_DEPLOYMENT_TARGET_INSTANCES")?;
            let target: u64 = target.as_str().context("a text")?.parse()?;
            // As many of the old ones are drained as there are new ones.
            let tasks = list(&old_app, "tasks")?.iter().take(usize::try_from(now)?);
            let drained: Vec<&Value> = tasks.map(|task| field(task, "id")).collect::<Result<_, _>>()?;
            if now == target && drained.len() as u64 == before {
                let (status, told) = self.api.ask("DELETE", &format!("/v2/apps{old}"), &Value::Null).await?;
                anyhow::ensure!(status < 400, "{status} {told}");
                return Ok(());
            }
            let kill = json!({ "ids": drained });
            let (status, told) = self.api.ask("POST", "/v2/tasks/delete?scale=true", &kill).await?;
            anyhow::ensure!(status < 400, "{status} {told}");
            if now < target {
                let more = now + now.div_ceil(2);
                let more = if more >= before { target } else { more };
                let scale = json!({ "instances": more });
                let (status, told) = self.api.ask("PUT", &format!("/v2/apps{new}"), &scale).await?;
                anyhow::ensure!(status < 400, "{status} {told}");
            }
        }
    }
}

/// Case 70.
#[test]
fn what_zdd_asks_puts_a_green_app_in_the_place_of_a_blue_one() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let zdd = Zdd { api: dev.api.clone() };
        let mut app = answering(home, "/nginx", "v1", 4);
        app["portDefinitions"] = json!([{ "port": 10_050, "name": "http-api" }]);
        app["labels"] = json!({
            "HAPROXY_GROUP": "external", "HAPROXY_DEPLOYMENT_GROUP": "nginx", "HAPROXY_DEPLOYMENT_ALT_PORT": "10051",
        });
        zdd.deploy(app.clone()).await?;
        let blue = zdd.fetch("/nginx-blue").await?;
        assert_eq!(
            (&blue["tasksHealthy"], &blue["portDefinitions"][0]["port"]),
            (&json!(4), &json!(10_050))
        );

        for (colour, former) in [("green", "/nginx-blue"), ("blue", "/nginx-green")] {
            zdd.deploy(app.clone()).await?;
            let now = zdd.fetch(&format!("/nginx-{colour}")).await?;
            assert_eq!(
                (&now["instances"], &now["tasksHealthy"]),
                (&json!(4), &json!(4)),
                "{now}"
            );
            assert_eq!(now["labels"]["HAPROXY_DEPLOYMENT_COLOUR"], colour);
            assert_eq!(
                dev.api
                    .refused("GET", &format!("/v2/apps{former}"), &Value::Null)
                    .await?
                    .0,
                404
            );
            holds("the former one is gone", async || {
                let tasks = dev.api.get("/v2/tasks").await.unwrap_or_default();
                let apps = tasks["tasks"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|task| &task["appId"]);
                apps.eq([&now["id"]; 4])
            })
            .await?;
        }
        Ok(())
    });
}

/// Case 71.
#[test]
fn curl_needs_to_say_nothing_of_json_and_what_it_gets_can_be_changed_and_put_back() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        // What `curl -X PUT -d @app.json` says of its body, and what somebody says who says nothing.
        for (nth, kind) in [Some("application/x-www-form-urlencoded"), None]
            .into_iter()
            .enumerate()
        {
            let mut headers = HeaderMap::new();
            if let Some(kind) = kind {
                headers.insert("content-type", kind.parse()?);
            }
            let path = format!("/v2/apps/web{nth}");
            let body = idle("web", 1).as_object().map(|app| {
                let fields = app.iter().filter(|(name, _)| *name != "id");
                fields
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect::<serde_json::Map<_, _>>()
            });
            let reply = dev.api.reply(headers, "PUT", &path, json!(body).to_string()).await?;
            assert_eq!(reply.status, 201, "{kind:?}: {:?}", reply.body);
        }

        holds("nothing is under way", async || {
            dev.api.get("/v2/deployments").await.is_ok_and(|json| json == json!([]))
        })
        .await?;
        let mut got = get(&dev.api, "/web0").await?;
        let before = names(list(&got, "tasks")?);
        got["instances"] = json!(2);
        dev.api.changed("PUT", "/v2/apps/web0", &got).await?;
        let after = names(&dev.api.tasks("/web0").await?);
        assert!(after.len() == 2 && after.is_superset(&before), "{before:?} {after:?}");
        Ok(())
    });
}
