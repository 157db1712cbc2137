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
