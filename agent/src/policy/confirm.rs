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

/// A URL of plain HTTP with a host.
pub fn http(text: &str) -> Result<Uri, String> {
    let uri = text.parse::<Uri>().ok();
    let fits = |uri: &Uri| uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty());
    uri.filter(fits)
        .ok_or_else(|| format!("`{text}` is no URL to ask; give one such as http://127.0.0.1:8080/health"))
}
