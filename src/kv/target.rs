//! What a command is about: one key, or everything below a prefix. What ends in / is a prefix.

use std::fmt;

use kvapi::{Key, Problem};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Key(Key),
    /// Ends in `/`, so it cuts at a segment; `""` is everything but Keyway's own keys.
    Below(String),
}

impl Target {
    /// `app/port` is a key, `app/` what is below it, `""` and `/` everything.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        match text {
            "" | "/" => Ok(Self::Below(String::new())),
            _ if text.ends_with('/') => super::in_path(text).map(|()| Self::Below(text.into())),
            _ => super::key_in_path(text).map(Self::Key),
        }
    }

    /// The key or the prefix.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Key(key) => key.as_str(),
            Self::Below(prefix) => prefix,
        }
    }

    pub(super) const fn is_prefix(&self) -> bool {
        matches!(self, Self::Below(_))
    }
}

/// As it is typed.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Below(prefix) if prefix.is_empty() => "/",
            _ => self.as_str(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_in_a_slash_is_a_prefix() {
        assert_eq!(Target::parse("a/b").unwrap(), Target::Key(Key::new("a/b").unwrap()));
        assert_eq!(Target::parse("a/").unwrap(), Target::Below("a/".into()));
        for all in ["", "/"] {
            let target = Target::parse(all).unwrap();
            assert_eq!((target.as_str(), target.to_string().as_str()), ("", "/"));
        }
    }
}
