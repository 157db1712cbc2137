//! `consul kv get`: a value, names, or everything below a prefix.

use bytes::Bytes;
use http::{Method, StatusCode};
use kvapi::Entry;
use serde::de::DeserializeOwned;

use super::ask::{Server, expect};
use super::go::columns::aligned;
use super::go::flags::{Flag, Kind, Parsed};
use super::{Done, Stop, in_path, key_or_prefix, print, server, shown, stale, stop};
use crate::value::encode_base64;

pub(super) const FLAGS: &[Flag] = &[
    Flag::switch("base64", "Print values in base64"),
    Flag::switch("detailed", "Print all there is to know about a key"),
    Flag::switch(
        "keys",
        "Print the names of the keys that begin with the prefix, up to the separator",
    ),
    Flag::switch(
        "recurse",
        "Print every key that begins with the prefix; with -keys, whole names",
    ),
    Flag {
        name: "separator",
        kind: Kind::Text,
        usage: "Where -keys cuts names (default \"/\")",
    },
];

pub(super) async fn run(parsed: &Parsed) -> Done {
    let key = key_or_prefix(parsed)?;
    let (keys, recurse) = (parsed.is_on("keys"), parsed.is_on("recurse"));
    if key.is_empty() && !keys && !recurse {
        return stop("Error! Missing KEY argument");
    }
    let mut server = server(parsed)?;
    if keys {
        let separator = match parsed.text("separator").map(shown) {
            _ if recurse => String::new(),
            None => "/".to_owned(),
            Some(separator) => separator,
        };
        let mut query = vec![("keys", String::new())];
        query.extend((!separator.is_empty()).then_some(("separator", separator)));
        let names: Vec<String> = list(&mut server, parsed, key, query).await?;
        return names.iter().try_for_each(|name| print(name.as_bytes()));
    }
    if recurse {
        let entries = entries(&mut server, parsed, key).await?;
        for (at, entry) in entries.iter().enumerate() {
            let value = value(entry, parsed);
            if parsed.is_on("detailed") {
                print(&detailed(entry, &value))?;
                if at + 1 < entries.len() {
                    print(b"")?;
                }
            } else {
                print(&[entry.key.as_bytes(), b":", &value].concat())?;
            }
        }
        return Ok(());
    }
    let found: Vec<Entry> = list(&mut server, parsed, key, Vec::new()).await?;
    let Some(entry) = found.first() else {
        return stop(format!("Error! No key exists at: {}", shown(key)));
    };
    let value = value(entry, parsed);
    match parsed.is_on("detailed") {
        true => print(&detailed(entry, &value)),
        false => print(&value),
    }
}

/// Everything whose key begins with the prefix.
pub(super) async fn entries(server: &mut Server, parsed: &Parsed, prefix: &[u8]) -> Result<Vec<Entry>, Stop> {
    list(server, parsed, prefix, vec![("recurse", String::new())]).await
}

/// A list; what is not there is an empty one.
async fn list<T: DeserializeOwned>(
    server: &mut Server,
    parsed: &Parsed,
    key: &[u8],
    mut query: Vec<(&'static str, String)>,
) -> Result<Vec<T>, Stop> {
    query.extend(stale(parsed));
    let answer = server.ask(&Method::GET, in_path(key), &query, Bytes::new()).await;
    let answer = answer.and_then(|answer| expect(answer, &[StatusCode::OK, StatusCode::NOT_FOUND]));
    let found = answer.and_then(|answer| match answer.status {
        StatusCode::NOT_FOUND => Ok(Vec::new()),
        _ => serde_json::from_slice(&answer.body).map_err(|e| e.to_string()),
    });
    found.or_else(|why| stop(format!("Error querying Consul agent: {why}")))
}

fn value(entry: &Entry, parsed: &Parsed) -> Vec<u8> {
    match parsed.is_on("base64") {
        true => encode_base64(&entry.value).into_bytes(),
        false => entry.value.to_vec(),
    }
}

fn detailed(entry: &Entry, value: &[u8]) -> Vec<u8> {
    let mut text = format!(
        "CreateIndex\t{}\nFlags\t{}\nKey\t{}\nLockIndex\t{}\nModifyIndex\t{}\nSession\t{}\nValue\t",
        entry.create_index,
        entry.flags,
        entry.key,
        entry.lock_index,
        entry.modify_index,
        entry.session.as_deref().unwrap_or("-"),
    )
    .into_bytes();
    text.extend_from_slice(value);
    aligned(&text)
}
