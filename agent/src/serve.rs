//! The doors at which is asked how the agent is: a unix socket, for whoever may open its file, and if
//! one was named an address.
//!
//! The loop itself answers, so an agent that hangs is not said to live. A client costs nothing but
//! its own connection: there are few at a time, each asks once, and none may be slow. No web page can
//! ask: not with its origin, and on this machine not by a name of its own.

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kvapi::Problem;
use kvapi::problem::exit;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::either::Either;
use tokio_util::task::AbortOnDropHandle;

/// Connections at a time; one more is closed at once.
const CONNECTIONS: usize = 16;

/// How long a client may take to ask, and how long it may take in all.
const HEAD: Duration = Duration::from_secs(2);
const ALL: Duration = Duration::from_secs(10);

/// How long the loop may take to answer and still be said to live.
const LOOP: Duration = Duration::from_secs(2);

/// The longest path of a unix socket, in bytes: the system's limit without the NUL behind it.
const LONGEST: usize = 107;

/// What somebody wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// The status document.
    Status,
    /// The metrics.
    Metrics,
    /// Whether the loop goes round.
    Live,
    /// Whether the first set is in place and the program runs.
    Ready,
    /// The status document, as long as a report may be.
    Report,
}

/// An answer: status, kind of text, text.
pub type Answer = (StatusCode, &'static str, String);

/// A question to the loop.
#[derive(Debug)]
pub struct Ask {
    /// What.
    pub want: Want,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Answer>,
}

/// Where questions come from.
pub type Asks = mpsc::Sender<Ask>;

/// Questions on their way to the loop.
#[must_use]
pub fn asks() -> (Asks, mpsc::Receiver<Ask>) {
    mpsc::channel(CONNECTIONS)
}

/// See the module. Its file goes with it.
#[derive(Debug)]
pub struct Door {
    path: Option<PathBuf>,
    _task: AbortOnDropHandle<()>,
}

/// What is listened to.
#[derive(Debug)]
enum Listener {
    Unix(UnixListener),
    /// The address is on this machine, if it is.
    Tcp(TcpListener, bool),
}

impl Door {
    /// Listens at an address; returns it too, for a port may be chosen by the system.
    pub fn listen(address: SocketAddr, asks: Asks) -> Result<(Self, SocketAddr), Problem> {
        let failed = |error: io::Error| {
            Problem::new(exit::AGENT, format!("cannot listen on {address}: {error}"))
                .help("name another address with --listen; port 0 is one that is free")
        };
        let bound = std::net::TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        });
        let listener = bound.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let listener = Listener::Tcp(listener, address.ip().to_canonical().is_loopback());
        Ok((Self::of(listener, None, asks), address))
    }

    fn of(listener: Listener, path: Option<PathBuf>, asks: Asks) -> Self {
        Self {
            path,
            _task: AbortOnDropHandle::new(tokio::spawn(accept(listener, asks))),
        }
    }

    /// Listens at a path. A socket that a dead agent left is replaced, one in use is refused.
    pub fn open(path: &Path, asks: Asks) -> Result<Self, Problem> {
        let failed = |told: String, help: &str| {
            let told = format!("cannot listen on {}: {told}", path.display());
            Problem::new(exit::AGENT, told).help(help)
        };
        let length = path.as_os_str().len();
        if length > LONGEST {
            let told = format!("the path is {length} bytes long, and the system takes at most {LONGEST}");
            return Err(failed(told, "name a shorter one with --status"));
        }
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error.to_string(), "name another path with --status")),
            Ok(file) if !file.file_type().is_socket() => {
                return Err(failed(
                    "there is a file that is no socket".to_owned(),
                    "remove it, or name another path with --status",
                ));
            }
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
                return Err(failed(
                    "another program does".to_owned(),
                    "name another path with --status",
                ));
            }
            Ok(_) => fs::remove_file(path).map_err(|error| failed(error.to_string(), "remove it"))?,
        }
        let bound = UnixListener::bind(path).and_then(|listener| {
            fs::set_permissions(path, Permissions::from_mode(0o600))?;
            Ok(listener)
        });
        let listener =
            bound.map_err(|error| failed(error.to_string(), "make its folder, or name another path with --status"))?;
        Ok(Self::of(Listener::Unix(listener), Some(path.to_owned()), asks))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // It may have been removed by hand.
            let _ = fs::remove_file(path);
        }
    }
}

async fn accept(listener: Listener, asks: Asks) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let guarded = matches!(listener, Listener::Tcp(_, true));
    loop {
        let stream = match &listener {
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| Either::Left(stream)),
            Listener::Tcp(listener, _) => listener.accept().await.map(|(stream, _)| Either::Right(stream)),
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%error, "no connection is taken by those who ask how the agent is");
                // Too many open files, most likely.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let asks = asks.clone();
        tokio::spawn(async move {
            let _ = timeout(ALL, serve(stream, asks, guarded)).await;
            drop(place);
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, asks: Asks, guarded: bool) {
    let service = service_fn(move |request| {
        let asks = asks.clone();
        async move { Ok::<_, Infallible>(answer(&request, &asks, guarded).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .keep_alive(false)
        .max_buf_size(8192)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "who asked how the agent is has gone");
    }
}

async fn answer(request: &Request<Incoming>, asks: &Asks, guarded: bool) -> Response<Full<Bytes>> {
    let (status, kind, text) = asked(request, asks, guarded).await;
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

/// Whether a request names its host as a page that was given our address by a name of its own would.
fn is_of_a_page(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    let name = name.unwrap_or_default();
    !name.eq_ignore_ascii_case("localhost") && name.parse::<IpAddr>().is_err()
}

async fn asked(request: &Request<Incoming>, asks: &Asks, guarded: bool) -> Answer {
    let plain = |status, text: &str| (status, "text/plain; charset=utf-8", format!("{text}\n"));
    if request.headers().contains_key(header::ORIGIN) {
        return plain(StatusCode::FORBIDDEN, "requests from web pages are refused");
    }
    if guarded && is_of_a_page(request.headers()) {
        return plain(StatusCode::FORBIDDEN, "ask for localhost or an address");
    }
    let want = match request.uri().path() {
        "/status" => Want::Status,
        "/metrics" => Want::Metrics,
        "/livez" => Want::Live,
        "/readyz" => Want::Ready,
        _ => return plain(StatusCode::NOT_FOUND, "there are /status, /metrics, /livez and /readyz"),
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "ask with GET");
    }
    let (reply, answer) = oneshot::channel();
    let told = timeout(LOOP, async {
        asks.send(Ask { want, reply }).await.ok()?;
        answer.await.ok()
    });
    match told.await {
        Ok(Some(answer)) => answer,
        Ok(None) | Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "the agent does not answer"),
    }
}
