//! What stands between servers: every connection of one server to another goes through it, so a test can hold, delay,
//! break or silence it, in one direction or in both.
//!
//! Each server is reached by the others at an address of the proxy. Its connections come from an IP address of its
//! own, so who connects is known.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// What happens to bytes from one server to another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Way {
    #[default]
    Open,
    /// They wait until the way is open again, as when a network loses packets that are sent again.
    Held,
    /// They come that much later.
    Delayed(Duration),
    /// Connections are broken off, and new ones too.
    Broken,
    /// They are gone, and neither side is told: half-open. Such a connection is broken off once the way is open.
    Silent,
}

/// From whom to whom, by number.
type Ways = BTreeMap<(u64, u64), Way>;

/// See the module.
pub(crate) struct Proxy {
    ways: watch::Sender<Ways>,
    doors: BTreeMap<u64, Door>,
}

/// Where one server is reached.
struct Door {
    address: SocketAddr,
    target: SocketAddr,
    task: JoinHandle<()>,
}

impl Proxy {
    /// For servers whose connections come from these addresses.
    pub(crate) async fn start(servers: &[(u64, IpAddr)]) -> anyhow::Result<Self> {
        let (ways, _) = watch::channel(Ways::new());
        let from: Arc<BTreeMap<IpAddr, u64>> = Arc::new(servers.iter().map(|(id, ip)| (*ip, *id)).collect());
        let mut doors = BTreeMap::new();
        for (id, ip) in servers {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            // A server is connected to before it says where it listens, so a port that is free is chosen for it.
            let target = TcpListener::bind((*ip, 0)).await?.local_addr()?;
            let connections = Connections {
                to: *id,
                from: Arc::clone(&from),
                target,
                ways: ways.subscribe(),
            };
            let task = tokio::spawn(connections.take(listener));
            doors.insert(*id, Door { address, target, task });
        }
        Ok(Self { ways, doors })
    }

    /// Where the others are told that a server is.
    pub(crate) fn address(&self, id: u64) -> anyhow::Result<SocketAddr> {
        Ok(self.doors.get(&id).context("a server of this proxy")?.address)
    }

    /// Where a server is to listen.
    pub(crate) fn target(&self, id: u64) -> anyhow::Result<SocketAddr> {
        Ok(self.doors.get(&id).context("a server of this proxy")?.target)
    }

    /// From now on, from one to another.
    pub(crate) fn set(&self, from: u64, to: u64, way: Way) {
        self.ways.send_modify(|ways| {
            ways.insert((from, to), way);
        });
    }

    /// Everything is open.
    pub(crate) fn heal(&self) {
        self.ways.send_modify(Ways::clear);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for door in self.doors.values() {
            door.task.abort();
        }
    }
}

struct Connections {
    to: u64,
    from: Arc<BTreeMap<IpAddr, u64>>,
    target: SocketAddr,
    ways: watch::Receiver<Ways>,
}

impl Connections {
    async fn take(self, listener: TcpListener) {
        while let Ok((client, at)) = listener.accept().await {
            let from = self.from.get(&at.ip()).copied();
            // Who is no server is turned away.
            if let Some(from) = from {
                tokio::spawn(pass(client, self.target, (from, self.to), self.ways.clone()));
            }
        }
    }
}

fn way(ways: &Ways, from: u64, to: u64) -> Way {
    ways.get(&(from, to)).copied().unwrap_or_default()
}

/// One connection, until one side ends it, or it is broken off.
async fn pass(client: TcpStream, target: SocketAddr, (from, to): (u64, u64), mut ways: watch::Receiver<Ways>) {
    let is_broken = |ways: &Ways| [way(ways, from, to), way(ways, to, from)].contains(&Way::Broken);
    if is_broken(&ways.borrow()) {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let nodelay = [&client, &server].map(|socket| socket.set_nodelay(true));
    drop(nodelay);
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let there = direction(client_reads, server_writes, (from, to), ways.clone());
    let back = direction(server_reads, client_writes, (to, from), ways.clone());
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = ways.wait_for(is_broken) => {}
    }
}

/// Bytes of one direction, until its end.
async fn direction(mut from: OwnedReadHalf, to: OwnedWriteHalf, (one, other): (u64, u64), ways: watch::Receiver<Ways>) {
    // Bounded: who sends into a way that is held is held up, as by a network.
    let (pieces, waiting) = mpsc::channel(256);
    let deliver = deliver(waiting, to, (one, other), ways.clone());
    let read = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let delay = match way(&ways.borrow(), one, other) {
                Way::Delayed(delay) => delay,
                _ => Duration::ZERO,
            };
            if pieces
                .send((Instant::now() + delay, buffer[..count].to_vec()))
                .await
                .is_err()
            {
                break;
            }
        }
    };
    tokio::select! {
        () = deliver => {}
        () = read => {}
    }
}

async fn deliver(
    mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: OwnedWriteHalf,
    (one, other): (u64, u64),
    mut ways: watch::Receiver<Ways>,
) {
    let mut silenced = false;
    loop {
        let piece = tokio::select! {
            piece = pieces.recv() => piece,
            _ = ways.wait_for(|ways| way(ways, one, other) != Way::Silent), if silenced => None,
        };
        // What was lost cannot be made up for.
        let Some((due, bytes)) = piece else { return };
        sleep_until(due).await;
        let Ok(now) = ways
            .wait_for(|ways| way(ways, one, other) != Way::Held)
            .await
            .map(|ways| way(&ways, one, other))
        else {
            return;
        };
        if now == Way::Silent {
            silenced = true;
        } else if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(10);

    /// A server that says back what it hears, behind a proxy, and a connection of another to it.
    async fn connected() -> anyhow::Result<(Proxy, TcpStream)> {
        let (one, other): (IpAddr, IpAddr) = ("127.0.0.11".parse()?, "127.0.0.12".parse()?);
        let proxy = Proxy::start(&[(1, one), (2, other)]).await?;
        let echo = TcpListener::bind(proxy.target(1)?).await?;
        tokio::spawn(async move {
            while let Ok((mut client, _)) = echo.accept().await {
                tokio::spawn(async move {
                    let (mut reads, mut writes) = client.split();
                    drop(tokio::io::copy(&mut reads, &mut writes).await);
                });
            }
        });
        let connection = connect(&proxy).await?;
        Ok((proxy, connection))
    }

    async fn connect(proxy: &Proxy) -> anyhow::Result<TcpStream> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind("127.0.0.12:0".parse()?)?;
        Ok(socket.connect(proxy.address(1)?).await?)
    }

    /// What comes back; `None` if nothing does in time.
    async fn echo(connection: &mut TcpStream, word: &[u8; 4], wait: Duration) -> Option<std::io::Result<[u8; 4]>> {
        if let Err(error) = connection.write_all(word).await {
            return Some(Err(error));
        }
        back(connection, wait).await
    }

    async fn back(connection: &mut TcpStream, wait: Duration) -> Option<std::io::Result<[u8; 4]>> {
        let mut heard = [0; 4];
        let read = timeout(wait, connection.read_exact(&mut heard)).await.ok()?;
        Some(read.map(|_| heard))
    }

    #[tokio::test]
    async fn what_is_held_comes_later_and_in_order() -> anyhow::Result<()> {
        let (proxy, mut connection) = connected().await?;
        assert_eq!(
            echo(&mut connection, b"one ", LONG).await.context("it comes")??,
            *b"one "
        );
        for (from, to) in [(2, 1), (1, 2)] {
            proxy.set(from, to, Way::Held);
            assert!(echo(&mut connection, b"two ", SHORT).await.is_none());
            connection.write_all(b"more").await?;
            proxy.heal();
            assert_eq!(back(&mut connection, LONG).await.context("it comes")??, *b"two ");
            assert_eq!(back(&mut connection, LONG).await.context("it comes")??, *b"more");
        }
        Ok(())
    }

    #[tokio::test]
    async fn what_is_delayed_comes_not_before_its_time() -> anyhow::Result<()> {
        let (proxy, mut connection) = connected().await?;
        proxy.set(2, 1, Way::Delayed(SHORT));
        let sent = Instant::now();
        assert_eq!(
            echo(&mut connection, b"late", LONG).await.context("it comes")??,
            *b"late"
        );
        assert!(sent.elapsed() >= SHORT);
        Ok(())
    }

    #[tokio::test]
    async fn what_is_broken_ends_and_a_new_connection_too() -> anyhow::Result<()> {
        let (proxy, mut connection) = connected().await?;
        assert!(echo(&mut connection, b"one ", LONG).await.context("it comes")?.is_ok());
        proxy.set(1, 2, Way::Broken);
        assert!(back(&mut connection, LONG).await.context("it ends")?.is_err());
        let mut next = connect(&proxy).await?;
        assert!(back(&mut next, LONG).await.context("it ends")?.is_err());
        proxy.heal();
        let mut next = connect(&proxy).await?;
        assert!(echo(&mut next, b"one ", LONG).await.context("it comes")?.is_ok());
        Ok(())
    }

    #[tokio::test]
    async fn what_is_silent_is_told_to_nobody_until_it_is_over() -> anyhow::Result<()> {
        let (proxy, mut connection) = connected().await?;
        proxy.set(2, 1, Way::Silent);
        assert!(echo(&mut connection, b"lost", SHORT).await.is_none());
        proxy.heal();
        assert!(back(&mut connection, LONG).await.context("it ends")?.is_err());
        Ok(())
    }
}
