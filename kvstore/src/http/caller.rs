//! Who asks: by which door, with which token, in whose name; and what that allows.
//!
//! Every handler asks the caller before it shows or changes a key. Tokens are taken and not yet
//! checked. Web pages are kept out here too: a browser sends `Origin` with what a page asks for,
//! and a page that lets its own name point to this machine is known by `Host`.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use kvapi::key::is_own;
use kvapi::types::header;

use super::error::Error;
use super::golang::{Query, quote, unescape};
use crate::cluster::roster;
use crate::command::{MAX_REQUEST_ID_BYTES, RequestId};

/// What the agent socket shows of Keyway's own keys, and what it takes writes to.
const SERVICES: &str = "_keyway/services/";
const AGENTS: &str = "_keyway/agents/";

/// The longest author and message, in bytes.
const MAX_AUTHOR_BYTES: usize = 256;
const MAX_MESSAGE_BYTES: usize = 4096;

/// How a request comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A port.
    Tcp,
    /// A unix socket, for whoever may open its file.
    Unix,
    /// The unix socket that containers get: few rights, whatever the token.
    AgentSocket,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub door: Door,
    /// The first token that the request names.
    pub token: Option<String>,
    /// Who the client says that it is.
    pub author: Option<Arc<str>>,
}

impl Caller {
    pub(super) fn of(door: Door, query: &Query, headers: &HeaderMap) -> Result<Self, Error> {
        Ok(Self {
            door,
            token: token(query, headers),
            author: note(headers, header::AUTHOR, MAX_AUTHOR_BYTES)?,
        })
    }

    pub(super) fn may_read(&self, key_or_prefix: &str) -> Result<(), Error> {
        let allowed = match self.door {
            Door::Tcp | Door::Unix => true,
            Door::AgentSocket => !is_own(key_or_prefix) || key_or_prefix.starts_with(SERVICES),
        };
        let text = || {
            format!(
                "the agent socket does not show {}; of Keyway's own keys it shows {SERVICES}",
                quote(key_or_prefix)
            )
        };
        if allowed { Ok(()) } else { Err(Error::forbidden(text())) }
    }

    pub(super) fn may_keep_history(&self) -> Result<(), Error> {
        match self.door {
            Door::Tcp | Door::Unix => Ok(()),
            Door::AgentSocket => Err(Error::forbidden(
                "the agent socket does not change how much history is kept; use the server's own address",
            )),
        }
    }

    pub(super) fn may_see_everything(&self) -> Result<(), Error> {
        match self.door {
            Door::Tcp | Door::Unix => Ok(()),
            Door::AgentSocket => Err(Error::forbidden(
                "the agent socket gives and takes no snapshots; use the server's own address",
            )),
        }
    }

    pub(super) fn may_use_sessions(&self) -> Result<(), Error> {
        match self.door {
            Door::Tcp | Door::Unix => Ok(()),
            Door::AgentSocket => Err(Error::forbidden(
                "the agent socket has no sessions; use the server's own address",
            )),
        }
    }

    pub(super) fn may_change_servers(&self) -> Result<(), Error> {
        match self.door {
            Door::Tcp | Door::Unix => Ok(()),
            Door::AgentSocket => Err(Error::forbidden(
                "the agent socket changes nothing about the servers of the cluster; use the server's own address",
            )),
        }
    }

    pub(super) fn may_write(&self, key_or_prefix: &str) -> Result<(), Error> {
        if key_or_prefix.starts_with(roster::PREFIX) {
            let text = format!(
                "{} is kept by the servers themselves; `keyway cluster` changes who is in the cluster",
                roster::PREFIX
            );
            return Err(Error::forbidden(text));
        }
        let allowed = match self.door {
            Door::Tcp | Door::Unix => true,
            Door::AgentSocket => key_or_prefix.starts_with(AGENTS),
        };
        let text = || {
            let key = quote(key_or_prefix);
            format!(
                "the agent socket takes no writes to {key}, only below {AGENTS}; write settings through the server's own address"
            )
        };
        if allowed { Ok(()) } else { Err(Error::forbidden(text())) }
    }
}

/// The token sources in Consul's order: the first that is set decides.
fn token(query: &Query, headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let bearer = || {
        let (scheme, token) = text(AUTHORIZATION.as_str())?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    };
    query
        .filled("token")
        .map(std::borrow::Cow::into_owned)
        .or_else(|| text(header::TOKEN).filter(|token| !token.is_empty()).map(str::to_owned))
        .or_else(bearer)
}

/// The id of a write, if it has one.
pub(super) fn request_id(headers: &HeaderMap) -> Result<Option<RequestId>, Error> {
    let id = note(headers, header::REQUEST, MAX_REQUEST_ID_BYTES)?;
    Ok(id.filter(|id| !id.is_empty()).map(RequestId))
}

/// Why something is written, if the client says.
pub(super) fn message(headers: &HeaderMap) -> Result<Option<Arc<str>>, Error> {
    note(headers, header::MESSAGE, MAX_MESSAGE_BYTES)
}

/// A header that holds percent-encoded UTF-8.
fn note(headers: &HeaderMap, name: &str, max_bytes: usize) -> Result<Option<Arc<str>>, Error> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = value
        .to_str()
        .ok()
        .and_then(|text| unescape(text, false))
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Error::bad(format!("the header {name} is not percent-encoded UTF-8")))?;
    if text.len() > max_bytes {
        let length = text.len();
        return Err(Error::bad(format!(
            "the header {name} is {length} bytes long; at most {max_bytes} are allowed"
        )));
    }
    Ok(Some(text.into()))
}

/// Refuses what a web page in a browser may have sent. `local` is our end of the connection.
pub(super) fn refuse_pages(headers: &HeaderMap, local: Option<IpAddr>, allowed_hosts: &[String]) -> Result<(), Error> {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let host = text(HOST);
    if let Some(origin) = text(ORIGIN) {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        if authority.is_none() || authority != host.as_deref() {
            return Err(Error::forbidden(format!(
                "requests from the web page {} are refused",
                quote(&*origin)
            )));
        }
    }
    let Some(host) = host.filter(|_| local.is_some_and(|local| local.to_canonical().is_loopback())) else {
        return Ok(());
    };
    if names_this_machine(&host, allowed_hosts) {
        return Ok(());
    }
    Err(Error::forbidden(format!(
        "the host {} is not known here; ask for localhost or an address, or start the server with --allowed-host",
        quote(&*host)
    )))
}

fn names_this_machine(host: &str, allowed: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn caller(door: Door) -> Caller {
        Caller {
            door,
            token: None,
            author: None,
        }
    }

    #[test]
    fn the_agent_socket_shows_settings_and_services_and_takes_reports() {
        let agent = caller(Door::AgentSocket);
        for text in ["", "app/", "_key", "_keyway/services/", "_keyway/services/web/1"] {
            assert!(agent.may_read(text).is_ok(), "{text}");
        }
        for text in [
            "_keyway/",
            "_keyway/s",
            "_keyway/apps/web",
            "_keyway/agents/x",
            "_keyway/secrets/x",
        ] {
            assert!(agent.may_read(text).is_err(), "{text}");
        }
        for (text, allowed) in [
            ("_keyway/agents/x", true),
            ("app/a", false),
            ("", false),
            ("_keyway/", false),
        ] {
            assert_eq!(agent.may_write(text).is_ok(), allowed, "{text}");
            assert!(caller(Door::Tcp).may_write(text).is_ok());
        }
    }

    #[test]
    fn what_the_servers_keep_of_each_other_nobody_else_writes() {
        for door in [Door::Tcp, Door::Unix, Door::AgentSocket] {
            assert!(caller(door).may_write("_keyway/servers/1").is_err());
        }
    }

    #[test]
    fn the_first_token_source_decides() {
        let query = Query::parse("token=q").unwrap();
        let all = headers(&[("x-consul-token", "h"), ("authorization", "BEARER b")]);
        assert_eq!(token(&query, &all).as_deref(), Some("q"));
        assert_eq!(token(&Query::default(), &all).as_deref(), Some("h"));
        assert_eq!(
            token(&Query::default(), &headers(&[("authorization", "BEARER b")])).as_deref(),
            Some("b")
        );
        assert_eq!(
            token(&Query::default(), &headers(&[("authorization", "Basic b")])),
            None
        );
    }

    #[test]
    fn web_pages_are_kept_out() {
        let loopback = Some(IpAddr::from([127, 0, 0, 1]));
        let allowed = ["box.internal".to_owned()];
        let check = |list: &[(&str, &str)], local| refuse_pages(&headers(list), local, &allowed).is_ok();
        for host in [
            "127.0.0.1:8500",
            "localhost",
            "LOCALHOST:1",
            "[::1]:8500",
            "10.0.0.1",
            "Box.Internal:8500",
        ] {
            assert!(check(&[("host", host)], loopback), "{host}");
        }
        assert!(!check(&[("host", "evil.example:8500")], loopback));
        assert!(check(
            &[("host", "store.example:8500")],
            Some(IpAddr::from([10, 0, 0, 1]))
        ));
        assert!(check(&[("host", "any")], None));
        assert!(!check(
            &[("host", "localhost:8500"), ("origin", "http://evil.example")],
            loopback
        ));
        assert!(!check(&[("host", "localhost:8500"), ("origin", "null")], None));
        assert!(check(
            &[("host", "localhost:8500"), ("origin", "http://localhost:8500")],
            loopback
        ));
    }

    #[test]
    fn notes_are_decoded_and_bounded() {
        let given = headers(&[("x-keyway-message", "gr%C3%B6%C3%9Fer"), ("x-keyway-request", "%FF")]);
        assert_eq!(message(&given).unwrap().as_deref(), Some("größer"));
        assert!(request_id(&given).is_err());
        let long = "x".repeat(MAX_MESSAGE_BYTES + 1);
        assert!(message(&headers(&[("x-keyway-message", &long)])).is_err());
    }
}
