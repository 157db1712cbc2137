//! What clients of Marathon send for apps, and what they are answered: cases of docs/marathon-cases.md.

use std::collections::BTreeSet;

use anyhow::Context as _;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::harness::dev::{Api, Dev};
use crate::harness::{Server, holds, test};

/// An app of so many small programs that do nothing.
pub(crate) fn idle(id: &str, instances: u32) -> Value {
    json!({ "id": id, "cmd": "exec sleep 1000", "instances": instances, "cpus": 0.01, "mem": 16 })
}

/// One that no machine may have, so that its deployment goes on until somebody ends it.
pub(crate) fn nowhere(id: &str) -> Value {
    let mut app = idle(id, 1);
    app["constraints"] = json!([["hostname", "CLUSTER", "elsewhere"]]);
    app
}

/// An app as it is now.
pub(crate) async fn get(api: &Api, id: &str) -> anyhow::Result<Value> {
    Ok(api.get(&format!("/v2/apps{id}")).await?["app"].clone())
}

/// The names of tasks.
pub(crate) fn names(tasks: &[Value]) -> BTreeSet<String> {
    tasks
        .iter()
        .map(|task| task["id"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// The places of mistakes.
pub(crate) fn places(told: &Value) -> Vec<&str> {
    let details = told["details"].as_array().into_iter().flatten();
    details.filter_map(|detail| detail["path"].as_str()).collect()
}

/// Case 1.
#[test]
fn a_new_app_is_answered_with_its_deployment_and_a_second_time_with_409() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let app = idle("/trivial", 5);
        let reply = dev
            .api
            .reply(HeaderMap::new(), "POST", "/v2/apps", app.to_string())
            .await?;
        assert_eq!(reply.status, 201);
        let told: Value = serde_json::from_slice(&reply.body)?;
        let deployments = told["deployments"].as_array().context("deployments")?;
        assert_eq!(deployments.len(), 1, "{told}");
        let id = deployments[0]["id"].as_str().context("an id")?;
        assert_eq!(reply.headers["marathon-deployment-id"], id);
        assert_eq!(reply.headers["location"], "/v2/apps/trivial");
        dev.api.done(id).await?;
        assert_eq!(dev.api.tasks("/trivial").await?.len(), 5);

        let (status, told) = dev.api.refused("POST", "/v2/apps", &app).await?;
        assert_eq!(status, 409);
        assert!(told["message"].to_string().contains("/trivial"), "{told}");
        Ok(())
    });
}

/// Case 2.
#[test]
fn an_app_is_made_by_put_and_the_same_again_does_nothing() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let app = idle("/web", 2);
        let (status, told) = dev.api.ask("PUT", "/v2/apps/web", &app).await?;
        assert_eq!(status, 201, "{told}");
        dev.api.done(told["deploymentId"].as_str().context("an id")?).await?;
        let before = (
            get(&dev.api, "/web").await?["version"].clone(),
            names(&dev.api.tasks("/web").await?),
        );

        let (status, told) = dev.api.ask("PUT", "/v2/apps/web", &app).await?;
        assert_eq!(status, 200, "{told}");
        let end = dev.api.end_of(told["deploymentId"].as_str().context("an id")?).await?;
        assert_eq!((&end["state"], &end["steps"]), (&json!("done"), &json!(0)), "{end}");
        // A whole deployment later nobody has thought better of it.
        dev.api.changed("POST", "/v2/apps", &idle("/other", 1)).await?;
        let after = (
            get(&dev.api, "/web").await?["version"].clone(),
            names(&dev.api.tasks("/web").await?),
        );
        assert_eq!(after, before);
        Ok(())
    });
}

/// Cases 3 and 4.
#[test]
fn what_an_update_does_not_name_stays_unless_it_is_to_be_the_whole() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let mut app = idle("/web", 1);
        app["env"] = json!({ "B": "2" });
        app["labels"] = json!({ "team": "shop" });
        dev.api.changed("POST", "/v2/apps", &app).await?;

        dev.api
            .changed("PUT", "/v2/apps/web", &json!({ "instances": 3 }))
            .await?;
        let now = get(&dev.api, "/web").await?;
        assert_eq!(dev.api.tasks("/web").await?.len(), 3);
        assert_eq!((&now["env"], &now["labels"]), (&app["env"], &app["labels"]), "{now}");

        dev.api
            .changed("PUT", "/v2/apps/web", &json!({ "env": { "A": "1" } }))
            .await?;
        let now = get(&dev.api, "/web").await?;
        assert_eq!(now["env"], json!({ "A": "1" }), "a map is replaced, and not merged");

        let bare = idle("/web", 1);
        dev.api
            .changed("PUT", "/v2/apps/web?partialUpdate=false", &bare)
            .await?;
        let now = get(&dev.api, "/web").await?;
        assert_eq!((&now["env"], &now["labels"]), (&json!({}), &json!({})), "{now}");

        let (status, _) = dev
            .api
            .refused("PATCH", "/v2/apps/none", &json!({ "instances": 3 }))
            .await?;
        assert_eq!(status, 404);
        Ok(())
    });
}

/// Case 5.
#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let valid = "Object is not valid";
        let shape = "Invalid JSON";
        for (body, message, place) in [
            (json!({ "id": "/a", "cmd": "x", "args": ["y"] }), valid, "/args"),
            (json!({ "id": "/a" }), valid, "/cmd"),
            (
                json!({ "id": "/a", "cmd": "x", "upgradeStrategy": { "minimumHealthCapacity": 1.5, "maximumOverCapacity": 0 } }),
                valid,
                "/upgradeStrategy/minimumHealthCapacity",
            ),
            (json!({ "id": 1 }), shape, "/id"),
            (json!({ "id": "/a", "cmd": "x", "instances": 1.5 }), shape, "/instances"),
            (json!({ "id": "/a", "cmd": "x", "instances": -1 }), valid, "/instances"),
        ] {
            let (status, told) = dev.api.refused("POST", "/v2/apps", &body).await?;
            assert_eq!(
                (status, told["message"].as_str()),
                (422, Some(message)),
                "{body}: {told}"
            );
            assert_eq!(places(&told), [place], "{body}");
        }
        let reply = dev
            .api
            .reply(HeaderMap::new(), "POST", "/v2/apps", "{\"id\": \"/a\", \"cmd\"")
            .await?;
        let told: Value = serde_json::from_slice(&reply.body)?;
        assert_eq!((reply.status.as_u16(), told["message"].as_str()), (400, Some(shape)));
        assert!(told["details"].is_string(), "{told}");
        assert_eq!(dev.api.get("/v2/apps").await?, json!({ "apps": [] }));
        Ok(())
    });
}

/// Case 6.
#[test]
fn an_answer_that_is_put_back_restarts_nothing() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let mut app = idle("/web", 2);
        app["portDefinitions"] = json!([{ "port": 0, "name": "http" }, { "port": 0 }]);
        app["healthChecks"] = json!([{ "protocol": "COMMAND", "command": { "value": "true" }, "delaySeconds": 0 }]);
        dev.api.changed("POST", "/v2/apps", &app).await?;
        let before = get(&dev.api, "/web").await?;
        for name in ["versionInfo", "tasks", "deployments", "tasksRunning", "version"] {
            assert!(!before[name].is_null(), "{name}: {before}");
        }

        let (status, told) = dev.api.ask("PUT", "/v2/apps/web", &before).await?;
        assert_eq!(status, 200, "{told}");
        dev.api.done(told["deploymentId"].as_str().context("an id")?).await?;

        let after = get(&dev.api, "/web").await?;
        assert_eq!(after["versionInfo"], before["versionInfo"]);
        let tasks = |app: &Value| names(app["tasks"].as_array().map_or(&[], Vec::as_slice));
        assert_eq!(tasks(&after), tasks(&before));
        assert_eq!(tasks(&after).len(), 2);
        Ok(())
    });
}

/// Case 7.
#[test]
fn force_is_read_in_any_case_and_a_deletion_has_it_unless_it_says_no() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        for (nth, force) in ["True", "true", "TRUE"].into_iter().enumerate() {
            let id = format!("/a{nth}");
            let path = format!("/v2/apps{id}");
            dev.api.change("POST", "/v2/apps", &nowhere(&id)).await?;
            let update = json!({ "env": { "A": "1" } });
            assert_eq!(dev.api.refused("PUT", &path, &update).await?.0, 409);
            let forced = dev.api.ask("PUT", &format!("{path}?force={force}"), &update).await?;
            assert_eq!(forced.0, 200, "{forced:?}");

            let kept = dev
                .api
                .refused("DELETE", &format!("{path}?force=False"), &Value::Null)
                .await?;
            assert_eq!(kept.0, 409, "{kept:?}");
            dev.api.changed("DELETE", &path, &Value::Null).await?;
            assert_eq!(dev.api.refused("GET", &path, &Value::Null).await?.0, 404);
        }
        Ok(())
    });
}

/// Case 8.
#[test]
fn ids_with_slashes_and_words_behind_them_are_told_apart() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        for id in ["/foo", "/grp/foo", "/grp/restart"] {
            dev.api.changed("POST", "/v2/apps", &idle(id, 1)).await?;
        }
        for path in ["/v2/apps//foo", "/v2/apps/foo"] {
            assert_eq!(dev.api.get(path).await?["app"]["id"], "/foo");
        }
        let tasks = dev.api.get("/v2/apps/grp/foo/tasks").await?;
        assert_eq!(tasks["tasks"][0]["appId"], "/grp/foo", "{tasks}");
        let all = dev.api.get("/v2/apps/grp/*").await?;
        let ids: Vec<&Value> = all["*"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|app| &app["id"])
            .collect();
        assert_eq!(ids, ["/grp/foo", "/grp/restart"]);

        dev.api.changed("DELETE", "/v2/apps/grp/restart", &Value::Null).await?;
        assert_eq!(
            dev.api.refused("GET", "/v2/apps/grp/restart", &Value::Null).await?.0,
            404
        );
        dev.api.changed("POST", "/v2/apps/grp/foo/restart", &Value::Null).await
    });
}

/// Case 9.
#[test]
fn apps_are_searched_by_command_id_and_labels() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        for (id, labels) in [
            ("/one", json!({ "a": "1", "b": "3", "c": "x", "d": "" })),
            ("/two", json!({ "a": "1", "c": "y", "d": "" })),
            ("/three", json!({ "a": "1", "b": "2", "c": "x", "d": "" })),
        ] {
            let mut app = idle(id, 0);
            app["labels"] = labels;
            dev.api.changed("POST", "/v2/apps", &app).await?;
        }
        for (query, ids) in [
            ("label=a%3D%3D1,b!%3D2,c%20in%20(x,y),d", vec!["/one"]),
            ("label=b!%3D2", vec!["/one"]),
            ("label=c%20notin%20(x)", vec!["/two"]),
            ("label=b", vec!["/one", "/three"]),
            ("id=TWO", vec!["/two"]),
            ("id=o&cmd=SLEEP", vec!["/one", "/two"]),
            ("cmd=wake", vec![]),
        ] {
            let found = dev.api.get(&format!("/v2/apps?{query}")).await?;
            let found: Vec<&str> = found["apps"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|app| app["id"].as_str())
                .collect();
            assert_eq!(found, ids, "{query}");
        }
        Ok(())
    });
}

/// Case 10.
#[test]
fn what_was_written_before_marathon_1_5_is_told_as_later_ones_write_it() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let mut app = idle("/host", 0);
        app["ports"] = json!([9090]);
        app["uris"] = json!(["http://127.0.0.1/web.tar.gz"]);
        dev.api.changed("POST", "/v2/apps", &app).await?;
        let mapping = json!([{ "containerPort": 80, "hostPort": 0, "servicePort": 9091 }]);
        let docker = json!({ "image": "web:1", "network": "BRIDGE", "portMappings": mapping });
        let boxed = json!({ "id": "/boxed", "instances": 0, "container": { "type": "DOCKER", "docker": docker } });
        dev.api.changed("POST", "/v2/apps", &boxed).await?;

        let host = get(&dev.api, "/host").await?;
        assert_eq!(host["portDefinitions"][0]["port"], 9090, "{host}");
        assert_eq!(host["fetch"][0]["uri"], "http://127.0.0.1/web.tar.gz", "{host}");
        let boxed = get(&dev.api, "/boxed").await?;
        assert_eq!(boxed["networks"], json!([{ "mode": "container/bridge" }]), "{boxed}");
        assert_eq!(boxed["container"]["portMappings"][0]["servicePort"], 9091, "{boxed}");
        for app in [&host, &boxed] {
            for old in ["ports", "uris", "ipAddress"] {
                assert!(app[old].is_null(), "{old}: {app}");
            }
        }
        let docker = boxed["container"]["docker"].as_object().context("an object")?;
        assert!(
            !docker.contains_key("network") && !docker.contains_key("portMappings"),
            "{docker:?}"
        );

        let mut both = idle("/both", 0);
        both["ports"] = json!([80]);
        both["portDefinitions"] = json!([{ "port": 81 }]);
        let (status, told) = dev.api.refused("POST", "/v2/apps", &both).await?;
        assert_eq!((status, places(&told)), (422, vec!["/ports"]));
        let both = json!({
            "id": "/both", "networks": [{ "mode": "host" }],
            "container": { "type": "DOCKER", "docker": { "image": "web:1", "network": "BRIDGE" } },
        });
        let (status, told) = dev.api.refused("POST", "/v2/apps", &both).await?;
        assert_eq!((status, places(&told)), (422, vec!["/container/docker/network"]));
        Ok(())
    });
}

/// Case 11.
#[test]
fn a_service_port_of_0_is_one_that_nobody_has_and_stays() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let port = async |api: &Api, id: &str| {
            let app = get(api, id).await?;
            app["portDefinitions"][0]["port"].as_u64().context("a port")
        };
        for id in ["/one", "/two"] {
            dev.api.changed("POST", "/v2/apps", &idle(id, 0)).await?;
        }
        let (one, two) = (port(&dev.api, "/one").await?, port(&dev.api, "/two").await?);
        assert_ne!(one, two);
        assert!([one, two].iter().all(|port| (10_000..=20_000).contains(port)));
        let again = json!({ "portDefinitions": [{ "port": 0 }], "env": { "A": "1" } });
        dev.api.changed("PUT", "/v2/apps/two", &again).await?;
        assert_eq!(port(&dev.api, "/two").await?, two);

        let server = Server::start(home).await?;
        let store = server.address.to_string();
        let few = Dev::alone_with(home, "few", &store, "tasks", &["--service-ports", "15000-15001"]).await?;
        holds("it leads", async || few.api.get("/v2/apps").await.is_ok()).await?;
        for id in ["/one", "/two"] {
            few.api.changed("POST", "/v2/apps", &idle(id, 0)).await?;
        }
        let (status, told) = few.api.refused("POST", "/v2/apps", &idle("/three", 0)).await?;
        assert_eq!(status, 422);
        assert!(told["message"].to_string().contains("15000 to 15001"), "{told}");
        assert_eq!(few.api.refused("GET", "/v2/apps/three", &Value::Null).await?.0, 404);
        let stored = few.keyway(home).run(&["kv", "ls", "_keyway/apps/"]).await?.expect(0)?;
        assert_eq!(stored.text().lines().count(), 2, "{}", stored.text());
        Ok(())
    });
}
