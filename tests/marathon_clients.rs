//! Marathon's clients, as they come from their registries, against our scheduler.

use crate::clients::{done, installed, source};
use crate::harness::dev::Dev;
use crate::harness::test;

/// Cases 64 and 66: every call, and every event that comes meanwhile.
#[test]
fn marathon_python_does_all_that_it_can() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let python = installed("marathon/bin/python")?;
        done(
            home,
            python,
            &[&source("marathon_flow.py").to_string_lossy(), &dev.api.address],
        )
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
