//! Our copy of the keys that templates read, all at one revision.
//!
//! Snapshots and changes of the stream come in; reads go out. Two invariants: everything that a
//! [`View`] shows is of one revision per cut, and that revision never goes back. A revision that
//! is lower, or another cluster's, is not taken in but answered with a [`Refusal`].

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use kvapi::key;
use kvapi::types::{Change, Entry, Revision, Snapshot, WatchRequest};

/// Where instances of services are registered.
pub const SERVICES: &str = "_keyway/services/";

/// The two parts of the view that move on their own. Today both follow the newest revision; a
/// gradual release will hold the settings back while the live part moves on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// What people set.
    Settings,
    /// What runs where: everything under [`SERVICES`].
    Live,
}

impl Cut {
    /// The cut that a key or a prefix lies in.
    #[must_use]
    pub fn of(text: &str) -> Self {
        if text.starts_with(SERVICES) {
            Self::Live
        } else {
            Self::Settings
        }
    }
}

/// The revision of each cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Revisions {
    /// Of [`Cut::Settings`].
    pub settings: Revision,
    /// Of [`Cut::Live`].
    pub live: Revision,
}

impl Revisions {
    /// Both cuts at one revision.
    #[must_use]
    pub fn both(revision: Revision) -> Self {
        Self {
            settings: revision,
            live: revision,
        }
    }

    /// The later one of each cut.
    #[must_use]
    pub fn later(self, other: Self) -> Self {
        Self {
            settings: self.settings.max(other.settings),
            live: self.live.max(other.live),
        }
    }

    /// The revision of one cut.
    #[must_use]
    pub fn of(&self, cut: Cut) -> Revision {
        match cut {
            Cut::Settings => self.settings,
            Cut::Live => self.live,
        }
    }

    fn newest(&self) -> Revision {
        self.settings.max(self.live)
    }
}

impl fmt::Display for Revisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.settings == self.live {
            write!(f, "revision {}", self.settings)
        } else {
            write!(f, "revision {} (live {})", self.settings, self.live)
        }
    }
}

/// A part of the store: keys by name, and prefixes by bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Exact keys.
    pub keys: BTreeSet<String>,
    /// Prefixes.
    pub prefixes: BTreeSet<String>,
}

impl Scope {
    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.prefixes.is_empty()
    }

    /// Whether it shows this key.
    #[must_use]
    pub fn covers_key(&self, name: &str) -> bool {
        self.keys.contains(name) || self.covers_prefix(name)
    }

    /// Whether it shows all that begins with this prefix. A text has as many prefixes as it has
    /// characters, and each is one lookup, however many prefixes there are.
    #[must_use]
    pub fn covers_prefix(&self, wanted: &str) -> bool {
        !self.prefixes.is_empty()
            && (0..=wanted.len())
                .filter_map(|end| wanted.get(..end))
                .any(|prefix| key::shows(prefix, wanted) && self.prefixes.contains(prefix))
    }

    /// Whether it shows all that `other` shows.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.keys.iter().all(|name| self.covers_key(name)) && other.prefixes.iter().all(|p| self.covers_prefix(p))
    }

    /// Takes in all that `other` shows.
    pub fn extend(&mut self, other: &Self) {
        self.keys.extend(other.keys.iter().cloned());
        self.prefixes.extend(other.prefixes.iter().cloned());
    }

    /// What to ask the store for.
    #[must_use]
    pub fn request(&self) -> WatchRequest {
        WatchRequest {
            keys: self.keys.iter().cloned().collect(),
            prefixes: self.prefixes.iter().cloned().collect(),
            since: None,
        }
    }
}

/// What a read finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// The key's entry.
    Entry(&'a Entry),
    /// The store has no such key.
    Absent,
    /// Nobody knows: it is outside of what is watched.
    Outside,
}

/// Why something of the stream was not taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The server belongs to another cluster than the one followed so far.
    AnotherCluster {
        /// The one followed.
        followed: String,
        /// The one that answered; empty if it did not say.
        answered: String,
    },
    /// The store shows a revision that we have, with other entries in it.
    Contradiction {
        /// Which.
        revision: Revision,
    },
    /// The store shows an older state than we have already seen.
    Lower {
        /// What we have.
        seen: Revision,
        /// What was offered.
        offered: Revision,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnotherCluster { followed, answered } if followed.is_empty() && answered.is_empty() => {
                f.write_str("the server does not say which cluster it belongs to")
            }
            Self::Contradiction { revision } => {
                write!(f, "the store shows revision {revision} again, with other entries in it")
            }
            Self::AnotherCluster { followed, answered } if answered.is_empty() => {
                write!(
                    f,
                    "the server does not say which cluster it belongs to, but the files are of cluster {followed}"
                )
            }
            Self::AnotherCluster { followed, answered } => {
                write!(
                    f,
                    "the server belongs to cluster {answered}, but the files are of cluster {followed}"
                )
            }
            Self::Lower { seen, offered } => {
                write!(
                    f,
                    "the store shows revision {offered}, but the files are of revision {seen}"
                )
            }
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    cluster: String,
    revisions: Revisions,
    /// Nothing lower is taken, even if what is here is.
    floor: Revision,
    scope: Arc<Scope>,
    // A copy of a view, made when news come while it is rendered from, shares all that stays the same.
    entries: OrdMap<Arc<str>, Arc<Entry>>,
}

impl View {
    /// An empty view that will take nothing older than `floor` and nothing of a cluster other
    /// than `cluster` (empty: any).
    #[must_use]
    pub fn above(cluster: String, floor: Revisions) -> Self {
        Self {
            cluster,
            revisions: floor,
            ..Self::default()
        }
    }

    /// A view as an earlier run had it.
    #[must_use]
    pub fn kept(cluster: String, revisions: Revisions, scope: Scope, entries: Vec<Entry>) -> Self {
        Self {
            cluster,
            revisions,
            scope: Arc::new(scope),
            floor: Revision::default(),
            entries: entries
                .into_iter()
                .map(|entry| (Arc::from(entry.key.as_str()), Arc::new(entry)))
                .collect(),
        }
    }

    /// Shows what an earlier run has kept, and goes on taking only what it took before. With `older`
    /// that may be older than what it has seen.
    pub fn recall(&mut self, kept: Self, older: bool) -> Result<(), Refusal> {
        if !self.cluster.is_empty() && self.cluster != kept.cluster {
            return Err(Refusal::AnotherCluster {
                followed: self.cluster.clone(),
                answered: kept.cluster,
            });
        }
        if !older {
            self.not_lower(kept.revisions.newest())?;
        }
        let floor = self.floor.max(self.revisions.newest());
        *self = Self { floor, ..kept };
        Ok(())
    }

    /// A view of fixed values, all at revision 1, that knows everything.
    #[must_use]
    pub fn fixed(values: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let entries = values.into_iter().map(|(name, value)| Entry {
            lock_index: 0,
            flags: 0,
            value: value.into(),
            session: None,
            create_index: Revision(1),
            modify_index: Revision(1),
            key: name,
        });
        let mut view = Self {
            revisions: Revisions::both(Revision(1)),
            scope: Arc::new(Scope {
                keys: BTreeSet::new(),
                prefixes: ["".to_owned(), key::OWN_PREFIX.to_owned()].into(),
            }),
            ..Self::default()
        };
        view.entries = entries
            .map(|entry| (Arc::from(entry.key.as_str()), Arc::new(entry)))
            .collect();
        view
    }

    /// The cluster that the view is of; empty while unknown.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The revisions that all reads are of.
    #[must_use]
    pub fn revisions(&self) -> Revisions {
        self.revisions
    }

    /// What the view knows about.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// One key.
    #[must_use]
    pub fn get(&self, name: &str) -> Found<'_> {
        match self.entries.get(name) {
            _ if !self.scope.covers_key(name) => Found::Outside,
            Some(entry) => Found::Entry(entry),
            None => Found::Absent,
        }
    }

    /// Everything that begins with `prefix`, in byte order; `None` if it is outside.
    pub fn range(&self, prefix: &str) -> Option<impl Iterator<Item = &Entry>> {
        let prefix = prefix.to_owned();
        self.scope.covers_prefix(&prefix).then(|| {
            self.entries
                .range((Bound::Included(Arc::<str>::from(prefix.as_str())), Bound::Unbounded))
                .map(|(_, entry)| &**entry)
                .take_while({
                    let prefix = prefix.clone();
                    move |entry| entry.key.starts_with(&prefix)
                })
                .filter(move |entry| key::shows(&prefix, &entry.key))
        })
    }

    /// Every entry.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().map(|entry| &**entry)
    }

    /// Every key and its value.
    pub fn values(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.entries.iter().map(|(name, entry)| (&**name, &*entry.value))
    }

    /// A server answered. The first one decides which cluster is followed.
    pub fn meet(&mut self, cluster: &str) -> Result<(), Refusal> {
        if self.cluster.is_empty() {
            cluster.clone_into(&mut self.cluster);
        }
        if cluster == self.cluster && !cluster.is_empty() {
            return Ok(());
        }
        Err(Refusal::AnotherCluster {
            followed: self.cluster.clone(),
            answered: cluster.to_owned(),
        })
    }

    /// Forgets all entries and takes these, which are everything in `scope`. Returns the keys
    /// that differ from before.
    pub fn replace(&mut self, snapshot: Snapshot, scope: impl Into<Arc<Scope>>) -> Result<Vec<String>, Refusal> {
        let scope = scope.into();
        self.not_lower(snapshot.revision)?;
        let fresh: OrdMap<Arc<str>, Arc<Entry>> = snapshot
            .entries
            .into_iter()
            .map(|entry| (Arc::from(entry.key.as_str()), Arc::new(entry)))
            .collect();
        let gone = self.entries.keys().filter(|name| !fresh.contains_key(*name));
        let changed = fresh
            .iter()
            .filter(|(name, entry)| self.entries.get(*name) != Some(entry));
        let names: Vec<String> = gone
            .chain(changed.map(|(name, _)| name))
            .map(|name| name.to_string())
            .collect();
        let revision = snapshot.revision;
        // One revision has one state, so of what both cover nothing may differ.
        let both = |name: &String| self.scope.covers_key(name) && scope.covers_key(name);
        let again = revision == self.revisions.newest() && names.iter().any(both);
        if again || fresh.values().any(|entry| entry.modify_index > revision) {
            return Err(Refusal::Contradiction { revision });
        }
        self.entries = fresh;
        self.scope = scope;
        self.revisions = Revisions::both(snapshot.revision);
        Ok(names)
    }

    /// Takes in one revision. Returns the keys that it touched; none if it was known already.
    pub fn apply(&mut self, change: Change) -> Result<Vec<String>, Refusal> {
        if change.revision <= self.revisions.newest() {
            return Ok(Vec::new());
        }
        let mut names = Vec::with_capacity(change.changes.len());
        for touched in change.changes {
            match touched.entry {
                Some(entry) => {
                    self.entries.insert(Arc::from(touched.key.as_str()), Arc::new(entry));
                }
                None => {
                    self.entries.remove(touched.key.as_str());
                }
            }
            names.push(touched.key);
        }
        self.revisions = Revisions::both(change.revision);
        Ok(names)
    }

    /// Nothing that is watched has changed up to `revision`.
    pub fn progress(&mut self, revision: Revision) {
        self.revisions = Revisions::both(revision.max(self.revisions.newest()));
    }

    fn not_lower(&self, offered: Revision) -> Result<(), Refusal> {
        let seen = self.revisions.newest().max(self.floor);
        if offered < seen {
            Err(Refusal::Lower { seen, offered })
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
