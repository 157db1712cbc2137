//! Sessions, and the keys that they lock.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::client::{Client, Error, Stored, WriteOptions, encode_query, kv_path};
use crate::duration;
use crate::types::header;

/// The flags of a key that is a lock, for Consul's clients: they leave other keys alone.
pub const LOCK_FLAGS: u64 = 0x2ddc_cbc0_58a5_0c18;

/// What a session is to be.
#[derive(Debug, Clone)]
pub struct SessionTerms {
    /// For people.
    pub name: String,
    /// How long it lives without being renewed, at least.
    pub ttl: Duration,
    /// How long nobody may lock the keys that it held, if it is not its client that gives them up.
    pub lock_delay: Duration,
}

/// What is done to a key's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock<'a> {
    /// Lock it for this session.
    Acquire(&'a str),
    /// Give up the lock of this session.
    Release(&'a str),
}

impl Client {
    /// Begins a session that deletes what it holds when it ends. Its id.
    pub async fn create_session(&self, terms: &SessionTerms, options: &WriteOptions) -> Result<String, Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Asked<'a> {
            name: &'a str,
            #[serde(rename = "TTL")]
            ttl: String,
            lock_delay: String,
            behavior: &'static str,
            /// Of the server that is asked: that it is well is nothing that a lock depends on.
            node_checks: [&'static str; 0],
        }
        #[derive(Deserialize)]
        struct Created {
            #[serde(rename = "ID")]
            id: String,
        }
        let asked = Asked {
            name: &terms.name,
            ttl: duration::format(terms.ttl),
            lock_delay: duration::format(terms.lock_delay),
            behavior: "delete",
            node_checks: [],
        };
        let body = serde_json::to_vec(&asked).expect("texts have a JSON form");
        let reply = self
            .send_write(Method::PUT, "/v1/session/create", body.into(), options)
            .await?;
        match reply.status {
            StatusCode::OK => Ok(reply.json::<Created>()?.id),
            _ => Err(reply.refused()),
        }
    }

    /// Gives a session its full time again; `false` if it is over.
    pub async fn renew_session(&self, id: &str) -> Result<bool, Error> {
        let path = format!("/v1/session/renew/{}", encode_query(id));
        let options = WriteOptions::default();
        let reply = self.send_write(Method::PUT, &path, Bytes::new(), &options).await?;
        match reply.status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(reply.refused()),
        }
    }

    /// Ends a session, also one that is over already.
    pub async fn destroy_session(&self, id: &str, options: &WriteOptions) -> Result<(), Error> {
        let path = format!("/v1/session/destroy/{}", encode_query(id));
        let reply = self.send_write(Method::PUT, &path, Bytes::new(), options).await?;
        reply.done().map(drop)
    }

    /// Stores a value, and locks the key or gives its lock up. Not done if another session holds it, or,
    /// to lock it, if its lock-delay is not over.
    pub async fn store_locked(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        lock: Lock<'_>,
        options: &WriteOptions,
    ) -> Result<Stored, Error> {
        let flags = (options.flags != 0).then(|| format!("flags={}", options.flags));
        let lock = match lock {
            Lock::Acquire(session) => format!("acquire={}", encode_query(session)),
            Lock::Release(session) => format!("release={}", encode_query(session)),
        };
        let path = kv_path(key, &[&lock, flags.as_deref().unwrap_or("")]);
        let reply = self.send_write(Method::PUT, &path, value.into(), options).await?;
        Ok(Stored {
            done: reply.done()?,
            revision: reply.number(header::REVISION),
        })
    }
}
