//! The program that an agent signals: it says at once that it was told.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use clap::Args;
use kvapi::Problem;
use kvapi::problem::exit;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Outcome;
use crate::signals::Stop;

/// What it says when it can be signalled, and when it was.
pub(super) const READY: u8 = b'r';
pub(super) const TOLD: u8 = b't';

#[derive(Debug, Args)]
pub(crate) struct Child {
    /// Whom to tell
    #[arg(long, value_name = "SOCKET")]
    to: PathBuf,
}

impl Child {
    pub(in crate::bench) async fn run(self) -> Outcome {
        let failed = |what: &str, e: std::io::Error| Problem::new(exit::UNAVAILABLE, format!("{what}: {e}"));
        let mut hangups = signal(SignalKind::hangup()).map_err(|e| failed("listen for HUP", e))?;
        let mut stop = Stop::listen()?;
        let socket = UnixDatagram::unbound().map_err(|e| failed("make a socket", e))?;
        let tell = |word: u8| {
            let sent = socket.send_to(&[word], &self.to);
            sent.map_err(|e| failed(&format!("tell {}", self.to.display()), e))
        };
        tell(READY)?;
        loop {
            tokio::select! {
                biased;
                () = stop.next() => return Ok(exit::OK),
                _ = hangups.recv() => tell(TOLD)?,
            };
        }
    }
}
