//! Who is told that what was handed to the log is written.

use std::io;

use openraft::storage::LogFlushed;
use tokio::sync::oneshot;

use super::fatal::Fatal;
use crate::failpoint;
use crate::raft::TypeConfig;

/// Who is told of a flush. Whoever it is, a failure is also [`Fatal`].
pub(crate) struct Flushed {
    pub(super) fatal: Fatal,
    pub(super) told: Told,
}

pub(super) enum Told {
    Nobody,
    Openraft(LogFlushed<TypeConfig>),
    Waiting(oneshot::Sender<io::Result<()>>),
    #[cfg(test)]
    Thread(std::sync::mpsc::Sender<io::Result<()>>),
}

impl raft_log::Callback for Flushed {
    fn send(self, result: io::Result<()>) {
        if let Err(e) = &result {
            self.fatal.report(format!(
                "cannot write the log: {e}; free or replace the disk, then start the server again"
            ));
        }
        match self.told {
            Told::Nobody => {}
            Told::Openraft(flushed) => {
                failpoint::hit("log-after-append");
                flushed.log_io_completed(result);
            }
            // Whoever waited has gone: the server is ending.
            Told::Waiting(waiting) => drop(waiting.send(result)),
            #[cfg(test)]
            Told::Thread(waiting) => drop(waiting.send(result)),
        }
    }
}

/// What a simulated disk does in place of the log's own thread.
#[cfg(test)]
impl Flushed {
    pub(crate) fn to_thread(&self, told: std::sync::mpsc::Sender<io::Result<()>>) -> Self {
        Self {
            fatal: self.fatal.clone(),
            told: Told::Thread(told),
        }
    }

    pub(crate) const fn is_for_nobody(&self) -> bool {
        matches!(self.told, Told::Nobody)
    }

    pub(crate) fn tell(self, result: io::Result<()>) {
        raft_log::Callback::send(self, result);
    }
}

#[cfg(test)]
mod tests {
    use raft_log::Callback as _;

    use super::*;

    #[tokio::test]
    async fn a_flush_that_fails_ends_the_server_and_the_first_reason_stays() {
        let fatal = Fatal::default();
        let (told, waiting) = oneshot::channel();

        for (told, kind) in [
            (Told::Waiting(told), io::ErrorKind::StorageFull),
            (Told::Nobody, io::ErrorKind::Other),
        ] {
            Flushed {
                fatal: fatal.clone(),
                told,
            }
            .send(Err(kind.into()));
        }

        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), io::ErrorKind::StorageFull);
        let reason = fatal.wait().await.to_string();
        assert!(
            reason.contains("no storage space") && reason.contains("start the server again"),
            "{reason}"
        );
    }
}
