//! Paths: from the request line to a key.
//!
//! Consul cleans a path twice: first as it was sent, by a redirect that loses bodies, then the
//! decoded key. Here both happen inside, so that the same key is meant and the body survives.
//! Source: Consul 1.22, as recorded in tests/golden.

use super::golang;

/// What stands before every key.
pub(super) const KV: &[u8] = b"/v1/kv/";

/// Why a path is refused before it is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadPath {
    /// A percent sign that does not begin an escape.
    Undecodable,
    /// A character that cannot be printed.
    Unprintable,
}

/// The path of a request, cleaned and decoded.
pub(super) fn decode(raw: &str) -> Result<Vec<u8>, BadPath> {
    let as_sent = golang::unescape(raw, false).ok_or(BadPath::Undecodable)?;
    if !String::from_utf8_lossy(&as_sent).chars().all(golang::is_printable) {
        return Err(BadPath::Unprintable);
    }
    let mut path = golang::unescape(&clean(raw), false).ok_or(BadPath::Undecodable)?;
    if path == KV[..KV.len() - 1] {
        path = KV.to_vec();
    }
    Ok(path)
}

/// The key in a decoded path behind [`KV`], cleaned: `..` at its beginning is left.
pub(super) fn clean_key(text: &str) -> String {
    if text.is_empty() { String::new() } else { clean(text) }
}

/// Whether a cleaned key climbs out of the store.
pub(super) fn climbs(key: &str) -> bool {
    key == ".." || key.starts_with("../")
}

/// Go's `path.Clean`, but a slash at the end stays.
fn clean(text: &str) -> String {
    let rooted = text.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => drop(parts.pop()),
                _ if rooted => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    let mut clean = String::with_capacity(text.len());
    if rooted {
        clean.push('/');
    }
    clean.push_str(&parts.join("/"));
    if clean.is_empty() {
        clean.push('.');
    }
    if text.ends_with('/') && !clean.ends_with('/') {
        clean.push('/');
    }
    clean
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_cleaned_as_it_was_sent() {
        for (raw, path) in [
            ("/v1/kv/a//b", "/v1/kv/a/b"),
            ("/v1/kv/d/./e", "/v1/kv/d/e"),
            ("/v1/kv/f/../g", "/v1/kv/g"),
            ("//v1//kv/h", "/v1/kv/h"),
            ("/v1/kv", "/v1/kv/"),
            ("/v1/kv/..", "/v1"),
            ("/v1/kv/a/", "/v1/kv/a/"),
            ("/v1/kv/%2E%2E/a", "/v1/kv/../a"),
            ("/v1/kv/j%2F%2Fk", "/v1/kv/j//k"),
            ("/../..", "/"),
        ] {
            assert_eq!(String::from_utf8(decode(raw).unwrap()).unwrap(), path, "{raw}");
        }
        assert_eq!(decode("/v1/kv/%zz"), Err(BadPath::Undecodable));
        assert_eq!(decode("/v1/kv/n%E2%80%8B"), Err(BadPath::Unprintable));
        assert!(decode("/v1/kv/%FF").is_ok());
    }

    #[test]
    fn a_key_is_cleaned_once_it_is_decoded() {
        for (text, key) in [
            ("", ""),
            ("a//b", "a/b"),
            ("a/../b", "b"),
            ("a./b", "a./b"),
            ("x/.", "x"),
            (".", "."),
            ("/k", "/k"),
            ("a/", "a/"),
            ("..", ".."),
            ("../a", "../a"),
            ("a/../../b", "../b"),
            ("...", "..."),
            ("..a", "..a"),
        ] {
            assert_eq!(clean_key(text), key, "{text}");
        }
        assert!(climbs("..") && climbs("../a") && !climbs("..a") && !climbs("..."));
    }

    proptest! {
        #[test]
        fn what_is_clean_stays_as_it_is(text in "[a./]{0,12}") {
            let once = clean_key(&text);
            prop_assert_eq!(clean_key(&once), once);
        }

        #[test]
        fn a_rooted_path_stays_within_its_root(text in "[a./]{0,12}") {
            let clean = clean(&format!("/{text}"));
            prop_assert!(clean.starts_with('/') && !clean.split('/').any(|part| part == ".."));
        }
    }
}
