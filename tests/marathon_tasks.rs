//! Tasks as clients of Marathon list and end them, and what waits: cases of docs/marathon-cases.md.

use std::net::TcpListener;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::harness::dev::{Api, Dev};
use crate::harness::{eventually, holds, test};
use crate::marathon_apps::{get, idle, names};

/// The instance of a task, and which of its tasks it is.
fn parts(task: &Value) -> (String, String) {
    let name = task["id"].as_str().unwrap_or_default();
    let (instance, incarnation) = name.split_once("._app.").unwrap_or_default();
    (instance.into(), incarnation.into())
}

/// Waits until so many tasks of an app run, and none of those before.
async fn others_run(api: &Api, app: &str, count: usize, before: &[Value]) -> anyhow::Result<Vec<Value>> {
    eventually("others run in their place", async || {
        let now = api.tasks(app).await.ok()?;
        let all_run = now.len() == count && now.iter().all(|task| task["state"] == "TASK_RUNNING");
        (all_run && names(&now).is_disjoint(&names(before))).then_some(now)
    })
    .await
}

/// Case 14.
#[test]
fn tasks_are_listed_by_their_state_with_as_many_service_ports_as_ports() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let mut app = idle("/runs", 2);
        app["portDefinitions"] = json!([{ "port": 0 }, { "port": 0 }]);
        dev.api.changed("POST", "/v2/apps", &app).await?;
        // Somebody who takes connections and never says anything: what is fetched there does not come.
        let silent = TcpListener::bind("127.0.0.1:0")?;
        let mut app = idle("/stages", 1);
        app["fetch"] = json!([{ "uri": format!("http://{}/file", silent.local_addr()?) }]);
        dev.api.change("POST", "/v2/apps", &app).await?;

        let of = async |query: &str| {
            let json = dev.api.get(&format!("/v2/tasks{query}")).await?;
            let tasks = json["tasks"].as_array().cloned().context("a list")?;
            let states = tasks.iter().map(|task| (task["appId"].clone(), task["state"].clone()));
            anyhow::Ok((states.collect::<Vec<_>>(), tasks))
        };
        let running = (json!("/runs"), json!("TASK_RUNNING"));
        let staging = (json!("/stages"), json!("TASK_STAGING"));
        let two = vec![running.clone(), running.clone()];
        assert_eq!(of("?status=running").await?.0, two);
        assert_eq!(of("?status[]=staging").await?.0, vec![staging.clone()]);
        assert_eq!(of("?status=staging&status=running").await?.0.len(), 3);
        let (all, tasks) = of("").await?;
        assert_eq!(all, [two, vec![staging]].concat());
        for task in tasks {
            let length = |name: &str| task[name].as_array().map_or(0, Vec::len);
            assert!(
                length("ports") > 0 && length("servicePorts") >= length("ports"),
                "{task}"
            );
        }
        dev.api.changed("DELETE", "/v2/apps/runs", &Value::Null).await?;
        dev.api.change("DELETE", "/v2/apps/stages", &Value::Null).await?;
        Ok(())
    });
}

/// Case 15.
#[test]
fn tasks_are_ended_by_their_names_and_their_app_scaled_if_that_is_asked() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        dev.api.changed("POST", "/v2/apps", &idle("/web", 2)).await?;
        let before = dev.api.tasks("/web").await?;
        let known = before[0]["id"].clone();
        let unknown = "web.instance-00000000-0000-4000-8000-000000000000._app.1";

        let both = json!({ "ids": [known, unknown] });
        let (status, told) = dev.api.ask("POST", "/v2/tasks/delete", &both).await?;
        assert_eq!(status, 200, "{told}");
        let ended = told["tasks"].as_array().context("a list")?;
        assert_eq!(ended.len(), 1, "{told}");
        assert_eq!(ended[0]["id"], known);
        let after = others_run(&dev.api, "/web", 2, &before[..1]).await?;
        assert_eq!(get(&dev.api, "/web").await?["instances"], 2);

        let bad = json!({ "ids": ["web"] });
        assert_eq!(dev.api.refused("POST", "/v2/tasks/delete", &bad).await?.0, 400);
        let one = json!({ "ids": [after[0]["id"]] });
        let path = "/v2/tasks/delete?scale=true&wipe=true";
        assert_eq!(dev.api.refused("POST", path, &one).await?.0, 400);

        dev.api.changed("POST", "/v2/tasks/delete?scale=true", &one).await?;
        assert_eq!(get(&dev.api, "/web").await?["instances"], 1);
        assert_eq!(names(&dev.api.tasks("/web").await?), names(&after[1..]));
        Ok(())
    });
}

/// Case 16.
#[test]
fn who_is_killed_comes_back_as_its_next_task_and_who_is_wiped_as_another() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        dev.api.changed("POST", "/v2/apps", &idle("/web", 1)).await?;
        let first = dev.api.tasks("/web").await?;
        let path = |tasks: &[Value]| format!("/v2/apps/web/tasks/{}", tasks[0]["id"].as_str().unwrap_or_default());

        let (status, told) = dev.api.ask("DELETE", &path(&first), &Value::Null).await?;
        assert_eq!((status, &told["task"]["id"]), (200, &first[0]["id"]), "{told}");
        let second = others_run(&dev.api, "/web", 1, &first).await?;
        assert_eq!(parts(&second[0]), (parts(&first[0]).0, "2".into()));

        let (status, told) = dev
            .api
            .ask("DELETE", &format!("{}?wipe=true", path(&second)), &Value::Null)
            .await?;
        assert_eq!(status, 200, "{told}");
        let third = others_run(&dev.api, "/web", 1, &second).await?;
        assert_ne!(parts(&third[0]).0, parts(&first[0]).0);
        assert_eq!(parts(&third[0]).1, "1");
        Ok(())
    });
}

/// Case 17.
#[test]
fn the_tasks_of_one_host_are_ended_or_all() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        dev.api.changed("POST", "/v2/apps", &idle("/web", 3)).await?;
        let mut before = dev.api.tasks("/web").await?;
        let host = before[0]["host"].as_str().context("a host")?.to_owned();

        let told = dev
            .api
            .ask("DELETE", "/v2/apps/web/tasks?host=elsewhere", &Value::Null)
            .await?;
        assert_eq!(told, (200, json!({ "tasks": [] })));
        assert_eq!(names(&dev.api.tasks("/web").await?), names(&before));
        for host in [host.as_str(), "*"] {
            let path = format!("/v2/apps/web/tasks?host={host}");
            let (status, told) = dev.api.ask("DELETE", &path, &Value::Null).await?;
            assert_eq!(status, 200, "{told}");
            let ended = told["tasks"].as_array().context("a list")?;
            assert_eq!(names(ended), names(&before), "{host}");
            before = others_run(&dev.api, "/web", 3, &before).await?;
        }
        let unknown = dev.api.refused("DELETE", "/v2/apps/none/tasks", &Value::Null).await?;
        assert_eq!(unknown.0, 404);
        Ok(())
    });
}

/// What the queue says of the one app that waits.
async fn waits(api: &Api) -> Option<Value> {
    let json = api.get("/v2/queue").await.ok()?;
    let items = json["queue"].as_array()?;
    (items.len() == 1).then(|| items[0].clone())
}

/// Why it waits.
fn reason(item: &Value) -> &str {
    let reasons = &item["processedOffersSummary"]["rejectSummaryLastOffers"];
    reasons[0]["reason"].as_str().unwrap_or_default()
}

/// Case 21. The first pause is as long as the test, so what starts before its end was told to.
#[test]
fn what_crashes_waits_its_pause_which_scaling_keeps_and_another_configuration_ends() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let starts = home.path("starts").display().to_string();
        let mut app = idle("/fails", 1);
        app["cmd"] = json!(format!("echo start >>'{starts}'; exit 3"));
        app["backoffSeconds"] = json!(1000);
        app["maxLaunchDelaySeconds"] = json!(2000);
        dev.api.change("POST", "/v2/apps", &app).await?;
        let started = async |times: usize| {
            holds(&format!("it has started {times} times, and waits"), async || {
                let text = home.read("starts").unwrap_or_default();
                let delay = waits(&dev.api)
                    .await
                    .map(|item| item["delay"].clone())
                    .unwrap_or_default();
                text.lines().count() == times
                    && delay["timeLeftSeconds"].as_u64() > Some(0)
                    && delay["overdue"] == false
            })
            .await
        };
        started(1).await?;

        let (status, told) = dev.api.ask("DELETE", "/v2/queue/fails/delay", &Value::Null).await?;
        assert_eq!((status, told), (204, Value::Null));
        started(2).await?;

        let scaled = dev
            .api
            .change("PUT", "/v2/apps/fails?force=true", &json!({ "instances": 2 }))
            .await?;
        let both = eventually("both wait", async || {
            waits(&dev.api).await.filter(|item| item["count"] == 2)
        })
        .await?;
        assert!(both["delay"]["timeLeftSeconds"].as_u64() > Some(0), "{both}");
        assert!(both.to_string().contains("it ended with code 3"), "{both}");
        started(2).await?;
        assert_eq!(
            dev.api.get(&format!("/v1/deployments/{scaled}")).await?["state"],
            "running"
        );

        let other = json!({ "instances": 1, "env": { "A": "1" } });
        dev.api.change("PUT", "/v2/apps/fails?force=true", &other).await?;
        started(3).await?;
        dev.api.changed("DELETE", "/v2/apps/fails", &Value::Null).await?;
        let unknown = dev.api.refused("DELETE", "/v2/queue/fails/delay", &Value::Null).await?;
        assert_eq!(unknown.0, 404);
        Ok(())
    });
}

/// Case 59.
#[test]
fn who_requires_a_port_that_is_taken_waits_and_starts_when_it_is_free() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let held = TcpListener::bind("127.0.0.1:0")?;
        let port = held.local_addr()?.port();
        let mut app = idle("/web", 1);
        app["portDefinitions"] = json!([{ "port": port }]);
        app["requirePorts"] = json!(true);
        let deployment = dev.api.change("POST", "/v2/apps", &app).await?;
        let item = eventually("it waits", async || {
            waits(&dev.api).await.filter(|item| !reason(item).is_empty())
        })
        .await?;
        assert_eq!(reason(&item), format!("port {port} of this machine is taken"));

        drop(held);
        dev.api.done(&deployment).await?;
        assert_eq!(dev.api.tasks("/web").await?[0]["ports"], json!([port]));
        assert_eq!(dev.api.get("/v2/queue").await?, json!({ "queue": [] }));
        Ok(())
    });
}

/// Case 60.
#[test]
fn of_two_that_may_not_share_a_host_one_runs_and_is_rolled_beside_itself() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let mut app = idle("/web", 2);
        app["constraints"] = json!([["hostname", "UNIQUE"]]);
        app["upgradeStrategy"] = json!({ "minimumHealthCapacity": 0.5, "maximumOverCapacity": 1 });
        dev.api.change("POST", "/v2/apps", &app).await?;
        let one_runs = async |before: &[Value]| {
            let tasks = others_run(&dev.api, "/web", 1, before).await?;
            let item = waits(&dev.api).await.context("the other one waits")?;
            assert!(reason(&item).contains("hostname UNIQUE"), "{item}");
            assert_eq!(item["count"], 1, "{item}");
            anyhow::Ok(tasks)
        };
        let first = one_runs(&[]).await?;

        let mut next = app.clone();
        next["env"] = json!({ "A": "1" });
        dev.api.change("PUT", "/v2/apps/web?force=true", &next).await?;
        one_runs(&first).await?;
        let alone = json!({ "instances": 1 });
        dev.api.changed("PUT", "/v2/apps/web?force=true", &alone).await
    });
}

/// Case 73, of a plain process: how an end is called, in the event and in what is told of the app.
#[test]
fn a_program_that_ends_by_itself_has_finished_with_0_and_failed_with_anything_else() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        for (id, line, state, words) in [
            ("/well", "exit 0", "TASK_FINISHED", "it ended by itself"),
            ("/badly", "exit 3", "TASK_FAILED", "it ended with code 3"),
        ] {
            let mut app = idle(id, 1);
            app["cmd"] = json!(line);
            // No port that another test could have.
            app["portDefinitions"] = json!([]);
            // Longer than the test: it is started once.
            app["backoffSeconds"] = json!(1000);
            app["maxLaunchDelaySeconds"] = json!(1000);
            let mut events = dev.api.events("event_type=status_update_event").await?;
            dev.api.change("POST", "/v2/apps", &app).await?;
            let ended = loop {
                let (_, event) = events.json().await?;
                if !matches!(event["taskStatus"].as_str(), Some("TASK_STAGING" | "TASK_RUNNING")) {
                    break event;
                }
            };
            assert_eq!(
                (&ended["appId"], &ended["taskStatus"], &ended["message"]),
                (&json!(id), &json!(state), &json!(words)),
                "{ended}"
            );
            let failure = eventually("its end is told of the app", async || {
                let app = get(&dev.api, id).await.ok()?;
                app["lastTaskFailure"]
                    .is_object()
                    .then(|| app["lastTaskFailure"].clone())
            })
            .await?;
            assert_eq!(
                (&failure["taskId"], &failure["state"], &failure["message"]),
                (&ended["taskId"], &json!(state), &json!(words)),
                "{failure}"
            );
            dev.api
                .changed("DELETE", &format!("/v2/apps{id}"), &Value::Null)
                .await?;
        }
        Ok(())
    });
}
