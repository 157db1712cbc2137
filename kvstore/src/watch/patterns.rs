//! What one watch asks for: keys and prefixes, checked and ready to be matched.

use std::collections::BTreeMap;
use std::sync::Arc;

use kvapi::Key;
use kvapi::key::{BadKey, MAX_KEY_BYTES, is_own, shows};

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

    /// Everything in a state that this watch sees, in byte order.
    #[must_use]
    pub fn entries(&self, state: &State) -> Vec<(Key, Arc<Entry>)> {
        let mut all: BTreeMap<Key, Arc<Entry>> = BTreeMap::new();
        for prefix in &self.prefixes {
            all.extend(state.range(prefix).map(|(key, entry)| (key.clone(), Arc::clone(entry))));
        }
        for key in &self.keys {
            if let (Some(entry), Ok(key)) = (state.get(key), Key::new(key)) {
                all.insert(key, Arc::clone(entry));
            }
        }
        all.into_iter().collect()
    }
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
