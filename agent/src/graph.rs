//! Which template reads what.
//!
//! A render reports its [`Reads`]; a change of keys comes back as the templates that it affects.
//! A read of an absent key counts like any other: its arrival is a change.

use std::collections::{BTreeMap, BTreeSet};

use kvapi::key;

use crate::helpers::file::Wanted;
use crate::view::Scope;

/// A template, by its place in the configuration.
pub type TemplateId = usize;

/// What one render looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    /// The keys and prefixes.
    pub scope: Scope,
    /// Those of the keys that were not there.
    pub absent: BTreeSet<String>,
    /// The files.
    pub files: BTreeSet<Wanted>,
}

/// Who reads a key or a prefix, in order. Most have one reader, and there are many of them.
type Readers = BTreeMap<String, Vec<TemplateId>>;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    reads: BTreeMap<TemplateId, Reads>,
    keys: Readers,
    prefixes: Readers,
}

impl Graph {
    /// What a template reads from now on.
    pub fn set(&mut self, id: TemplateId, reads: Reads) {
        self.remove(id);
        for (index, names) in [
            (&mut self.keys, &reads.scope.keys),
            (&mut self.prefixes, &reads.scope.prefixes),
        ] {
            for name in names {
                let ids = index.entry(name.clone()).or_default();
                if let Err(place) = ids.binary_search(&id) {
                    ids.insert(place, id);
                }
            }
        }
        self.reads.insert(id, reads);
    }

    /// What a template read when it was rendered last.
    #[must_use]
    pub fn reads(&self, id: TemplateId) -> Option<&Reads> {
        self.reads.get(&id)
    }

    /// Everything that any template reads.
    #[must_use]
    pub fn scope(&self) -> Scope {
        let mut all = Scope::default();
        for reads in self.reads.values() {
            all.extend(&reads.scope);
        }
        all
    }

    /// The templates that read any of these keys.
    ///
    /// A key has as many prefixes as it has characters, and each is one lookup, however many
    /// templates there are.
    pub fn affected<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> BTreeSet<TemplateId> {
        let mut ids = BTreeSet::new();
        for name in names {
            ids.extend(self.keys.get(name).into_iter().flatten());
            for end in (0..=name.len()).filter(|&end| name.is_char_boundary(end)) {
                let prefix = &name[..end];
                if let Some(readers) = self.prefixes.get(prefix).filter(|_| key::shows(prefix, name)) {
                    ids.extend(readers);
                }
            }
        }
        ids
    }

    fn remove(&mut self, id: TemplateId) {
        let Some(old) = self.reads.remove(&id) else { return };
        for (index, names) in [
            (&mut self.keys, old.scope.keys),
            (&mut self.prefixes, old.scope.prefixes),
        ] {
            for name in names {
                if let Some(ids) = index.get_mut(&name) {
                    ids.retain(|other| *other != id);
                    if ids.is_empty() {
                        index.remove(&name);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reads() -> impl Strategy<Value = Reads> {
        let names = || prop::collection::btree_set("[ab/]{0,4}", 0..4);
        (names(), names()).prop_map(|(keys, prefixes)| Reads {
            scope: Scope { keys, prefixes },
            absent: [].into(),
            files: [].into(),
        })
    }

    proptest! {
        /// The index answers as a search of every template's reads would.
        #[test]
        fn affected_equals_a_plain_search(
            sets in prop::collection::vec((0usize..4, reads()), 0..12),
            name in "[ab/]{1,4}",
        ) {
            let mut graph = Graph::default();
            let mut plain = BTreeMap::new();
            for (id, reads) in sets {
                graph.set(id, reads.clone());
                plain.insert(id, reads);
            }

            let expected: BTreeSet<_> =
                plain.iter().filter(|(_, reads)| reads.scope.covers_key(&name)).map(|(id, _)| *id).collect();
            prop_assert_eq!(graph.affected([name.as_str()]), expected);
        }

        /// Nothing of a template's old reads stays behind.
        #[test]
        fn new_reads_replace_the_old_ones(first in reads(), second in reads()) {
            let mut graph = Graph::default();
            graph.set(0, first);
            graph.set(0, second.clone());
            let count = second.scope.keys.len() + second.scope.prefixes.len();
            prop_assert_eq!(graph.keys.len() + graph.prefixes.len(), count);
            prop_assert_eq!(graph.scope(), second.scope);
        }
    }
}
