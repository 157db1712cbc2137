//! Where a server is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// `http://HOST:PORT` or `unix:///PATH`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A host and a port, as `HOST:PORT`.
    Tcp(String),
    /// A unix socket.
    Unix(PathBuf),
}

/// Where a server listens by default.
pub const DEFAULT: &str = "http://127.0.0.1:8500";

impl Address {
    /// Several addresses separated by commas, as `KEYWAY_ADDR` has them.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        let list: Vec<Self> = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        if list.is_empty() {
            return Err(format!("`{text}` names no address; give one such as {DEFAULT}"));
        }
        Ok(list)
    }
}

impl FromStr for Address {
    type Err = String;

    /// Takes `http://h:p`, `h:p`, `h` (port 8500), `unix:///path` and `unix:/path`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if !path.starts_with('/') {
                return Err(format!(
                    "`{text}` needs an absolute path, such as unix:///run/keyway.sock"
                ));
            }
            return Ok(Self::Unix(path.into()));
        }
        if text.starts_with("https://") {
            return Err(format!("`{text}`: TLS is not supported yet; use http:// or unix://"));
        }
        let authority = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let bad = || format!("`{text}` is not an address; give one such as {DEFAULT} or unix:///run/keyway.sock");
        if authority.is_empty() || authority.contains(['/', ' ', '@', '?', '#']) {
            return Err(bad());
        }
        let authority = match authority.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && !host.ends_with(':') && !port.contains(']') => {
                port.parse::<u16>().map_err(|_| bad())?;
                authority.to_owned()
            }
            Some((_, port)) if port.contains(']') => format!("{authority}:8500"),
            Some(_) => return Err(bad()),
            None => format!("{authority}:8500"),
        };
        Ok(Self::Tcp(authority))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(authority) => write!(f, "http://{authority}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_forms_are_understood() {
        for (text, shown) in [
            ("http://127.0.0.1:8500", "http://127.0.0.1:8500"),
            ("localhost", "http://localhost:8500"),
            ("[::1]:80", "http://[::1]:80"),
            ("[::1]", "http://[::1]:8500"),
            ("unix:///run/k.sock", "unix:///run/k.sock"),
            ("unix:/run/k.sock", "unix:///run/k.sock"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_an_example() {
        for text in [
            "",
            "http://",
            "a b",
            "h:notaport",
            "unix:relative",
            "https://h",
            "h:70000",
            ":80",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        assert!(Address::parse_list(" , ").is_err());
        assert_eq!(Address::parse_list("a, b:1").unwrap().len(), 2);
    }
}
