//! What does not start says why: in the queue, and where a deployment is followed.

use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::dev::Dev;
use crate::harness::{eventually, test};

/// What the queue says of the app that waits.
async fn in_the_queue(dev: &Dev, words: &str) -> anyhow::Result<()> {
    let mut last = Value::Null;
    let said = eventually("the queue says why", async || {
        last = dev.api.get("/v2/queue").await.ok()?;
        let reasons = last["queue"][0]["processedOffersSummary"]["rejectSummaryLastOffers"].as_array()?;
        let says = |reason: &Value| reason["reason"].as_str().is_some_and(|text| text.contains(words));
        reasons.iter().any(says).then_some(())
    });
    said.await.map_err(|error| error.context(format!("{words}: {last}")))
}

#[test]
fn each_way_not_to_start_has_its_reason_in_the_queue_and_on_the_command_line() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let held = TcpListener::bind("127.0.0.1:0")?;
        let port = held.local_addr()?.port();
        let taken = format!("port {port} of this machine is taken");
        let mut ways = vec![
            (json!({ "cmd": "exit 3" }), "it ended with code 3"),
            (
                json!({ "cmd": "sleep 1000", "portDefinitions": [{ "port": port }], "requirePorts": true }),
                taken.as_str(),
            ),
            (
                json!({ "cmd": "sleep 1000", "constraints": [["hostname", "CLUSTER", "elsewhere"]] }),
                "hostname",
            ),
            (
                json!({ "cmd": "sleep 1000", "user": "nobody-has-this-name" }),
                "nobody-has-this-name",
            ),
        ];
        if !Path::new("/var/run/docker.sock").exists() {
            let image = json!({ "container": { "type": "DOCKER", "docker": { "image": "keyway.invalid/none:1" } } });
            ways.push((image, "there is no Docker Engine here"));
        }
        for (mut app, words) in ways {
            app["id"] = json!("/web");
            app["labels"] = json!({ "KEYWAY_ON_FAILURE": "wait" });
            dev.api
                .change("PUT", "/v2/apps/web?force=true&partialUpdate=false", &app)
                .await?;
            in_the_queue(&dev, words).await?;
            let status = eventually("the command line says it too", async || {
                let said = dev.keyway(home).run(&["deploy", "status", "/web"]).await.ok()?;
                let text = format!("{}{}", said.text(), said.err);
                text.contains(words).then_some(text)
            });
            status.await.map_err(|error| error.context(words.to_owned()))?;
        }

        let wrong = json!({ "cmd": "sleep 1000", "instances": "three", "cpus": {} });
        let (status, told) = dev.api.ask("PUT", "/v2/apps/other", &wrong).await?;
        assert_eq!(status, 422, "{told}");
        let told = told.to_string();
        assert!(told.contains("/instances") && told.contains("/cpus"), "{told}");

        let long = json!({ "cmd": "sleep 1000", "env": { "LONG": "x".repeat(200_000) } });
        let (status, told) = dev.api.ask("PUT", "/v2/apps/other", &long).await?;
        assert_eq!(status, 422);
        assert!(told.to_string().contains("131072 is the most"), "{told}");
        drop(held);
        Ok(())
    });
}
