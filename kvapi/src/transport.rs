//! Requests on the wire: tried on each address, repeated where that is safe, judged.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::TokioExecutor;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout_at};

use crate::address::Address;
use crate::client::At;
use crate::connect::{self, Connector};
use crate::error::Error;
use crate::types::{Entry, Revision, header};

/// First and longest pause between two tries.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Of several servers, one gets such a part of the time to begin its answer, if there are as many: with the usual ten
/// seconds that is longer than a server holds a request through an election.
const SHARES: u32 = 3;

/// The servers, and connections to them.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) addresses: Vec<Address>,
    /// Which address answered last; the next request starts there.
    current: AtomicUsize,
    connector: Connector,
    pool: Pool<Connector, Full<Bytes>>,
    token: Option<String>,
    pub(crate) timeout: Duration,
}

impl Transport {
    pub(crate) fn new(addresses: Vec<Address>, token: Option<String>, timeout: Duration, connector: Connector) -> Self {
        let pool = Pool::builder(TokioExecutor::new())
            .pool_max_idle_per_host(512)
            .build(connector.clone());
        Self {
            addresses,
            current: AtomicUsize::new(0),
            connector,
            pool,
            token,
            timeout,
        }
    }

    /// Opens connections that are for one request.
    pub(crate) fn connector(&self) -> Connector {
        self.connector.clone()
    }

    /// The token that is shown to servers.
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Tries each address until one answers or `limit` passes. A write (anything but GET) is
    /// repeated only if it carries a request id. What has been read may take longer: a list of a million
    /// keys has as long as it needs, as long as no two pieces of it are `limit` apart.
    pub(crate) async fn send(
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
        let servers = self.addresses.len();
        // Who knows several does not spend all its time on one that is silent. A blocking query waits on purpose.
        let share = (servers > 1 && repeatable && limit == self.timeout)
            .then(|| limit / SHARES.min(u32::try_from(servers).unwrap_or(SHARES)));
        let mut pause = PAUSE.0;
        let mut maybe_done = None;
        let mut last = None;
        let mut tries = 0;
        // Whether any server of this round was there.
        let mut hope = false;
        loop {
            let index = self.current.load(Ordering::Relaxed) % servers;
            let address = &self.addresses[index];
            let until = share.map_or(deadline, |share| deadline.min(Instant::now() + share));
            let opened = timeout_at(until, self.open(address, &method, path, &body, &headers)).await;
            let tried = match opened {
                Err(_) if until < deadline => Ok(Err(Failure::broken_off("no answer for a while".to_owned()))),
                Ok(Ok(response)) => {
                    let until = || if changes { deadline } else { Instant::now() + limit };
                    whole(address, response, until).await
                }
                Ok(Err(failure)) => Ok(Err(failure)),
                Err(late) => Err(late),
            };
            let failure = match tried.map(judge) {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(failure)) => failure,
                Err(_) if changes => {
                    let limit = crate::duration::format(limit);
                    return Err(Error::Unknown(format!("no answer from {address} within {limit}")));
                }
                Err(_) => {
                    return Err(Error::Timeout {
                        addresses: self.addresses.clone(),
                        after: limit,
                        last,
                    });
                }
            };
            tries += 1;
            self.current.store(index + 1, Ordering::Relaxed);
            let reason = format!("{address}: {}", failure.reason);
            if changes && failure.maybe_sent {
                maybe_done = Some(reason.clone());
            }
            // A server that is plainly not there is asked once; an election is waited for.
            hope |= failure.may_pass;
            let in_vain = tries % servers == 0 && maybe_done.is_none() && !hope;
            let out_of_time = Instant::now() + pause >= deadline;
            if in_vain || out_of_time || (maybe_done.is_some() && !repeatable) {
                return Err(match maybe_done {
                    Some(reason) => Error::Unknown(reason),
                    None => Error::Unavailable {
                        addresses: self.addresses.clone(),
                        reason,
                    },
                });
            }
            last = Some(reason);
            if tries % servers == 0 {
                hope = false;
                sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
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
        if let Some(token) = &self.token {
            request = request.header(header::TOKEN, token);
        }
        let mut request = request
            .body(Full::new(body.clone()))
            .map_err(|e| Failure::never_sent(e.to_string()))?;
        request.headers_mut().extend(headers.clone());
        self.pool.request(request).await.map_err(|e| {
            let reason = deepest(&e);
            if e.is_connect() {
                Failure::never_sent(reason)
            } else {
                Failure::broken_off(reason)
            }
        })
    }
}

/// The rest of an answer; the inner error is a connection that broke off. `until` is how long the next
/// piece may keep us waiting.
async fn whole(
    address: &Address,
    response: Response<Incoming>,
    until: impl Fn() -> Instant,
) -> Result<Result<Reply, Failure>, Elapsed> {
    let (parts, mut body) = response.into_parts();
    let mut pieces = Vec::new();
    while let Some(frame) = timeout_at(until(), body.frame()).await? {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => pieces.push(data),
            // Trailers.
            Ok(Err(_)) => {}
            Err(e) => return Ok(Err(Failure::broken_off(format!("the answer broke off: {e}")))),
        }
    }
    let body = match pieces.as_slice() {
        [one] => one.clone(),
        several => several.concat().into(),
    };
    Ok(Ok(Reply {
        address: address.clone(),
        status: parts.status,
        headers: parts.headers,
        body,
    }))
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

    pub(crate) fn revision(&self) -> Result<Revision, Error> {
        self.header(header::INDEX)
            .and_then(|text| text.parse().ok())
            .map(Revision)
            .ok_or_else(|| self.bad(&"it has no X-Consul-Index"))
    }

    /// A list; 404 is the empty one.
    pub(crate) fn list<T: serde::de::DeserializeOwned>(&self) -> Result<At<Vec<T>>, Error> {
        let value = if self.status == StatusCode::NOT_FOUND {
            Vec::new()
        } else {
            self.json()?
        };
        Ok(At {
            revision: self.revision()?,
            value,
        })
    }

    /// One key's entry; 404 is none.
    pub(crate) fn entry(&self) -> Result<At<Option<Entry>>, Error> {
        let list = self.list::<Entry>()?;
        Ok(At {
            revision: list.revision,
            value: list.value.into_iter().next(),
        })
    }

    /// Whether a write of one key was done.
    pub(crate) fn done(&self) -> Result<bool, Error> {
        match self.status {
            StatusCode::OK => self.json(),
            _ => Err(self.refused()),
        }
    }

    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|e| self.bad(&e))
    }

    fn bad(&self, reason: &dyn std::fmt::Display) -> Error {
        Error::BadAnswer {
            address: self.address.clone(),
            reason: reason.to_string(),
        }
    }

    /// A revision in a header.
    pub(crate) fn number(&self, name: &str) -> Option<Revision> {
        self.header(name)?.parse().ok().map(Revision)
    }

    pub(crate) fn refused(&self) -> Error {
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

/// The cause at the end of the chain: "Connection refused" rather than "client error".
fn deepest(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
