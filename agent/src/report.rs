//! `--report`: one key of the store tells how the agent is.
//!
//! Written again when something has changed, at most once a second, so that what happens in between
//! is told once; removed at the end. The loop is asked for the text only when it is about to be
//! written, and never waits for the store: a report that cannot be written is tried again, and
//! nothing else.

use std::time::Duration;

use kvapi::client::WriteOptions;
use kvapi::types::Revision;
use kvapi::{Client, Error};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::serve::{Ask, Asks, Want};

/// Where reports stand.
pub const FOLDER: &str = "_keyway/agents/";

/// Between two writes, and the longest pause after writes that failed.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// How long its removal may take.
const END: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Report {
    version: watch::Sender<u64>,
    task: JoinHandle<()>,
}

/// What is known of the key.
#[derive(Debug)]
struct Key {
    client: Client,
    name: String,
    /// Our last write of it, as far as its outcome is known.
    ours: Option<Revision>,
    /// A write was sent: something may be there.
    sent: bool,
    /// Somebody else has written it.
    shared: bool,
    /// What was said last, so that it is said once.
    trouble: Option<String>,
}

impl Report {
    /// Begins to report under a name.
    #[must_use]
    pub fn begin(client: Client, name: &str, asks: Asks) -> Self {
        let (version, changed) = watch::channel(0);
        let key = Key {
            client,
            name: format!("{FOLDER}{name}"),
            ours: None,
            sent: false,
            shared: false,
            trouble: None,
        };
        Self {
            version,
            task: tokio::spawn(key.follow(changed, asks)),
        }
    }

    /// What is to be told has this version now.
    pub fn changed(&self, version: u64) {
        self.version
            .send_if_modified(|old| std::mem::replace(old, version) != version);
    }

    /// Removes it, unless that takes long.
    pub async fn end(self) {
        drop(self.version);
        // A task that is cut short leaves the key; so does a kill.
        let _ = timeout(END, self.task).await;
    }
}

impl Key {
    async fn follow(mut self, mut changed: watch::Receiver<u64>, asks: Asks) {
        let mut pause = PAUSE.0;
        while changed.changed().await.is_ok() {
            loop {
                let text = tokio::select! {
                    text = ask(&asks) => text,
                    () = gone(&changed) => None,
                };
                let Some(text) = text else { break };
                // Not cut short: a write that is under way could come behind the removal.
                let written = self.write(text).await;
                pause = if written { PAUSE.0 } else { PAUSE.1.min(pause * 2) };
                tokio::select! {
                    () = sleep(pause.mul_f64(if written { 1.0 } else { rand::random_range(0.5..1.0) })) => {}
                    () = gone(&changed) => break,
                }
                if written {
                    break;
                }
            }
        }
        self.remove().await;
    }

    /// Whether it is written.
    async fn write(&mut self, text: String) -> bool {
        let options = WriteOptions {
            cas: self.ours.take().map(|revision| revision.0),
            ..WriteOptions::default()
        };
        self.sent = true;
        match self.client.store(&self.name, text, &options).await {
            Ok(stored) if stored.done => {
                self.ours = stored.revision;
                if self.trouble.take().is_some() {
                    tracing::info!("the report {} is written again", self.name);
                }
                true
            }
            // The next one is written whatever is there.
            Ok(_) => {
                if !self.shared {
                    tracing::warn!(
                        "somebody else has changed the report {}; give each agent a --name of its own",
                        self.name
                    );
                }
                self.shared = true;
                false
            }
            Err(error) => {
                let told = match error {
                    // Its words hold an identity that differs each time.
                    Error::Unknown(_) => "no answer in time".to_owned(),
                    other => other.to_string(),
                };
                if self.trouble.as_ref() != Some(&told) {
                    tracing::warn!("the report {} cannot be written, and is tried again: {told}", self.name);
                }
                self.trouble = Some(told);
                false
            }
        }
    }

    /// Removes what is ours.
    async fn remove(self) {
        let cas = self.ours.map(|revision| revision.0);
        if !self.sent || (cas.is_none() && self.shared) {
            return;
        }
        let options = WriteOptions {
            cas,
            ..WriteOptions::default()
        };
        if let Err(error) = self.client.delete(&self.name, &options).await {
            tracing::debug!("the report {} stays: {error}", self.name);
        }
    }
}

/// What is to be written now.
async fn ask(asks: &Asks) -> Option<String> {
    let (reply, answer) = oneshot::channel();
    let want = Want::Report;
    asks.send(Ask { want, reply }).await.ok()?;
    answer.await.ok().map(|(_, _, text)| text)
}

/// Returns when nobody tells of changes any more.
async fn gone(changed: &watch::Receiver<u64>) {
    let mut changed = changed.clone();
    while changed.changed().await.is_ok() {}
}
