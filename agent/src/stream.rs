//! What the stream's news mean for the view.
//!
//! News come in, [`Effect`]s go out. The view is *current* once the snapshot of all that was asked
//! for has come; only then may anything be rendered. A reconnect that has missed something asks
//! for one snapshot instead of walking through every revision in between, so that after an outage
//! the newest revision is rendered once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kvapi::types::WatchEvent;

use crate::core::Level;
use crate::view::{Refusal, Scope, View};

/// Pause before a store that showed too low a revision is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What follows from news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// Somebody may want to know.
    Say(Level, String),
    /// This was not taken in, and nothing is rendered from it.
    Refused(Refusal),
    /// Follow this, beginning with a snapshot.
    Watch(Scope),
    /// These keys changed.
    Changed(Vec<String>),
}

/// See the module.
#[derive(Debug, Default)]
pub struct Stream {
    /// What was asked for; the view's is the same.
    scope: Arc<Scope>,
    /// Whether its snapshot has come.
    snapshot: bool,
    /// The view has what an earlier run has kept, until a snapshot comes.
    kept: bool,
    connected: bool,
    /// Said that the store is away.
    away: bool,
    /// What was said last about a watch that the store does not allow or understand.
    denied: Option<String>,
    /// Reconnected, and not known yet whether something was missed.
    catching_up: bool,
    refusal: Option<Refusal>,
    retry_at: Option<Instant>,
}

impl Stream {
    /// Whether the view has all that was asked for. Nothing asked for is nothing to wait for.
    #[must_use]
    pub fn current(&self) -> bool {
        self.scope.is_empty() || self.kept || self.follows()
    }

    /// Whether the view follows the store.
    fn follows(&self) -> bool {
        self.snapshot && self.refusal.is_none()
    }

    /// Whether the view is as new as the store, as far as anybody can tell.
    #[must_use]
    pub fn fresh(&self) -> bool {
        self.connected && !self.catching_up && self.follows()
    }

    /// Whether the view has what an earlier run has kept.
    #[must_use]
    pub fn kept(&self) -> bool {
        self.kept
    }

    /// The view has what an earlier run has kept, which shows this; asks for it as well.
    pub fn recalled(&mut self, shown: &Scope) -> Scope {
        Arc::make_mut(&mut self.scope).extend(shown);
        self.kept = true;
        self.again()
    }

    /// What was not taken in, and stands until something better comes.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// When to ask again.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether it is time to ask again.
    pub fn retry_due(&mut self, now: Instant) -> bool {
        self.retry_at.take_if(|at| *at <= now).is_some()
    }

    /// Asks for this as well.
    pub fn widen(&mut self, more: &Scope) -> Scope {
        Arc::make_mut(&mut self.scope).extend(more);
        self.kept = false;
        self.again()
    }

    /// Asks for the same again, from a snapshot.
    pub fn again(&mut self) -> Scope {
        self.snapshot = false;
        self.catching_up = false;
        self.connected = false;
        Scope::clone(&self.scope)
    }

    /// A server answered.
    pub fn connected(&mut self, view: &mut View, cluster: &str, now: Instant) -> Effect {
        let away = std::mem::take(&mut self.away) | self.denied.take().is_some();
        self.connected = true;
        match view.meet(cluster) {
            Err(refusal) => {
                // Another address may lead to the right one.
                self.retry_at = Some(now + ASK_AGAIN);
                self.refuse(refusal)
            }
            Ok(()) if matches!(self.refusal, Some(Refusal::AnotherCluster { .. })) => {
                self.refusal = None;
                Effect::Watch(self.again())
            }
            Ok(()) => {
                self.catching_up = self.snapshot;
                if away {
                    Effect::Say(Level::Info, "the store is back".to_owned())
                } else {
                    Effect::Nothing
                }
            }
        }
    }

    /// The connection is gone. Said once, however often it is tried.
    pub fn lost(&mut self, reason: &str) -> Effect {
        self.connected = false;
        if std::mem::replace(&mut self.away, true) {
            return Effect::Nothing;
        }
        let files = self.files();
        Effect::Say(
            Level::Warn,
            format!("the store is away, trying again until it is back{files}: {reason}"),
        )
    }

    /// A server answered, and will not be watched. Said once, until it says something else.
    pub fn denied(&mut self, reason: &str) -> Effect {
        self.connected = false;
        if self.denied.replace(reason.to_owned()).as_deref() == Some(reason) {
            return Effect::Nothing;
        }
        let files = self.files();
        Effect::Say(
            Level::Error,
            format!("the store refuses to be watched, asking again until it does not{files}: {reason}"),
        )
    }

    fn files(&self) -> &'static str {
        if self.snapshot || self.kept {
            "; the files stay as they are"
        } else {
            ""
        }
    }

    /// An event of the stream that was asked for last.
    pub fn event(&mut self, view: &mut View, event: WatchEvent, now: Instant) -> Effect {
        if matches!(self.refusal, Some(Refusal::AnotherCluster { .. })) {
            return Effect::Nothing;
        }
        match event {
            WatchEvent::Snapshot(snapshot) => match view.replace(snapshot, Arc::clone(&self.scope)) {
                Ok(names) => {
                    self.kept = false;
                    (self.snapshot, self.catching_up, self.refusal, self.retry_at) = (true, false, None, None);
                    Effect::Changed(names)
                }
                Err(refusal) => {
                    self.retry_at = Some(now + ASK_AGAIN);
                    self.refuse(refusal)
                }
            },
            WatchEvent::Change(_) if self.catching_up => Effect::Watch(self.again()),
            WatchEvent::Change(change) if self.follows() => match view.apply(change) {
                Ok(names) => Effect::Changed(names),
                Err(refusal) => self.refuse(refusal),
            },
            WatchEvent::Progress(progress) if self.follows() => {
                self.catching_up = false;
                view.progress(progress.revision);
                Effect::Nothing
            }
            WatchEvent::Change(_) | WatchEvent::Progress(_) | WatchEvent::Compacted(_) | WatchEvent::End(_) => {
                Effect::Nothing
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> Effect {
        if self.refusal.as_ref() == Some(&refusal) {
            return Effect::Nothing;
        }
        self.refusal = Some(refusal.clone());
        Effect::Refused(refusal)
    }
}
