//! Waits until a key is there, over every reconnect.

use std::time::Duration;

use kvapi::types::{WatchEvent, WatchRequest};
use kvapi::watch::News;
use kvapi::{Client, Entry, Key};
use tokio::time::timeout;

use crate::failure::Failure;

/// The entry of the key once there is one; `None` if there is none within `limit`.
pub(super) async fn for_key(client: &Client, key: &Key, limit: Option<Duration>) -> Result<Option<Entry>, Failure> {
    let waiting = until_there(client, key);
    match limit {
        Some(limit) => timeout(limit, waiting).await.map_or(Ok(None), |found| found.map(Some)),
        None => waiting.await.map(Some),
    }
}

async fn until_there(client: &Client, key: &Key) -> Result<Entry, Failure> {
    let mut watch = client.watch(WatchRequest {
        keys: vec![key.to_string()],
        ..WatchRequest::default()
    });
    loop {
        match watch.next().await {
            News::Event(WatchEvent::Snapshot(snapshot)) => {
                if let Some(entry) = snapshot.entries.into_iter().next() {
                    return Ok(entry);
                }
            }
            News::Event(WatchEvent::Change(change)) => {
                if let Some(entry) = change.changes.into_iter().find_map(|one| one.entry) {
                    return Ok(entry);
                }
            }
            News::Refused { status, text } => return Err(kvapi::Error::Refused { status, text }.into()),
            News::Lost { reason } => tracing::info!("{reason}; trying again"),
            News::Connected { address, .. } => tracing::info!(%address, "waiting for `{key}`"),
            News::Event(_) => {}
        }
    }
}
