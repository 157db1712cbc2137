//! A wire to a server that can lie: while it does, it answers every request itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kvapi::Address;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What it answers.
#[derive(Debug, Clone)]
pub(crate) enum Lie {
    /// These bytes, and then nothing more; the connection stays open.
    Open(String),
    /// These bytes, and the end.
    Cut(String),
    /// These bytes, and then one line that does not end.
    Endless(String),
}

/// See the module.
pub(crate) struct Liar {
    pub(crate) address: String,
    lie: watch::Sender<Option<Lie>>,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Liar {
    /// An honest wire, for now.
    pub(crate) async fn to(server: &Address) -> anyhow::Result<Self> {
        let Address::Tcp(target) = server.clone() else {
            anyhow::bail!("it needs a TCP address, not {server}");
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let (lie, told) = watch::channel(None);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut told, target, count) = (told.clone(), target.clone(), Arc::clone(&count));
                let lie = told.borrow_and_update().clone();
                tokio::spawn(async move {
                    // What is open ends when the story changes.
                    tokio::select! {
                        _ = serve(client, lie, &target, &count) => {}
                        _ = told.changed() => {}
                    }
                });
            }
        });
        Ok(Self {
            address,
            lie,
            asked,
            task,
        })
    }

    /// From now on it tells this; `None` is the truth. Open connections end.
    pub(crate) fn tell(&self, lie: Option<Lie>) {
        self.asked.store(0, Ordering::SeqCst);
        self.lie.send_replace(lie);
    }

    /// How often it has lied since.
    pub(crate) fn lied(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut client: TcpStream, lie: Option<Lie>, target: &str, count: &AtomicUsize) -> std::io::Result<()> {
    let Some(lie) = lie else {
        let mut server = TcpStream::connect(target).await?;
        copy_bidirectional(&mut client, &mut server).await?;
        return Ok(());
    };
    let mut request = Vec::new();
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    count.fetch_add(1, Ordering::SeqCst);
    let (Lie::Open(text) | Lie::Cut(text) | Lie::Endless(text)) = &lie;
    client.write_all(text.as_bytes()).await?;
    match lie {
        Lie::Cut(_) => client.shutdown().await,
        Lie::Open(_) => std::future::pending().await,
        Lie::Endless(_) => {
            let piece = vec![b'x'; 1 << 20];
            loop {
                client.write_all(&piece).await?;
            }
        }
    }
}
