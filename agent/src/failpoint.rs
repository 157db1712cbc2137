//! Places where a test can have the agent killed.
//!
//! `KEYWAY_AGENT_FAILPOINT` is `NAME`, `NAME:N` or `:N`: the agent dies of SIGKILL when it comes to that place
//! for the Nth time, or to the Nth place of all. Only builds with debug assertions know any of this.

/// The variable that names the place.
#[cfg(debug_assertions)]
const VARIABLE: &str = "KEYWAY_AGENT_FAILPOINT";

/// The agent has come to this place.
#[cfg(debug_assertions)]
pub fn reach(name: &str) {
    use std::collections::BTreeMap;
    use std::sync::{LazyLock, Mutex, PoisonError};

    static WANTED: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let text = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty())?;
        let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), count.parse().ok()?))
    });
    static REACHED: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

    let Some((wanted, at)) = &*WANTED else { return };
    let mut reached = REACHED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut count = |name: &str| {
        let count = reached.entry(name.to_owned()).or_default();
        *count += 1;
        *count
    };
    // The empty name counts all places together.
    let (own, all) = (count(name), count(""));
    if (wanted == name && own == *at) || (wanted.is_empty() && all == *at) {
        tracing::warn!("failpoint {name}: killed");
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

/// The agent has come to this place.
#[cfg(not(debug_assertions))]
pub const fn reach(_name: &str) {}
