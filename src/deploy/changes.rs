//! A word whenever something happens at the scheduler, so that nobody has to ask again and again.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{sleep, timeout};

use super::scheduler::Scheduler;

/// After so long without an event it is worth a look.
const SILENCE: Duration = Duration::from_secs(10);

/// Between two tries to hear events.
const PAUSE: Duration = Duration::from_millis(500);

/// The first word comes when events are heard: who looks then has missed nothing. While nobody can be heard, one comes now and
/// then. Events that come while nobody takes a word are one word.
pub(super) fn changes(scheduler: &Scheduler) -> Receiver<()> {
    let (sender, receiver) = channel(1);
    let scheduler = scheduler.clone();
    tokio::spawn(async move {
        while !sender.is_closed() {
            if let Ok(response) = scheduler
                .open("/v2/events?plan-format=light", "text/event-stream")
                .await
            {
                hear(response.into_body(), &sender).await;
            }
            word(&sender);
            sleep(PAUSE).await;
        }
    });
    receiver
}

async fn hear(mut body: Incoming, sender: &Sender<()>) {
    word(sender);
    loop {
        match timeout(SILENCE, body.frame()).await {
            Ok(Some(Ok(_))) | Err(_) => word(sender),
            Ok(Some(Err(_)) | None) => return,
        }
        if sender.is_closed() {
            return;
        }
    }
}

/// One that waits to be taken says as much as two.
fn word(sender: &Sender<()>) {
    let _ = sender.try_send(());
}
