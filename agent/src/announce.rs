//! What others may wait for: the file with our pid, and word that everything is in place.
//!
//! Ready is said once, when the first set is in place and the program runs: by a file, and to
//! systemd by the socket in `NOTIFY_SOCKET`. All of it is taken back at the end.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

use kvapi::Problem;
use kvapi::problem::exit;

use crate::config::Config;

/// The variable that names systemd's socket.
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// See the module.
#[derive(Debug)]
pub struct Announce {
    pid_file: Option<PathBuf>,
    ready_file: Option<PathBuf>,
    service: Option<SocketAddr>,
}

impl Announce {
    /// Writes the file with our pid; nothing is ready yet, whatever an earlier run has left.
    pub fn begin(config: &Config) -> Result<Self, Problem> {
        let failed = |path: &Path, error: io::Error| {
            let told = format!("cannot write {}: {error}", path.display());
            Problem::new(exit::AGENT, told).help("make its folder, and let the agent write there")
        };
        if let Some(path) = &config.ready_file {
            remove(path).map_err(|error| failed(path, error))?;
        }
        if let Some(path) = &config.pid_file {
            put(path, &own()).map_err(|error| failed(path, error))?;
        }
        Ok(Self {
            pid_file: config.pid_file.clone(),
            ready_file: config.ready_file.clone(),
            service: service(),
        })
    }

    /// Everything is in place.
    pub fn ready(&self) {
        if let Some(path) = &self.ready_file
            && let Err(error) = put(path, &own())
        {
            tracing::error!(%error, "cannot write {}", path.display());
        }
        self.tell("READY=1");
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, word: &str) {
        let Some(address) = &self.service else { return };
        let sent = UnixDatagram::unbound().and_then(|socket| socket.send_to_addr(word.as_bytes(), address));
        if let Err(error) = sent {
            tracing::warn!(%error, "cannot tell the service manager {word}");
        }
    }
}

impl Drop for Announce {
    fn drop(&mut self) {
        for path in self.ready_file.iter().chain(&self.pid_file) {
            // Another agent may have taken the name over.
            if std::fs::read(path).is_ok_and(|text| text == own().as_bytes())
                && let Err(error) = remove(path)
            {
                tracing::warn!(%error, "cannot remove {}", path.display());
            }
        }
    }
}

fn own() -> String {
    format!("{}\n", std::process::id())
}

/// Readers see the whole text or no file.
fn put(path: &Path, text: &str) -> io::Result<()> {
    crate::write::atomic(path, text.as_bytes(), Some(0o644)).map(drop)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Where a service manager listens: a path, or an abstract name that begins with `@`.
fn service() -> Option<SocketAddr> {
    let name = std::env::var_os(NOTIFY_SOCKET).filter(|name| !name.is_empty())?;
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(PathBuf::from(std::ffi::OsString::from_vec(name.into_vec()))),
    };
    address
        .inspect_err(|error| tracing::warn!(%error, "{NOTIFY_SOCKET} names no socket"))
        .ok()
}
