//! Answers: what a handler gives back, and how it goes out: headers, compression, length.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use kvapi::Revision;
use kvapi::types::header;
use serde::Serialize;
use tokio::sync::mpsc;

use super::body::Body;
use super::budget::Share;
use super::error::{Error, Kind, Refusal};
use super::flow::Flow;
use super::json;
use crate::held::Cut;
use crate::node::Node;
use crate::watch::stream::Stream;

/// A body from here on is compressed, if the client asks for it.
const GZIP_FROM: usize = 1400;

/// JSON longer than this goes out in chunks.
const CHUNKED_FROM: usize = 2048;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What a handler answers.
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    content: Content,
    refusal: Option<Refusal>,
}

enum Content {
    Plain(Bytes),
    Json(Vec<u8>),
    List(Box<Flow>),
    Watch(Box<(Stream, Node, Share)>),
    Pieces(mpsc::Receiver<Result<Bytes, Cut>>),
}

impl Answer {
    fn new(status: StatusCode, content: Content) -> Self {
        Self {
            status,
            // As many as a read of Consul's has, so that the map never grows.
            headers: HeaderMap::with_capacity(12),
            content,
            refusal: None,
        }
    }

    /// A status and nothing else.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self::new(status, Content::Plain(Bytes::new()))
    }

    /// A text for people.
    pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self::new(status, Content::Plain(text.into())).with(CONTENT_TYPE, TEXT)
    }

    pub(super) fn json(value: &impl Serialize, pretty: bool) -> Self {
        Self::json_text(json::write(value, pretty))
    }

    /// What is JSON already.
    pub(super) fn json_text(text: Vec<u8>) -> Self {
        Self::new(StatusCode::OK, Content::Json(text)).with(CONTENT_TYPE, JSON)
    }

    /// A long list, in pieces.
    pub(super) fn list(flow: Flow) -> Self {
        Self::new(StatusCode::OK, Content::List(Box::new(flow))).with(CONTENT_TYPE, JSON)
    }

    /// A value as it is. A browser is not to take it for a page.
    pub(super) fn raw(value: Bytes) -> Self {
        Self::text(StatusCode::OK, value)
            .with(
                http::header::X_CONTENT_TYPE_OPTIONS,
                HeaderValue::from_static("nosniff"),
            )
            .with(
                http::header::CONTENT_SECURITY_POLICY,
                HeaderValue::from_static("sandbox"),
            )
    }

    /// Events for as long as the client listens; so long it holds its share of what may be watched.
    pub(super) fn watch(stream: Stream, node: Node, share: Share) -> Self {
        Self::new(StatusCode::OK, Content::Watch(Box::new((stream, node, share))))
            .with(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))
            .with(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
            // Proxies such as nginx would collect events until a buffer is full.
            .with(
                HeaderName::from_static("x-accel-buffering"),
                HeaderValue::from_static("no"),
            )
    }

    /// What somebody else makes, as it comes.
    pub(super) fn pieces(pieces: mpsc::Receiver<Result<Bytes, Cut>>) -> Self {
        Self::new(StatusCode::OK, Content::Pieces(pieces))
    }

    /// `OPTIONS`: the methods.
    pub(super) fn options(allow: &'static str) -> Self {
        Self::empty(StatusCode::OK)
            .with(
                CONTENT_TYPE,
                HeaderValue::from_static("application/json; charset=utf-8"),
            )
            .with(http::header::ALLOW, HeaderValue::from_static(allow))
    }

    #[must_use]
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    #[must_use]
    pub(super) fn with_number(self, name: &'static str, number: u64) -> Self {
        self.with(HeaderName::from_static(name), number.into())
    }

    /// The status in place of 200.
    #[must_use]
    pub(super) fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The revision that a write took.
    #[must_use]
    pub(super) fn revision(self, revision: Revision) -> Self {
        self.with_number(header::REVISION, revision.0)
    }

    /// Whether a page of a list has more behind it.
    #[must_use]
    pub(super) fn more(self, more: bool) -> Self {
        if !more {
            return self;
        }
        self.with(HeaderName::from_static(header::MORE), HeaderValue::from_static("true"))
    }

    /// What Consul says with every read: how fresh it is.
    #[must_use]
    pub(super) fn freshness(self, freshness: Freshness) -> Self {
        let known = if freshness.known_leader { "true" } else { "false" };
        self.with_number(header::LAST_CONTACT, freshness.last_contact_ms).with(
            HeaderName::from_static(header::KNOWN_LEADER),
            HeaderValue::from_static(known),
        )
    }

    /// What Consul says with every read of the KV. An index is never 0: clients take that for
    /// "do not block".
    #[must_use]
    pub(super) fn kv_meta(self, index: Revision, freshness: Freshness) -> Self {
        let backend = HeaderName::from_static("x-consul-query-backend");
        self.freshness(freshness)
            .with_number(header::INDEX, index.0.max(1))
            .with(backend, HeaderValue::from_static("blocking-query"))
    }

    /// What every answer of Consul's own API carries.
    #[must_use]
    pub(super) fn consul(self) -> Self {
        let policy = HeaderName::from_static("x-consul-default-acl-policy");
        self.with(policy, HeaderValue::from_static("allow"))
            .with(VARY, HeaderValue::from_static("Accept-Encoding"))
    }

    /// The response; with `gzip`, what is long goes out compressed.
    pub(super) fn into_response(self, gzip: bool, cluster: &HeaderValue) -> Response<Body> {
        let Self {
            status,
            mut headers,
            content,
            refusal,
        } = self;
        headers.insert(HeaderName::from_static(header::CLUSTER), cluster.clone());
        // Only what says that it varies may be different for those who take gzip.
        let packs = |length| gzip && length >= GZIP_FROM && headers.contains_key(VARY);
        let body = match content {
            Content::Watch(watch) => Body::Watch(watch),
            Content::Pieces(pieces) => Body::Pieces(pieces),
            Content::List(mut flow) => {
                if packs(usize::MAX) {
                    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                    flow.compress();
                }
                Body::List(flow)
            }
            Content::Plain(bytes) if packs(bytes.len()) => compressed(&bytes, &mut headers),
            Content::Json(bytes) if packs(bytes.len()) => compressed(&bytes, &mut headers),
            Content::Plain(bytes) => Body::whole(bytes),
            Content::Json(bytes) if bytes.len() > CHUNKED_FROM => Body::Chunked(Some(bytes.into())),
            Content::Json(bytes) => Body::whole(bytes),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        if let Some(refusal) = refusal {
            response.extensions_mut().insert(refusal);
        }
        response
    }
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        let text: Bytes = match error.text {
            std::borrow::Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            std::borrow::Cow::Owned(text) => text.into(),
        };
        let mut answer = Self::text(error.status, text);
        answer.refusal = error.refusal;
        match error.kind {
            Kind::Plain => answer,
            Kind::Unknown => answer.with(
                HeaderName::from_static(header::OUTCOME),
                HeaderValue::from_static("unknown"),
            ),
            Kind::Close => answer.with(CONNECTION, HeaderValue::from_static("close")),
            Kind::Bare => Self::empty(error.status),
            Kind::Oldest(revision) => answer.with_number(header::OLDEST, revision.0),
            Kind::Ended { done, revision } => answer.revision(revision).with(
                HeaderName::from_static(header::OUTCOME),
                HeaderValue::from_static(if done { "done" } else { "failed" }),
            ),
            Kind::Allow(methods) => answer.with(http::header::ALLOW, HeaderValue::from_static(methods)),
        }
    }
}

/// How fresh a read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Freshness {
    pub(super) known_leader: bool,
    pub(super) last_contact_ms: u64,
}

impl Freshness {
    /// Of a linearizable read: the leader itself said so.
    pub(super) const NOW: Self = Self {
        known_leader: true,
        last_contact_ms: 0,
    };

    /// Of a read that never came to a state.
    pub(super) const NONE: Self = Self {
        known_leader: false,
        last_contact_ms: 0,
    };

    /// What a server has, as it is.
    pub(super) fn of(node: &Node) -> Self {
        let (leader, last_contact_ms) = node.contact();
        Self {
            known_leader: leader.is_some(),
            last_contact_ms,
        }
    }
}

fn compressed(bytes: &[u8], headers: &mut HeaderMap) -> Body {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    let packed = encoder.write_all(bytes).and_then(|()| encoder.finish());
    Body::whole(packed.expect("a Vec takes all bytes"))
}

/// Whether a client asks for compressed answers.
pub(super) fn takes_gzip(asked: &HeaderMap) -> bool {
    let parts = asked
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    parts.flat_map(|text| text.split(',')).any(|part| {
        let (name, weight) = part.split_once(';').unwrap_or((part, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use hyper::body::Body as _;

    use super::*;

    fn response(answer: Answer, encoding: &'static str) -> Response<Body> {
        let asked = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(encoding))]);
        answer.into_response(takes_gzip(&asked), &HeaderValue::from_static("c"))
    }

    #[test]
    fn large_bodies_are_compressed_for_those_who_ask() {
        let raw = |length| Answer::raw(vec![b'x'; length].into()).consul();
        for (length, encoding, packed) in [
            (1400, "gzip", true),
            (1400, "br, GZIP;q=0.5", true),
            (1400, "gzip;q=0", false),
            (1400, "identity", false),
            (1399, "gzip", false),
        ] {
            let response = response(raw(length), encoding);
            assert_eq!(
                response.headers().contains_key(CONTENT_ENCODING),
                packed,
                "{length} {encoding}"
            );
        }
    }

    #[test]
    fn long_json_goes_out_in_chunks_and_a_value_never() {
        let exact = |answer| response(answer, "").body().size_hint().exact();
        let text = "x".repeat(CHUNKED_FROM);
        assert_eq!(exact(Answer::json(&text, false)), None);
        assert_eq!(exact(Answer::json(&&text[4..], false)), Some(2046));
        assert_eq!(exact(Answer::raw(text.into())), Some(2048));
    }

    #[test]
    fn an_index_is_never_nought() {
        let response = response(
            Answer::empty(StatusCode::NOT_FOUND).kv_meta(Revision(0), Freshness::NOW),
            "",
        );
        assert_eq!(response.headers()[header::INDEX], "1");
    }
}
