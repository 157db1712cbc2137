//! `consul kv import`: what export printed, one PUT after the other.
//!
//! Not atomic, on purpose: each line that says `Imported` is true when it is printed, and what stood before a
//! failure stays, so that a script that goes on from the last line goes on rightly. `keyway kv import` is the
//! one that writes all or nothing.

use super::go::base64;
use super::go::flags::{Flag, Parsed};
use super::go::json;
use super::put::{On, write};
use super::{Done, data, print, server, shown, stop};

pub(super) const FLAGS: &[Flag] = &[Flag::text("prefix", "Folder to import into")];

pub(super) async fn run(parsed: &Parsed) -> Done {
    let given = match parsed.words.as_slice() {
        [] => return stop("Error! Missing DATA argument"),
        [given] if given.is_empty() => return stop("Error! Empty DATA argument"),
        [given] => given,
        several => {
            let got = several.len();
            return stop(format!("Error! Too many arguments (expected 1, got {got})"));
        }
    };
    let text = data::read(given).or_else(|why| stop(format!("Error! {why}")))?;
    let mut server = server(parsed)?;
    let entries = json::read(&text).or_else(|why| stop(format!("Cannot unmarshal data: {why}")))?;
    let prefix = parsed.text("prefix").map(shown).unwrap_or_default();
    for entry in entries {
        let (value, said) = base64(entry.value.as_bytes());
        if let Err(why) = said {
            return stop(format!("Error base 64 decoding value for key {}: {why}", entry.key));
        }
        let key = joined(&prefix, &entry.key);
        let written = write(
            &mut server,
            key.as_bytes(),
            value,
            entry.flags,
            On::Anything,
            &entry.namespace,
        )
        .await;
        written.or_else(|why| stop(format!("Error! Failed writing data for key {key}: {why}")))?;
        print(format!("Imported: {key}").as_bytes())?;
    }
    Ok(())
}

/// A key below a folder, cleaned as Go's `path.Join` does it, but for a slash at its end.
fn joined(prefix: &str, key: &str) -> String {
    let together = match (prefix, key) {
        ("", key) => key.to_owned(),
        (prefix, "") => prefix.to_owned(),
        (prefix, key) => format!("{prefix}/{key}"),
    };
    if together.is_empty() {
        return together;
    }
    let rooted = together.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in together.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let cleaned = parts.join("/");
    let front = if rooted { "/" } else { "" };
    let nothing = if cleaned.is_empty() && !rooted { "." } else { "" };
    let slash = if key.ends_with('/') { "/" } else { "" };
    format!("{front}{cleaned}{nothing}{slash}")
}

#[cfg(test)]
mod tests {
    use super::joined;

    /// As Go 1.26 joins them.
    #[test]
    fn a_prefix_is_a_folder_with_or_without_its_slash() {
        for (prefix, key, expected) in [
            ("pre", "a/b", "pre/a/b"),
            ("pre/", "a/", "pre/a/"),
            ("", "a", "a"),
            ("", "a//./b", "a/b"),
            ("", "a/../b", "b"),
            ("", "../a", "../a"),
            ("", "/a", "/a"),
            ("/", "../a", "/a"),
            ("pre", "", "pre"),
            ("", "", ""),
            ("", ".", "."),
        ] {
            assert_eq!(joined(prefix, key), expected, "{prefix} {key}");
        }
    }
}
