//! The cache: written when a set is good, read when the store is away at a start, and told to be current
//! while it is.

use std::sync::Arc;
use std::time::Instant;

use super::{Agent, Done};
use crate::cache;
use crate::core::Event;
use crate::view::View;

/// What the loop knows of it.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// When to note again that it is current.
    pub(super) at: Option<Instant>,
    /// Why it could not be written the last time.
    told: Option<String>,
}

impl Agent {
    pub(super) fn recall(&self) {
        let Some(cache) = self.program.config.cache.clone() else {
            return;
        };
        self.work
            .look(move || Done::Event(Event::Recalled(cache::read(&cache))));
    }

    pub(super) fn keep(&mut self, view: Arc<View>) {
        let Some(cache) = self.program.config.cache.clone() else {
            return;
        };
        self.keeping.at = Some(Instant::now() + cache::every(&cache));
        self.work
            .in_order(move || Some(Done::Kept(cache::write(&cache, &view))));
    }

    /// What was kept, said once for each reason.
    pub(super) fn kept(&mut self, result: std::io::Result<()>) {
        let reason = result.err().map(|error| error.to_string());
        if let Some(reason) = reason
            .as_ref()
            .filter(|reason| self.keeping.told.as_ref() != Some(*reason))
        {
            let file = self.program.config.cache.as_ref().map(|cache| cache.file.display());
            let file = file.map(|file| file.to_string()).unwrap_or_default();
            tracing::warn!(
                file,
                "the cache cannot be written, and does not help at the next start: {reason}"
            );
        }
        self.keeping.told = reason;
    }

    /// Notes that what was kept is current, if it is.
    pub(super) fn still_current(&mut self) {
        let (Some(_), Some(cache)) = (self.keeping.at, self.program.config.cache.clone()) else {
            self.keeping.at = None;
            return;
        };
        self.keeping.at = Some(Instant::now() + cache::every(&cache));
        if self.core.kept_is_current() {
            self.work
                .in_order(move || Some(Done::Kept(cache::current(&cache.file))));
        }
    }
}
