//! The path of an app or a group, such as `/shop/web`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An absolute path of at least one segment; of groups, also the root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppId(String);

/// A text that is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no id: its segments are a-z, 0-9, - and ., and neither begin nor end with - or .")]
pub struct NoId {
    text: String,
}

impl AppId {
    /// The group that holds everything.
    #[must_use]
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Reads an id: one without a leading slash is below `base`, `..` leads one up, and doubled slashes count once.
    pub fn below(base: &Self, text: &str) -> Result<Self, NoId> {
        let mut path: Vec<&str> = match text.starts_with('/') {
            true => Vec::new(),
            false => base.segments().collect(),
        };
        let no_id = || NoId { text: text.into() };
        for segment in text.split('/').filter(|segment| !matches!(*segment, "" | ".")) {
            if segment == ".." {
                path.pop().ok_or_else(no_id)?;
            } else if is_segment(segment) {
                path.push(segment);
            } else {
                return Err(no_id());
            }
        }
        Ok(Self(format!("/{}", path.join("/"))))
    }

    /// Reads an id as if it were absolute.
    pub fn absolute(text: &str) -> Result<Self, NoId> {
        Self::below(&Self::root(), text)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }

    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// The group that it is in; the root is in itself.
    #[must_use]
    pub fn parent(&self) -> Self {
        let end = self.0.rfind('/').unwrap_or(0);
        match end {
            0 => Self::root(),
            end => Self(self.0[..end].into()),
        }
    }

    /// Whether it is `group` or somewhere in it.
    #[must_use]
    pub fn is_within(&self, group: &Self) -> bool {
        group.is_root() || self == group || self.0.strip_prefix(&group.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Without the leading slash: as a part of a key in the store.
    #[must_use]
    pub fn as_key(&self) -> &str {
        self.0.trim_start_matches('/')
    }

    /// With `_` for each inner slash: as a part of the names of tasks and instances.
    #[must_use]
    pub fn flat(&self) -> String {
        self.as_key().replace('/', "_")
    }
}

fn is_segment(text: &str) -> bool {
    let is_edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_edge) && text.ends_with(is_edge) && text.chars().all(|c| is_edge(c) || matches!(c, '-' | '.'))
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for AppId {
    type Error = NoId;

    fn try_from(text: String) -> Result<Self, NoId> {
        Self::absolute(&text)
    }
}

impl From<AppId> for String {
    fn from(id: AppId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> AppId {
        AppId::absolute(text).unwrap()
    }

    #[test]
    fn ids_become_absolute_paths() {
        let base = id("/shop");
        for (text, path) in [
            ("web", "/shop/web"),
            ("/web", "/web"),
            ("../db", "/db"),
            ("a//b/", "/shop/a/b"),
            ("/a.b/c-1", "/a.b/c-1"),
            ("/", "/"),
        ] {
            assert_eq!(AppId::below(&base, text).unwrap().as_str(), path, "{text}");
        }
        for text in ["Web", "-web", "web-", "a_b", "/../x", "a b", "é"] {
            assert!(AppId::below(&AppId::root(), text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_id_knows_its_group_and_its_names() {
        let web = id("/shop/web");

        assert_eq!(web.parent(), id("/shop"));
        assert_eq!(web.parent().parent(), AppId::root());
        assert_eq!(AppId::root().parent(), AppId::root());
        assert_eq!((web.as_key(), web.flat().as_str()), ("shop/web", "shop_web"));
        assert!(web.is_within(&id("/shop")) && web.is_within(&AppId::root()) && web.is_within(&web));
        assert!(!id("/shopping").is_within(&id("/shop")));
    }
}
