//! `consul kv delete`: removes a key, or all that begin with a prefix, byte by byte.

use bytes::Bytes;
use http::{Method, StatusCode};

use super::ask::expect;
use super::go::flags::{Flag, Parsed};
use super::{Done, in_path, key_or_prefix, print, server, shown, stop};

pub(super) const FLAGS: &[Flag] = &[
    Flag::switch("cas", "Remove only if the key is still at -modify-index"),
    Flag::number("modify-index", "ModifyIndex that the key must have, with -cas"),
    Flag::switch("recurse", "Remove every key that begins with the prefix"),
];

pub(super) async fn run(parsed: &Parsed) -> Done {
    let key = key_or_prefix(parsed)?;
    let (cas, recurse) = (parsed.is_on("cas"), parsed.is_on("recurse"));
    let index = parsed.number("modify-index");
    if key.is_empty() && !recurse {
        return stop("Error! Missing KEY argument");
    }
    if cas && index == 0 {
        return stop("Cannot delete a key that does not exist. Provide a -modify-index greater than than 0.");
    }
    if index != 0 && !cas {
        return stop("Cannot specify -modify-index without -cas!");
    }
    if recurse && cas {
        return stop("Cannot specify both -cas and -recurse!");
    }
    let query = match (recurse, cas) {
        (true, _) => vec![("recurse", String::new())],
        (false, true) => vec![("cas", index.to_string())],
        (false, false) => Vec::new(),
    };
    let mut server = server(parsed)?;
    let answer = server.ask(&Method::DELETE, in_path(key), &query, Bytes::new()).await;
    let answer = answer.and_then(|answer| expect(answer, &[StatusCode::OK]));
    let name = shown(key);
    let answer = answer.or_else(|why| {
        stop(match (recurse, cas) {
            (true, _) => format!("Error! Did not delete prefix {name}: {why}"),
            (false, true) => format!("Error! Did not delete key {name}: {why}"),
            (false, false) => format!("Error deleting key {name}: {why}"),
        })
    })?;
    if cas && !String::from_utf8_lossy(&answer.body).contains("true") {
        return stop(format!("Error! Did not delete key {name}: CAS failed"));
    }
    let done: &[u8] = match recurse {
        true => b"Success! Deleted keys with prefix: ",
        false => b"Success! Deleted key: ",
    };
    print(&[done, key].concat())
}
