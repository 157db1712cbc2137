//! Failpoints: places where a test lets the process die as if by `kill -9`, or do what is wrong.
//!
//! `KEYWAY_FAILPOINT=NAME` aborts at the first pass of that place, `NAME:3` at the third. Only
//! builds with debug assertions look; in the others nothing of this is left.
//!
//! | name | where |
//! | --- | --- |
//! | `log-after-append` | entries are durable in the log, and nobody has been told |
//! | `sled-between-batches` | between two batches of one pass to the state on disk |
//! | `snapshot-before-rename` | a snapshot file is complete and has no name yet |
//! | `snapshot-after-rename` | it has its name, and the state on disk may be of an earlier entry |
//!
//! `KEYWAY_SLOW=NAME` has each pass of a place take a tenth of a second more, in the same builds: as with a disk that is slow.
//!
//! And bugs that are known from other stores, planted so that the tests can show that they would find them:
//! `KEYWAY_PLANTED=NAME` in the same builds.
//!
//! | name | what is wrong then |
//! | --- | --- |
//! | `ack-before-fsync` | the log says that entries are durable when they are written, and does not sync them |
//! | `read-without-index` | a server answers every read from what it has, and asks nobody whether that is all |
//! | `ring-drops-events` | a watcher that is too slow for the ring goes on with what is new, not with the history |

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock;

/// Dies here if this is the place and the time.
pub fn hit(name: &str) {
    hit_after(name, || {});
}

/// The same, with something to be done before the end, to make it worse.
pub fn hit_after(name: &str, before: impl FnOnce()) {
    if cfg!(debug_assertions) && armed().is_some_and(|point| point.reached(name)) {
        before();
        eprintln!("failpoint {name}: aborting");
        std::process::abort();
    }
}

/// Takes a tenth of a second if this place is to be slow.
pub fn slow(name: &str) {
    static SLOW: OnceLock<Option<String>> = OnceLock::new();
    let slow = || SLOW.get_or_init(|| std::env::var("KEYWAY_SLOW").ok());
    if cfg!(debug_assertions) && slow().as_deref() == Some(name) {
        clock::block(clock::ms(100));
    }
}

/// Whether this bug is planted.
pub fn planted(name: &str) -> bool {
    #[cfg(test)]
    if crate::simulation::is_planted(name) {
        return true;
    }
    static PLANTED: OnceLock<Option<String>> = OnceLock::new();
    let planted = || PLANTED.get_or_init(|| std::env::var("KEYWAY_PLANTED").ok());
    cfg!(debug_assertions) && planted().as_deref() == Some(name)
}

struct Failpoint {
    name: String,
    /// How many passes are still let through.
    left: AtomicU64,
}

impl Failpoint {
    fn parse(text: &str) -> Self {
        let (name, nth) = text.split_once(':').unwrap_or((text, "1"));
        let nth: u64 = nth.parse().unwrap_or(1);
        Self {
            name: name.to_owned(),
            left: AtomicU64::new(nth.saturating_sub(1)),
        }
    }

    fn reached(&self, name: &str) -> bool {
        let pass = |left: u64| left.checked_sub(1);
        self.name == name
            && self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, pass)
                .is_err()
    }
}

fn armed() -> Option<&'static Failpoint> {
    static ARMED: OnceLock<Option<Failpoint>> = OnceLock::new();
    ARMED
        .get_or_init(|| Some(Failpoint::parse(&std::env::var("KEYWAY_FAILPOINT").ok()?)))
        .as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failpoint_lets_as_many_pass_as_it_says() {
        let third = Failpoint::parse("here:3");

        let passes: Vec<bool> = (0..4).map(|_| third.reached("here")).collect();

        assert_eq!(passes, [false, false, true, true]);
        assert!(!third.reached("there"));
        assert!(Failpoint::parse("here").reached("here"));
    }
}
