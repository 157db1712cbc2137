//! The signals that ask a program to stop.

use std::io;

use kvapi::Problem;
use kvapi::problem::exit;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code of what a signal cut short, as a shell shows a program that INT ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// TERM and INT (Ctrl-C), from the moment of [`Stop::listen`] on; before it they end the program.
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Takes the signals over.
    pub(crate) fn listen() -> Result<Self, Problem> {
        let open =
            |kind| signal(kind).map_err(|e: io::Error| Problem::new(exit::BUG, format!("listen for signals: {e}")));
        Ok(Self {
            terminate: open(SignalKind::terminate())?,
            interrupt: open(SignalKind::interrupt())?,
        })
    }

    /// TERM alone: INT is for somebody else, such as an editor in the foreground. Cancel-safe.
    pub(crate) async fn terminated(&mut self) {
        self.terminate.recv().await;
    }

    /// The next request to stop. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
