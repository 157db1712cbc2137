//! The client: requests to any of several servers.
//!
//! A read is repeated on the next address until the timeout. A write carries a request id and is
//! repeated with the same id, so that it happens once; if no answer comes in time it is
//! [`Error::Unknown`], never "failed".

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::address::Address;
use crate::connect::{Connector, Dial};
pub use crate::error::Error;
pub use crate::transport::Reply;
use crate::transport::Transport;
use crate::types::{Entry, Revision, TxnError, TxnOp, WatchRequest, header};
use crate::watch::Watch;

/// What a key keeps as it is in a URL's path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// How fresh a read has to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Linearizable here; on Consul, the leader's word.
    #[default]
    Default,
    /// Linearizable.
    Consistent,
    /// Whatever the server asked has.
    Stale,
}

/// An answer and the revision it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The revision (Consul's index).
    pub revision: Revision,
    /// The answer.
    pub value: T,
}

/// How a write of one key ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// `false` if the compare-and-swap lost.
    pub done: bool,
    /// The revision that the write took, or found if it changed nothing. Consul does not say.
    pub revision: Option<Revision>,
}

/// What goes along with a write.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// Opaque number stored with the value.
    pub flags: u64,
    /// Write only if the key is at this revision; 0 means only if it is absent.
    pub cas: Option<u64>,
    /// Who writes. A claim: no server checks it.
    pub author: Option<String>,
    /// Why.
    pub message: Option<String>,
    /// The id by which the server knows a write that is sent again, which happens once; one of its own if there is none.
    pub request: Option<String>,
}

/// A handle on one or more servers of one cluster. Clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Arc<Transport>,
}

impl Client {
    /// A client of these servers. Nothing but a watch or a blocking query waits longer than `timeout`
    /// for an answer to come or, of a read, to go on coming.
    #[must_use]
    pub fn new(addresses: Vec<Address>, token: Option<String>, timeout: Duration) -> Self {
        Self {
            transport: Arc::new(Transport::new(addresses, token, timeout, Connector::default())),
        }
    }

    /// The same, by connections that somebody else opens.
    #[must_use]
    pub fn by(dial: Arc<dyn Dial>, addresses: Vec<Address>, token: Option<String>, timeout: Duration) -> Self {
        Self {
            transport: Arc::new(Transport::new(addresses, token, timeout, Connector(Some(dial)))),
        }
    }

    /// The addresses, for messages.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.transport.addresses
    }

    /// One key; `None` if it is not there.
    pub async fn get(&self, key: &str, consistency: Consistency) -> Result<At<Option<Entry>>, Error> {
        self.get_at(key, None, consistency).await
    }

    /// One key once it differs from `index`, or after `wait` as it is then (a blocking query).
    pub async fn get_blocking(&self, key: &str, index: Revision, wait: Duration) -> Result<At<Option<Entry>>, Error> {
        self.blocking(key, "", index, wait).await?.entry()
    }

    /// The keys that begin with `prefix` once any of them differs from `index`, or after `wait` as they are then.
    pub async fn keys_blocking(&self, prefix: &str, index: Revision, wait: Duration) -> Result<At<Vec<String>>, Error> {
        self.blocking(prefix, "keys", index, wait).await?.list()
    }

    async fn blocking(&self, key: &str, what: &str, index: Revision, wait: Duration) -> Result<Reply, Error> {
        let (index, millis) = (format!("index={index}"), format!("wait={}ms", wait.as_millis()));
        let path = kv_path(key, &[what, &index, &millis]);
        let limit = wait + wait / 16 + self.transport.timeout;
        let sent = self
            .transport
            .send(Method::GET, &path, Bytes::new(), HeaderMap::new(), limit);
        let reply = sent.await?;
        match reply.status {
            StatusCode::OK | StatusCode::NOT_FOUND => Ok(reply),
            _ => Err(reply.refused()),
        }
    }

    /// Everything whose key begins with `prefix`, in byte order.
    pub async fn list(&self, prefix: &str, consistency: Consistency) -> Result<At<Vec<Entry>>, Error> {
        self.list_at(prefix, None, consistency).await
    }

    /// The keys that begin with `prefix`; with a separator, cut behind its first occurrence.
    pub async fn keys(
        &self,
        prefix: &str,
        separator: Option<&str>,
        consistency: Consistency,
    ) -> Result<At<Vec<String>>, Error> {
        let separator = separator.map(|s| format!("separator={}", encode_query(s)));
        let reply = self
            .read(&kv_path(
                prefix,
                &[
                    "keys",
                    separator.as_deref().unwrap_or(""),
                    consistency_query(consistency),
                ],
            ))
            .await?;
        reply.list()
    }

    /// Stores a value; `false` if the compare-and-swap lost.
    pub async fn put(&self, key: &str, value: impl Into<Bytes>, options: &WriteOptions) -> Result<bool, Error> {
        Ok(self.store(key, value, options).await?.done)
    }

    /// [`Client::put`], and the revision at which the value is there.
    pub async fn store(&self, key: &str, value: impl Into<Bytes>, options: &WriteOptions) -> Result<Stored, Error> {
        let flags = (options.flags != 0).then(|| format!("flags={}", options.flags));
        let cas = options.cas.map(|n| format!("cas={n}"));
        let path = kv_path(key, &[flags.as_deref().unwrap_or(""), cas.as_deref().unwrap_or("")]);
        let reply = self.send_write(Method::PUT, &path, value.into(), options).await?;
        Ok(Stored {
            done: reply.done()?,
            revision: reply.number(header::REVISION),
        })
    }

    /// Deletes a key; `false` if the compare-and-swap lost. Deleting what is not there succeeds.
    pub async fn delete(&self, key: &str, options: &WriteOptions) -> Result<bool, Error> {
        let cas = options.cas.map(|n| format!("cas={n}"));
        self.write(
            Method::DELETE,
            &kv_path(key, &[cas.as_deref().unwrap_or("")]),
            Bytes::new(),
            options,
        )
        .await
    }

    /// Deletes every key that begins with `prefix`, by bytes.
    pub async fn delete_prefix(&self, prefix: &str, options: &WriteOptions) -> Result<bool, Error> {
        self.write(Method::DELETE, &kv_path(prefix, &["recurse"]), Bytes::new(), options)
            .await
    }

    /// Several operations as one: all of them, or none and the reasons. [`Error::Ended`] with `done` is a success
    /// too, of which only the entries are missing.
    pub async fn txn(&self, ops: &[TxnOp], options: &WriteOptions) -> Result<Result<Vec<Entry>, Vec<TxnError>>, Error> {
        #[derive(serde::Serialize)]
        struct Op<'a> {
            #[serde(rename = "KV")]
            kv: &'a TxnOp,
        }
        let body = serde_json::to_vec(&ops.iter().map(|kv| Op { kv }).collect::<Vec<_>>())
            .expect("texts and numbers have a JSON form");
        self.txn_json(body.into(), options).await
    }

    /// [`Client::txn`] of operations that are JSON already, sent as they are: the server says what is wrong with them.
    pub async fn txn_json(
        &self,
        body: Bytes,
        options: &WriteOptions,
    ) -> Result<Result<Vec<Entry>, Vec<TxnError>>, Error> {
        #[derive(serde::Deserialize)]
        struct Done {
            #[serde(rename = "KV")]
            kv: Entry,
        }
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            results: Option<Vec<Done>>,
            errors: Option<Vec<TxnError>>,
        }
        let reply = self.send_write(Method::PUT, "/v1/txn", body, options).await?;
        match reply.status {
            StatusCode::OK | StatusCode::CONFLICT => {
                let answer: Answer = reply.json()?;
                Ok(match answer.errors {
                    Some(errors) if !errors.is_empty() => Err(errors),
                    _ => Ok(answer
                        .results
                        .unwrap_or_default()
                        .into_iter()
                        .map(|done| done.kv)
                        .collect()),
                })
            }
            _ => Err(reply.refused()),
        }
    }

    /// A stream of changes over every reconnect. Nothing is sent before the first `next`.
    #[must_use]
    pub fn watch(&self, request: WatchRequest) -> Watch {
        Watch::new(self.clone(), request)
    }

    /// A read whose answer is 200 or 404.
    pub(crate) async fn read(&self, path: &str) -> Result<Reply, Error> {
        let reply = self.send(Method::GET, path, Bytes::new(), HeaderMap::new()).await?;
        match reply.status {
            StatusCode::OK | StatusCode::NOT_FOUND => Ok(reply),
            _ => Err(reply.refused()),
        }
    }

    async fn write(&self, method: Method, path: &str, body: Bytes, options: &WriteOptions) -> Result<bool, Error> {
        self.send_write(method, path, body, options).await?.done()
    }

    pub(crate) async fn send_write(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        options: &WriteOptions,
    ) -> Result<Reply, Error> {
        let headers = write_headers(options);
        let reply = self.send(method, path, body, headers).await?;
        match (reply.status, reply.header(header::OUTCOME)) {
            (StatusCode::GONE, Some(outcome @ ("done" | "failed"))) => Err(Error::Ended {
                done: outcome == "done",
                revision: reply.number(header::REVISION),
            }),
            _ => Ok(reply),
        }
    }

    /// How requests are sent.
    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Any request, tried on each address until one answers or the timeout passes. A write
    /// (anything but GET) is repeated only if it carries a request id.
    pub async fn send(&self, method: Method, path: &str, body: Bytes, headers: HeaderMap) -> Result<Reply, Error> {
        self.transport
            .send(method, path, body, headers, self.transport.timeout)
            .await
    }
}

/// What is said of a write beside it: an id of its own, who and why.
pub(crate) fn write_headers(options: &WriteOptions) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: &'static str, text: &str| {
        if let Ok(value) = utf8_percent_encode(text, HEADER).to_string().parse() {
            headers.insert(name, value);
        }
    };
    match &options.request {
        Some(request) => put(header::REQUEST, request),
        None => put(header::REQUEST, &uuid::Uuid::new_v4().to_string()),
    }
    if let Some(author) = &options.author {
        put(header::AUTHOR, author);
    }
    if let Some(message) = &options.message {
        put(header::MESSAGE, message);
    }
    headers
}

const HEADER: &AsciiSet = &percent_encoding::CONTROLS.add(b'%');

pub(crate) fn consistency_query(consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Default => "",
        Consistency::Consistent => "consistent",
        Consistency::Stale => "stale",
    }
}

pub(crate) fn kv_path(key: &str, query: &[&str]) -> String {
    with_query(format!("/v1/kv/{}", encode_key(key)), query)
}

/// A path and the parts of its query that are not empty.
pub(crate) fn with_query(mut path: String, query: &[&str]) -> String {
    let mut mark = '?';
    for part in query.iter().filter(|part| !part.is_empty()) {
        path.push(mark);
        path.push_str(part);
        mark = '&';
    }
    path
}

/// A key as it stands in a URL's path. Slashes stay, but a leading one is encoded: the server
/// would take it for a doubled slash and drop it.
#[must_use]
pub fn encode_key(key: &str) -> String {
    let text = utf8_percent_encode(key, PATH).to_string();
    match text.strip_prefix('/') {
        Some(rest) => format!("%2F{rest}"),
        None => text,
    }
}

/// A text as it stands in a URL's query.
#[must_use]
pub fn encode_query(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
