//! Opens connections: TCP without delay, a unix socket, or as somebody else does it ([`Dial`]).

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::address::Address;
use crate::resolve;

/// The host under which a unix socket's path travels through hyper's pool, which knows
/// connections by host: the path in hexadecimal, and this ending.
const UNIX_SUFFIX: &str = ".unix-socket";

/// How long a server may take to accept: one that is silent must not use up the time of the next.
const CONNECT: Duration = Duration::from_secs(2);

/// So many addresses of one host may be silent until the next one has no time left.
const SILENT: u32 = 4;

/// The URI of a path on a server.
pub(crate) fn uri(address: &Address, path_and_query: &str) -> Result<Uri, http::Error> {
    let authority = match address {
        Address::Tcp(authority) => authority.clone(),
        Address::Unix(path) => {
            use std::fmt::Write as _;
            use std::os::unix::ffi::OsStrExt as _;
            let mut host = String::new();
            for byte in path.as_os_str().as_bytes() {
                let _ = write!(host, "{byte:02x}");
            }
            host + UNIX_SUFFIX
        }
    };
    Uri::builder()
        .scheme("http")
        .authority(authority)
        .path_and_query(path_and_query)
        .build()
}

/// Opens connections in place of this machine's own network.
pub trait Dial: Debug + Send + Sync {
    /// A connection to this host and port.
    fn dial(&self, host: String, port: u16) -> Dialing;
}

/// A connection that is being made.
pub type Dialing = Pin<Box<dyn Future<Output = io::Result<Box<dyn Duplex>>> + Send>>;

/// Something to read from and to write to.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// hyper's connector.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connector(pub(crate) Option<Arc<dyn Dial>>);

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dial = self.0.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default();
            let stream = if let Some(dial) = dial {
                Stream::Other(dial.dial(host.to_owned(), uri.port_u16().unwrap_or(80)).await?)
            } else if let Some(hex) = host.strip_suffix(UNIX_SUFFIX) {
                Stream::Unix(UnixStream::connect(unhex(hex)?).await?)
            } else {
                Stream::Tcp(tcp(&uri).await?)
            };
            Ok(TokioIo::new(stream))
        })
    }
}

/// A connection to the host and port of an `http` URI, 80 if it names none.
pub async fn tcp(uri: &Uri) -> io::Result<TcpStream> {
    dial(uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(80)).await
}

/// The addresses of a host, which may be an address itself: at least one. Not by the C library, for that ends static
/// programs.
pub async fn addresses(host: &str) -> io::Result<Vec<IpAddr>> {
    resolve::addresses(host.trim_start_matches('[').trim_end_matches(']')).await
}

/// A connection without delay to the first address of a host that takes one.
pub async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = addresses(host).await?;
    let share = CONNECT / u32::try_from(addresses.len()).unwrap_or(u32::MAX).min(SILENT);
    let tries = async {
        let mut last = None;
        for address in addresses {
            match timeout(share, TcpStream::connect((address, port))).await {
                Ok(Ok(stream)) => return stream.set_nodelay(true).map(|()| stream),
                Ok(Err(error)) => last = Some(error),
                Err(_) => {}
            }
        }
        Err(last.unwrap_or_else(late))
    };
    timeout(CONNECT, tries).await.unwrap_or_else(|_| Err(late()))
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no connection within 2s")
}

fn unhex(hex: &str) -> io::Result<std::path::PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes: Option<Vec<u8>> = (0..hex.len() / 2)
        .map(|i| {
            hex.get(2 * i..2 * i + 2)
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
        })
        .collect();
    bytes
        .map(|bytes| std::ffi::OsString::from_vec(bytes).into())
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// One connection.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Other(Box<dyn Duplex>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Other(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Other(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Other(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Other(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
