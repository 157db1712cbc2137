//! File descriptors of the kernel's own kinds that are waited for.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// One that becomes readable when there is something to know.
#[expect(
    deprecated,
    reason = "what takes its place is unsafe; this is sound for a descriptor that is owned, and so stays open"
)]
pub(super) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}
