//! Where to ask and as whom: Consul's flags over Consul's environment over its defaults. No file is read,
//! and nothing that begins with `KEYWAY_`.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::go::flags::{Parsed, boolean};
use super::go::{errno, path};
use super::words::TLS;

/// Where to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dial {
    Tcp { host: String, port: String },
    Unix(String),
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) dial: Dial,
    /// As it stands in URLs.
    pub(super) host: String,
    /// What stands in front of every path, escaped.
    pub(super) prefix: String,
    pub(super) token: Option<String>,
    /// The header of that name.
    pub(super) authorization: Option<String>,
    /// What is asked with every request.
    pub(super) query: Vec<(&'static str, String)>,
}

impl Place {
    /// `env` is the environment. The error is that of Consul's client.
    pub(super) fn of(parsed: &Parsed, env: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let flag = |name: &str| parsed.text(name).map(|text| String::from_utf8_lossy(text).into_owned());
        // A flag that is given empty counts for the datacenter and for nothing else.
        let either =
            |name: &str, variable: &str| flag(name).filter(|value| !value.is_empty()).or_else(|| env(variable));

        let address = either("http-addr", "CONSUL_HTTP_ADDR").unwrap_or_else(|| "127.0.0.1:8500".to_owned());
        let (scheme, rest) = address.split_once("://").unwrap_or(("", &address));
        let by_variable = env("CONSUL_HTTP_SSL").is_some_and(|value| boolean(value.as_bytes()) == Some(true));
        let by_flag = TLS
            .iter()
            .find(|name| flag(name).is_some_and(|value| !value.is_empty()));
        let tls = match by_flag {
            Some(name) => Some(format!("-{name}")),
            None if scheme == "https" => Some(address.clone()),
            None => by_variable.then(|| "CONSUL_HTTP_SSL".to_owned()),
        };
        if let Some(tls) = tls {
            return Err(format!(
                "no TLS yet: {tls} is refused; use http:// or unix:// without it"
            ));
        }
        let (host, prefix) = match scheme {
            "" | "unix" => (rest, String::new()),
            "http" => match rest.split_once('/') {
                Some((host, prefix)) => (host, path(format!("/{prefix}").as_bytes())),
                None => (rest, String::new()),
            },
            other => return Err(format!("Unknown protocol scheme: {other}")),
        };
        let dial = if scheme == "unix" {
            Dial::Unix(rest.to_owned())
        } else {
            tcp(host)
        };
        let host = if host.starts_with('/') { "localhost" } else { host };

        let mut token = either("token", "CONSUL_HTTP_TOKEN");
        if let Some(file) = either("token-file", "CONSUL_HTTP_TOKEN_FILE") {
            let text = fs::read_to_string(&file)
                .map_err(|e| format!("Error loading token file: open {file}: {}", errno(&e)))?;
            token = Some(text.trim().to_owned()).filter(|text| !text.is_empty()).or(token);
        }
        let authorization = env("CONSUL_HTTP_AUTH").map(|auth| {
            let pair = if auth.contains(':') { auth } else { format!("{auth}:") };
            format!("Basic {}", STANDARD.encode(pair))
        });
        let query = [
            ("dc", flag("datacenter")),
            ("ns", either("namespace", "CONSUL_NAMESPACE")),
            ("partition", either("partition", "CONSUL_PARTITION")),
        ];
        Ok(Self {
            dial,
            host: host.to_owned(),
            prefix,
            token,
            authorization,
            query: query
                .into_iter()
                .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)))
                .collect(),
        })
    }
}

/// Without a port it is HTTP's, as for any URL.
fn tcp(host: &str) -> Dial {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, "80"),
    };
    Dial::Tcp {
        host: name.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: if port.is_empty() { "80" } else { port }.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::go::flags::parse;
    use super::super::words::COMMON;
    use super::*;

    fn place(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Place, String> {
        let arguments: Vec<Vec<u8>> = arguments.iter().map(|text| text.as_bytes().to_vec()).collect();
        let env = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Place::of(&parse(COMMON, &arguments).unwrap(), env)
    }

    fn dialled(address: &str) -> (Dial, String, String) {
        let place = place(&["-http-addr", address], &[]).unwrap();
        (place.dial, place.host, place.prefix)
    }

    fn at(host: &str, port: &str) -> Dial {
        Dial::Tcp {
            host: host.into(),
            port: port.into(),
        }
    }

    #[test]
    fn every_form_of_an_address_is_understood() {
        let named = |host: &str, port: &str, shown: &str, prefix: &str| (at(host, port), shown.into(), prefix.into());
        for (address, expected) in [
            ("", named("127.0.0.1", "8500", "127.0.0.1:8500", "")),
            ("h:1", named("h", "1", "h:1", "")),
            ("h", named("h", "80", "h", "")),
            ("http://h:1", named("h", "1", "h:1", "")),
            ("http://h:1/a/b c", named("h", "1", "h:1", "/a/b%20c")),
            ("http://[::1]:1", named("::1", "1", "[::1]:1", "")),
            ("http://[::1]", named("::1", "80", "[::1]", "")),
            (
                "unix:///run/k.sock",
                (Dial::Unix("/run/k.sock".into()), "localhost".into(), String::new()),
            ),
        ] {
            assert_eq!(dialled(address), expected, "{address}");
        }
        assert_eq!(
            place(&["-http-addr=ftp://h"], &[]),
            Err("Unknown protocol scheme: ftp".into())
        );
    }

    #[test]
    fn a_flag_outranks_its_variable_and_an_empty_one_is_none() {
        let variables = [
            ("CONSUL_HTTP_ADDR", "env:1"),
            ("CONSUL_HTTP_TOKEN", "t"),
            ("CONSUL_HTTP_AUTH", "me"),
            ("CONSUL_NAMESPACE", ""),
        ];
        let by_variables = place(&[], &variables).unwrap();
        assert_eq!(by_variables.dial, at("env", "1"));
        assert_eq!(by_variables.token.as_deref(), Some("t"));
        assert_eq!(by_variables.authorization.as_deref(), Some("Basic bWU6"));
        assert_eq!(by_variables.query, []);

        let flags = ["-http-addr=flag:2", "-token=u", "-datacenter=dc2", "-namespace=n"];
        let by_flags = place(&flags, &variables).unwrap();
        assert_eq!(by_flags.dial, at("flag", "2"));
        assert_eq!(by_flags.token.as_deref(), Some("u"));
        assert_eq!(by_flags.query, [("dc", "dc2".to_owned()), ("ns", "n".to_owned())]);
        assert_eq!(place(&["-http-addr="], &variables).unwrap().dial, at("env", "1"));
    }

    #[test]
    fn tls_is_refused_whoever_asks_for_it() {
        let refused = |what: &str| {
            Err(format!(
                "no TLS yet: {what} is refused; use http:// or unix:// without it"
            ))
        };
        for name in TLS {
            let flag = format!("-{name}");
            assert_eq!(place(&[&flag, "x"], &[]), refused(&flag));
        }
        assert_eq!(place(&["-http-addr=https://h:1"], &[]), refused("https://h:1"));
        assert_eq!(place(&[], &[("CONSUL_HTTP_SSL", "true")]), refused("CONSUL_HTTP_SSL"));
        assert!(place(&[], &[("CONSUL_HTTP_SSL", "false"), ("CONSUL_CACERT", "/ca")]).is_ok());
    }
}
