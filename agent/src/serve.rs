//! The status socket: who may open its file may ask how the agent is.
//!
//! The loop itself answers, so an agent that hangs is not said to live. A client costs nothing but
//! its own connection: there are few at a time, each asks once, and none may be slow.

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kvapi::Problem;
use kvapi::problem::exit;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
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

/// See the module. Its file goes with it.
#[derive(Debug)]
pub struct Door {
    asks: mpsc::Receiver<Ask>,
    path: PathBuf,
    _task: AbortOnDropHandle<()>,
}

impl Door {
    /// Listens. A socket that a dead agent left is replaced, one in use is refused.
    pub fn open(path: &Path) -> Result<Self, Problem> {
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
        let (sender, asks) = mpsc::channel(CONNECTIONS);
        Ok(Self {
            asks,
            path: path.to_owned(),
            _task: AbortOnDropHandle::new(tokio::spawn(accept(listener, sender))),
        })
    }

    /// The next question. Cancel-safe.
    pub async fn next(&mut self) -> Option<Ask> {
        self.asks.recv().await
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // It may have been removed by hand.
        let _ = fs::remove_file(&self.path);
    }
}

async fn accept(listener: UnixListener, asks: mpsc::Sender<Ask>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "the status socket takes no connection");
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
            let _ = timeout(ALL, serve(stream, asks)).await;
            drop(place);
        });
    }
}

async fn serve(stream: UnixStream, asks: mpsc::Sender<Ask>) {
    let service = service_fn(move |request| {
        let asks = asks.clone();
        async move { Ok::<_, Infallible>(answer(&request, &asks).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .keep_alive(false)
        .max_buf_size(8192)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a client of the status socket is gone");
    }
}

async fn answer(request: &Request<Incoming>, asks: &mpsc::Sender<Ask>) -> Response<Full<Bytes>> {
    let (status, kind, text) = asked(request, asks).await;
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

async fn asked(request: &Request<Incoming>, asks: &mpsc::Sender<Ask>) -> Answer {
    let plain = |status, text: &str| (status, "text/plain; charset=utf-8", format!("{text}\n"));
    if request.headers().contains_key(header::ORIGIN) {
        return plain(StatusCode::FORBIDDEN, "requests from web pages are refused");
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
