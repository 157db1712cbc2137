//! Who says that the program does well with new files.

use std::fmt;
use std::time::Duration;

use http::Uri;

use super::CommandLine;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirm {
    /// What is asked.
    pub probe: Probe,
    /// The pause before the first time and between two.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// How often it may fail; one success is enough.
    pub attempts: u32,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A command that ends with 0.
    Command(CommandLine),
    /// An address that answers with a status of 200 to 399.
    Http(Uri),
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => write!(f, "`{command}`"),
            Self::Http(uri) => uri.fmt(f),
        }
    }
}

/// A URL of plain HTTP with a host, and without a name and password: they would stand in the log.
pub fn http(text: &str) -> Result<Uri, String> {
    let refused = |why: &str| Err(format!("{why}; give a URL such as http://127.0.0.1:8080/health"));
    match text.parse::<Uri>() {
        Ok(uri)
            if uri
                .authority()
                .is_some_and(|authority| authority.as_str().contains('@')) =>
        {
            refused("a probe takes no name and password; ask with a command, or without them")
        }
        Ok(uri) if uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        _ => refused(&format!("`{text}` is no URL of plain HTTP")),
    }
}
