//! A lock that one may hold: the key `PREFIX/.lock`, acquired.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use kvapi::lock::LOCK_FLAGS;
use tokio::time::sleep;

use super::Hold;
use crate::consul::ask::{Server, is_true, look};

/// How long one look at who holds it waits.
const LOOK: &str = "15000ms";

/// How soon it is tried again to lock what is free and may not be locked yet.
const DELAYED: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Mutex {
    pub(super) key: String,
}

impl Hold for Mutex {
    const BEHAVIOR: &'static str = "release";

    async fn wait(&self, server: &mut Server, session: &str) -> Result<(), String> {
        let flags = ("flags", LOCK_FLAGS.to_string());
        let mut index = 0;
        loop {
            let (entries, now) = look(
                server,
                &self.key,
                &[("wait", LOOK.to_owned()), ("index", index.to_string())],
            )
            .await?;
            let entry = entries.into_iter().next();
            if entry.as_ref().is_some_and(|entry| entry.flags != LOCK_FLAGS) {
                return Err("Existing key does not match lock use".to_owned());
            }
            match entry.and_then(|entry| entry.session) {
                Some(holder) if holder == session => return Ok(()),
                Some(_) => {
                    index = now;
                    continue;
                }
                None => {}
            }
            let acquire = [("acquire", session.to_owned()), flags.clone()];
            if is_true(
                server
                    .ask(&Method::PUT, self.key.as_bytes(), &acquire, Bytes::new())
                    .await?,
            )? {
                return Ok(());
            }
            let (entries, now) = look(server, &self.key, &[]).await?;
            if entries.first().is_some_and(|entry| entry.session.is_some()) {
                index = now;
            } else {
                index = 0;
                sleep(DELAYED).await;
            }
        }
    }

    async fn look(&self, server: &mut Server, session: &str, index: u64) -> Result<(bool, u64), String> {
        let asked = [("consistent", String::new()), ("index", index.to_string())];
        let (entries, now) = look(server, &self.key, &asked).await?;
        let ours = entries.first().and_then(|entry| entry.session.as_deref()) == Some(session);
        Ok((ours, now))
    }

    async fn give_up(&self, server: &mut Server, session: &str) -> Result<(), String> {
        let asked = [("release", session.to_owned()), ("flags", LOCK_FLAGS.to_string())];
        // It may be lost already, which is as good.
        is_true(
            server
                .ask(&Method::PUT, self.key.as_bytes(), &asked, Bytes::new())
                .await?,
        )
        .map(drop)
    }

    async fn clean(&self, server: &mut Server) -> Result<bool, String> {
        let (entries, _) = look(server, &self.key, &[]).await?;
        let Some(entry) = entries.first() else {
            return Ok(true);
        };
        if entry.flags != LOCK_FLAGS {
            return Err("Existing key does not match lock use".to_owned());
        }
        if entry.session.is_some() {
            return Ok(false);
        }
        let asked = [("cas", entry.modify_index.to_string())];
        is_true(
            server
                .ask(&Method::DELETE, self.key.as_bytes(), &asked, Bytes::new())
                .await?,
        )
    }
}
