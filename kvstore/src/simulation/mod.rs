//! Three or five real servers in one thread, whose network, clock, chance and disk are simulated.
//!
//! They are [`crate::server::Server`]s with real data folders, as in production up to the four seams. turmoil carries
//! their connections and lets time pass, two milliseconds at once, as fast as there is nothing to do. A disk
//! tells of a flush some simulated time after it, and a power cut takes what it had not told of.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`net`], [`disk`] | what stands in for the network and the disk |
//! | `world`, `faults` | the servers, and what is done to them |
//! | `schedule`, `shrink` | what is done when, as a value; the least of it with which something is found; pure |
//! | `clients`, `holders` | who asks the servers, and writes down what was told |
//! | `trial` | all of it together, judged by the judges of `tests/oracle` |
//!
//! Chance follows from a seed but for openraft's own and that of hash maps: a seed repeats what is done to the
//! servers and when, not every instruction of theirs.

mod clients;
pub(crate) mod disk;
mod faults;
mod holders;
pub(crate) mod net;
#[path = "../../../tests/oracle/mod.rs"]
mod oracle;
mod schedule;
mod shrink;
mod tests;
mod trial;
mod world;

use std::cell::Cell;
use std::sync::mpsc;

pub(crate) use turmoil::in_simulation as is_running;

thread_local! {
    static PLANTED: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Whether this bug is planted in the simulation of this thread.
pub(crate) fn is_planted(name: &str) -> bool {
    PLANTED.get() == Some(name)
}

/// The simulated time of day, where there is one.
pub(crate) fn wall_ms() -> Option<u64> {
    u64::try_from(turmoil::since_epoch()?.as_millis()).ok()
}

/// While there is one on a host, no time passes in its simulation: something is waited for that takes real time.
pub(crate) struct Still {
    _end: mpsc::Sender<()>,
}

impl Still {
    pub(crate) fn begin() -> Option<Self> {
        if !is_running() {
            return None;
        }
        // tokio's clock stands still while one of its threads for blocking work is at work.
        let (end, ended) = mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || {
            let _ = ended.recv();
        });
        Some(Self { _end: end })
    }
}
