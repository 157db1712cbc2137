//! The network: one of the four seams to the world. Nothing else in this crate listens.
//!
//! Our own accept loop on hyper: connections without Nagle's delay, with small buffers (half of
//! what a general server takes for an idle connection), headers in the case that Consul writes.
//! [`serve`] ends in order: it takes no more, lets every connection finish its request, and
//! returns when all are gone.

mod listener;
mod paced;
mod places;

use std::borrow::Borrow;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Body;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;
use listener::Connection;
pub use listener::{BindError, Listener, Stream, client, dial};
pub use paced::Incoming;
use paced::{Paced, Progress, Told};
pub use places::{MAX_CONNECTIONS, MAX_PER_CLIENT, NoPlace, Place, Places};

/// Files that are left for the store.
const OTHER_FILES: usize = 512;

/// The longest head of a request. Room for a key of the greatest length, percent-encoded.
pub const MAX_HEAD_BYTES: usize = 64 << 10;

/// How long a connection may be without a request: longer than clients keep an idle one, so that
/// they are the ones to close it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// Connections without a place that are told so at a time. Further ones are just closed.
const REFUSALS: usize = 64;

/// How long somebody who is refused may take to hear it.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// What is known of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Our end of it; `None` for a unix socket.
    pub local: Option<SocketAddr>,
}

/// Accepts and serves until `stopping`, then until every request under way has its answer.
/// `close` cuts what is left. A listener that is only lent goes on taking connections, which wait. `service_for` is asked once for each connection that gets a place.
pub async fn serve<S, B>(
    listener: impl Borrow<Listener>,
    service_for: impl Fn(&Peer) -> S,
    places: Arc<Places>,
    stopping: CancellationToken,
    close: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            accepted = accept_from(listener.borrow()) => accepted,
        };
        let Some(connection) = accepted else { continue };
        let place = match places.take(connection.client()) {
            Ok(place) => place,
            Err(reason) => {
                if let Ok(turn) = Arc::clone(&refusals).try_acquire_owned() {
                    tokio::spawn(async move {
                        refuse(connection, reason).await;
                        drop(turn);
                    });
                }
                continue;
            }
        };
        let (stopping, close) = (stopping.clone(), close.clone());
        match connection {
            Connection::Tcp(stream, _) => {
                let service = service_for(&Peer {
                    local: stream.local_addr().ok(),
                });
                connections.spawn(async move {
                    converse(stream, service, &place, stopping, close).await;
                });
            }
            Connection::Unix(stream) => {
                let service = service_for(&Peer { local: None });
                connections.spawn(async move {
                    converse(stream, service, &place, stopping, close).await;
                });
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// As many connections as leave the store its files: a server without them could not even write its
/// log. The usual limit of 1,024 open files is raised as far as the process may.
#[must_use]
pub fn max_connections() -> usize {
    let wanted = (MAX_CONNECTIONS + OTHER_FILES) as u64;
    let (mut files, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((0, 0));
    let raised = wanted.min(most);
    if raised > files && setrlimit(Resource::RLIMIT_NOFILE, raised, most).is_ok() {
        files = raised;
    }
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    files.saturating_sub(OTHER_FILES).clamp(64, MAX_CONNECTIONS)
}

/// The next connection.
async fn accept_from(listener: &Listener) -> Option<Connection> {
    match listener.accept().await {
        Ok(connection) => Some(connection),
        Err(e) => {
            // Out of file descriptors, or a client that has gone again: others will come.
            tracing::warn!("cannot accept a connection on {}: {e}", listener.address());
            clock::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// Tells a client why it gets no place, and lets go.
async fn refuse(connection: Connection, reason: NoPlace) {
    let told = async {
        match connection {
            Connection::Tcp(stream, _) => tell(stream, reason).await,
            Connection::Unix(stream) => tell(stream, reason).await,
        }
    };
    // Who does not listen need not hear it.
    let _ = clock::timeout(REFUSAL_TIMEOUT, told).await;
}

async fn tell(mut stream: impl AsyncRead + AsyncWrite + Unpin, reason: NoPlace) -> io::Result<()> {
    stream.write_all(reason.response().as_bytes()).await?;
    hear_out(&mut stream).await
}

/// Ends our side and reads the other to its end: a connection closed on unread bytes is reset, and the
/// client would not see its answer.
async fn hear_out(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    stream.shutdown().await?;
    while stream.read(&mut [0; 4096]).await? > 0 {}
    Ok(())
}

/// Serves one connection to its end.
async fn converse<I, S, B>(mut io: I, service: S, place: &Place, stopping: CancellationToken, close: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes> + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    // How a connection ends is the client's affair: its own side tells it. But one whose request could
    // not be read has an answer on its way, and has perhaps not sent all of the request.
    if exchange(&mut io, service, stopping, close)
        .await
        .is_err_and(|e| e.is_parse())
    {
        place.refuse_head();
        // Boxed, since its buffer would be a part of every connection.
        let _ = clock::timeout(REFUSAL_TIMEOUT, Box::pin(hear_out(&mut io))).await;
    }
}

async fn exchange<I, S, B>(
    io: I,
    service: S,
    stopping: CancellationToken,
    close: CancellationToken,
) -> Result<(), hyper::Error>
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes> + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    let progress = Arc::new(Progress::default());
    let io = TokioIo::new(Paced::new(io, Arc::clone(&progress)));
    let service = Told { service, progress };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .title_case_headers(true)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        () = close.cancelled() => return Ok(()),
        ended = connection.as_mut() => return ended,
        () = stopping.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        biased;
        () = close.cancelled() => Ok(()),
        ended = connection => ended,
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use hyper::service::service_fn;
    use kvapi::Address;
    use tokio::net::TcpStream;

    use super::*;

    fn places() -> Arc<Places> {
        Places::new(64, None)
    }

    async fn local() -> Listener {
        Listener::bind(&Address::Tcp("127.0.0.1:0".into())).await.unwrap()
    }

    fn authority(listener: &Listener) -> String {
        match listener.address() {
            Address::Tcp(authority) => authority.clone(),
            Address::Unix(path) => panic!("{}", path.display()),
        }
    }

    #[tokio::test]
    async fn a_stop_waits_for_the_request_under_way_and_not_for_idle_connections() {
        let listener = local().await;
        let authority = authority(&listener);
        let (stopping, close) = (CancellationToken::new(), CancellationToken::new());
        let asked = Arc::new(tokio::sync::Notify::new());
        let go = CancellationToken::new();
        let service = {
            let (asked, go) = (Arc::clone(&asked), go.clone());
            move |_: &Peer| {
                let (asked, go) = (Arc::clone(&asked), go.clone());
                service_fn(move |_| {
                    let (asked, go) = (Arc::clone(&asked), go.clone());
                    async move {
                        asked.notify_one();
                        go.cancelled().await;
                        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done"))))
                    }
                })
            }
        };
        let server = tokio::spawn(serve(listener, service, places(), stopping.clone(), close));
        let _idle = TcpStream::connect(&authority).await.unwrap();
        let mut busy = TcpStream::connect(&authority).await.unwrap();
        busy.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        asked.notified().await;

        stopping.cancel();
        go.cancel();

        let mut answer = String::new();
        busy.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.contains("Content-Length: 4") && answer.ends_with("done"),
            "{answer}"
        );
        server.await.unwrap();
    }

    #[tokio::test]
    async fn what_will_not_end_is_cut_when_asked() {
        let listener = local().await;
        let authority = authority(&listener);
        let (stopping, close) = (CancellationToken::new(), CancellationToken::new());
        let asked = Arc::new(tokio::sync::Notify::new());
        let service = {
            let asked = Arc::clone(&asked);
            move |_: &Peer| {
                let asked = Arc::clone(&asked);
                service_fn(move |_| {
                    asked.notify_one();
                    std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
                })
            }
        };
        let server = tokio::spawn(serve(listener, service, places(), stopping.clone(), close.clone()));
        let mut client = TcpStream::connect(&authority).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        asked.notified().await;

        stopping.cancel();
        close.cancel();

        server.await.unwrap();
    }
}
