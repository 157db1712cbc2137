//! Sockets: in a simulation turmoil's, and everywhere else the machine's.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use kvapi::connect::{Dial, Dialing, Duplex};
use kvapi::{Address, Client};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net as real;
use turmoil::net as simulated;

/// What is used of tokio's socket of this name.
pub(crate) enum TcpSocket {
    Real(real::TcpSocket),
    Simulated(Cell<Option<SocketAddr>>),
}

impl TcpSocket {
    pub(crate) fn new_v4() -> io::Result<Self> {
        Self::new(real::TcpSocket::new_v4)
    }

    pub(crate) fn new_v6() -> io::Result<Self> {
        Self::new(real::TcpSocket::new_v6)
    }

    fn new(real: impl FnOnce() -> io::Result<real::TcpSocket>) -> io::Result<Self> {
        if super::is_running() {
            return Ok(Self::Simulated(Cell::default()));
        }
        real().map(Self::Real)
    }

    pub(crate) fn set_reuseaddr(&self, reuse: bool) -> io::Result<()> {
        match self {
            Self::Real(socket) => socket.set_reuseaddr(reuse),
            Self::Simulated(_) => Ok(()),
        }
    }

    pub(crate) fn bind(&self, addr: SocketAddr) -> io::Result<()> {
        match self {
            Self::Real(socket) => socket.bind(addr),
            Self::Simulated(bound) => {
                bound.set(Some(addr));
                Ok(())
            }
        }
    }

    pub(crate) fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        match self {
            Self::Real(socket) => socket.listen(backlog).map(TcpListener::Real),
            Self::Simulated(bound) => {
                let bound = bound.get().ok_or(io::ErrorKind::InvalidInput)?;
                let listening = simulated::TcpListener::bind(bound).now_or_never();
                listening.expect("it waits for nothing").map(TcpListener::Simulated)
            }
        }
    }

    pub(crate) async fn connect(self, to: SocketAddr) -> io::Result<TcpStream> {
        match self {
            Self::Real(socket) => socket.connect(to).await.map(TcpStream::Real),
            Self::Simulated(_) => simulated::TcpStream::connect(to).await.map(TcpStream::Simulated),
        }
    }
}

/// What is used of tokio's listener.
pub(crate) enum TcpListener {
    Real(real::TcpListener),
    Simulated(simulated::TcpListener),
}

impl TcpListener {
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Real(listener) => listener.local_addr(),
            Self::Simulated(listener) => listener.local_addr(),
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match self {
            Self::Real(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok((TcpStream::Real(stream), from))
            }
            Self::Simulated(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok((TcpStream::Simulated(stream), from))
            }
        }
    }
}

/// What is used of tokio's stream.
pub enum TcpStream {
    Real(real::TcpStream),
    Simulated(simulated::TcpStream),
}

impl TcpStream {
    pub(crate) fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match self {
            Self::Real(stream) => stream.set_nodelay(nodelay),
            Self::Simulated(stream) => stream.set_nodelay(nodelay),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Real(stream) => stream.local_addr(),
            Self::Simulated(stream) => stream.local_addr(),
        }
    }

    fn duplex(self: Pin<&mut Self>) -> Pin<&mut dyn Duplex> {
        match self.get_mut() {
            Self::Real(stream) => Pin::new(stream),
            Self::Simulated(stream) => Pin::new(stream),
        }
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.duplex().poll_read(cx, buf)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.duplex().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.duplex().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.duplex().poll_shutdown(cx)
    }
}

/// A client whose connections are simulated.
pub(crate) fn client(servers: Vec<Address>, limit: Duration) -> Client {
    Client::by(Arc::new(Simulated), servers, None, limit)
}

struct Simulated;

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Simulated")
    }
}

/// How long a server may take to accept: as long as outside.
const DIAL: Duration = Duration::from_secs(2);

impl Dial for Simulated {
    fn dial(&self, host: String, port: u16) -> Dialing {
        Box::pin(async move {
            let connecting = simulated::TcpStream::connect((host, port));
            let late = || Err(io::ErrorKind::TimedOut.into());
            let stream = crate::clock::timeout(DIAL, connecting)
                .await
                .unwrap_or_else(|_| late())?;
            Ok(Box::new(stream) as Box<dyn Duplex>)
        })
    }
}
