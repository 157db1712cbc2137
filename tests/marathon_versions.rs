//! Versions of apps as clients of Marathon see them: cases of docs/marathon-cases.md.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::harness::dev::Dev;
use crate::harness::test;
use crate::marathon_apps::{get, idle, places};

/// Case 12.
#[test]
fn each_version_is_kept_and_can_be_gone_back_to() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        dev.api.changed("POST", "/v2/apps", &idle("/web", 1)).await?;
        let first = get(&dev.api, "/web").await?["version"].clone();
        for update in [
            json!({ "env": { "A": "1" } }),
            json!({ "env": { "A": "2" } }),
            json!({ "instances": 2 }),
        ] {
            dev.api.changed("PUT", "/v2/apps/web", &update).await?;
        }
        let versions = dev.api.get("/v2/apps/web/versions").await?;
        let versions = versions["versions"].as_array().context("a list")?;
        assert_eq!(versions.len(), 4, "{versions:?}");
        let mut seen = Vec::new();
        for version in versions {
            let then = dev
                .api
                .get(&format!(
                    "/v2/apps/web/versions/{}",
                    version.as_str().context("a text")?
                ))
                .await?;
            assert_eq!((&then["id"], &then["version"]), (&json!("/web"), version), "{then}");
            assert!(then["tasks"].is_null() && then["deployments"].is_null(), "{then}");
            seen.push((then["env"]["A"].clone(), then["instances"].clone()));
        }
        let newest_first = [
            (json!("2"), json!(2)),
            (json!("2"), json!(1)),
            (json!("1"), json!(1)),
            (Value::Null, json!(1)),
        ];
        assert_eq!(seen, newest_first);

        dev.api
            .changed("PUT", "/v2/apps/web", &json!({ "version": first }))
            .await?;
        let now = get(&dev.api, "/web").await?;
        assert_eq!((&now["env"], &now["instances"]), (&json!({}), &json!(1)), "{now}");
        assert!(
            versions.iter().all(|version| *version != now["version"]),
            "it is a new version"
        );

        let both = json!({ "version": first, "cmd": "exec sleep 2000" });
        let (status, told) = dev.api.refused("PUT", "/v2/apps/web", &both).await?;
        assert_eq!((status, places(&told)), (422, vec!["/version"]));
        Ok(())
    });
}

/// Case 13.
#[test]
fn what_is_changed_says_when() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        dev.api.changed("POST", "/v2/apps", &idle("/web", 1)).await?;
        let mut before = get(&dev.api, "/web").await?["versionInfo"].clone();
        for (method, path, body, scaled, configured) in [
            ("PUT", "/v2/apps/web", json!({ "instances": 2 }), true, false),
            ("PUT", "/v2/apps/web", json!({ "env": { "A": "1" } }), true, true),
            ("POST", "/v2/apps/web/restart", Value::Null, false, true),
        ] {
            dev.api.changed(method, path, &body).await?;
            let after = get(&dev.api, "/web").await?["versionInfo"].clone();
            let is_later = |name: &str| after[name].as_str() > before[name].as_str();
            assert_eq!(
                (is_later("lastScalingAt"), is_later("lastConfigChangeAt")),
                (scaled, configured),
                "{body}: {before} {after}"
            );
            before = after;
        }
        Ok(())
    });
}
