//! Waiting for a condition, within a bound.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep};

use super::long;

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// The first answer to `look` that is something, within ten seconds; with the full numbers everything
/// may take longer.
///
/// `what` says what is waited for, and stands in the error.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> anyhow::Result<T> {
    within(long(Duration::from_secs(10), Duration::from_secs(120)), look)
        .await
        .with_context(|| format!("waited in vain: {what}"))
}

/// The same, for what may take longer.
pub(crate) async fn eventually_within<T>(
    bound: Duration,
    what: &str,
    look: impl AsyncFnMut() -> Option<T>,
) -> anyhow::Result<T> {
    within(bound, look)
        .await
        .with_context(|| format!("waited in vain: {what}"))
}

/// Waits until `condition` holds, as long as [`eventually`].
pub(crate) async fn holds(what: &str, mut condition: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
    eventually(what, async || condition().await.then_some(())).await
}

async fn within<T>(bound: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + bound;
    loop {
        if let Some(found) = look().await {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        sleep(LOOK).await;
    }
}
