//! Bodies: what goes out, and how what comes in is read: within a limit, in time, and within what all
//! connections share.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::sync::mpsc;

use super::budget::{Budget, Share};
use super::error::{Error, Kind, Refusal};
use super::flow::{Counted, Flow};
use crate::clock;
use crate::held::Cut;
use crate::node::Node;
use crate::watch::stream::Stream;

/// How long a body may take before its rate counts.
const PATIENCE: Duration = Duration::from_secs(10);

/// And how many bytes a second it has to come to from then on.
const RATE: usize = 16 << 10;

/// What a body may take without being counted.
const SMALL: usize = 4 << 10;

/// An answer from here on is counted until its client has taken it.
const LARGE: usize = 64 << 10;

/// What comes in.
pub struct Incoming {
    body: UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>,
    /// What it is counted in; `None` if there is no body.
    budget: Option<Arc<Budget>>,
}

impl Incoming {
    pub(super) fn new<B>(body: B, budget: &Arc<Budget>) -> Self
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self {
            budget: (!body.is_end_stream()).then(|| Arc::clone(budget)),
            body: body.map_err(Into::into).boxed_unsync(),
        }
    }

    /// The next piece, if it comes by then.
    async fn next_by(&mut self, deadline: clock::Instant) -> Option<Option<Result<Bytes, String>>> {
        loop {
            let frame = match clock::timeout_at(deadline, self.body.frame()).await {
                Err(_) => return None,
                Ok(None) => return Some(None),
                Ok(Some(Err(e))) => return Some(Some(Err(e.to_string()))),
                Ok(Some(Ok(frame))) => frame,
            };
            // Trailers say nothing to us.
            if let Ok(data) = frame.into_data() {
                return Some(Some(Ok(data)));
            }
        }
    }
}

/// What goes out.
pub enum Body {
    /// With a Content-Length.
    Whole(Option<Bytes>),
    /// Without one: in chunks.
    Chunked(Option<Bytes>),
    /// A long list, in chunks that are made when there is room for them.
    List(Box<Flow>),
    /// For as long as somebody listens.
    Watch(Box<(Stream, Node, Share)>),
    /// As somebody else makes it.
    Pieces(mpsc::Receiver<Result<Bytes, Cut>>),
}

impl Body {
    #[must_use]
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let next = match self.get_mut() {
            Self::List(flow) => return Poll::Ready(flow.next_piece().map(|piece| piece.map(Frame::data))),
            Self::Whole(bytes) | Self::Chunked(bytes) => Poll::Ready(bytes.take()),
            Self::Pieces(pieces) => {
                return pieces
                    .poll_recv(cx)
                    .map(|piece| piece.map(|piece| piece.map(Frame::data)));
            }
            Self::Watch(watch) => {
                let (stream, node, _) = &mut **watch;
                return stream
                    .poll_next(cx, node.views())
                    .map(|bytes| bytes.map(|bytes| bytes.map(Frame::data)));
            }
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None) | Self::Chunked(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Chunked(_) | Self::List(_) | Self::Watch(_) | Self::Pieces(_) => SizeHint::default(),
        }
    }
}

/// Hands a body on as it comes, however long it is, until nobody takes it any more.
pub(super) async fn pour(mut body: Incoming, headers: &HeaderMap, taker: &mpsc::Sender<Bytes>) -> Result<(), Error> {
    let started = clock::now();
    let mut length = 0;
    loop {
        let deadline = started + PATIENCE + Duration::from_secs((length / RATE) as u64);
        let Some(next) = body.next_by(deadline).await else {
            return Err(too_slow(length, started, PATIENCE));
        };
        let Some(data) = next else { return Ok(()) };
        let data = data.map_err(|e| Error::bad(format!("the body cannot be read: {e}")).kind(Kind::Close))?;
        length += data.len();
        if taker.send(data).await.is_err() {
            let text = "the body was not taken to its end".to_owned();
            return Err(refused(body, headers, StatusCode::INTERNAL_SERVER_ERROR, text).await);
        }
    }
}

fn too_slow(length: usize, started: clock::Instant, patience: Duration) -> Error {
    let text = format!(
        "the body came too slowly: {length} bytes in {} s; after {} s at least {RATE} a second are expected",
        started.elapsed().as_secs(),
        patience.as_secs()
    );
    Error::new(StatusCode::REQUEST_TIMEOUT, text)
        .kind(Kind::Close)
        .refusal(Refusal::SlowBody)
}

/// Reads a body of at most `limit` bytes. `too_large` says so, given the length if it was said.
pub(super) async fn read(
    body: Incoming,
    headers: &HeaderMap,
    limit: usize,
    too_large: impl FnOnce(Option<u64>) -> String,
) -> Result<Bytes, Error> {
    read_within(PATIENCE, body, headers, limit, too_large).await
}

async fn read_within(
    patience: Duration,
    mut body: Incoming,
    headers: &HeaderMap,
    limit: usize,
    too_large: impl FnOnce(Option<u64>) -> String,
) -> Result<Bytes, Error> {
    let length = body.body.size_hint().exact();
    let mut over = length.is_some_and(|length| length > limit as u64);
    // As large as needed and no larger: a value stays in memory for as long as it is the newest. But
    // what is said to come is believed when some of it has come.
    let expected = length.and_then(|length| usize::try_from(length).ok()).filter(|_| !over);
    let mut bytes = Vec::with_capacity(expected.unwrap_or_default().min(SMALL));
    let mut share: Option<Share> = None;
    let started = clock::now();
    while !over {
        let deadline = started + patience + Duration::from_secs((bytes.len() / RATE) as u64);
        let Some(next) = body.next_by(deadline).await else {
            return Err(too_slow(bytes.len(), started, patience));
        };
        let Some(data) = next else {
            bytes.shrink_to_fit();
            return Ok(bytes.into());
        };
        let data = data.map_err(|e| Error::bad(format!("the body cannot be read: {e}")).kind(Kind::Close))?;
        over = bytes.len() + data.len() > limit;
        if over {
            break;
        }
        if bytes.len() + data.len() > SMALL
            && let Some(budget) = &body.budget
            && !share
                .get_or_insert_with(|| budget.share())
                .grow_to(bytes.len() + data.len())
        {
            let text = format!(
                "too many large bodies are under way ({} MiB in all); try again",
                budget.most() >> 20
            );
            let refused = refused(body, headers, StatusCode::TOO_MANY_REQUESTS, text).await;
            return Err(refused.refusal(Refusal::Bodies));
        }
        if bytes.capacity() - bytes.len() < data.len()
            && let Some(expected) = expected
        {
            bytes.reserve_exact(expected - bytes.len());
        }
        bytes.extend_from_slice(&data);
    }
    drop((bytes, share));
    Err(refused(body, headers, StatusCode::PAYLOAD_TOO_LARGE, too_large(length)).await)
}

/// Refuses a body before its end.
async fn refused(body: Incoming, headers: &HeaderMap, status: StatusCode, text: String) -> Error {
    // A client that waits to be told to go on sends nothing.
    if !headers.contains_key(http::header::EXPECT) {
        drain(body).await;
    }
    Error::new(status, text).kind(Kind::Close)
}

/// Takes what is on its way, within bounds: a connection closed on unread bytes is reset, and the
/// client would not see our answer.
async fn drain(mut body: Incoming) {
    const MOST: usize = 16 << 20;
    const LONGEST: Duration = Duration::from_secs(2);
    let deadline = clock::now() + LONGEST;
    let mut taken = 0;
    // Out of time is as good as done.
    while let Some(Some(Ok(data))) = body.next_by(deadline).await {
        taken += data.len();
        if taken > MOST {
            return;
        }
    }
}

/// A response whose body, if it is large, is counted until the client has taken it. If too much waits for
/// clients already, a list goes out uncompressed, and then the answer is that.
pub(super) fn counted(mut response: Response<Body>, budget: &Arc<Budget>) -> Response<Body> {
    match response.body_mut() {
        Body::List(flow) => match flow.count(budget) {
            Counted::AsItIs => return response,
            Counted::NotCompressed => {
                response.headers_mut().remove(http::header::CONTENT_ENCODING);
                return response;
            }
            Counted::Refused => {}
        },
        Body::Whole(Some(bytes)) | Body::Chunked(Some(bytes)) if bytes.len() >= LARGE => {
            let mut share = budget.share();
            if share.grow_to(bytes.len()) {
                let whole = std::mem::take(bytes);
                *bytes = share.hold(whole);
                return response;
            }
        }
        Body::Whole(_) | Body::Chunked(_) | Body::Watch(_) | Body::Pieces(_) => return response,
    }
    let text = format!(
        "too many large answers wait for clients that do not take them ({} MiB in all); try again",
        budget.most() >> 20
    );
    let mut refusal = Response::new(Body::whole(text));
    *refusal.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    refusal.extensions_mut().insert(Refusal::Answers);
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    refusal.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    if let Some(cluster) = response.headers().get(kvapi::types::header::CLUSTER) {
        refusal
            .headers_mut()
            .insert(kvapi::types::header::CLUSTER, cluster.clone());
    }
    refusal
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Full;

    use super::*;

    fn budget() -> Arc<Budget> {
        Budget::new(100_000)
    }

    async fn read_all(body: Incoming) -> Result<Bytes, Error> {
        read(body, &HeaderMap::new(), 500_000, |_| "too large".into()).await
    }

    #[tokio::test]
    async fn what_is_read_is_counted_while_it_is_read_and_no_longer() {
        let budget = budget();
        let text = Bytes::from(vec![b'x'; 100_000]);

        let read = read_all(Incoming::new(Full::new(text.clone()), &budget)).await.unwrap();

        assert_eq!(read, text);
        assert_eq!(budget.taken(), 0);
        let refused = read_all(Incoming::new(Full::new(vec![0; 100_001].into()), &budget)).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert!(refused.text.contains("large bodies"), "{}", refused.text);
        assert_eq!(budget.taken(), 0);
        let mut rest = budget.share();
        assert!(rest.grow_to(100_000));
        let small = Bytes::from(vec![b'x'; SMALL]);
        assert_eq!(
            read_all(Incoming::new(Full::new(small.clone()), &budget))
                .await
                .unwrap(),
            small
        );
    }

    #[tokio::test]
    async fn a_body_that_stops_coming_is_given_up() {
        struct Never;
        impl hyper::body::Body for Never {
            type Data = Bytes;
            type Error = Infallible;
            fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
                Poll::Pending
            }
        }

        let body = Incoming::new(Never, &budget());
        let refused = read_within(Duration::ZERO, body, &HeaderMap::new(), 9, |_| "too large".into()).await;
        let refused = refused.unwrap_err();

        assert_eq!(refused.status, StatusCode::REQUEST_TIMEOUT);
        assert!(refused.text.contains("0 bytes in 0 s"), "{}", refused.text);
    }

    #[tokio::test]
    async fn a_large_answer_is_counted_until_it_is_taken_and_refused_if_too_much_waits() {
        let budget = budget();
        let answer = || counted(Response::new(Body::whole(vec![b'x'; LARGE])), &budget);

        let first = answer();
        let second = answer();

        assert_eq!(
            (first.status(), second.status()),
            (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE)
        );
        let taken = first.into_body().collect().await.unwrap().to_bytes();
        assert_eq!((taken.len(), budget.taken()), (LARGE, LARGE));
        drop(taken);
        assert_eq!(budget.taken(), 0);
        assert_eq!(answer().status(), StatusCode::OK);
        let small = counted(Response::new(Body::whole("x")), &budget);
        assert_eq!(small.status(), StatusCode::OK);
    }
}
