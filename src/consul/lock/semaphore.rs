//! A lock that several may hold: each has a key of its own below the prefix, held by its session, and
//! `PREFIX/.lock` says, changed by CAS alone, who of them is in.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use kvapi::Entry;
use serde::{Deserialize, Serialize};

use super::Hold;
use crate::consul::ask::{Server, is_true, look};

/// The flags of all keys of a semaphore, for Consul's clients.
const FLAGS: u64 = 0xe0f6_9a2b_aa41_4de0;

/// How long one look at who is in waits.
const LOOK: &str = "15000ms";

/// See the module.
pub(super) struct Semaphore {
    pub(super) prefix: String,
    pub(super) limit: u64,
}

/// What `PREFIX/.lock` holds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Holders {
    limit: u64,
    holders: Option<BTreeMap<String, bool>>,
}

/// What is below the prefix.
struct Seen {
    /// The index of `.lock`, 0 if it is not there.
    at: u64,
    limit: u64,
    /// Those who are in, and whose session lives.
    holders: BTreeMap<String, bool>,
    index: u64,
}

impl Semaphore {
    fn lock(&self) -> String {
        format!("{}/.lock", self.prefix)
    }

    async fn see(&self, server: &mut Server, asked: &[(&'static str, String)]) -> Result<Seen, String> {
        let begin = format!("{}/", self.prefix);
        let asked = [&[("recurse", String::new())], asked].concat();
        let (entries, index) = look(server, &begin, &asked).await?;
        let lock = self.lock();
        let mut seen = Seen {
            at: 0,
            limit: self.limit,
            holders: BTreeMap::new(),
            index,
        };
        if let Some(entry) = entries.iter().find(|entry| entry.key == lock) {
            if entry.flags != FLAGS {
                return Err("Existing key does not match semaphore use".to_owned());
            }
            let said: Holders = serde_json::from_slice(&entry.value).map_err(|e| format!("{lock}: {e}"))?;
            (seen.at, seen.limit) = (entry.modify_index.0, said.limit);
            seen.holders = said.holders.unwrap_or_default();
        }
        let lives = |id: &str| {
            let is_its = |entry: &&Entry| entry.session.as_deref() == Some(id);
            entries
                .iter()
                .filter(|entry| entry.key != lock)
                .any(|entry| is_its(&entry))
        };
        seen.holders.retain(|id, _| lives(id));
        Ok(seen)
    }

    /// Writes who is in, if nobody else has meanwhile.
    async fn write(&self, server: &mut Server, seen: Seen) -> Result<bool, String> {
        let said = Holders {
            limit: seen.limit,
            holders: Some(seen.holders),
        };
        let body = serde_json::to_string(&said).map_err(|e| e.to_string())?;
        let asked = [("cas", seen.at.to_string()), ("flags", FLAGS.to_string())];
        is_true(
            server
                .ask(&Method::PUT, self.lock().as_bytes(), &asked, body.into())
                .await?,
        )
    }
}

impl Hold for Semaphore {
    const BEHAVIOR: &'static str = "delete";

    async fn wait(&self, server: &mut Server, session: &str) -> Result<(), String> {
        let own = format!("{}/{session}", self.prefix);
        let asked = [("acquire", session.to_owned()), ("flags", FLAGS.to_string())];
        if !is_true(server.ask(&Method::PUT, own.as_bytes(), &asked, Bytes::new()).await?)? {
            return Err("failed to make contender key".to_owned());
        }
        let mut index = 0;
        loop {
            let asked = [("wait", LOOK.to_owned()), ("index", index.to_string())];
            let mut seen = self.see(server, &asked).await?;
            if seen.limit != self.limit {
                let (theirs, ours) = (seen.limit, self.limit);
                return Err(format!("semaphore limit conflict (lock: {theirs}, local: {ours})"));
            }
            if seen.holders.len() as u64 >= self.limit {
                index = seen.index;
                continue;
            }
            index = 0;
            seen.holders.insert(session.to_owned(), true);
            if self.write(server, seen).await? {
                return Ok(());
            }
        }
    }

    async fn look(&self, server: &mut Server, session: &str, index: u64) -> Result<(bool, u64), String> {
        let asked = [("consistent", String::new()), ("index", index.to_string())];
        let seen = self.see(server, &asked).await?;
        Ok((seen.holders.contains_key(session), seen.index))
    }

    async fn give_up(&self, server: &mut Server, session: &str) -> Result<(), String> {
        loop {
            let mut seen = self.see(server, &[]).await?;
            if seen.holders.remove(session).is_none() || self.write(server, seen).await? {
                break;
            }
        }
        let own = format!("{}/{session}", self.prefix);
        is_true(server.ask(&Method::DELETE, own.as_bytes(), &[], Bytes::new()).await?).map(drop)
    }

    async fn clean(&self, server: &mut Server) -> Result<bool, String> {
        let seen = self.see(server, &[]).await?;
        if seen.at == 0 {
            return Ok(true);
        }
        if !seen.holders.is_empty() {
            return Ok(false);
        }
        let asked = [("cas", seen.at.to_string())];
        is_true(
            server
                .ask(&Method::DELETE, self.lock().as_bytes(), &asked, Bytes::new())
                .await?,
        )
    }
}
