//! A folder as it is typed, and the keys in it: one meaning for what is listed, asked about and deleted.
//!
//! By path segments: `app` covers the key `app` and everything below `app/`, never `apple`. The store
//! knows prefixes only, so more may come back than the folder covers; here it is left out.

use std::fmt;

use kvapi::client::At;
use kvapi::key::{OWN_PREFIX, is_under, reachable};
use kvapi::types::TxnOp;
use kvapi::{Client, Consistency, Entry};

/// A folder without its last slash; `""` is the whole store, without Keyway's own keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder(String);

impl Folder {
    /// The folder of this name, with or without a slash behind.
    pub(super) fn new(text: &str) -> Self {
        Self(text.trim_end_matches('/').to_owned())
    }

    pub(super) fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys in it, in byte order.
    pub(super) async fn keys(
        &self,
        client: &Client,
        consistency: Consistency,
    ) -> Result<At<Vec<String>>, kvapi::Error> {
        let mut found = client.keys(self.prefix(), None, consistency).await?;
        found.value.retain(|key| self.covers(key));
        Ok(found)
    }

    /// The entries in it, in byte order of their keys.
    pub(super) async fn entries(
        &self,
        client: &Client,
        consistency: Consistency,
    ) -> Result<At<Vec<Entry>>, kvapi::Error> {
        let mut found = client.list(self.prefix(), consistency).await?;
        found.value.retain(|entry| self.covers(&entry.key));
        Ok(found)
    }

    /// What deletes exactly what [`Folder::keys`] shows.
    pub(super) fn deletion(&self) -> Vec<TxnOp> {
        let below = TxnOp::new("delete-tree", self.to_string());
        if self.is_own_root() {
            return vec![below];
        }
        vec![TxnOp::new("delete", &self.0), below]
    }

    /// A key in the folder as a listing shows it: up to the next slash below the folder.
    pub(super) fn next_level<'a>(&self, key: &'a str) -> &'a str {
        let start = match self.0.len() {
            0 => 0,
            len => (len + 1).min(key.len()),
        };
        key[start..].find('/').map_or(key, |slash| &key[..=start + slash])
    }

    /// A key in the folder without the folder; the folder's own key is whole.
    pub(super) fn relative<'a>(&self, key: &'a str) -> &'a str {
        let below = key.strip_prefix(&self.0).and_then(|rest| rest.strip_prefix('/'));
        below.filter(|_| !self.is_everything()).unwrap_or(key)
    }

    /// What a key is called within the folder; the folder's own key by its last segment.
    pub(super) fn inside<'a>(&self, key: &'a str) -> &'a str {
        let own = !self.is_everything() && key == self.0;
        let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
        if own { name } else { self.relative(key) }
    }

    /// What the store is asked for: one read, so that the answer is of one revision. Keyway's own keys
    /// show only to those who ask with the slash; a user's key `_keyway` is not in their folder. Of `a//b` a path
    /// carries `a/`: then more comes back than is covered.
    pub(super) fn prefix(&self) -> &str {
        if self.is_own_root() {
            OWN_PREFIX
        } else {
            reachable(&self.0)
        }
    }

    pub(super) fn covers(&self, key: &str) -> bool {
        is_under(&self.0, key)
    }

    fn is_own_root(&self) -> bool {
        OWN_PREFIX.strip_suffix('/') == Some(&self.0)
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvapi::key::shows;

    /// What the store answers, by its own rule.
    fn seen(folder: &Folder, keys: &[&str]) -> Vec<String> {
        let answer = keys.iter().filter(|key| shows(folder.prefix(), key));
        let covered = answer.filter(|key| folder.covers(key));
        covered.map(|&key| key.to_owned()).collect()
    }

    #[test]
    fn a_folder_covers_itself_and_what_is_below_it() {
        let keys = ["_keyway/agents/x", "_keywayx", "app", "app/a", "app/b/c", "apple"];

        assert_eq!(seen(&Folder::new("app"), &keys), ["app", "app/a", "app/b/c"]);
        assert_eq!(seen(&Folder::new("app/"), &keys), ["app", "app/a", "app/b/c"]);
        assert_eq!(
            seen(&Folder::new(""), &keys),
            ["_keywayx", "app", "app/a", "app/b/c", "apple"]
        );
    }

    #[test]
    fn keyways_own_folder_shows_its_keys_with_and_without_the_slash() {
        let keys = ["_keyway/agents/x", "_keyway/services/y", "_keywayx"];

        for text in ["_keyway", "_keyway/"] {
            let folder = Folder::new(text);
            assert_eq!(
                seen(&folder, &keys),
                ["_keyway/agents/x", "_keyway/services/y"],
                "{text}"
            );
        }
        assert_eq!(seen(&Folder::new("_keyway/agents/"), &keys), ["_keyway/agents/x"]);
    }

    /// Each key by itself is shown if and only if it goes, so nothing is deleted that was not asked about.
    #[test]
    fn what_is_shown_is_what_is_deleted() {
        let names = ["_keyway", "_keyway/agents", "_keywayx", "_k", "a", "a/b", "ab", "é"];
        for name in names.iter().flat_map(|name| [(*name).to_owned(), format!("{name}/")]) {
            let folder = Folder::new(&name);
            let ops = folder.deletion();
            for key in names
                .iter()
                .flat_map(|key| ["", "/", "x", "/x", "/b/c"].map(|rest| format!("{key}{rest}")))
            {
                let goes = ops.iter().any(|op| match op.verb.as_str() {
                    "delete-tree" => shows(&op.key, &key),
                    _ => op.key == key,
                });
                assert_eq!(!seen(&folder, &[&key]).is_empty(), goes, "{key} in {name}");
            }
        }
    }
}
