//! The clock: one of the four seams to the world. Nothing else in this crate asks the time.
//!
//! Two clocks, for two uses. [`now`] only ever moves forward and measures waits. [`wall_ms`] is
//! what a leader stamps into a log entry; the state machine sees no other time than that.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout, timeout_at};

/// The runtime that openraft takes its timers, tasks and chance from.
pub type Runtime = openraft::TokioRuntime;

/// A moment, for measuring.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Holds up the thread itself. For work that runs where blocking holds up nobody else.
pub fn block(time: Duration) {
    std::thread::sleep(time);
}

/// Waits for what a thread of ours does. In a simulation no time passes meanwhile.
pub async fn standing<T>(work: impl Future<Output = T>) -> T {
    #[cfg(test)]
    let _still = crate::simulation::Still::begin();
    work.await
}

/// Milliseconds since 1970, as this machine believes.
#[must_use]
pub fn wall_ms() -> u64 {
    #[cfg(test)]
    if let Some(ms) = crate::simulation::wall_ms() {
        return ms;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// So many milliseconds.
#[must_use]
pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Milliseconds since 1970 as a date and a time, to the second.
#[must_use]
pub fn rfc3339(ms: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}
