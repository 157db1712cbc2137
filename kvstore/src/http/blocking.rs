//! Blocking queries: a read that waits until its result has another index.
//!
//! It answers once the index is above the client's, and after the wait with what is there then.
//! A missing key reports the newest change anywhere, but only a change of that key ends its wait.
//! Whoever goes away stops waiting. Source: Consul 1.22, as recorded in tests/golden.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kvapi::Revision;
use tokio::sync::watch;

use super::error::Error;
use super::params::{Consistency, ReadParams};
use crate::chance;
use crate::clock;
use crate::config::Waits;
use crate::members::Members;
use crate::node::Node;
use crate::read::ReadMode;
use crate::state::State;
use crate::watch::hub::{SessionNews, Subscription};
use crate::watch::index::Pattern;
use crate::watch::patterns::Patterns;

/// The index that a read of this reports.
pub(super) fn index_of(state: &State, what: Pattern<'_>) -> Revision {
    match what {
        Pattern::Key(key) => state.index_of_key(key),
        Pattern::Prefix(prefix) => state.index_of_prefix(prefix),
    }
}

/// The state to answer from: at once, or once `what` has changed.
pub(super) async fn read(node: &Node, params: &ReadParams, what: Pattern<'_>) -> Result<Arc<State>, Error> {
    let subscribe = || node.hub().subscribe(Patterns::one(what));
    let is_news = |state: &State| index_of(state, what).0 > params.index;
    wait(node, params, subscribe, is_news).await
}

/// The state to answer from that shows sessions: at once, or once any has begun or ended.
pub(super) async fn read_sessions(node: &Node, params: &ReadParams) -> Result<Arc<State>, Error> {
    let subscribe = || {
        let news = node.hub().sessions();
        let replaced = news.borrow().replaced;
        Sessions { news, replaced }
    };
    let is_news = |state: &State| state.sessions().index().0 > params.index;
    wait(node, params, subscribe, is_news).await
}

/// The servers of the cluster: at once, or once they are others.
pub(super) async fn read_members(node: &Node, params: &ReadParams) -> Result<Members, Error> {
    let mode = mode(params.consistency);
    let deadline = clock::now() + longest(params.wait, node.waits());
    drop(node.read(mode).await?);
    if params.index == 0 || node.members().index > params.index {
        return Ok(node.members());
    }
    let _counted = node.traffic().blocking();
    tokio::select! {
        biased;
        () = node.stopping().cancelled() => {}
        () = node.members_changed(params.index) => {}
        () = clock::sleep_until(deadline) => drop(node.read(mode).await?),
    }
    Ok(node.members())
}

/// What wakes a read that waits.
trait Wakes {
    /// Returns when there may be news: whether the read has to answer, whatever it finds.
    fn changed(&mut self) -> impl Future<Output = bool> + Send;
}

impl Wakes for Subscription {
    async fn changed(&mut self) -> bool {
        Self::changed(self).await;
        self.take_replaced()
    }
}

struct Sessions {
    news: watch::Receiver<SessionNews>,
    /// How often the state had been replaced when the wait began.
    replaced: u64,
}

impl Wakes for Sessions {
    async fn changed(&mut self) -> bool {
        let gone = self.news.changed().await.is_err();
        gone || self.news.borrow_and_update().replaced != self.replaced
    }
}

async fn wait<W: Wakes>(
    node: &Node,
    params: &ReadParams,
    subscribe: impl FnOnce() -> W,
    is_news: impl Fn(&State) -> bool,
) -> Result<Arc<State>, Error> {
    let mode = mode(params.consistency);
    if params.index == 0 {
        return Ok(node.read(mode).await?);
    }
    let deadline = clock::now() + longest(params.wait, node.waits());
    let _counted = node.traffic().blocking();
    // First, so that nothing is missed between the look and the wait.
    let mut wakes = subscribe();
    let state = node.read(mode).await?;
    if is_news(&state) {
        return Ok(state);
    }
    // Not to be held for minutes: it would keep every value of its time in memory.
    drop(state);
    let mut timeout = std::pin::pin!(clock::sleep_until(deadline));
    loop {
        tokio::select! {
            biased;
            () = node.stopping().cancelled() => return Ok(node.view()),
            answers = wakes.changed() => {
                let state = node.view();
                if answers || is_news(&state) {
                    return Ok(state);
                }
            }
            () = &mut timeout => return Ok(node.read(mode).await?),
        }
    }
}

pub(super) const fn mode(consistency: Consistency) -> ReadMode {
    match consistency {
        Consistency::Linearizable => ReadMode::Linearizable,
        Consistency::Stale => ReadMode::Stale,
    }
}

/// The wait, bounded, and up to a sixteenth more by chance, so that clients that were woken
/// together do not come back together.
fn longest(wait: Option<Duration>, waits: Waits) -> Duration {
    let wait = wait.unwrap_or(waits.default).min(waits.most);
    wait + chance::jitter(wait / 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_never_shorter_than_asked_nor_longer_than_a_sixteenth_more() {
        let waits = Waits::default();
        for (asked, wait) in [
            (None, waits.default),
            (Some(Duration::from_secs(16)), Duration::from_secs(16)),
            (Some(Duration::from_secs(7200)), waits.most),
        ] {
            let longest = longest(asked, waits);
            assert!(wait <= longest && longest <= wait + wait / 16, "{longest:?}");
        }
    }
}
