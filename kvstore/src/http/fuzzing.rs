//! What takes bytes from strangers, one function for each, for tests that throw anything at it.
//!
//! Each takes any bytes, must not panic, and checks what holds for all of them: a refusal has a reason,
//! and what is taken is what a second reader takes it for. `fuzz/` runs them for as long as one likes;
//! the tests here for a bounded number of inputs.

use http::HeaderMap;
use kvapi::Key;
use kvapi::key::MAX_KEY_BYTES;
use kvapi::types::WatchRequest;

use super::error::{Error, Kind};
use super::golang::{self, Query};
use super::params::{self, DeleteParams, PutParams, ReadParams};
use super::{ops, path, terms};
use crate::watch::patterns::Patterns;
use kvapi::golang::json::{self, Json};
use kvapi::limits::Limits;

/// A refusal says why.
fn has_reason<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(taken) => Some(taken),
        Err(error) => {
            assert!(error.kind == Kind::Bare || !error.text.is_empty(), "{error:?}");
            assert!(
                error.status.is_client_error() || error.status.is_server_error(),
                "{error:?}"
            );
            None
        }
    }
}

/// The path of a request line, down to the key.
pub fn path(bytes: &[u8]) {
    let Ok(raw) = std::str::from_utf8(bytes) else { return };
    let Ok(decoded) = path::decode(raw) else { return };
    let key = decoded.strip_prefix(path::KV).unwrap_or(&decoded);
    if let Some(key) = has_reason(params::key_text(key)) {
        assert!(key.len() <= MAX_KEY_BYTES && !path::climbs(&key), "{key:?}");
        assert_eq!(path::clean_key(&key), key, "cleaning it again changes it");
        assert_eq!(has_reason(params::key(&key)).is_some(), !key.is_empty());
    }
}

/// A query, with everything that may stand in one.
pub fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(query) = Query::parse(text) else { return };
    has_reason(ReadParams::parse(&query, &HeaderMap::new()));
    has_reason(PutParams::parse(&query));
    has_reason(DeleteParams::parse(&query));
    has_reason(params::check_datacenter(&query));
    has_reason(params::refuse_enterprise(&query, &HeaderMap::new()));
    let again = Query::parse(&query.encode()).expect("what we encode can be decoded");
    assert_eq!(again.encode(), query.encode());
}

/// The body of a transaction.
pub fn txn(bytes: &[u8]) {
    let Some(raw) = has_reason(ops::decode(bytes, Limits::default())) else {
        return;
    };
    let count = raw.len();
    match has_reason(ops::check(raw)) {
        Some(Ok(ops)) => assert_eq!(ops.len(), count),
        Some(Err(refused)) => {
            assert!(!refused.is_empty());
            assert!(
                refused.iter().all(|(index, what)| *index < count && !what.is_empty()),
                "{refused:?}"
            );
        }
        None => {}
    }
}

/// The body of a new session.
pub fn session(bytes: &[u8]) {
    let nodes = ["n".to_owned()];
    let asked = has_reason(terms::decode(bytes, "n"));
    let Some(terms) = asked.and_then(|asked| has_reason(asked.check(&nodes))) else {
        return;
    };
    assert!(
        terms.ttl_ms == 0 || (10_000..=86_400_000).contains(&terms.ttl_ms),
        "{terms:?}"
    );
    assert!(terms.ttl_ms == 0 || !terms.ttl.is_empty(), "{terms:?}");
    assert_eq!(&*terms.node, "n");
}

/// JSON as Go reads it: what another reader of JSON takes, this one takes, and for the same.
pub fn json(bytes: &[u8]) {
    let ours = json::first(bytes);
    if let Err(words) = &ours {
        assert!(!words.is_empty());
    }
    let Ok(theirs) = serde_json::from_slice::<serde_json::Value>(bytes) else {
        return;
    };
    match ours {
        Ok(ours) => assert!(same(&ours, &theirs), "{ours:?} is not {theirs}"),
        // Go has a bound to the depth too, and ours is lower: the API needs three.
        Err(words) => assert_eq!(words, "exceeded max depth", "{theirs}"),
    }
}

/// Whether two readers took a text for the same. How a number is spelled is the one's, and what it is the
/// other's; of members with one name the other keeps the last.
fn same(ours: &Json, theirs: &serde_json::Value) -> bool {
    match (ours, theirs) {
        (Json::Null, serde_json::Value::Null) => true,
        (Json::Bool(a), serde_json::Value::Bool(b)) => a == b,
        (Json::Number(a), serde_json::Value::Number(b)) => b.as_u64().is_none_or(|b| a.parse() == Ok(b)),
        (Json::Text(a), serde_json::Value::String(b)) => a == b,
        (Json::Array(a), serde_json::Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), serde_json::Value::Object(b)) => b.iter().all(|(name, b)| {
            let last = a.iter().rfind(|(have, _)| have == name);
            last.is_some_and(|(_, a)| same(a, b))
        }),
        _ => false,
    }
}

/// What a watch asks for, as a body and as a query.
pub fn watch(bytes: &[u8]) {
    let requests = [from_body(bytes), from_query(bytes)];
    for WatchRequest { keys, prefixes, since } in requests.into_iter().flatten() {
        let request = WatchRequest {
            keys: keys.clone(),
            prefixes: prefixes.clone(),
            since,
        };
        match Patterns::new(keys, prefixes) {
            Ok(patterns) => {
                for key in request
                    .keys
                    .iter()
                    .chain(&request.prefixes)
                    .filter(|key| Key::new(key).is_ok())
                {
                    assert_eq!(patterns.matches(key), request.matches(key), "{key:?}");
                }
            }
            Err(reason) => assert!(!reason.to_string().is_empty()),
        }
    }
}

fn from_body(bytes: &[u8]) -> Option<WatchRequest> {
    serde_json::from_slice(bytes).ok()
}

fn from_query(bytes: &[u8]) -> Option<WatchRequest> {
    let query = Query::parse(std::str::from_utf8(bytes).ok()?)?;
    let texts = |name| {
        let all = query.all(name).map(|bytes| String::from_utf8(bytes.to_vec()).ok());
        all.collect::<Option<Vec<_>>>()
    };
    let since = query.filled("since").map(|text| golang::parse_uint(&text)).transpose();
    Some(WatchRequest {
        keys: texts("key")?,
        prefixes: texts("prefix")?,
        since: since.ok()?.map(kvapi::Revision),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes of any kind, and such as come near to what is meant: words of the language, in any order.
    fn near(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            6 => prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..4),
            1 => "\\PC{0,3}".prop_map(String::into_bytes),
        ];
        prop_oneof![
            1 => prop::collection::vec(any::<u8>(), 0..40),
            4 => prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat()),
        ]
    }

    const PATH: &[&str] = &[
        "/", "/v1/kv/", "..", ".", "%2F", "%2E", "%", "%e2%80", "a", "_keyway/", "%00", "%ff",
    ];
    const QUERY: &[&str] = &[
        "&",
        "=",
        ";",
        "%",
        "%26",
        "+",
        "cas",
        "index",
        "wait",
        "5s",
        "-1",
        "stale",
        "consistent",
        "recurse",
        "flags",
        "18446744073709551616",
        "0",
        "dc",
        "ns",
        "key",
        "prefix",
        "since",
        "acquire",
        "max_stale",
        "1h1ns",
    ];
    const JSON: &[&str] = &[
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "\"",
        "\\",
        "\\u12",
        "\\ud83d",
        "\\ude00",
        "null",
        "true",
        "1",
        "-",
        "1e5",
        "0.5",
        " ",
        "\n",
        "\"KV\"",
        "\"Verb\"",
        "\"Key\"",
        "\"Value\"",
        "\"set\"",
        "\"get\"",
        "\"MQ==\"",
        "\"Index\"",
        "\"Keys\"",
        "\"Prefixes\"",
        "\"Since\"",
        "\"TTL\"",
        "\"LockDelay\"",
        "\"Checks\"",
        "\"Behavior\"",
        "\"delete\"",
        "\"15.0s\"",
        "{\"TTL\":\"10s\",",
        "[{\"KV\":{\"Verb\":\"set\",\"Key\":\"a\",\"Value\":\"",
        "{\"Keys\":[\"a\"],",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

        #[test]
        fn any_path_is_taken_or_refused_with_a_reason(bytes in near(PATH)) {
            path(&bytes);
        }

        #[test]
        fn any_query_is_taken_or_refused_with_a_reason(bytes in near(QUERY)) {
            query(&bytes);
            watch(&bytes);
        }

        #[test]
        fn any_body_is_taken_or_refused_with_a_reason(bytes in near(JSON)) {
            txn(&bytes);
            session(&bytes);
            json(&bytes);
            watch(&bytes);
        }
    }
}
