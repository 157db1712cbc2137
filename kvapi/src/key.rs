//! Keys: the names of settings.
//!
//! A key is any text of 1 to [`MAX_KEY_BYTES`] bytes. Slashes make it look like a path, and
//! recursive operations of ours go by its segments, but to the store it is plain text in byte
//! order (Consul's rule).

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest key that is taken, in bytes. Consul has no limit of its own below 1 MiB.
pub const MAX_KEY_BYTES: usize = 8192;

/// Where Keyway keeps what is its own: reports, services, app definitions.
pub const OWN_PREFIX: &str = "_keyway/";

/// A key that has been checked. Clones share the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(Arc<str>);

/// Why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// The empty text names nothing.
    #[error("a key cannot be empty")]
    Empty,
    /// Longer than [`MAX_KEY_BYTES`].
    #[error("the key is {0} bytes long; at most {MAX_KEY_BYTES} are allowed")]
    TooLong(usize),
}

impl Key {
    /// Checks the text.
    pub fn new(text: impl AsRef<str>) -> Result<Self, BadKey> {
        let text = text.as_ref();
        match text.len() {
            0 => Err(BadKey::Empty),
            len if len > MAX_KEY_BYTES => Err(BadKey::TooLong(len)),
            _ => Ok(Self(text.into())),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one of Keyway's own keys.
    #[must_use]
    pub fn is_own(&self) -> bool {
        is_own(self.as_str())
    }
}

/// Whether a key, or a prefix asked for, lies in Keyway's own part of the store.
#[must_use]
pub fn is_own(text: &str) -> bool {
    text.starts_with(OWN_PREFIX)
}

/// Whether a read of `prefix` shows `key`: the bytes match, and Keyway's own keys show only to
/// those who ask for them by name.
#[must_use]
pub fn shows(prefix: &str, key: &str) -> bool {
    key.starts_with(prefix) && (!is_own(key) || is_own(prefix))
}

/// Whether `key` lies under `folder` by path segments: `a` covers `a` and `a/b`, not `ab`.
#[must_use]
pub fn is_under(folder: &str, key: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    folder.is_empty()
        || key
            .strip_prefix(folder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// How much of a key or prefix a path of the API carries: all of it, or what stands before the first part
/// that is cleaned away. Consul's rule: `a//b` and `a/./b` are taken for `a/b`, `a/../b` for `b`. The body
/// of a transaction and of a watch carries every key.
#[must_use]
pub fn reachable(text: &str) -> &str {
    let mut at = 0;
    for part in text.split('/') {
        let end = at + part.len();
        let is_inner = at > 0 && end < text.len();
        if matches!(part, "." | "..") || (part.is_empty() && is_inner) {
            return &text[..at];
        }
        at = end + 1;
    }
    text
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Key {
    type Error = BadKey;
    fn try_from(text: String) -> Result<Self, BadKey> {
        Self::new(text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_cleans_away_is_not_reachable() {
        for whole in ["", "a", "/", "/a", "a/", "a/b/", "a/.b", "a/...", " a /b"] {
            assert_eq!(reachable(whole), whole);
        }
        for (text, start) in [
            ("a//b", "a/"),
            ("a//", "a/"),
            ("//a", "/"),
            ("//", "/"),
            (".", ""),
            ("./a", ""),
            ("a/.", "a/"),
            ("a/b/../c", "a/b/"),
        ] {
            assert_eq!(reachable(text), start, "{text}");
        }
    }

    #[test]
    fn a_key_is_any_text_that_is_neither_empty_nor_too_long() {
        assert_eq!(Key::new(""), Err(BadKey::Empty));
        assert_eq!(
            Key::new("x".repeat(MAX_KEY_BYTES + 1)),
            Err(BadKey::TooLong(MAX_KEY_BYTES + 1))
        );
        assert_eq!(Key::new(" a/ç.json ").unwrap().as_str(), " a/ç.json ");
    }

    #[test]
    fn own_keys_show_only_to_those_who_ask_for_them() {
        assert!(!shows("", "_keyway/agents/x"));
        assert!(!shows("_key", "_keyway/agents/x"));
        assert!(shows("_keyway/", "_keyway/agents/x"));
        assert!(shows("_keyway/agents", "_keyway/agents/x"));
        assert!(shows("", "_keywayx"));
    }

    #[test]
    fn a_folder_covers_itself_and_what_is_below_it() {
        assert!(is_under("a", "a/b") && is_under("a/", "a/b") && is_under("a", "a"));
        assert!(!is_under("a", "ab") && is_under("", "ab"));
    }
}
