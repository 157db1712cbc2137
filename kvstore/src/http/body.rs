//! Bodies: what goes out, and how what comes in is read within a limit.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body as _, Frame, SizeHint};

use super::error::{Error, Kind};
use crate::clock;
use crate::node::Node;
use crate::watch::stream::Stream;

/// What comes in.
pub type Incoming = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// What goes out.
pub enum Body {
    /// With a Content-Length.
    Whole(Option<Bytes>),
    /// Without one: in chunks.
    Chunked(Option<Bytes>),
    /// For as long as somebody listens.
    Watch(Box<(Stream, Node)>),
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
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Self::Whole(bytes) | Self::Chunked(bytes) => Poll::Ready(bytes.take()),
            Self::Watch(watch) => {
                let (stream, node) = &mut **watch;
                stream.poll_next(cx, || node.view())
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
            Self::Chunked(_) | Self::Watch(_) => SizeHint::default(),
        }
    }
}

/// Reads a body of at most `limit` bytes. `too_large` says so, given the length if it was said.
pub(super) async fn read(
    mut body: Incoming,
    headers: &HeaderMap,
    limit: usize,
    too_large: impl FnOnce(Option<u64>) -> String,
) -> Result<Bytes, Error> {
    let length = body.size_hint().exact();
    let mut over = length.is_some_and(|length| length > limit as u64);
    // As large as needed and no larger: a value stays in memory for as long as it is the newest.
    let expected = length.and_then(|length| usize::try_from(length).ok()).filter(|_| !over);
    let mut bytes = Vec::with_capacity(expected.unwrap_or_default());
    while !over {
        let Some(frame) = body.frame().await else {
            bytes.shrink_to_fit();
            return Ok(bytes.into());
        };
        let frame = frame.map_err(|e| Error::bad(format!("the body cannot be read: {e}")).kind(Kind::Close))?;
        if let Ok(data) = frame.into_data() {
            over = bytes.len() + data.len() > limit;
            bytes.extend_from_slice(&data);
        }
    }
    drop(bytes);
    // A client that waits to be told to go on sends nothing.
    if !headers.contains_key(http::header::EXPECT) {
        drain(body).await;
    }
    Err(Error::new(http::StatusCode::PAYLOAD_TOO_LARGE, too_large(length)).kind(Kind::Close))
}

/// Takes what is on its way, within bounds: a connection closed on unread bytes is reset, and the
/// client would not see our answer.
async fn drain(mut body: Incoming) {
    const MOST: usize = 16 << 20;
    const LONGEST: Duration = Duration::from_secs(2);
    let all = async {
        let mut taken = 0;
        while let Some(Ok(frame)) = body.frame().await {
            taken += frame.data_ref().map_or(0, Bytes::len);
            if taken > MOST {
                return;
            }
        }
    };
    // Out of time is as good as done.
    let _ = clock::timeout(LONGEST, all).await;
}
