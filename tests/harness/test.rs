//! Runs the body of one test: in a folder of its own, within a bound, alone if it measures.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::Home;

/// Ordinary tests share it, one that needs the whole machine takes it for itself.
static MACHINE: RwLock<()> = RwLock::new(());

/// A test that does not end by itself is ended after this; one with the full numbers after ten times as long.
const BOUND: Duration = Duration::from_secs(120);

/// Runs a test beside others.
pub(crate) fn test(body: impl AsyncFnOnce(&Home) -> anyhow::Result<()>) {
    let _beside_others = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    run(BOUND * long(1, 10), body);
}

/// Runs a test while no other one runs: one that measures, or that takes much.
pub(crate) fn alone(bound: Duration, body: impl AsyncFnOnce(&Home) -> anyhow::Result<()>) {
    let _alone = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
    run(bound, body);
}

/// A number for every day, or the full one of `tests/run --long`.
pub(crate) fn long<T>(every_day: T, full: T) -> T {
    if std::env::var_os("KEYWAY_LONG").is_some() {
        full
    } else {
        every_day
    }
}

fn run(bound: Duration, body: impl AsyncFnOnce(&Home) -> anyhow::Result<()>) {
    let home = Home::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the system can start two threads");
    match runtime.block_on(async { tokio::time::timeout(bound, body(&home)).await }) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{error:?}"),
        Err(_) => panic!("not done after {bound:?}"),
    }
}
