//! One raw HTTP connection: no pool, no retries, no delay, so that a figure is the server's.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use kvapi::connect::dial;
use kvapi::problem::exit;
use kvapi::{Address, Problem};
use tokio::net::{TcpStream, UnixStream};

/// See the module. Dropping it closes the connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    /// Sent with every request.
    headers: HeaderMap,
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The answer as the failure that it is.
    pub(crate) fn refused(&self) -> Problem {
        let text = String::from_utf8_lossy(&self.body).trim().to_owned();
        let status = self.status;
        kvapi::Error::Refused { status, text }.into()
    }
}

impl Connection {
    pub(crate) async fn open(address: &Address) -> Result<Self, Problem> {
        let failed = |e: &dyn std::fmt::Display| Problem::new(exit::UNAVAILABLE, format!("connect to {address}: {e}"));
        let (sender, host) = match address {
            Address::Tcp(authority) => {
                let stream = tcp(authority).await.map_err(|e| failed(&e))?;
                (shake(stream).await.map_err(|e| failed(&e))?, authority.clone())
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|e| failed(&e))?;
                (shake(stream).await.map_err(|e| failed(&e))?, "localhost".to_owned())
            }
        };
        Ok(Self::with(sender, host))
    }

    /// Over a stream that is open.
    pub(crate) async fn over<S>(stream: S, host: String) -> hyper::Result<Self>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        Ok(Self::with(shake(stream).await?, host))
    }

    fn with(sender: SendRequest<Full<Bytes>>, host: String) -> Self {
        let headers = HeaderMap::new();
        Self { sender, host, headers }
    }

    /// Whether it could carry another request.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends a header with every request from now on.
    pub(crate) fn always_send(&mut self, name: &'static str, value: &str) -> Result<(), Problem> {
        let value = value
            .parse()
            .map_err(|_| Problem::new(exit::USAGE, format!("the header {name} cannot carry this value")))?;
        self.headers.insert(name, value);
        Ok(())
    }

    /// The head of an answer; its body comes as it is read.
    pub(crate) async fn begin(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Problem> {
        let request = self.request(method, path, body)?;
        self.send(request).await.map_err(|e| self.broke_off(&e))
    }

    /// A request as this connection sends it.
    pub(crate) fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Problem> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, &self.host)
            .body(Full::new(body))
            .map_err(|e| Problem::new(exit::BUG, format!("make a request for {path}: {e}")))?;
        request.headers_mut().extend(self.headers.clone());
        Ok(request)
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        // The connection may still be putting the last answer away.
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    /// The whole answer to a request; what went wrong is hyper's own error.
    pub(crate) async fn exchange(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
        let (head, body) = self.send(request).await?.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    /// A whole answer.
    pub(crate) async fn ask(&mut self, method: Method, path: &str, body: Bytes) -> Result<Answer, Problem> {
        let request = self.request(method, path, body)?;
        self.exchange(request).await.map_err(|e| self.broke_off(&e))
    }

    fn broke_off(&self, error: &hyper::Error) -> Problem {
        Problem::new(
            exit::UNAVAILABLE,
            format!("the connection to {} broke off: {error}", self.host),
        )
    }

    /// A whole answer that must be a good one.
    pub(crate) async fn expect_ok(&mut self, method: Method, path: &str, body: Bytes) -> Result<Answer, Problem> {
        let answer = self.ask(method, path, body).await?;
        if answer.status == StatusCode::OK {
            return Ok(answer);
        }
        Err(answer.refused())
    }
}

async fn tcp(authority: &str) -> io::Result<TcpStream> {
    let (host, port) = authority.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
    dial(host, port.parse().map_err(|_| io::ErrorKind::InvalidInput)?).await
}

async fn shake<S>(stream: S) -> hyper::Result<SendRequest<Full<Bytes>>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // It ends with the sender; what it failed with, the sender's request fails with too.
    tokio::spawn(connection);
    Ok(sender)
}
