//! The client: requests to any of several servers.
//!
//! A read is repeated on the next address until the timeout. A write carries a request id and is
//! repeated with the same id, so that it happens once; if no answer comes in time it is
//! [`Error::Unknown`], never "failed".

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{Instant, sleep, timeout_at};

use crate::address::Address;
use crate::connect::{self, Connector};
use crate::types::{Entry, Revision, TxnError, TxnOp, WatchRequest, header};
use crate::watch::Watch;

/// What a key keeps as it is in a URL's path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// First and longest pause between two tries.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

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

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody could be asked, or nobody leads. Nothing was done; try again.
    #[error("{reason}{}", tried(addresses))]
    Unavailable {
        /// The addresses tried.
        addresses: Vec<Address>,
        /// What the last one said, with its address.
        reason: String,
    },
    /// A write was sent and its answer was lost: it may have happened. Read before repeating.
    #[error("the write may or may not have happened: {0}")]
    Unknown(String),
    /// No answer within the timeout, to something that changes nothing.
    #[error("no answer from {} within {}{}", names(addresses), crate::duration::format(*after), before(last.as_deref()))]
    Timeout {
        /// The addresses tried.
        addresses: Vec<Address>,
        /// The timeout.
        after: Duration,
        /// What the last try but one said.
        last: Option<String>,
    },
    /// The server refused. Repeating will not help.
    #[error("the server answered {status}: {text}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The body, as text.
        text: String,
    },
    /// The answer is not what the API says. Is it a Keyway server?
    #[error("{address} gave an answer that does not fit: {reason}")]
    BadAnswer {
        /// Who answered.
        address: Address,
        /// What is wrong with it.
        reason: String,
    },
}

/// An answer and the revision it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The revision (Consul's index).
    pub revision: Revision,
    /// The answer.
    pub value: T,
}

/// What goes along with a write.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// Opaque number stored with the value.
    pub flags: u64,
    /// Write only if the key is at this revision; 0 means only if it is absent.
    pub cas: Option<u64>,
    /// Who writes.
    pub author: Option<String>,
    /// Why.
    pub message: Option<String>,
}

/// A handle on one or more servers of one cluster. Clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    addresses: Vec<Address>,
    /// Which address answered last; the next request starts there.
    current: AtomicUsize,
    pool: Pool<Connector, Full<Bytes>>,
    token: Option<String>,
    timeout: Duration,
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    /// Who answered.
    pub address: Address,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn revision(&self) -> Result<Revision, Error> {
        self.header(header::INDEX)
            .and_then(|text| text.parse().ok())
            .map(Revision)
            .ok_or_else(|| self.bad(&"it has no X-Consul-Index"))
    }

    fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|e| self.bad(&e))
    }

    fn bad(&self, reason: &dyn std::fmt::Display) -> Error {
        Error::BadAnswer {
            address: self.address.clone(),
            reason: reason.to_string(),
        }
    }

    fn refused(&self) -> Error {
        Error::Refused {
            status: self.status,
            text: String::from_utf8_lossy(&self.body).trim().to_owned(),
        }
    }

    /// Text of a 500 that says that nothing was done and that waiting may help.
    fn nobody_leads(&self) -> bool {
        self.status == StatusCode::INTERNAL_SERVER_ERROR
            && self.header(header::OUTCOME).is_none()
            && self.body.starts_with(b"No cluster leader")
    }
}

impl Client {
    /// A client of these servers; requests that hold nothing open end within `timeout`.
    #[must_use]
    pub fn new(addresses: Vec<Address>, token: Option<String>, timeout: Duration) -> Self {
        let pool = Pool::builder(TokioExecutor::new())
            .pool_max_idle_per_host(512)
            .build(Connector);
        Self {
            inner: Arc::new(Inner {
                addresses,
                current: AtomicUsize::new(0),
                pool,
                token,
                timeout,
            }),
        }
    }

    /// The addresses, for messages.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.inner.addresses
    }

    /// One key; `None` if it is not there.
    pub async fn get(&self, key: &str, consistency: Consistency) -> Result<At<Option<Entry>>, Error> {
        let reply = self.read(&kv_path(key, &[consistency_query(consistency)])).await?;
        let value = match reply.status {
            StatusCode::NOT_FOUND => None,
            _ => reply.json::<Vec<Entry>>()?.pop(),
        };
        Ok(At {
            revision: reply.revision()?,
            value,
        })
    }

    /// One key once it differs from `index`, or after `wait` as it is then (a blocking query).
    pub async fn get_blocking(&self, key: &str, index: Revision, wait: Duration) -> Result<At<Option<Entry>>, Error> {
        let query = [format!("index={index}"), format!("wait={}ms", wait.as_millis())];
        let path = kv_path(key, &query.each_ref().map(String::as_str));
        let reply = self
            .send_within(
                Method::GET,
                &path,
                Bytes::new(),
                HeaderMap::new(),
                wait + wait / 16 + self.inner.timeout,
            )
            .await?;
        let value = match reply.status {
            StatusCode::OK => reply.json::<Vec<Entry>>()?.pop(),
            StatusCode::NOT_FOUND => None,
            _ => return Err(reply.refused()),
        };
        Ok(At {
            revision: reply.revision()?,
            value,
        })
    }

    /// Everything whose key begins with `prefix`, in byte order.
    pub async fn list(&self, prefix: &str, consistency: Consistency) -> Result<At<Vec<Entry>>, Error> {
        let reply = self
            .read(&kv_path(prefix, &["recurse", consistency_query(consistency)]))
            .await?;
        let value = match reply.status {
            StatusCode::NOT_FOUND => Vec::new(),
            _ => reply.json()?,
        };
        Ok(At {
            revision: reply.revision()?,
            value,
        })
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
        let value = match reply.status {
            StatusCode::NOT_FOUND => Vec::new(),
            _ => reply.json()?,
        };
        Ok(At {
            revision: reply.revision()?,
            value,
        })
    }

    /// Stores a value; `false` if the compare-and-swap lost.
    pub async fn put(&self, key: &str, value: impl Into<Bytes>, options: &WriteOptions) -> Result<bool, Error> {
        let flags = (options.flags != 0).then(|| format!("flags={}", options.flags));
        let cas = options.cas.map(|n| format!("cas={n}"));
        let path = kv_path(key, &[flags.as_deref().unwrap_or(""), cas.as_deref().unwrap_or("")]);
        self.write(Method::PUT, &path, value.into(), options).await
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

    /// Several operations as one: all of them, or none and the reasons.
    pub async fn txn(&self, ops: &[TxnOp], options: &WriteOptions) -> Result<Result<Vec<Entry>, Vec<TxnError>>, Error> {
        #[derive(serde::Serialize)]
        struct Op<'a> {
            #[serde(rename = "KV")]
            kv: &'a TxnOp,
        }
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
        let body = serde_json::to_vec(&ops.iter().map(|kv| Op { kv }).collect::<Vec<_>>())
            .expect("texts and numbers have a JSON form");
        let reply = self.send_write(Method::PUT, "/v1/txn", body.into(), options).await?;
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
    async fn read(&self, path: &str) -> Result<Reply, Error> {
        let reply = self.send(Method::GET, path, Bytes::new(), HeaderMap::new()).await?;
        match reply.status {
            StatusCode::OK | StatusCode::NOT_FOUND => Ok(reply),
            _ => Err(reply.refused()),
        }
    }

    async fn write(&self, method: Method, path: &str, body: Bytes, options: &WriteOptions) -> Result<bool, Error> {
        let reply = self.send_write(method, path, body, options).await?;
        if reply.status == StatusCode::OK {
            reply.json()
        } else {
            Err(reply.refused())
        }
    }

    async fn send_write(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        options: &WriteOptions,
    ) -> Result<Reply, Error> {
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, text: &str| {
            if let Ok(value) = utf8_percent_encode(text, HEADER).to_string().parse() {
                headers.insert(name, value);
            }
        };
        put(header::REQUEST, &uuid::Uuid::new_v4().to_string());
        if let Some(author) = &options.author {
            put(header::AUTHOR, author);
        }
        if let Some(message) = &options.message {
            put(header::MESSAGE, message);
        }
        self.send(method, path, body, headers).await
    }

    /// Any request, tried on each address until one answers or the timeout passes. A write
    /// (anything but GET) is repeated only if it carries a request id.
    pub async fn send(&self, method: Method, path: &str, body: Bytes, headers: HeaderMap) -> Result<Reply, Error> {
        self.send_within(method, path, body, headers, self.inner.timeout).await
    }

    async fn send_within(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        headers: HeaderMap,
        limit: Duration,
    ) -> Result<Reply, Error> {
        let deadline = Instant::now() + limit;
        let changes = method != Method::GET;
        let repeatable = !changes || headers.contains_key(header::REQUEST);
        let servers = self.inner.addresses.len();
        let mut pause = PAUSE.0;
        let mut maybe_done = None;
        let mut last = None;
        let mut tries = 0;
        loop {
            let index = self.inner.current.load(Ordering::Relaxed) % servers;
            let address = &self.inner.addresses[index];
            let tried = timeout_at(deadline, self.once(address, &method, path, &body, &headers)).await;
            let failure = match tried.map(judge) {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(failure)) => failure,
                Err(_) if changes => {
                    let limit = crate::duration::format(limit);
                    return Err(Error::Unknown(format!("no answer from {address} within {limit}")));
                }
                Err(_) => {
                    return Err(Error::Timeout {
                        addresses: self.inner.addresses.clone(),
                        after: limit,
                        last,
                    });
                }
            };
            tries += 1;
            self.inner.current.store(index + 1, Ordering::Relaxed);
            let reason = format!("{address}: {}", failure.reason);
            if changes && failure.maybe_sent {
                maybe_done = Some(reason.clone());
            }
            // A server that is plainly not there is asked once; an election is waited for.
            let in_vain = tries >= servers && maybe_done.is_none() && !failure.may_pass;
            let out_of_time = Instant::now() + pause >= deadline;
            if in_vain || out_of_time || (maybe_done.is_some() && !repeatable) {
                return Err(match maybe_done {
                    Some(reason) => Error::Unknown(reason),
                    None => Error::Unavailable {
                        addresses: self.inner.addresses.clone(),
                        reason,
                    },
                });
            }
            last = Some(reason);
            if tries % servers == 0 {
                sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }

    async fn once(
        &self,
        address: &Address,
        method: &Method,
        path: &str,
        body: &Bytes,
        headers: &HeaderMap,
    ) -> Result<Reply, Failure> {
        let response = self.open(address, method, path, body, headers).await?;
        let (parts, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|e| Failure::broken_off(format!("the answer broke off: {e}")))?
            .to_bytes();
        Ok(Reply {
            address: address.clone(),
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }

    /// Sends a request to one address and returns when the head of the answer is there.
    pub(crate) async fn open(
        &self,
        address: &Address,
        method: &Method,
        path: &str,
        body: &Bytes,
        headers: &HeaderMap,
    ) -> Result<Response<Incoming>, Failure> {
        let uri = connect::uri(address, path).map_err(|e| Failure::never_sent(e.to_string()))?;
        let mut request = Request::builder().method(method).uri(uri);
        if let Address::Unix(_) = address {
            request = request.header(http::header::HOST, "localhost");
        }
        if let Some(token) = &self.inner.token {
            request = request.header(header::TOKEN, token);
        }
        let mut request = request
            .body(Full::new(body.clone()))
            .map_err(|e| Failure::never_sent(e.to_string()))?;
        request.headers_mut().extend(headers.clone());
        self.inner.pool.request(request).await.map_err(|e| {
            let reason = deepest(&e);
            if e.is_connect() {
                Failure::never_sent(reason)
            } else {
                Failure::broken_off(reason)
            }
        })
    }
}

/// A try that brought no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    /// Whether the request may have reached the server and been carried out.
    pub(crate) maybe_sent: bool,
    /// Whether the server is there and waiting may help.
    may_pass: bool,
}

impl Failure {
    const fn never_sent(reason: String) -> Self {
        Self {
            reason,
            maybe_sent: false,
            may_pass: false,
        }
    }

    const fn broken_off(reason: String) -> Self {
        Self {
            reason,
            maybe_sent: true,
            may_pass: true,
        }
    }
}

/// Tells an answer to the request from a server's word that it cannot answer now.
fn judge(tried: Result<Reply, Failure>) -> Result<Reply, Failure> {
    let reply = tried?;
    let unknown = reply.header(header::OUTCOME) == Some("unknown");
    if !unknown && !reply.nobody_leads() {
        return Ok(reply);
    }
    let reason = String::from_utf8_lossy(&reply.body).trim().to_owned();
    Err(Failure {
        reason,
        maybe_sent: unknown,
        may_pass: true,
    })
}

fn names(addresses: &[Address]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The list of addresses, where there is more than the one that the reason names.
fn tried(addresses: &[Address]) -> String {
    match addresses {
        [_] => String::new(),
        several => format!(" (the last of {})", names(several)),
    }
}

/// What the last try said, for the message of a timeout.
fn before(last: Option<&str>) -> String {
    last.map_or_else(String::new, |last| format!("; before that: {last}"))
}

/// The cause at the end of the chain: "Connection refused" rather than "client error".
fn deepest(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

const HEADER: &AsciiSet = &percent_encoding::CONTROLS.add(b'%');

fn consistency_query(consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Default => "",
        Consistency::Consistent => "consistent",
        Consistency::Stale => "stale",
    }
}

fn kv_path(key: &str, query: &[&str]) -> String {
    let mut path = format!("/v1/kv/{}", encode_key(key));
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
