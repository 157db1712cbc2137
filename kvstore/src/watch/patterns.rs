//! What one watch asks for: keys and prefixes, checked and ready to be matched.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use kvapi::key::{BadKey, MAX_KEY_BYTES, is_own, shows};
use kvapi::{Key, Revision};

use super::index::Pattern;
use crate::state::{Entry, Event, State};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns {
    /// In byte order, each once.
    keys: Box<[Box<str>]>,
    /// None of them begins with another.
    prefixes: Box<[Box<str>]>,
}

/// How much of an event a watch sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Nothing,
    Some,
    Whole,
}

impl Patterns {
    /// Checks the texts and drops what is asked for twice.
    pub fn new(keys: Vec<String>, prefixes: Vec<String>) -> Result<Self, BadKey> {
        let mut keys: Vec<Box<str>> = keys.into_iter().map(checked_key).collect::<Result<_, _>>()?;
        keys.sort_unstable();
        keys.dedup();
        let mut prefixes: Vec<Box<str>> = prefixes.into_iter().map(checked_prefix).collect::<Result<_, _>>()?;
        prefixes.sort_unstable();
        // Sorted, so whatever begins with a prefix follows it. Keyway's own keys are not covered
        // by a prefix that does not name them.
        prefixes.dedup_by(|next, kept| next.starts_with(&**kept) && is_own(next) == is_own(kept));
        Ok(Self {
            keys: keys.into(),
            prefixes: prefixes.into(),
        })
    }

    /// One pattern alone.
    #[must_use]
    pub fn one(pattern: Pattern<'_>) -> Self {
        match pattern {
            Pattern::Key(key) => Self {
                keys: [key.into()].into(),
                prefixes: [].into(),
            },
            Pattern::Prefix(prefix) => Self {
                keys: [].into(),
                prefixes: [prefix.into()].into(),
            },
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Pattern<'_>> {
        let keys = self.keys.iter().map(|key| Pattern::Key(key));
        keys.chain(self.prefixes.iter().map(|prefix| Pattern::Prefix(prefix)))
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.prefixes.is_empty()
    }

    /// Whether Keyway's own keys are among what is asked for: they have no history.
    #[must_use]
    pub fn wants_own(&self) -> bool {
        self.keys.iter().chain(&self.prefixes).any(|text| is_own(text))
    }

    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        self.keys.binary_search_by(|have| (**have).cmp(key)).is_ok()
            || self.prefixes.iter().any(|prefix| shows(prefix, key))
    }

    /// How much of an event this watch sees.
    #[must_use]
    pub fn part_of(&self, event: &Event) -> Part {
        match event
            .changes
            .iter()
            .filter(|(key, _)| self.matches(key.as_str()))
            .count()
        {
            0 => Part::Nothing,
            count if count == event.changes.len() => Part::Whole,
            _ => Part::Some,
        }
    }

    /// Whether everything that this watch sees can be read as it was at a revision.
    #[must_use]
    pub fn readable(&self, state: &State, revision: Revision) -> bool {
        revision == state.revision()
            || self
                .iter()
                .all(|pattern| state.readable(pattern.text(), revision).is_ok())
    }

    /// What this watch sees of a state as it was at a revision that is [`Patterns::readable`], after a
    /// key, in byte order, and no more of it than `most`; empty when there is nothing more.
    #[must_use]
    pub fn entries_after(
        &self,
        state: &State,
        revision: Revision,
        key: Option<&Key>,
        most: usize,
    ) -> Vec<(Key, Arc<Entry>)> {
        let after = key.map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_str()));
        let mut patterns: Vec<Pattern<'_>> = self.iter().collect();
        patterns.sort_unstable_by_key(Pattern::text);
        let mut found: BTreeMap<Key, Arc<Entry>> = BTreeMap::new();
        for pattern in patterns {
            // In this order each shows what lies behind the others, but for a prefix round
            // Keyway's own keys and one among them.
            if found.len() >= most && !self.wants_own() {
                break;
            }
            match pattern {
                Pattern::Prefix(prefix) if key.is_some_and(|key| lies_behind(prefix, key.as_str())) => {}
                Pattern::Prefix(prefix) => {
                    let some = state.walk(prefix, after, Some(revision)).take(most);
                    found.extend(some.map(|(key, entry)| (key.clone(), Arc::clone(entry))));
                }
                Pattern::Key(name) if key.is_some_and(|key| name <= key.as_str()) => {}
                Pattern::Key(name) => {
                    let Ok(key) = Key::new(name) else { continue };
                    if let Ok(Some(entry)) = state.get_at(&key, revision) {
                        let entry = Arc::clone(entry);
                        found.insert(key, entry);
                    }
                }
            }
        }
        found.into_iter().take(most).collect()
    }
}

/// Whether every key that begins with `prefix` is before `key`.
fn lies_behind(prefix: &str, key: &str) -> bool {
    prefix < key && !key.starts_with(prefix)
}

fn checked_key(text: String) -> Result<Box<str>, BadKey> {
    Key::new(&text)?;
    Ok(text.into())
}

fn checked_prefix(text: String) -> Result<Box<str>, BadKey> {
    if text.len() > MAX_KEY_BYTES {
        return Err(BadKey::TooLong(text.len()));
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use kvapi::types::WatchRequest;
    use proptest::prelude::*;

    use super::*;
    use crate::command::{Action, Command};

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[ab/]{1,4}", "_keyway/[ab]{0,2}", "_key"]
    }

    proptest! {
        #[test]
        fn it_matches_what_the_request_matches(
            keys in prop::collection::vec(text(), 0..6),
            prefixes in prop::collection::vec(prop_oneof![text(), Just(String::new())], 0..6),
            key in text(),
        ) {
            let request = WatchRequest { keys, prefixes, since: None };

            let patterns = Patterns::new(request.keys.clone(), request.prefixes.clone()).unwrap();

            prop_assert_eq!(patterns.matches(&key), request.matches(&key));
            prop_assert_eq!(patterns.iter().any(|pattern| pattern.matches(&key)), request.matches(&key));
        }
    }

    proptest! {
        #[test]
        fn in_pieces_it_shows_what_it_matches_in_order(
            keys in prop::collection::vec(text(), 0..6),
            prefixes in prop::collection::vec(prop_oneof![text(), Just(String::new())], 0..6),
            there in prop::collection::btree_set(text(), 0..30),
            most in 1..5usize,
        ) {
            let patterns = Patterns::new(keys, prefixes).unwrap();
            let mut state = State::default();
            for name in &there {
                let action = Action::Put { key: Key::new(name).unwrap(), value: "x".into(), flags: 0, cas: None };
                state.apply(1, &Command::from(action));
            }
            // Whatever comes behind it is not seen.
            let revision = state.revision();
            let action = Action::DeletePrefix { prefix: String::new() };
            state.apply(1, &Command::from(action));

            let mut shown: Vec<String> = Vec::new();
            let mut last: Option<Key> = None;
            loop {
                let piece = patterns.entries_after(&state, revision, last.as_ref(), most);
                prop_assert!(piece.len() <= most);
                let Some((key, _)) = piece.last() else { break };
                last = Some(key.clone());
                shown.extend(piece.iter().map(|(key, _)| key.as_str().to_owned()));
            }

            let expected: Vec<String> = there.into_iter().filter(|name| patterns.matches(name)).collect();
            prop_assert_eq!(shown, expected);
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert_eq!(Patterns::new(vec![String::new()], vec![]), Err(BadKey::Empty));
        let long = "x".repeat(MAX_KEY_BYTES + 1);
        assert_eq!(
            Patterns::new(vec![], vec![long]),
            Err(BadKey::TooLong(MAX_KEY_BYTES + 1))
        );
    }
}
