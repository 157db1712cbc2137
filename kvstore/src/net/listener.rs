//! Where clients connect: TCP addresses and unix sockets, and whoever comes.

use std::fs::Permissions;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kvapi::Address;
#[cfg(not(test))]
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::net::{UnixListener, UnixStream};

use crate::clock;
use crate::config::socket_addr;
#[cfg(test)]
use crate::simulation::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// Why nothing can be listened on there, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot listen on {0}: another program does; stop it, or choose another address")]
    InUse(Address),
    #[error("cannot listen on {0}: there is a file that is no socket; remove it, or choose another path")]
    NotASocket(Address),
    #[error("cannot listen on {0}: it is not an address of this machine; give one such as 127.0.0.1:8500")]
    NoAddress(Address),
    #[error("cannot listen on {address}: {reason}; {}", remedy(reason))]
    Io { address: Address, reason: io::Error },
}

/// A place where clients connect. A unix socket's file goes with it.
pub struct Listener {
    socket: Socket,
    address: Address,
}

enum Socket {
    Tcp(TcpListener),
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "removes the file when it is dropped")] SocketFile,
    ),
}

struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may have been removed by hand.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Listens. Port 0 takes a free port; a socket file that a dead server left is replaced.
    pub async fn bind(address: &Address) -> Result<Self, BindError> {
        match address {
            Address::Tcp(authority) => {
                let addr = socket_addr(authority).ok_or_else(|| BindError::NoAddress(address.clone()))?;
                let listener = listen(addr).map_err(|source| refused(address, source))?;
                let addr = listener.local_addr().map_err(|source| refused(address, source))?;
                Ok(Self {
                    socket: Socket::Tcp(listener),
                    address: Address::Tcp(addr.to_string()),
                })
            }
            Address::Unix(path) => {
                clear_stale(address, path).await?;
                let listener = UnixListener::bind(path).map_err(|source| refused(address, source))?;
                let listener = Self {
                    socket: Socket::Unix(listener, SocketFile(path.clone())),
                    address: address.clone(),
                };
                // Whatever the umask: who may open the file may do everything.
                listener.with_mode(0o660)
            }
        }
    }

    /// Lets every user of this machine connect: for a door that allows little, to containers whose
    /// users are not ours.
    pub fn for_everybody(self) -> Result<Self, BindError> {
        self.with_mode(0o666)
    }

    fn with_mode(self, mode: u32) -> Result<Self, BindError> {
        if let Address::Unix(path) = &self.address {
            std::fs::set_permissions(path, Permissions::from_mode(mode))
                .map_err(|source| refused(&self.address, source))?;
        }
        Ok(self)
    }

    /// Where it is, with the port that was really taken.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Whoever comes of the other servers.
    pub async fn accept_peer(&self) -> io::Result<Stream> {
        match self.accept().await? {
            Connection::Tcp(stream, _) => Ok(stream),
            Connection::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Connection> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, client) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Connection::Tcp(stream, client.ip()))
            }
            Socket::Unix(listener, _) => Ok(Connection::Unix(listener.accept().await?.0)),
        }
    }
}

/// A connection between two servers.
pub type Stream = TcpStream;

/// How long a server may take to accept.
const DIAL: Duration = Duration::from_secs(2);

/// Connects to another server at `HOST:PORT`, from this address of ours if one is given.
pub async fn dial(authority: &str, from: Option<IpAddr>) -> io::Result<Stream> {
    let no_address = || io::Error::new(io::ErrorKind::InvalidInput, "it is not HOST:PORT");
    let (host, port) = authority.rsplit_once(':').ok_or_else(no_address)?;
    let port = port.parse().map_err(|_| no_address())?;
    let connect = async {
        let mut last = no_address();
        for address in kvapi::connect::addresses(host).await? {
            let address = SocketAddr::new(address, port);
            match connect_from(address, from.filter(|from| from.is_ipv4() == address.is_ipv4())).await {
                Ok(stream) => return stream.set_nodelay(true).map(|()| stream),
                Err(e) => last = e,
            }
        }
        Err(last)
    };
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {DIAL:?}"));
    clock::timeout(DIAL, connect).await.unwrap_or_else(|_| Err(late()))
}

/// A client of servers.
pub fn client(servers: Vec<Address>, limit: Duration) -> kvapi::Client {
    #[cfg(test)]
    if crate::simulation::is_running() {
        return crate::simulation::net::client(servers, limit);
    }
    kvapi::Client::new(servers, None, limit)
}

async fn connect_from(to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = new_socket(&to)?;
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    socket.connect(to).await
}

fn new_socket(addr: &SocketAddr) -> io::Result<TcpSocket> {
    if addr.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = new_socket(&addr)?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Removes a socket file that nobody listens on.
async fn clear_stale(address: &Address, path: &Path) -> Result<(), BindError> {
    let file_type = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(refused(address, source)),
    };
    if !file_type.is_socket() {
        return Err(BindError::NotASocket(address.clone()));
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(BindError::InUse(address.clone())),
        Err(_) => std::fs::remove_file(path).map_err(|source| refused(address, source)),
    }
}

fn remedy(reason: &io::Error) -> &'static str {
    match reason.kind() {
        io::ErrorKind::NotFound => "make its folder first, or choose another path",
        io::ErrorKind::NotADirectory => "a file is where its folder should be; choose another path",
        io::ErrorKind::PermissionDenied => {
            "choose a port from 1024 on, or a folder in which the server's user may write"
        }
        _ => "choose another address",
    }
}

fn refused(address: &Address, reason: io::Error) -> BindError {
    match reason.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(address.clone()),
        io::ErrorKind::AddrNotAvailable => BindError::NoAddress(address.clone()),
        _ => BindError::Io {
            address: address.clone(),
            reason,
        },
    }
}

/// A client, as it was accepted.
pub(super) enum Connection {
    Tcp(TcpStream, IpAddr),
    Unix(UnixStream),
}

impl Connection {
    pub(super) const fn client(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(_, client) => Some(*client),
            Self::Unix(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let free = Address::Tcp("127.0.0.1:0".into());
        let first = Listener::bind(&free).await.unwrap();

        let error = Listener::bind(first.address()).await.err().unwrap().to_string();

        assert!(
            error.contains(&first.address().to_string()) && error.contains("choose another"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_socket_file_left_behind_is_replaced_and_one_in_use_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let address = Address::Unix(dir.path().join("s"));
        drop(std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap());

        let listener = Listener::bind(&address).await.unwrap();

        assert!(matches!(Listener::bind(&address).await, Err(BindError::InUse(_))));
        let mode = || std::fs::metadata(dir.path().join("s")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o660);
        let listener = listener.for_everybody().unwrap();
        assert_eq!(mode(), 0o666);
        drop(listener);
        assert!(!dir.path().join("s").exists());
        let file = Address::Unix(dir.path().to_owned());
        assert!(matches!(Listener::bind(&file).await, Err(BindError::NotASocket(_))));
        let nowhere = Address::Unix(dir.path().join("no/s"));
        let error = anyhow::Error::from(Listener::bind(&nowhere).await.err().unwrap());
        let told = format!("{error:#}");
        assert_eq!(told.matches("No such file").count(), 1, "{told}");
        assert!(
            told.ends_with("; make its folder first, or choose another path"),
            "{told}"
        );
    }
}
