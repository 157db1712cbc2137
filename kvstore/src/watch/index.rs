//! Who watches what: subscriptions to keys and prefixes, found by the key that changed.
//!
//! A radix trie over the bytes of keys. A visit walks only the path of the changed key, so it
//! costs O(length of the key) beside those it finds, however many watch other things. Every node
//! keeps the newest revision it was visited for: of a batch of changes, each watcher hears once.
//! Keyway's own keys show only to those who asked for them by name ([`kvapi::key::shows`]).

use std::collections::BTreeMap;

use kvapi::Revision;
use kvapi::key::{OWN_PREFIX, is_own};

/// What one subscription is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern<'a> {
    /// One key.
    Key(&'a str),
    /// Every key that begins with this.
    Prefix(&'a str),
}

impl<'a> Pattern<'a> {
    /// Whether a change of `key` concerns it.
    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        match self {
            Self::Key(text) => *text == key,
            Self::Prefix(prefix) => kvapi::key::shows(prefix, key),
        }
    }

    /// The key or the prefix.
    #[must_use]
    pub const fn text(&self) -> &'a str {
        match self {
            Self::Key(text) | Self::Prefix(text) => text,
        }
    }
}

/// Names a subscriber within one index.
pub type Id = u64;

/// See the module. `T` is what is kept for a subscriber.
#[derive(Debug)]
pub struct Index<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    keys: Subscribers<T>,
    prefixes: Subscribers<T>,
    /// By the first byte of their labels.
    children: BTreeMap<u8, (Box<[u8]>, Self)>,
}

#[derive(Debug)]
struct Subscribers<T> {
    by_id: BTreeMap<Id, T>,
    newest: Revision,
}

impl<T> Default for Subscribers<T> {
    fn default() -> Self {
        Self {
            by_id: BTreeMap::new(),
            newest: Revision::default(),
        }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            keys: Subscribers::default(),
            prefixes: Subscribers::default(),
            children: BTreeMap::new(),
        }
    }
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T> Index<T> {
    /// Adds a subscription. The same id may have many patterns, each once.
    pub fn insert(&mut self, pattern: Pattern<'_>, id: Id, subscriber: T) {
        let node = self.root.at(pattern.text().as_bytes());
        let subscribers = match pattern {
            Pattern::Key(_) => &mut node.keys,
            Pattern::Prefix(_) => &mut node.prefixes,
        };
        subscribers.by_id.insert(id, subscriber);
    }

    /// Removes a subscription; one that is not there is no matter.
    pub fn remove(&mut self, pattern: Pattern<'_>, id: Id) {
        self.root.remove(pattern.text().as_bytes(), pattern, id);
    }

    /// Whether nobody watches anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_empty()
    }

    /// Calls `found` for those who watch `key`, changed in `revision`, but for those who have
    /// been found for a revision from `batch` on: they know already that they have to look.
    pub fn visit(&mut self, key: &str, batch: Revision, revision: Revision, mut found: impl FnMut(&T)) {
        let own = is_own(key);
        let mut node = &mut self.root;
        let mut rest = key.as_bytes();
        loop {
            let depth = key.len() - rest.len();
            if !own || depth >= OWN_PREFIX.len() {
                node.prefixes.tell(batch, revision, &mut found);
            }
            let Some(first) = rest.first() else {
                node.keys.tell(batch, revision, &mut found);
                return;
            };
            match node.children.get_mut(first) {
                Some((label, child)) if rest.starts_with(label) => {
                    rest = &rest[label.len()..];
                    node = child;
                }
                _ => return,
            }
        }
    }

    /// Calls `found` for every subscription there is.
    pub fn visit_all(&self, mut found: impl FnMut(&T)) {
        self.root.visit_all(&mut found);
    }
}

impl<T> Subscribers<T> {
    fn tell(&mut self, batch: Revision, revision: Revision, found: &mut impl FnMut(&T)) {
        if self.newest < batch {
            self.by_id.values().for_each(&mut *found);
        }
        self.newest = self.newest.max(revision);
    }
}

impl<T> Node<T> {
    fn is_empty(&self) -> bool {
        self.keys.by_id.is_empty() && self.prefixes.by_id.is_empty() && self.children.is_empty()
    }

    /// The node of a text, made if need be; a label on the way is cut in two where they part.
    fn at(&mut self, text: &[u8]) -> &mut Self {
        let Some(first) = text.first() else { return self };
        let (label, child) = self
            .children
            .entry(*first)
            .or_insert_with(|| (text.into(), Self::default()));
        let common = label.iter().zip(text).take_while(|(a, b)| a == b).count();
        if common < label.len() {
            let tail: Box<[u8]> = label[common..].into();
            let head: Box<[u8]> = label[..common].into();
            let lower = std::mem::take(child);
            child.children.insert(tail[0], (tail, lower));
            *label = head;
        }
        child.at(&text[common..])
    }

    fn remove(&mut self, text: &[u8], pattern: Pattern<'_>, id: Id) {
        let Some(first) = text.first() else {
            match pattern {
                Pattern::Key(_) => self.keys.by_id.remove(&id),
                Pattern::Prefix(_) => self.prefixes.by_id.remove(&id),
            };
            return;
        };
        let Some((label, child)) = self.children.get_mut(first) else {
            return;
        };
        let Some(rest) = text.strip_prefix(&**label) else {
            return;
        };
        child.remove(rest, pattern, id);
        if child.is_empty() {
            self.children.remove(first);
        }
    }

    fn visit_all(&self, found: &mut impl FnMut(&T)) {
        self.keys
            .by_id
            .values()
            .chain(self.prefixes.by_id.values())
            .for_each(&mut *found);
        for (_, child) in self.children.values() {
            child.visit_all(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[ab/]{0,5}", "(_keyway/|_key)[ab/]{0,3}", "[aé√]{0,3}"]
    }

    fn pattern<'a>((text, exact): &'a (String, bool)) -> Pattern<'a> {
        if *exact {
            Pattern::Key(text)
        } else {
            Pattern::Prefix(text)
        }
    }

    fn index(patterns: &[(String, bool)]) -> Index<Id> {
        let mut index = Index::default();
        for (id, watched) in (0..).zip(patterns) {
            index.insert(pattern(watched), id, id);
        }
        index
    }

    proptest! {
        #[test]
        fn those_found_are_those_whom_a_plain_filter_finds(
            patterns in prop::collection::vec((text(), any::<bool>()), 0..20),
            batch in prop::collection::vec(text(), 1..5),
        ) {
            let mut index = index(&patterns);
            let mut found = Vec::new();

            for (revision, key) in (7..).map(Revision).zip(&batch) {
                index.visit(key, Revision(7), revision, |id| found.push(*id));
            }

            let expected: BTreeSet<Id> = (0..)
                .zip(&patterns)
                .filter(|(_, watched)| batch.iter().any(|key| pattern(watched).matches(key)))
                .map(|(id, _)| id)
                .collect();
            prop_assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), expected);
            prop_assert_eq!(found.len(), found.iter().collect::<BTreeSet<_>>().len(), "each once");
        }

        #[test]
        fn a_later_batch_finds_them_again(watched in (text(), any::<bool>()), key in text()) {
            let mut index = index(std::slice::from_ref(&watched));
            let mut found = 0;

            for revision in [Revision(3), Revision(4)] {
                index.visit(&key, revision, revision, |_| found += 1);
            }

            prop_assert_eq!(found, if pattern(&watched).matches(&key) { 2 } else { 0 });
        }

        #[test]
        fn what_is_removed_leaves_nothing_behind(patterns in prop::collection::vec((text(), any::<bool>()), 0..20)) {
            let mut index = index(&patterns);

            for (id, watched) in (0..).zip(&patterns) {
                index.remove(pattern(watched), id);
            }

            prop_assert!(index.is_empty());
        }
    }
}
