//! A process held by a file descriptor, so that a signal reaches it or nobody.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::super::ready::readable;
use super::table::Entry;

/// See the module.
#[derive(Debug)]
pub(super) struct Grip(OwnedFd);

impl Grip {
    /// `None` if that process has ended and been collected, whoever has its number now.
    pub(super) fn of(pid: i32, started: u64) -> io::Result<Option<Self>> {
        let Some(raw) = Pid::from_raw(pid) else {
            return Ok(None);
        };
        match pidfd_open(raw, PidfdFlags::empty()) {
            // The descriptor was opened by the number; that the number meant the right one is seen only now.
            Ok(fd) => {
                let is_it = Entry::of(pid).is_some_and(|entry| entry.started == started);
                Ok(is_it.then_some(Self(fd)))
            }
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a signal; false if it has ended.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<bool> {
        match pidfd_send_signal(&self.0, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns when it has ended, collected or not.
    pub(super) async fn ended(self) -> io::Result<()> {
        readable(self.0)?.readable().await?.retain_ready();
        Ok(())
    }
}
