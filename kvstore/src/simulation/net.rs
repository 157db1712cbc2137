//! Sockets: in a simulation turmoil's, and everywhere else the machine's.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
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

thread_local! {
    /// Who opens no connection, and whose connections that it has opened are cut.
    static CONFINED: RefCell<BTreeSet<IpAddr>> = const { RefCell::new(BTreeSet::new()) };
}

/// From now on a host reaches nobody, though it is reached.
pub(super) fn confine(host: IpAddr) {
    CONFINED.with_borrow_mut(|confined| confined.insert(host));
}

pub(super) fn confine_nobody() {
    CONFINED.with_borrow_mut(BTreeSet::clear);
}

/// Whether this connection was opened by a host that is confined now.
fn is_cut(opened: &simulated::TcpStream) -> bool {
    let from = opened.local_addr().map(|from| from.ip());
    from.is_ok_and(|from| CONFINED.with_borrow(|confined| confined.contains(&from)))
}

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
            Self::Simulated(_) => {
                let opened = simulated::TcpStream::connect(to).await?;
                if is_cut(&opened) {
                    crate::clock::sleep(DIAL).await;
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Ok(TcpStream::Opened(opened))
            }
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
                Ok((TcpStream::Accepted(stream), from))
            }
        }
    }
}

/// What is used of tokio's stream.
pub enum TcpStream {
    Real(real::TcpStream),
    Accepted(simulated::TcpStream),
    Opened(simulated::TcpStream),
}

impl TcpStream {
    pub(crate) fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match self {
            Self::Real(stream) => stream.set_nodelay(nodelay),
            Self::Accepted(stream) | Self::Opened(stream) => stream.set_nodelay(nodelay),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Real(stream) => stream.local_addr(),
            Self::Accepted(stream) | Self::Opened(stream) => stream.local_addr(),
        }
    }

    fn duplex(self: Pin<&mut Self>) -> io::Result<Pin<&mut dyn Duplex>> {
        match self.get_mut() {
            Self::Real(stream) => Ok(Pin::new(stream)),
            Self::Opened(stream) if is_cut(stream) => Err(io::ErrorKind::ConnectionReset.into()),
            Self::Accepted(stream) | Self::Opened(stream) => Ok(Pin::new(stream)),
        }
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.duplex() {
            Ok(stream) => stream.poll_read(cx, buf),
            Err(e) => Poll::Ready(Err(e)),
        }
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.duplex() {
            Ok(stream) => stream.poll_write(cx, buf),
            Err(e) => Poll::Ready(Err(e)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.duplex() {
            Ok(stream) => stream.poll_flush(cx),
            Err(e) => Poll::Ready(Err(e)),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.duplex() {
            Ok(stream) => stream.poll_shutdown(cx),
            Err(e) => Poll::Ready(Err(e)),
        }
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
