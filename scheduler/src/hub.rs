//! Events, to everybody who listens. Whoever does not keep up is let go.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::event::Event;

/// How many events may wait for one listener.
const PENDING: usize = 1024;

/// See the module. Clones are the same hub.
#[derive(Debug, Clone)]
pub struct Hub(broadcast::Sender<Arc<Event>>);

impl Default for Hub {
    fn default() -> Self {
        Self(broadcast::Sender::new(PENDING))
    }
}

impl Hub {
    pub fn tell(&self, event: Event) {
        // That nobody listens is no error.
        let _ = self.0.send(event.into());
    }

    #[must_use]
    pub fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

/// One that listens.
#[derive(Debug)]
pub struct Listener(broadcast::Receiver<Arc<Event>>);

impl Listener {
    /// The next event; `None` when it has fallen behind, or when nobody tells any more.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        self.0.recv().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::AppId;
    use crate::time::Timestamp;

    fn event(n: u64) -> Event {
        Event::app_terminated(Timestamp(n), &AppId::root())
    }

    #[tokio::test]
    async fn case_65_a_listener_that_takes_nothing_is_let_go_and_the_others_hear_everything() {
        let hub = Hub::default();
        let (mut slow, mut quick) = (hub.listen(), hub.listen());

        for n in 0..=PENDING as u64 {
            hub.tell(event(n));
            assert_eq!(quick.next().await.unwrap().at, Timestamp(n));
        }

        assert_eq!(slow.next().await, None);
    }
}
