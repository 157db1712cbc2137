//! The end of a server whose disk failed: told once, heard by whoever waits.

use std::sync::Arc;

use tokio::sync::watch;

/// Says that nothing can be acknowledged any more. Clones share it; the first reason stays.
#[derive(Debug, Clone, Default)]
pub struct Fatal {
    reason: Arc<watch::Sender<Option<String>>>,
}

impl Fatal {
    /// Tells everybody why the server must end.
    pub(crate) fn report(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.reason.send_if_modified(|known| {
            let first = known.is_none();
            known.get_or_insert(reason);
            first
        });
    }

    /// What was reported, if anything was.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.reason.borrow().clone()
    }

    /// Waits until something is reported.
    pub async fn wait(&self) -> anyhow::Error {
        let mut reason = self.reason.subscribe();
        match reason.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(reason)) => anyhow::Error::msg(reason.clone()),
            // The sender lives in `self`, and a reason is never taken back.
            Ok(None) | Err(_) => anyhow::Error::msg("the store failed without a reason"),
        }
    }
}
