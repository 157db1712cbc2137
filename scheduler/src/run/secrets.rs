//! Secrets that tasks are given: which ones there are, and what they are when a task starts.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use kvapi::{Client, Consistency, Revision};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::writer::is_for_good;
use crate::driver::{Launch, Refusal, Secret};
use crate::engine::{Place, Wanted};
use crate::keys;

/// Before the store is asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// How long one wait for news takes.
const WAIT: Duration = Duration::from_secs(60);

/// Which keys have a value, and since which revision. What is in them is not asked for.
pub(super) async fn known(client: &Client) -> anyhow::Result<(BTreeSet<String>, Revision)> {
    let known = client.keys(keys::SECRETS, None, Consistency::Consistent).await?;
    Ok((known.value.into_iter().collect(), known.revision))
}

/// Tells it each time that they are others, as long as somebody listens.
pub(super) async fn follow(client: Client, mut since: Revision, tell: mpsc::Sender<BTreeSet<String>>) {
    loop {
        match client.keys_blocking(keys::SECRETS, since, WAIT).await {
            Ok(known) => {
                if known.revision != since && tell.send(known.value.into_iter().collect()).await.is_err() {
                    return;
                }
                since = known.revision;
            }
            // Whether the store is there at all is the leader's business.
            Err(_) if tell.is_closed() => return,
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// A task's start, with what its secrets are now.
pub(super) async fn gather(client: Client, mut launch: Launch, wanted: Vec<Wanted>) -> Result<Launch, Refusal> {
    for Wanted { key, place } in wanted {
        let value = read(&client, &key).await?;
        launch.secrets.push(given(&key, place, value)?);
    }
    Ok(launch)
}

async fn read(client: &Client, key: &str) -> Result<Bytes, Refusal> {
    loop {
        match client.get(key, Consistency::Default).await {
            Ok(found) => {
                let gone = || Refusal::Other(format!("the secret {key} has no value any more"));
                return found.value.map(|entry| entry.value).ok_or_else(gone);
            }
            Err(error) if is_for_good(&error) => {
                return Err(Refusal::Other(format!("the secret {key} cannot be read: {error}")));
            }
            Err(error) => {
                tracing::info!(%error, key, "a secret is not read yet; trying again");
                sleep(PAUSE).await;
            }
        }
    }
}

fn given(key: &str, place: Place, value: Bytes) -> Result<Secret, Refusal> {
    let name = match place {
        Place::File(path) => return Ok(Secret::File { path, value }),
        Place::Variable(name) => name,
    };
    let bad = |why: &str| {
        Refusal::Other(format!(
            "the secret {key} cannot be the variable {name}: it {why}; as a volume it can be a file"
        ))
    };
    match String::from_utf8(value.into()) {
        Ok(text) if text.contains('\0') => Err(bad("has a byte of zero")),
        Ok(value) => Ok(Secret::Variable { name, value }),
        Err(_) => Err(bad("is no UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_text_and_a_file_is_anything() {
        let variable = || Place::Variable("A".into());
        for (bytes, why) in [(&b"marked\xff"[..], "UTF-8"), (b"marked\0", "byte of zero")] {
            let refusal = given("k", variable(), Bytes::from_static(bytes))
                .unwrap_err()
                .to_string();
            assert!(refusal.contains(why) && !refusal.contains("marked"), "{refusal}");
            let file = given("k", Place::File("f".into()), Bytes::from_static(bytes)).unwrap();
            assert!(matches!(&file, Secret::File { value, .. } if value == bytes));
        }
        let text = given("k", variable(), Bytes::from_static(b"marked\n")).unwrap();
        assert!(matches!(&text, Secret::Variable { value, .. } if value == "marked\n"));
        assert!(!format!("{text:?}").contains("marked"));
    }
}
