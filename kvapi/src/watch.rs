//! One stream of changes, over every reconnect.
//!
//! [`Watch`] remembers the last revision it gave out and resumes there, on the next address if
//! need be. What it cannot decide it reports: [`News::Connected`] names the cluster, so that the
//! caller can refuse another one, and a revision may come that is lower than one before (another
//! cluster, a restored folder): that too is the caller's to judge.
//!
//! Of several addresses each watch has an order of its own, by chance: a thousand agents spread over
//! all servers, and those of a server that goes away over the others.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use rand::seq::SliceRandom as _;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::address::Address;
use crate::client::Client;
use crate::sse::{Parser, SseEvent};
use crate::types::{Revision, WatchEvent, WatchRequest, header};

/// Pauses between tries, doubled from the first to the last, each shortened by up to a half by
/// chance, so that a thousand agents do not come back in one moment.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A server sends at least a keep-alive this often; silence for longer is a dead connection.
const SILENCE: Duration = Duration::from_secs(30);

/// How long a server may take to begin its answer.
const OPEN: Duration = Duration::from_secs(10);

/// The longest event, a snapshot included.
const EVENT: usize = 256 << 20;

/// The longest text of a refusal.
const REFUSAL: usize = 64 << 10;

/// What a watch has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A server answered; what follows comes from it.
    Connected {
        /// Who.
        address: Address,
        /// The cluster it belongs to; empty if it does not say.
        cluster: String,
    },
    /// An event. Once it is handed out, a reconnect resumes behind it.
    Event(WatchEvent),
    /// The connection is gone; it is tried again by itself.
    Lost {
        /// For a person.
        reason: String,
    },
    /// The server refused the watch for good (status and text), such as a bad pattern. The watch
    /// keeps trying, slowly.
    Refused {
        /// The status.
        status: StatusCode,
        /// What it said.
        text: String,
    },
}

/// See the module. Dropping it ends the stream. [`Watch::next`] is cancel-safe.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    request: WatchRequest,
    /// The last revision handed out.
    seen: Option<Revision>,
    /// The addresses in this watch's order, and which of them is next.
    order: Vec<usize>,
    next: usize,
    /// Tries since a server has told something.
    tried: usize,
    state: State,
    pause: Duration,
}

#[derive(Debug)]
enum State {
    /// Not to be tried before this moment.
    Waiting(Instant),
    Open {
        body: Incoming,
        parser: Parser,
        ready: std::collections::VecDeque<SseEvent>,
        /// When the server was last heard of.
        heard: Instant,
    },
}

impl Watch {
    pub(crate) fn new(client: Client, request: WatchRequest) -> Self {
        let mut order: Vec<usize> = (0..client.addresses().len()).collect();
        order.shuffle(&mut rand::rng());
        Self {
            seen: request.since,
            client,
            request,
            order,
            next: 0,
            tried: 0,
            state: State::Waiting(Instant::now()),
            pause: PAUSE.0,
        }
    }

    /// What is watched.
    #[must_use]
    pub fn request(&self) -> &WatchRequest {
        &self.request
    }

    /// Whether every address has been tried since one has told something.
    #[must_use]
    pub fn in_vain(&self) -> bool {
        self.tried >= self.order.len()
    }

    /// The next thing to know. Never ends; drop the watch to stop it.
    pub async fn next(&mut self) -> News {
        loop {
            match &mut self.state {
                State::Waiting(until) => {
                    sleep_until(*until).await;
                    return self.connect().await;
                }
                State::Open {
                    body,
                    parser,
                    ready,
                    heard,
                } => {
                    if let Some(event) = ready.pop_front() {
                        if let Some(news) = self.event(&event) {
                            return news;
                        }
                        continue;
                    }
                    // Whoever asks again and again for a short while only hears of silence all the same.
                    let silence = *heard + SILENCE;
                    let reason = match timeout_at(silence, body.frame()).await {
                        Ok(Some(Ok(frame))) => {
                            *heard = Instant::now();
                            if let Some(data) = frame.data_ref() {
                                ready.extend(parser.push(data));
                            }
                            if parser.held() <= EVENT {
                                continue;
                            }
                            format!("an event is longer than {} MiB", EVENT >> 20)
                        }
                        Ok(Some(Err(e))) => e.to_string(),
                        Ok(None) => "the server closed the stream".to_owned(),
                        Err(_) => format!("silence for {}", crate::duration::format(SILENCE)),
                    };
                    return self.lost(reason);
                }
            }
        }
    }

    async fn connect(&mut self) -> News {
        let address = self.client.addresses()[self.order[self.next]].clone();
        // A body, not a query: a watch may name thousands of keys.
        let request = WatchRequest {
            since: self.seen,
            ..self.request.clone()
        };
        let body = match serde_json::to_vec(&request) {
            Ok(body) => Bytes::from(body),
            Err(e) => return self.lost(e.to_string()),
        };
        let opened = timeout(
            OPEN,
            self.client
                .transport()
                .open(&address, &Method::POST, "/v1/watch", &body, &HeaderMap::new()),
        )
        .await;
        let response = match opened {
            Ok(Ok(response)) => response,
            Ok(Err(failure)) => return self.lost(format!("{address}: {}", failure.reason)),
            Err(_) => return self.lost(format!("{address}: no answer within {}", crate::duration::format(OPEN))),
        };
        if response.status() != StatusCode::OK {
            let status = response.status();
            let text = match timeout(OPEN, Limited::new(response.into_body(), REFUSAL).collect()).await {
                Ok(Ok(body)) => String::from_utf8_lossy(&body.to_bytes()).trim().to_owned(),
                _ => String::new(),
            };
            self.back_off();
            return if status.is_client_error() {
                self.pause = PAUSE.1;
                News::Refused { status, text }
            } else {
                News::Lost {
                    reason: format!("{address} answered {status}: {text}"),
                }
            };
        }
        let cluster = response
            .headers()
            .get(header::CLUSTER)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        self.state = State::Open {
            body: response.into_body(),
            parser: Parser::default(),
            ready: [].into(),
            heard: Instant::now(),
        };
        News::Connected { address, cluster }
    }

    /// An event of ours; `None` for one that we do not know.
    fn event(&mut self, event: &SseEvent) -> Option<News> {
        let parsed = match WatchEvent::parse(&event.name, &event.data) {
            Ok(parsed) => parsed?,
            Err(e) => return Some(self.lost(format!("an event that cannot be read: {e}"))),
        };
        (self.pause, self.tried) = (PAUSE.0, 0);
        match &parsed {
            WatchEvent::Snapshot(snapshot) => self.seen = Some(snapshot.revision),
            WatchEvent::Change(change) => self.seen = Some(change.revision),
            WatchEvent::Progress(progress) => self.seen = Some(progress.revision),
            WatchEvent::Compacted(_) => {}
            WatchEvent::End(end) => return Some(self.lost(end.reason.clone())),
        }
        Some(News::Event(parsed))
    }

    fn lost(&mut self, reason: String) -> News {
        self.back_off();
        News::Lost { reason }
    }

    /// On to the next address. There is a pause behind a loss and behind each round; the others of a
    /// round are asked at once.
    fn back_off(&mut self) {
        self.next = (self.next + 1) % self.order.len();
        self.tried += 1;
        let round = self.tried.is_multiple_of(self.order.len());
        let pause = if round || self.tried == 1 {
            self.pause.mul_f64(rand::random_range(0.5..=1.0))
        } else {
            Duration::ZERO
        };
        self.state = State::Waiting(Instant::now() + pause);
        if round {
            self.pause = (self.pause * 2).min(PAUSE.1);
        }
    }
}
