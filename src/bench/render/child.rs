//! The program that an agent signals: it says at once that it was told.

use std::path::PathBuf;

use clap::Args;
use kvapi::Problem;
use kvapi::problem::exit;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Outcome;
use crate::signals::Stop;
use crate::told::{self, READY, TOLD};

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
        told::tell(&self.to, READY)?;
        loop {
            tokio::select! {
                biased;
                () = stop.next() => return Ok(exit::OK),
                _ = hangups.recv() => told::tell(&self.to, TOLD)?,
            };
        }
    }
}
