//! `/v2/events`, and other answers that go on.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::answer::{Answer, Refused, text};
use super::server::Asked;
use crate::event::Event;

/// Something is sent at least this often: proxies and clients give up silent connections, and slow ones.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(5);
pub(super) const COMMENT: &str = ": nothing new, still here\r\n\r\n";

/// Marathon's events.
pub(super) fn events(asked: &Asked, headers: &HeaderMap) -> Answer {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !accept.contains("text/event-stream") {
        return Err(Refused::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "events are told to those who accept text/event-stream",
        ));
    }
    let kinds: BTreeSet<String> = asked.query.all("event_type").map(str::to_owned).collect();
    let light = asked.query.get("plan-format") == Some("light");
    let mut listener = asked.hub.listen();
    let (send, out) = mpsc::channel(16);
    let attached = Event::stream("event_stream_attached", asked.now, &asked.remote);
    tokio::spawn(async move {
        let wants = |event: &Event| kinds.is_empty() || kinds.contains(event.kind);
        let mut next = Some(std::sync::Arc::new(attached));
        loop {
            let frame = match &next {
                Some(event) if wants(event) => frame(event.kind, &event.json(light)),
                Some(_) => String::new(),
                None => COMMENT.to_owned(),
            };
            if !frame.is_empty() && send.send(Bytes::from(frame)).await.is_err() {
                return;
            }
            next = match timeout(KEEP_ALIVE, listener.next()).await {
                Ok(Some(event)) => Some(event),
                Ok(None) => return,
                Err(_) => None,
            };
        }
    });
    Ok(stream(out))
}

/// One event on the wire.
pub(super) fn frame(kind: &str, json: &str) -> String {
    format!("event: {kind}\r\ndata: {json}\r\n\r\n")
}

/// An answer of server-sent events.
pub(super) fn stream(out: mpsc::Receiver<Bytes>) -> Response {
    let mut response = text(StatusCode::OK, "text/event-stream", Body::from_stream(bytes_of(out)));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// What comes, piece by piece.
pub(super) fn bytes_of(out: mpsc::Receiver<Bytes>) -> impl Stream<Item = Result<Bytes, Infallible>> {
    futures_util::stream::unfold(out, async |mut out| out.recv().await.map(|bytes| (Ok(bytes), out)))
}
