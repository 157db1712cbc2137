//! Parameters of `/v1/kv` and `/v1/txn`: what they mean, and in which order they are checked.
//! Source: Consul 1.22, as recorded in tests/golden.

use std::time::Duration;

use http::HeaderMap;
use kvapi::Key;
use kvapi::duration::parse_nanos;
use kvapi::key::{BadKey, MAX_KEY_BYTES};

use super::error::Error;
use super::golang::{Query, parse_uint, quote};
use super::path;

/// The only datacenter there is.
pub(super) const DATACENTER: &str = "dc1";

/// How fresh a read has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consistency {
    /// Linearizable, as asked for or by default.
    Linearizable,
    Stale,
}

/// What every read says about itself; writes are held to the same rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadParams {
    pub(super) consistency: Consistency,
    /// Wait until the index is above this; 0 is not to wait.
    pub(super) index: u64,
    /// How long; `None` is the default.
    pub(super) wait: Option<Duration>,
}

impl ReadParams {
    pub(super) fn parse(query: &Query, headers: &HeaderMap) -> Result<Self, Error> {
        let consistency = consistency(query)?;
        cache_control(headers)?;
        let wait = match query.filled("wait") {
            None => None,
            Some(text) => {
                let nanos = parse_nanos(&text).ok_or_else(|| Error::bad("Invalid wait time"))?;
                u64::try_from(nanos)
                    .ok()
                    .filter(|nanos| *nanos > 0)
                    .map(Duration::from_nanos)
            }
        };
        let index = match query.filled("index") {
            None => 0,
            Some(text) => parse_uint(&text).map_err(|_| Error::bad("Invalid index"))?,
        };
        Ok(Self {
            consistency,
            index,
            wait,
        })
    }
}

fn consistency(query: &Query) -> Result<Consistency, Error> {
    let mut stale = query.has("stale");
    if let Some(text) = query.filled("max_stale") {
        // Consul checks the bound's form and does not apply it to the KV.
        if parse_nanos(&text).is_none() {
            return Err(Error::bad(format!("Invalid max_stale value {}", quote(&*text))));
        }
        stale = true;
    }
    if query.has("consistent") {
        for (set, name) in [(stale, "stale"), (query.has("cached"), "cached")] {
            if set {
                let text = format!("Cannot specify ?{name} with ?consistent, conflicting semantics.");
                return Err(Error::bad(text));
            }
        }
    }
    Ok(if stale {
        Consistency::Stale
    } else {
        Consistency::Linearizable
    })
}

fn cache_control(headers: &HeaderMap) -> Result<(), Error> {
    for header in headers.get_all(http::header::CACHE_CONTROL) {
        let text = String::from_utf8_lossy(header.as_bytes()).to_ascii_lowercase();
        for directive in text.split(',') {
            let (name, value) = directive.trim().split_once('=').unwrap_or((directive.trim(), ""));
            let seconds = || parse_nanos(&format!("{value}s"));
            if matches!(name, "max-age" | "stale-if-error") && seconds().is_none() {
                return Err(Error::bad("Invalid Cache-Control header."));
            }
        }
    }
    Ok(())
}

/// Namespaces and partitions are not there, and saying so beats keeping keys in the wrong place.
pub(super) fn refuse_enterprise(query: &Query, headers: &HeaderMap) -> Result<(), Error> {
    const NAMES: [(&str, &str, &str); 2] = [
        ("ns", "X-Consul-Namespace", "Namespaces"),
        ("partition", "X-Consul-Partition", "Partitions"),
    ];
    for (name, header, what) in NAMES {
        if query.filled(name).is_some() {
            let text = format!("Invalid query parameter: \"{name}\" - {what} are a Consul Enterprise feature");
            return Err(Error::bad(text));
        }
        if headers.get(header).is_some_and(|value| !value.is_empty()) {
            return Err(Error::bad(format!(
                "Invalid header: \"{header}\" - {what} are a Consul Enterprise feature"
            )));
        }
    }
    Ok(())
}

/// Consul finds an unknown datacenter last, when it forwards a request.
pub(super) fn check_datacenter(query: &Query) -> Result<(), Error> {
    match query.filled("datacenter").or_else(|| query.filled("dc")) {
        Some(name) if name != DATACENTER => Err(Error::internal("No path to datacenter")),
        _ => Ok(()),
    }
}

/// The key, or prefix, in a decoded path behind `/v1/kv/`. It may be empty.
pub(super) fn key_text(path: &[u8]) -> Result<String, Error> {
    let text = std::str::from_utf8(path).map_err(|e| {
        Error::bad(format!(
            "the key is not UTF-8: the byte at {} fits nowhere",
            e.valid_up_to()
        ))
    })?;
    let key = path::clean_key(text);
    if path::climbs(&key) {
        return Err(Error::internal("invalid key name, path traversal is not allowed"));
    }
    if key.len() > MAX_KEY_BYTES {
        return Err(BadKey::TooLong(key.len()).into());
    }
    Ok(key)
}

/// The key, which must not be empty.
pub(super) fn key(text: &str) -> Result<Key, Error> {
    Key::new(text).map_err(Error::from)
}

/// On which condition a PUT stores its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    None,
    Cas(u64),
    Acquire(String),
    Release(String),
}

/// What a PUT says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PutParams {
    pub(super) flags: u64,
    pub(super) condition: Condition,
}

impl PutParams {
    pub(super) fn parse(query: &Query) -> Result<Self, Error> {
        if ["cas", "acquire", "release"]
            .into_iter()
            .filter(|name| query.has(name))
            .count()
            > 1
        {
            return Err(conflicting(query));
        }
        let flags = query.get("flags").map_or(Ok(0), |text| number(&text))?;
        let condition = if let Some(text) = query.get("cas") {
            Condition::Cas(number(&text)?)
        } else if let Some(id) = query.get("acquire") {
            Condition::Acquire(id.into_owned())
        } else if let Some(id) = query.get("release") {
            Condition::Release(id.into_owned())
        } else {
            Condition::None
        };
        Ok(Self { flags, condition })
    }
}

/// What a DELETE is to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeleteParams {
    Key { cas: Option<u64> },
    Prefix,
}

impl DeleteParams {
    /// Reads `recurse`, and refuses it beside `cas`.
    ///
    /// `recurse=false` and `recurse=0` mean no, other than in Consul: some client libraries send
    /// them to delete one key, and nobody to delete a tree.
    pub(super) fn parse(query: &Query) -> Result<Self, Error> {
        let recurse = Self::recurses(query);
        match (recurse, query.get("cas")) {
            (true, Some(_)) => Err(conflicting(query)),
            (true, None) => Ok(Self::Prefix),
            (false, cas) => Ok(Self::Key {
                cas: cas.map(|text| number(&text)).transpose()?,
            }),
        }
    }

    /// Whether a whole prefix is to go, before anything else is checked.
    pub(super) fn recurses(query: &Query) -> bool {
        query
            .get("recurse")
            .is_some_and(|value| value != "false" && value != "0")
    }
}

fn number(text: &str) -> Result<u64, Error> {
    parse_uint(text).map_err(Error::internal)
}

fn conflicting(query: &Query) -> Error {
    Error::bad(format!("Conflicting flags: {}\n", query.encode()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(text).unwrap()
    }

    fn read(text: &str) -> Result<ReadParams, Error> {
        ReadParams::parse(&query(text), &HeaderMap::new())
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(result: Result<T, Error>, text: &str) {
        assert_eq!(result.unwrap_err().text, text);
    }

    #[test]
    fn checks_come_in_consuls_order() {
        refused(read("index=x&wait=y"), "Invalid wait time");
        let conflict = "Cannot specify ?stale with ?consistent, conflicting semantics.";
        refused(read("stale&consistent&wait=x"), conflict);
        refused(read("max_stale=1s&consistent"), conflict);
        refused(read("max_stale=abc&consistent"), "Invalid max_stale value \"abc\"");
    }

    #[test]
    fn what_is_harmless_passes() {
        for text in [
            "wait=",
            "wait=-1s",
            "index=",
            "index=00",
            "wait=%2B1s&index=0",
            "cached",
            "leader&stale",
        ] {
            read(text).unwrap();
        }
        assert_eq!(read("wait=0s&index=7").unwrap().wait, None);
        assert_eq!(read("wait=1.5s").unwrap().wait, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn conditions_exclude_one_another() {
        let put = |text| PutParams::parse(&query(text));
        refused(
            put("flags=abc&cas=1&acquire=x"),
            "Conflicting flags: acquire=x&cas=1&flags=abc\n",
        );
        refused(put("cas"), "strconv.ParseUint: parsing \"\": invalid syntax");
        assert_eq!(put("cas=0&cas=7&CAS=9").unwrap().condition, Condition::Cas(0));
    }

    #[test]
    fn recurse_said_no_means_no_where_keys_would_be_lost() {
        let delete = |text| DeleteParams::parse(&query(text));
        assert_eq!(delete("recurse=false&cas=5"), Ok(DeleteParams::Key { cas: Some(5) }));
        assert_eq!(delete("recurse="), Ok(DeleteParams::Prefix));
        refused(delete("recurse=1&cas=abc"), "Conflicting flags: cas=abc&recurse=1\n");
    }

    #[test]
    fn a_key_is_utf_8_and_not_too_long() {
        assert_eq!(key_text(b"a//b").unwrap(), "a/b");
        refused(key_text(b"a\xff"), "the key is not UTF-8: the byte at 1 fits nowhere");
        refused(key_text(b"../a"), "invalid key name, path traversal is not allowed");
        assert!(key_text(&[b'k'; MAX_KEY_BYTES + 1]).unwrap_err().text.contains("8192"));
    }
}
