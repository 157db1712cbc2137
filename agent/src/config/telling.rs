//! To whom the agent tells how it is.

use core::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use kvapi::Problem;

use super::{Raw, invalid};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Telling {
    /// To whoever may open this socket; else one in the state folder.
    pub status: Option<PathBuf>,
    /// To whoever reaches this address.
    pub listen: Option<SocketAddr>,
    /// To the store.
    pub report: bool,
    /// What the agent is called; else as its machine.
    pub name: Option<String>,
}

impl Telling {
    pub(super) fn of(raw: &Raw) -> Result<Self, Problem> {
        if let Some(address) = raw.listen
            && !address.ip().to_canonical().is_loopback()
            && raw.insecure_listen != Some(true)
        {
            let told = format!("{address} is reachable from other machines, and nobody is asked for a token");
            return Err(
                invalid(told).help("listen on 127.0.0.1, or accept the risk with insecure_listen (--insecure-listen)")
            );
        }
        Ok(Self {
            status: raw.status.clone(),
            listen: raw.listen,
            report: raw.report == Some(true),
            name: raw.name.clone(),
        })
    }
}

/// `HOST:PORT`; the host is an address or `localhost`.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    local
        .map(|port: u16| (Ipv4Addr::LOCALHOST, port).into())
        .or_else(|| text.parse().ok())
        .ok_or_else(|| format!("`{text}` is no address to listen on; give HOST:PORT such as 127.0.0.1:9103"))
}

/// A name that can be the end of a key.
pub fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    match text {
        "" => Err("the name is empty".to_owned()),
        text if text.len() <= 200 && text.chars().all(plain) && text.split('/').all(|part| !part.is_empty()) => {
            Ok(text.to_owned())
        }
        text => Err(format!(
            "`{text}` is no name of an agent; give letters, digits, `.`, `_`, `-` and `/` between them, at most 200"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_and_a_name_can_be_a_key() {
        for (text, told) in [
            ("localhost:9103", "127.0.0.1:9103"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(listen(text).unwrap().to_string(), told);
        }
        for text in [
            "",
            "9103",
            ":9103",
            "127.0.0.1",
            "localhost:",
            "web:80",
            "127.0.0.1:70000",
        ] {
            assert!(listen(text).is_err(), "{text}");
        }
        for text in ["web-1", "a.example.org", "web/3"] {
            assert_eq!(name(text).unwrap(), text);
        }
        for text in ["", "/a", "a/", "a//b", "a b", "a\n", &"x".repeat(201)] {
            assert!(name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_others_can_reach_has_to_be_asked_for() {
        let of = |address: &str, insecure| {
            Telling::of(&Raw {
                listen: Some(listen(address).unwrap()),
                insecure_listen: insecure,
                ..Raw::default()
            })
        };
        assert!(of("127.0.0.1:1", None).is_ok() && of("[::1]:1", None).is_ok());
        assert!(of("[::ffff:127.0.0.1]:1", None).is_ok());
        for address in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"] {
            let problem = of(address, Some(false)).unwrap_err();
            assert!(problem.help.iter().any(|help| help.contains("--insecure-listen")));
            assert!(of(address, Some(true)).is_ok());
        }
    }
}
