//! `consul kv put`: stores a value.

use http::{Method, StatusCode};

use super::ask::{Server, expect};
use super::data;
use super::go::base64;
use super::go::flags::{Flag, Parsed};
use super::{Done, print, server, shown, stop};

pub(super) const FLAGS: &[Flag] = &[
    Flag::switch("acquire", "Lock the key for -session"),
    Flag::switch("base64", "DATA is in base64"),
    Flag::switch(
        "cas",
        "Store only if the key is still at -modify-index, or absent if that is 0",
    ),
    Flag::number("flags", "Number to store beside the value"),
    Flag::number("modify-index", "ModifyIndex that the key must have, with -cas"),
    Flag::switch("release", "Give up the lock of -session"),
    Flag::text("session", "Id of the session that locks or unlocks the key"),
];

pub(super) async fn run(parsed: &Parsed) -> Done {
    let (key, given) = match parsed.words.as_slice() {
        [] => return stop("Error! Missing KEY argument"),
        [key] => (key, &[][..]),
        [key, given] => (key, given.as_slice()),
        several => {
            let got = several.len();
            return stop(format!("Error! Too many arguments (expected 1 or 2, got {got})"));
        }
    };
    let mut value = data::read(given).or_else(|why| stop(format!("Error! {why}")))?;
    if parsed.is_on("base64") {
        let (decoded, said) = base64(&value);
        value = decoded;
        if let Err(why) = said {
            // As in Consul, that is all: what stands in front of the mistake is written.
            eprintln!("Error! Cannot base 64 decode data: {why}");
        }
    }
    let session = String::from_utf8_lossy(parsed.text("session").unwrap_or_default());
    let (acquire, release) = (parsed.is_on("acquire"), parsed.is_on("release"));
    if (acquire || release) && session.is_empty() {
        return stop("Error! Missing -session (required with -acquire and -release)");
    }
    let mut server = server(parsed)?;
    let key = key.as_slice();
    let flags = parsed.number("flags");
    let name = shown(key);
    let index = parsed.number("modify-index");
    if parsed.is_on("cas") {
        let written = write(&mut server, key, value, flags, On::At(index), "").await;
        let refused = |why: String| stop(format!("Error! Did not write to {name}: {why}"));
        if !written.or_else(refused)? {
            return stop(match index {
                0 => format!("Error! Did not write to {name}: CAS performed with index=0 and key already exists."),
                _ => format!("Error! Did not write to {name}: CAS failed"),
            });
        }
        return print(&[b"Success! Data written to: ", key].concat());
    }
    // Of both, Consul takes the first.
    let (on, done, lost) = if acquire {
        (On::Acquire(&session), "Lock acquired on", "Error! Did not acquire lock")
    } else if release {
        (On::Release(&session), "Lock released on", "Error! Did not release lock")
    } else {
        (On::Anything, "Data written to", "")
    };
    let written = write(&mut server, key, value, flags, on, "").await;
    let written = written.or_else(|why| stop(format!("Error! Failed writing data: {why}")))?;
    // A plain put is always done.
    if !written && !lost.is_empty() {
        return stop(lost);
    }
    print(&[format!("Success! {done}: ").as_bytes(), key].concat())
}

/// On which condition a PUT stores its value.
#[derive(Debug, Clone, Copy)]
pub(super) enum On<'a> {
    Anything,
    /// The key is at this index.
    At(u64),
    /// This session locks it.
    Acquire(&'a str),
    /// This session gives its lock up.
    Release(&'a str),
}

/// One PUT; whether it was done. The error is that of Consul's client.
pub(super) async fn write(
    server: &mut Server,
    key: &[u8],
    value: Vec<u8>,
    flags: u64,
    on: On<'_>,
    namespace: &str,
) -> Result<bool, String> {
    if key.starts_with(b"/") {
        return Err(format!("Invalid key. Key must not begin with a '/': {}", shown(key)));
    }
    let mut query = Vec::new();
    query.extend(match on {
        On::Anything => None,
        On::At(index) => Some(("cas", index.to_string())),
        On::Acquire(session) => Some(("acquire", session.to_owned())),
        On::Release(session) => Some(("release", session.to_owned())),
    });
    query.extend((!namespace.is_empty()).then(|| ("ns", namespace.to_owned())));
    query.extend((flags != 0).then(|| ("flags", flags.to_string())));
    let answer = server.ask(&Method::PUT, key, &query, value.into()).await?;
    let answer = expect(answer, &[StatusCode::OK])?;
    Ok(String::from_utf8_lossy(&answer.body).contains("true"))
}
