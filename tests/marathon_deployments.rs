//! Deployments, groups and who answers, as clients of Marathon see them: cases of docs/marathon-cases.md.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::harness::dev::{Api, Dev};
use crate::harness::{eventually, holds, test};
use crate::marathon_apps::{get, idle, names, nowhere};

/// The ids of the deployments that are under way.
async fn under_way(api: &Api) -> anyhow::Result<Vec<Value>> {
    let json = api.get("/v2/deployments").await?;
    Ok(json.as_array().context("a list")?.clone())
}

/// Two versions of an app: one that is well, and one that never is, of which one comes up in the place of one of two.
fn good_and_bad() -> (Value, Value) {
    let mut good = idle("/web", 2);
    good["env"] = json!({ "VERSION": "1" });
    good["upgradeStrategy"] = json!({ "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0 });
    let mut bad = good.clone();
    bad["env"] = json!({ "VERSION": "2" });
    bad["healthChecks"] = json!([{
        "protocol": "COMMAND", "command": { "value": "false" }, "gracePeriodSeconds": 3600, "delaySeconds": 0,
    }]);
    (good, bad)
}

/// Waits until one task of each version runs, and nothing else is there.
async fn is_mixed(api: &Api) -> anyhow::Result<Vec<Value>> {
    eventually("one runs of each version", async || {
        let tasks = api.tasks("/web").await.ok()?;
        let all_run = tasks.iter().all(|task| task["state"] == "TASK_RUNNING");
        (tasks.len() == 2 && all_run && tasks[0]["version"] != tasks[1]["version"]).then_some(tasks)
    })
    .await
}

/// Case 18.
#[test]
fn a_deployment_is_told_while_it_goes_on_and_is_taken_back_or_left_as_it_is() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let (good, bad) = good_and_bad();
        let first = dev.api.change("POST", "/v2/apps", &good).await?;
        dev.api.done(&first).await?;
        assert_eq!(under_way(&dev.api).await?, Vec::<Value>::new());

        let second = dev.api.change("PUT", "/v2/apps/web", &bad).await?;
        let told = under_way(&dev.api).await?;
        assert_eq!(told.len(), 1, "{told:?}");
        let fields = told[0].as_object().context("an object")?.keys().map(String::as_str);
        let fields: BTreeSet<&str> = fields.collect();
        let eight = BTreeSet::from([
            "affectedApps",
            "affectedPods",
            "currentActions",
            "currentStep",
            "id",
            "steps",
            "totalSteps",
            "version",
        ]);
        assert_eq!(fields, eight);
        assert_eq!(
            (&told[0]["id"], &told[0]["affectedApps"]),
            (&json!(second), &json!(["/web"]))
        );
        is_mixed(&dev.api).await?;

        let (status, told) = dev
            .api
            .ask("DELETE", &format!("/v2/deployments/{second}?force=false"), &Value::Null)
            .await?;
        assert_eq!(status, 200, "{told}");
        let back = told["deploymentId"].as_str().context("an id")?;
        assert_ne!(back, second);
        dev.api.done(back).await?;
        let now = get(&dev.api, "/web").await?;
        assert_eq!((&now["env"], &now["healthChecks"]), (&good["env"], &json!([])), "{now}");
        assert_eq!(dev.api.tasks("/web").await?.len(), 2);

        let third = dev.api.change("PUT", "/v2/apps/web", &bad).await?;
        let mixed = is_mixed(&dev.api).await?;
        let path = format!("/v2/deployments/{third}?force=true");
        assert_eq!(dev.api.ask("DELETE", &path, &Value::Null).await?, (202, Value::Null));
        assert_eq!(under_way(&dev.api).await?, Vec::<Value>::new());
        // A whole deployment of another app later it is as it was.
        dev.api.changed("POST", "/v2/apps", &idle("/other", 1)).await?;
        assert_eq!(names(&is_mixed(&dev.api).await?), names(&mixed));
        assert_eq!(get(&dev.api, "/web").await?["env"], bad["env"]);
        let unknown = dev.api.refused("DELETE", &path, &Value::Null).await?;
        assert_eq!(unknown.0, 404);
        Ok(())
    });
}

/// Case 18: of several that go on beside each other.
#[test]
fn the_first_of_several_deployments_is_taken_back_alone() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let versions = |id: &str| {
            let (mut good, mut bad) = good_and_bad();
            (good["id"], bad["id"]) = (json!(id), json!(id));
            (good, bad)
        };
        let mut all = Vec::new();
        for id in ["/one", "/two"] {
            let (good, bad) = versions(id);
            dev.api.changed("POST", "/v2/apps", &good).await?;
            all.push(dev.api.change("PUT", &format!("/v2/apps{id}"), &bad).await?);
        }
        all.push(dev.api.change("POST", "/v2/apps", &nowhere("/three")).await?);
        let going_on = async || -> anyhow::Result<BTreeSet<String>> {
            let told = under_way(&dev.api).await?;
            Ok(told
                .iter()
                .filter_map(|one| one["id"].as_str().map(str::to_owned))
                .collect())
        };
        let from = |nth: usize| -> BTreeSet<String> { all[nth..].iter().cloned().collect() };
        assert_eq!(going_on().await?, from(0));
        let env = async |id: &str| anyhow::Ok(get(&dev.api, id).await?["env"].clone());
        let (good, bad) = good_and_bad();

        for (nth, (one, two, three)) in [
            (&good["env"], &bad["env"], 200),
            (&good["env"], &good["env"], 200),
            (&good["env"], &good["env"], 404),
        ]
        .into_iter()
        .enumerate()
        {
            let path = format!("/v2/deployments/{}", all[nth]);
            dev.api.changed("DELETE", &path, &Value::Null).await?;
            assert_eq!((&env("/one").await?, &env("/two").await?), (one, two));
            let (status, told) = dev.api.ask("GET", "/v2/apps/three", &Value::Null).await?;
            assert_eq!(status, three, "{told}");
            assert_eq!(going_on().await?, from(nth + 1));
        }
        for id in ["/one", "/two"] {
            let tasks = dev.api.tasks(id).await?;
            assert_eq!(tasks.len(), 2, "{tasks:?}");
        }
        Ok(())
    });
}

/// Case 19.
#[test]
fn an_app_that_is_being_changed_is_changed_by_nobody_else_but_by_force() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let first = dev.api.change("POST", "/v2/apps", &nowhere("/web")).await?;
        let before = get(&dev.api, "/web").await?["version"].clone();
        let well = json!({ "constraints": [] });

        let (status, told) = dev.api.refused("PUT", "/v2/apps/web", &well).await?;
        assert_eq!(status, 409);
        assert_eq!(told["deployments"], json!([{ "id": first }]), "{told}");
        assert!(told["message"].to_string().contains("force=true"), "{told}");
        assert_eq!(get(&dev.api, "/web").await?["version"], before);

        let mut events = dev
            .api
            .events("event_type=deployment_failed&event_type=deployment_success")
            .await?;
        let second = dev.api.change("PUT", "/v2/apps/web?force=true", &well).await?;
        let (kind, failed) = events.json().await?;
        assert_eq!(
            (kind.as_str(), &failed["id"]),
            ("deployment_failed", &json!(first)),
            "{failed}"
        );
        let (kind, done) = events.json().await?;
        assert_eq!(
            (kind.as_str(), &done["id"]),
            ("deployment_success", &json!(second)),
            "{done}"
        );
        assert_eq!(dev.api.tasks("/web").await?.len(), 1);
        Ok(())
    });
}

/// Case 20.
#[test]
fn groups_are_made_changed_tried_scaled_and_taken_away() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let group = |apps: Value| json!({ "id": "/shop", "apps": apps });
        let both = group(json!([idle("web", 3), idle("db", 1)]));
        let (status, told) = dev.api.ask("POST", "/v2/groups", &both).await?;
        assert_eq!(status, 201, "{told}");
        dev.api.done(told["deploymentId"].as_str().context("an id")?).await?;
        assert_eq!(dev.api.refused("POST", "/v2/groups", &both).await?.0, 409);
        let tasks = |app: &str| {
            let app = app.to_owned();
            let api = dev.api.clone();
            async move { api.tasks(&app).await }
        };
        assert_eq!(
            (tasks("/shop/web").await?.len(), tasks("/shop/db").await?.len()),
            (3, 1)
        );

        let less = group(json!([idle("web", 3)]));
        let (status, told) = dev.api.ask("PUT", "/v2/groups/shop?dryRun=true", &less).await?;
        let stop = json!([{ "actions": [{ "action": "StopApplication", "app": "/shop/db" }] }]);
        assert_eq!((status, &told["steps"]), (200, &stop), "{told}");
        assert_eq!(
            dev.api.get("/v2/groups/shop").await?["apps"].as_array().map(Vec::len),
            Some(2)
        );

        let before = names(&tasks("/shop/web").await?);
        dev.api.changed("PUT", "/v2/groups/shop", &less).await?;
        assert_eq!(dev.api.refused("GET", "/v2/apps/shop/db", &Value::Null).await?.0, 404);
        let left = dev.api.get("/v2/tasks").await?;
        assert_eq!(
            left["tasks"].as_array().map(|tasks| names(tasks)),
            Some(before),
            "{left}"
        );

        dev.api
            .changed("PUT", "/v2/groups/shop", &json!({ "scaleBy": 1.5 }))
            .await?;
        assert_eq!(get(&dev.api, "/shop/web").await?["instances"], 5);
        assert_eq!(tasks("/shop/web").await?.len(), 5);

        let mut circle = [idle("web", 1), idle("db", 1)];
        circle[0]["dependencies"] = json!(["/shop/db"]);
        circle[1]["dependencies"] = json!(["/shop/web"]);
        let (status, told) = dev.api.refused("PUT", "/v2/groups/shop", &group(json!(circle))).await?;
        assert_eq!(status, 422, "{told}");
        assert!(
            told.to_string().contains("/shop/web") && told.to_string().contains("/shop/db"),
            "{told}"
        );

        dev.api.changed("DELETE", "/v2/groups/shop", &Value::Null).await?;
        assert_eq!(dev.api.refused("GET", "/v2/groups/shop", &Value::Null).await?.0, 404);
        assert_eq!(dev.api.get("/v2/tasks").await?["tasks"], json!([]));
        Ok(())
    });
}

/// Case 22.
#[test]
fn ping_leader_and_info_answer_as_marathon_does() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        for (accept, body) in [("text/plain", "pong"), ("application/json", "\"pong\"")] {
            let mut headers = HeaderMap::new();
            headers.insert("accept", accept.parse()?);
            let reply = dev.api.reply(headers, "GET", "/ping", "").await?;
            assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, body.as_bytes()));
            let kind = reply.headers["content-type"].to_str()?;
            assert!(kind.starts_with(accept), "{kind}");
        }

        let words = dev.api.text("/").await?;
        assert!(words.contains("/v2") && words.contains("/v1"), "{words}");

        let leader = dev.api.get("/v2/leader").await?;
        let address = dev.api.address.trim_start_matches("http://");
        assert_eq!(leader, json!({ "leader": address }));
        let info = dev.api.get("/v2/info").await?;
        assert_eq!(
            (&info["elected"], &info["leader"]),
            (&json!(true), &json!(address)),
            "{info}"
        );
        for name in ["marathon_config", "zookeeper_config", "http_config"] {
            assert!(info[name].is_object(), "{name}: {info}");
        }
        for name in ["name", "version", "buildref", "frameworkId"] {
            assert!(info[name].is_string(), "{name}: {info}");
        }
        Ok(())
    });
}

#[test]
fn what_prometheus_reads_is_what_there_is() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        dev.api.changed("POST", "/v2/apps", &idle("/web", 2)).await?;
        dev.api.change("POST", "/v2/apps", &nowhere("/waits")).await?;
        let read = async || -> anyhow::Result<BTreeMap<String, u64>> {
            let reply = dev
                .api
                .reply(HeaderMap::new(), "GET", "/metrics/prometheus", "")
                .await?;
            anyhow::ensure!(reply.status == 200, "{}", reply.status);
            let kind = reply.headers["content-type"].to_str()?;
            anyhow::ensure!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            let mut numbers = BTreeMap::new();
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                let (name, number) = line.split_once(' ').with_context(|| line.to_owned())?;
                anyhow::ensure!(text.contains(&format!("# TYPE {name} gauge\n")), "{text}");
                numbers.insert(name.to_owned(), number.parse()?);
            }
            Ok(numbers)
        };
        holds("one waits", async || {
            let numbers = read().await.unwrap_or_default();
            numbers.get("keyway_scheduler_instances_waiting") == Some(&1)
        })
        .await?;
        let expected = [
            ("keyway_scheduler_apps", 2),
            ("keyway_scheduler_deployments", 1),
            ("keyway_scheduler_instances", 3),
            ("keyway_scheduler_instances_running", 2),
            ("keyway_scheduler_instances_healthy", 2),
            ("keyway_scheduler_instances_waiting", 1),
            ("marathon_apps_active_gauge", 2),
        ]
        .map(|(name, number)| (name.to_owned(), number));
        assert_eq!(read().await?, BTreeMap::from(expected));
        Ok(())
    });
}

/// Case 67, of which this is what needs no client: whoever looks right after a change finds its deployment. And case 38 for
/// an app without checks.
#[test]
fn a_deployment_of_what_nobody_checks_is_there_when_its_answer_is_and_done_when_it_has_run() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        for nth in 0..5 {
            let id = format!("/web{nth}");
            let deployment = dev.api.change("POST", "/v2/apps", &idle(&id, 1)).await?;
            let told = under_way(&dev.api).await?;
            assert_eq!(told.len(), 1, "{told:?}");
            assert_eq!(told[0]["id"], json!(deployment));
            dev.api.done(&deployment).await?;
            assert_eq!(dev.api.tasks(&id).await?[0]["state"], "TASK_RUNNING");
        }
        // One that ends as soon as it runs was never well: nothing goes for it, and its deployment is not done.
        let before = names(&dev.api.tasks("/web0").await?);
        let fails = json!({ "cmd": "exit 3" });
        let deployment = dev.api.change("PUT", "/v2/apps/web0", &fails).await?;
        holds("it has failed again", async || {
            let app = get(&dev.api, "/web0").await.unwrap_or_default();
            let task = app["lastTaskFailure"]["taskId"].as_str().unwrap_or_default().to_owned();
            task.rsplit_once('.').and_then(|(_, nth)| nth.parse().ok()) >= Some(2)
        })
        .await?;
        let now = dev.api.get(&format!("/v1/deployments/{deployment}")).await?;
        assert_eq!(now["state"], "running", "{now}");
        assert!(names(&dev.api.tasks("/web0").await?).is_superset(&before));
        let lasts = json!({ "cmd": "exec sleep 2000" });
        dev.api.changed("PUT", "/v2/apps/web0?force=true", &lasts).await
    });
}

/// Long names stand for many apps: what is kept of a deployment grows with their letters.
#[test]
fn a_group_as_large_as_can_be_kept_is_one_deployment_and_of_a_larger_one_nothing_is_made() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let group = |id: &str, apps: usize| {
            let app = |n: usize| {
                let mut app = idle(&format!("{}-{n}", "a".repeat(200)), 0);
                app["portDefinitions"] = json!([]);
                app
            };
            json!({ "id": id, "apps": (0..apps).map(app).collect::<Vec<_>>() })
        };
        let (status, told) = dev.api.refused("PUT", "/v2/groups/many", &group("/many", 500)).await?;
        assert_eq!(status, 403, "{told}");
        let why = told["message"].as_str().context("words")?;
        assert!(why.contains("500 apps") && why.contains("380000 is the most"), "{why}");
        assert_eq!(dev.api.refused("GET", "/v2/groups/many", &Value::Null).await?.0, 404);
        assert_eq!(under_way(&dev.api).await?, Vec::<Value>::new());

        let shop = group("/shop", 350);
        dev.api.changed("PUT", "/v2/groups/shop", &shop).await?;
        let all = dev.api.get("/v2/apps").await?;
        assert_eq!(all["apps"].as_array().map(Vec::len), Some(350));
        let mut other = shop;
        for app in other["apps"].as_array_mut().context("a list")? {
            app["env"] = json!({ "A": "1" });
        }
        dev.api.changed("PUT", "/v2/groups/shop", &other).await?;
        dev.api.changed("DELETE", "/v2/groups/shop", &Value::Null).await?;
        assert_eq!(dev.api.get("/v2/apps").await?, json!({ "apps": [] }));
        Ok(())
    });
}
