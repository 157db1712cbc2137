//! What an app's labels tell its agent, with a real scheduler and real processes.

use http::HeaderMap;
use serde_json::{Value, json};

use crate::harness::dev::Dev;
use crate::harness::{Home, holds, test};

/// Its program writes what it was given, and waits for its end. `check.sh` refuses what says "bad".
fn app(home: &Home) -> anyhow::Result<Value> {
    home.write("a.hbs", "a = {{key \"labels/a\"}}\n")?;
    home.write("b.hbs", "b = {{key \"labels/b\"}}\n")?;
    home.write("c.hbs", "c = {{key \"labels/c\"}}\n")?;
    home.write(
        "agent.toml",
        format!(
            "[[template]]\nsource = \"{}\"\ndestination = \"{}\"\n",
            home.path("c.hbs").display(),
            home.path("c.conf").display()
        ),
    )?;
    let seen = home.path("seen");
    let folder = home.path("").display().to_string();
    Ok(json!({
        "id": "/labels", "cpus": 0.1, "mem": 32,
        "cmd": format!(
            "cat a.conf b.conf '{c}' > '{seen}.new'; echo MODE=$MODE >> '{seen}.new'; mv '{seen}.new' '{seen}'; exec sleep 1000",
            seen = seen.display(),
            c = home.path("c.conf").display()
        ),
        "labels": {
            "KEYWAY_TEMPLATE": format!("{folder}/a.hbs:a.conf"),
            "KEYWAY_TEMPLATE_2": format!("{folder}/b.hbs:b.conf"),
            "KEYWAY_CONFIG": format!("{folder}/agent.toml"),
            "KEYWAY_ENV_PREFIX": "labels/env/",
            "KEYWAY_CHECK": "! grep -q bad {}",
            "KEYWAY_ON_CHANGE": "restart",
        },
    }))
}

#[test]
fn every_label_for_the_agent_does_what_it_says() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let put = async |key: &str, value: &str| -> anyhow::Result<()> {
            let put = dev.keyway(home).run(&["kv", "put", key, value]).await?;
            put.expect(0).map(drop)
        };
        for key in ["labels/a", "labels/b", "labels/c"] {
            put(key, "1").await?;
        }
        put("labels/env/MODE", "fast").await?;
        let seen = async |text: &str| -> anyhow::Result<()> {
            holds(&format!("the program sees {text:?}"), async || {
                home.read("seen").is_ok_and(|seen| seen == text)
            })
            .await
        };

        let deployment = dev.api.change("PUT", "/v2/apps/labels", &app(home)?).await?;
        dev.api.done(&deployment).await?;
        seen("a = 1\nb = 1\nc = 1\nMODE=fast\n").await?;

        put("labels/b", "2").await?;
        seen("a = 1\nb = 2\nc = 1\nMODE=fast\n").await?;
        put("labels/env/MODE", "slow").await?;
        seen("a = 1\nb = 2\nc = 1\nMODE=slow\n").await?;

        // What the check refuses is not seen, and the instances view says that it is not in place.
        put("labels/c", "bad").await?;
        holds("it is refused", async || {
            let view = dev.api.get("/v1/apps/labels/instances").await.unwrap_or_default();
            view["instances"][0]["agent_state"] == "failed"
        })
        .await?;
        seen("a = 1\nb = 2\nc = 1\nMODE=slow\n").await?;
        put("labels/c", "3").await?;
        seen("a = 1\nb = 2\nc = 3\nMODE=slow\n").await
    });
}

#[test]
fn fields_without_effect_are_listed_in_a_header() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let app = json!({ "id": "/web", "cmd": "sleep 1000", "instances": 0, "instancez": 3, "cpus": 0.1, "mem": 32 });
        let ignored = async |method: &str, path: &str, body: &Value| -> anyhow::Result<String> {
            let reply = dev.api.reply(HeaderMap::new(), method, path, body.to_string()).await?;
            anyhow::ensure!(reply.status.is_success(), "{path}: {:?}", reply.body);
            let header = reply.headers.get("x-keyway-ignored");
            Ok(header
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .unwrap_or_default())
        };

        assert_eq!(ignored("POST", "/v2/apps?force=true", &app).await?, "/instancez");
        assert_eq!(ignored("PUT", "/v2/apps/web?force=true", &app).await?, "/instancez");
        assert_eq!(
            ignored("PUT", "/v2/apps/web?force=true", &json!({ "cpus": 0.2 })).await?,
            ""
        );
        assert_eq!(
            ignored("PUT", "/v2/apps?force=true", &json!([app])).await?,
            "/0/instancez"
        );
        let group = json!({ "id": "/", "apps": [app], "grouop": 1 });
        assert_eq!(
            ignored("PUT", "/v2/groups?force=true", &group).await?,
            "/apps/0/instancez, /grouop"
        );
        Ok(())
    });
}
