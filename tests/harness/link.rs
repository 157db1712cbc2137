//! A wire between a client and a server that a test can cut and mend.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kvapi::Address;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Listens on a free port and passes every connection on, while it is whole. Cut, it drops what is
/// open and refuses what comes.
pub(crate) struct Link {
    pub(crate) address: String,
    /// How many connections were made, also those that were dropped.
    pub(crate) made: Arc<AtomicUsize>,
    whole: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Link {
    /// A whole link to a server at a TCP address.
    pub(crate) async fn to(server: &Address) -> anyhow::Result<Self> {
        let Address::Tcp(target) = server.clone() else {
            anyhow::bail!("a link needs a TCP address, not {server}");
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let (whole, is_whole) = watch::channel(true);
        let target: Arc<str> = target.into();
        let made = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&made);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                if *is_whole.borrow() {
                    tokio::spawn(pass(client, Arc::clone(&target), is_whole.clone()));
                }
            }
        });
        Ok(Self {
            address,
            made,
            whole,
            task,
        })
    }

    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

async fn pass(mut client: TcpStream, target: Arc<str>, mut whole: watch::Receiver<bool>) {
    let Ok(mut server) = TcpStream::connect(&*target).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = whole.wait_for(|whole| !whole) => {}
    }
}
