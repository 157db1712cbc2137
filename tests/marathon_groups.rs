//! Groups as clients of Marathon read them and go back in them: more of case 20 of docs/marathon-cases.md.

use std::collections::BTreeSet;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::harness::dev::{Api, Dev};
use crate::harness::test;
use crate::marathon_apps::{get, idle, names};

/// A group with an app, and another group in it with one more.
fn shop(instances: u32) -> Value {
    json!({
        "id": "/shop", "apps": [idle("web", instances)],
        "groups": [{ "id": "back", "apps": [idle("db", 1)] }],
    })
}

/// The versions of the group, the newest first.
async fn versions(api: &Api) -> anyhow::Result<Vec<String>> {
    let json = api.get("/v2/groups/shop/versions").await?;
    let all = json.as_array().context("a list, and nothing round it")?.iter();
    all.map(|one| one.as_str().map(str::to_owned).context("a text"))
        .collect()
}

/// Of a list of apps or tasks, one field of each.
fn each(list: &Value, field: &str) -> BTreeSet<String> {
    let all = list.as_array().into_iter().flatten();
    all.filter_map(|one| one[field].as_str().map(str::to_owned)).collect()
}

/// Case 20.
#[test]
fn a_group_is_read_as_it_was_and_gone_back_to_in_both_ways() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let api = &dev.api;
        api.changed("POST", "/v2/groups", &shop(1)).await?;
        for (method, path, body) in [
            ("PUT", "/v2/apps/shop/web", json!({ "env": { "A": "1" } })),
            ("PUT", "/v2/apps/shop/web", json!({ "instances": 2 })),
            ("POST", "/v2/apps", idle("/shop/late", 1)),
        ] {
            api.changed(method, path, &body).await?;
        }
        let told = api.get("/v2/groups/shop/apps").await?;
        let ids = ["/shop/back/db", "/shop/late", "/shop/web"].map(str::to_owned);
        assert_eq!(each(&told["apps"], "id"), BTreeSet::from(ids), "{told}");

        let all = versions(api).await?;
        let mut seen = Vec::new();
        for version in &all {
            let then = api.get(&format!("/v2/groups/shop/versions/{version}")).await?;
            assert_eq!((&then["id"], &then["version"]), (&json!("/shop"), &json!(version)));
            assert_eq!(then["groups"][0]["apps"][0]["id"], "/shop/back/db", "{then}");
            let apps = then["apps"].as_array().context("a list")?;
            let web = apps
                .iter()
                .find(|app| app["id"] == "/shop/web")
                .context("it is there")?;
            seen.push((apps.len(), web["env"]["A"].clone(), web["instances"].clone()));
        }
        let newest_first: [(usize, Value, Value); 4] = [
            (2, json!("1"), json!(2)),
            (1, json!("1"), json!(2)),
            (1, json!("1"), json!(1)),
            (1, Value::Null, json!(1)),
        ];
        assert_eq!(seen, newest_first, "{all:?}");

        let back = json!({ "version": all[3] });
        let (status, told) = api.ask("PUT", "/v2/groups/shop?dryRun=true", &back).await?;
        assert_eq!(status, 200, "{told}");
        assert!(told["steps"].to_string().contains("/shop/late"), "{told}");
        assert_eq!(versions(api).await?, all, "it was only tried");

        let untouched = names(&api.tasks("/shop/back/db").await?);
        api.changed("PUT", "/v2/groups/shop", &back).await?;
        let web = get(api, "/shop/web").await?;
        assert_eq!((&web["env"], &web["instances"]), (&json!({}), &json!(1)), "{web}");
        let gone = api.refused("GET", "/v2/apps/shop/late", &Value::Null).await?;
        assert_eq!(gone.0, 404);
        assert_eq!(names(&api.tasks("/shop/back/db").await?), untouched);

        let path = format!("/v2/groups/shop/versions/{}", all[1]);
        api.changed("PUT", &path, &Value::Null).await?;
        let web = get(api, "/shop/web").await?;
        assert_eq!(
            (&web["env"], &web["instances"]),
            (&json!({ "A": "1" }), &json!(2)),
            "{web}"
        );
        Ok(())
    });
}

/// Case 20.
#[test]
fn a_group_or_a_version_of_it_that_is_not_there_is_refused() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let api = &dev.api;
        api.changed("POST", "/v2/groups", &shop(1)).await?;
        let known = versions(api).await?;
        let known = known.first().context("a version")?;
        let (before, never) = ("2020-01-01T00:00:00.000Z", "yesterday");
        let of = |version: &str| json!({ "version": version });
        let nothing = Value::Null;
        for (method, path, body, status) in [
            ("GET", "/v2/groups/none/apps".to_owned(), nothing.clone(), 404),
            ("GET", "/v2/groups/none/versions".to_owned(), nothing.clone(), 404),
            ("GET", format!("/v2/groups/none/versions/{known}"), nothing.clone(), 404),
            (
                "GET",
                format!("/v2/groups/shop/versions/{before}"),
                nothing.clone(),
                404,
            ),
            ("GET", format!("/v2/groups/shop/versions/{never}"), nothing.clone(), 404),
            (
                "PUT",
                format!("/v2/groups/shop/versions/{before}"),
                nothing.clone(),
                422,
            ),
            ("PUT", format!("/v2/groups/shop/versions/{never}"), nothing, 422),
            ("PUT", "/v2/groups/shop".to_owned(), of(before), 422),
            ("PUT", "/v2/groups/shop".to_owned(), of(never), 422),
            // Marathon changes nothing by it but whether a group has a role.
            (
                "PATCH",
                "/v2/groups/shop".to_owned(),
                json!({ "enforceRole": true }),
                405,
            ),
        ] {
            let told = api.refused(method, &path, &body).await?;
            assert_eq!(told.0, status, "{method} {path} {body}: {}", told.1);
        }
        assert_eq!(versions(api).await?, std::slice::from_ref(known));
        Ok(())
    });
}

#[test]
fn the_tasks_of_a_group_are_those_of_all_apps_in_it() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let api = &dev.api;
        api.changed("POST", "/v2/groups", &shop(2)).await?;
        api.changed("POST", "/v2/apps", &idle("/other", 1)).await?;
        let mut inside = names(&api.tasks("/shop/web").await?);
        inside.extend(names(&api.tasks("/shop/back/db").await?));
        assert_eq!(inside.len(), 3);

        let told = api.get("/v2/apps/shop/*/tasks").await?;
        assert_eq!(each(&told["tasks"], "id"), inside, "{told}");
        let told = api.get("/v2/apps/*/tasks").await?;
        inside.extend(names(&api.tasks("/other").await?));
        assert_eq!(each(&told["tasks"], "id"), inside, "{told}");
        Ok(())
    });
}
