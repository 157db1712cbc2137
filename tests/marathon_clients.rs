//! Marathon's clients, as they come from their registries, against our scheduler.

use serde_json::Value;

use crate::clients::{done, installed, source};
use crate::harness::dev::Dev;
use crate::harness::{holds, test};

/// Cases 64 and 66: every call, and every event that comes meanwhile. The last one has the leader hand over.
#[test]
fn marathon_python_does_all_that_it_can() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let python = installed("marathon/bin/python")?;
        let session = async || -> anyhow::Result<Value> {
            let key = "_keyway/scheduler/leader";
            let said = dev.keyway(home).run(&["kv", "get", key, "-o", "json"]).await?;
            Ok(said.expect(0)?.json()?["session"].clone())
        };
        let before = session().await?;
        assert!(before.is_string(), "{before}");
        done(
            home,
            python,
            &[&source("marathon_flow.py").to_string_lossy(), &dev.api.address],
        )
        .await?;
        holds("it leads by another session", async || {
            session().await.is_ok_and(|now| now.is_string() && now != before)
        })
        .await
    });
}

/// Case 67: the calls of its scenarios, which want a Marathon in a container of their own.
#[test]
fn marathon_python_finds_all_that_its_own_scenarios_try() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let python = installed("marathon/bin/python")?;
        let scenarios = source("marathon_scenarios.py").to_string_lossy().into_owned();
        done(home, python, &[&scenarios, &dev.api.address]).await
    });
}
