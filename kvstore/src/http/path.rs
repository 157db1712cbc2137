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
    if is_plain(raw) {
        return Ok(raw.into());
    }
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
    if text.is_empty() || !needs_cleaning(text) {
        text.to_owned()
    } else {
        clean(text)
    }
}

/// Whether a cleaned key climbs out of the store.
pub(super) fn climbs(key: &str) -> bool {
    key == ".." || key.starts_with("../")
}

/// Whether a path is what it says, as most are: nothing to decode, to clean or to refuse.
fn is_plain(raw: &str) -> bool {
    raw.starts_with('/')
        && raw.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%')
        && !needs_cleaning(raw)
        && raw.as_bytes() != &KV[..KV.len() - 1]
}

/// Whether cleaning may change it.
fn needs_cleaning(text: &str) -> bool {
    text.starts_with('.') || text.as_bytes().windows(2).any(|pair| pair == b"//" || pair == b"/.")
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
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_clean_stays_as_it_is(text in "[a./]{0,12}") {
            let once = clean_key(&text);
            prop_assert_eq!(clean_key(&once), once);
        }

        #[test]
        fn what_needs_no_cleaning_stays_as_it_is(text in "/?[a./%é ]{0,12}") {
            if !text.is_empty() && !needs_cleaning(&text) {
                prop_assert_eq!(clean(&text), text.as_str());
            }
            if is_plain(&text) {
                prop_assert_eq!(golang::unescape(&clean(&text), false), Some(text.into_bytes()));
            }
        }

        #[test]
        fn a_rooted_path_stays_within_its_root(text in "[a./]{0,12}") {
            let clean = clean(&format!("/{text}"));
            prop_assert!(clean.starts_with('/') && !clean.split('/').any(|part| part == ".."));
        }
    }
}
