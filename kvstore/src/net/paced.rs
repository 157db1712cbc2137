//! A connection that has to move on: a head that was begun comes to its end, and what is sent is taken.
//!
//! A connection between two requests may be idle for long: clients keep them. One that has begun a head
//! holds memory for it and has [`HEAD`] to complete it. One that takes nothing of what waits to be sent
//! for [`STALL`] is dead, or wants the server to hold that for it; a watcher comes back and goes on where
//! it was. How fast a body has to come is the affair of whoever reads it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use hyper::body::{Body, Frame, SizeHint};
use hyper::service::Service;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock::{self, Sleep};

/// How long a head may take from its first byte on.
const HEAD: Duration = Duration::from_secs(10);

/// How long a client may take nothing of what waits for it.
const STALL: Duration = Duration::from_secs(60);

/// How far a connection is, told by its service to its reading side: the number of requests times two,
/// and one more while the body of the last of them is still to be read.
#[derive(Debug)]
pub(super) struct Progress {
    far: AtomicUsize,
    head: Duration,
    stall: Duration,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            far: AtomicUsize::new(0),
            head: HEAD,
            stall: STALL,
        }
    }
}

impl Progress {
    fn begin(&self, with_body: bool) {
        let requests = self.far.load(Ordering::Relaxed) / 2 + 1;
        self.far.store(requests * 2 + usize::from(with_body), Ordering::Relaxed);
    }

    fn end_of_body(&self) {
        self.far.fetch_and(!1, Ordering::Relaxed);
    }

    fn is_in_body(&self) -> bool {
        self.far.load(Ordering::Relaxed) % 2 == 1
    }

    fn requests(&self) -> usize {
        self.far.load(Ordering::Relaxed) / 2
    }
}

/// See the module.
pub(super) struct Paced<I> {
    io: I,
    progress: Arc<Progress>,
    /// Some of the head after so many requests has come.
    begun: Option<usize>,
    head: Option<Pin<Box<Sleep>>>,
    stall: Option<Pin<Box<Sleep>>>,
}

impl<I> Paced<I> {
    pub(super) const fn new(io: I, progress: Arc<Progress>) -> Self {
        Self {
            io,
            progress,
            begun: None,
            head: None,
            stall: None,
        }
    }

    /// Runs out if a head was begun and nothing more of it comes in time.
    fn wait_for_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.begun.is_none() {
            self.head = None;
            return Poll::Pending;
        }
        run_out(
            &mut self.head,
            self.progress.head,
            cx,
            "the head of a request did not come to its end",
        )
    }

    /// What the socket says to a write; if it takes nothing, only for so long.
    fn written<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        match run_out(
            &mut self.stall,
            self.progress.stall,
            cx,
            "the client takes nothing of its answer",
        ) {
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            _ => Poll::Pending,
        }
    }
}

fn run_out(
    timer: &mut Option<Pin<Box<Sleep>>>,
    time: Duration,
    cx: &mut Context<'_>,
    what: &'static str,
) -> Poll<io::Result<()>> {
    let timer = timer.get_or_insert_with(|| Box::pin(clock::sleep(time)));
    ready!(timer.as_mut().poll(cx));
    Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)))
}

impl<I: AsyncRead + Unpin> AsyncRead for Paced<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.begun.is_some_and(|begun| begun != this.progress.requests()) {
            this.begun = None;
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Pending => this.wait_for_head(cx),
            Poll::Ready(result) => {
                if buf.filled().len() > before && !this.progress.is_in_body() {
                    this.begun = Some(this.progress.requests());
                }
                Poll::Ready(result)
            }
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Paced<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.written(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// What a client sends with a request.
#[derive(Debug)]
pub struct Incoming {
    body: hyper::body::Incoming,
    /// Who is to know when it has been read; nobody if there is none.
    progress: Option<Arc<Progress>>,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(progress) = &self.progress {
            progress.end_of_body();
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A service that tells its connection's reading side how far it is.
pub(super) struct Told<S> {
    pub(super) service: S,
    pub(super) progress: Arc<Progress>,
}

impl<S: Service<Request<Incoming>>> Service<Request<hyper::body::Incoming>> for Told<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: Request<hyper::body::Incoming>) -> S::Future {
        let with_body = !request.body().is_end_stream();
        self.progress.begin(with_body);
        self.service.call(request.map(|body| Incoming {
            body,
            progress: with_body.then(|| Arc::clone(&self.progress)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    fn paced(head_ms: u64, stall_ms: u64) -> (Paced<DuplexStream>, DuplexStream, Arc<Progress>) {
        let (near, far) = duplex(64);
        let progress = Arc::new(Progress {
            head: Duration::from_millis(head_ms),
            stall: Duration::from_millis(stall_ms),
            ..Progress::default()
        });
        (Paced::new(near, Arc::clone(&progress)), far, progress)
    }

    async fn read(paced: &mut Paced<DuplexStream>) -> io::Result<usize> {
        paced.read(&mut [0; 64]).await
    }

    /// Long against the times below.
    const LONG: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn a_head_that_was_begun_has_to_end_and_one_that_was_not_has_time() {
        let (mut paced, mut client, progress) = paced(1, 1);
        assert!(clock::timeout(LONG, read(&mut paced)).await.is_err(), "idle for long");

        client.write_all(b"GET").await.unwrap();
        assert_eq!(read(&mut paced).await.unwrap(), 3);
        assert_eq!(read(&mut paced).await.unwrap_err().kind(), io::ErrorKind::TimedOut);

        progress.begin(false);
        assert!(clock::timeout(LONG, read(&mut paced)).await.is_err(), "idle again");
    }

    #[tokio::test]
    async fn a_body_is_no_head() {
        let (mut paced, mut client, progress) = paced(1, 1);
        client.write_all(b"PUT").await.unwrap();
        read(&mut paced).await.unwrap();
        progress.begin(true);

        client.write_all(b"some of it").await.unwrap();
        read(&mut paced).await.unwrap();
        assert!(clock::timeout(LONG, read(&mut paced)).await.is_err());

        progress.end_of_body();
        client.write_all(b"GET").await.unwrap();
        read(&mut paced).await.unwrap();
        assert!(read(&mut paced).await.is_err(), "the next head");
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_cut_off_and_a_slow_one_is_not() {
        let (mut paced, mut client, _) = paced(1, 50);
        let taking = tokio::spawn(async move {
            for _ in 0..16 {
                clock::sleep(Duration::from_millis(5)).await;
                client.read_exact(&mut [0; 8]).await.unwrap();
            }
            client
        });
        // Twice what the wire holds.
        paced.write_all(&[b'x'; 128]).await.unwrap();
        let _client = taking.await.unwrap();

        let stalled = paced.write_all(&[b'x'; 128]).await.unwrap_err();

        assert_eq!(stalled.kind(), io::ErrorKind::TimedOut);
    }
}
