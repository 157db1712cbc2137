//! Locks, as the past tells them and as their holders were told.

use std::collections::BTreeMap;

use super::past::Past;

/// A lock that somebody was told to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) key: String,
    pub(crate) session: String,
    /// The fencing number: the revision of the acquire.
    pub(crate) fence: u64,
    /// When it was asked for, and told; in nanoseconds since the beginning.
    pub(crate) called: u64,
    pub(crate) told: u64,
}

/// Who holds a key, and since when.
#[derive(Debug, Clone, Copy, Default)]
struct Lock<'a> {
    session: Option<&'a str>,
    fence: u64,
    count: u64,
}

/// The acquires of each key as the past has them, and what is wrong with it: a lock that goes from one session to
/// another without being free between, one that is counted wrongly.
fn acquires(past: &Past) -> (BTreeMap<(&str, u64), &str>, Vec<String>) {
    let mut locks: BTreeMap<&str, Lock> = BTreeMap::new();
    let (mut acquired, mut found) = (BTreeMap::new(), Vec::new());
    for (revision, change) in &past.changes {
        for change in &change.changes {
            let lock = locks.entry(&change.key).or_default();
            let Some(entry) = &change.entry else {
                *lock = Lock {
                    fence: lock.fence,
                    ..Lock::default()
                };
                continue;
            };
            let session = entry.session.as_deref();
            let gained = session.filter(|_| lock.session.is_none());
            match (lock.session, session) {
                (Some(holder), Some(next)) if holder != next => found.push(format!(
                    "{revision}: {} goes from {holder}, who took it at {}, to {next}",
                    change.key, lock.fence
                )),
                _ => {}
            }
            let count = lock.count + u64::from(gained.is_some());
            if entry.lock_index != count {
                found.push(format!(
                    "{revision}: {} was locked {} times, not {count}",
                    change.key, entry.lock_index
                ));
            }
            if let Some(gained) = gained {
                acquired.insert((change.key.as_str(), *revision), gained);
                lock.fence = *revision;
            }
            (lock.session, lock.count) = (session, entry.lock_index);
        }
    }
    (acquired, found)
}

/// What is wrong: in the past, or with what the holders were told of it.
pub(crate) fn check(past: &Past, grants: &[Grant]) -> Vec<String> {
    let (acquired, mut found) = acquires(past);
    for grant in grants {
        let holder = acquired.get(&(grant.key.as_str(), grant.fence));
        if holder != Some(&grant.session.as_str()) {
            found.push(format!("{grant:?}, but the past has {holder:?}"));
        }
    }
    let mut by_call: Vec<&Grant> = grants.iter().collect();
    by_call.sort_unstable_by_key(|grant| grant.called);
    let mut by_end: Vec<&Grant> = grants.iter().collect();
    by_end.sort_unstable_by_key(|grant| grant.told);
    let mut ended = by_end.into_iter().peekable();
    let mut highest: BTreeMap<&str, u64> = BTreeMap::new();
    for grant in by_call {
        while let Some(before) = ended.next_if(|before| before.told < grant.called) {
            let fence = highest.entry(&before.key).or_default();
            *fence = before.fence.max(*fence);
        }
        if let Some(fence) = highest.get(grant.key.as_str()).filter(|fence| grant.fence <= **fence) {
            found.push(format!("{grant:?}, although {fence} was given before"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::past::tests::change;
    use super::*;

    /// A key that these sessions hold one after the other, from revision 2 on; `""` for nobody.
    fn past(sessions: &[&str]) -> Past {
        let (mut count, mut before) = (0, "");
        let changes = sessions.iter().zip(2..).map(|(session, revision)| {
            let mut change = change(revision, &[("lock", Some((1, 2)))]);
            let entry = change.changes[0].entry.as_mut().unwrap();
            count += u64::from(before.is_empty() && !session.is_empty());
            (entry.lock_index, before) = (count, session);
            entry.session = (!session.is_empty()).then(|| (*session).to_owned());
            change
        });
        Past::new(changes)
    }

    fn grant(session: &str, fence: u64, called: u64, told: u64) -> Grant {
        Grant {
            key: "lock".into(),
            session: session.into(),
            fence,
            called,
            told,
        }
    }

    #[test]
    fn holders_one_after_the_other_are_taken() {
        let grants = [grant("a", 2, 1, 9), grant("b", 5, 2, 10), grant("a", 7, 11, 12)];
        assert_eq!(check(&past(&["a", "a", "", "b", "", "a"]), &grants), [] as [&str; 0]);
    }

    #[test]
    fn two_acquires_without_a_release_between_are_found() {
        assert_eq!(check(&past(&["a", "b"]), &[]).len(), 1);
        let mut lost = past(&["a", "", "b"]);
        lost.changes.remove(&3);
        assert!(!check(&lost, &[]).is_empty());
    }

    #[test]
    fn a_count_that_goes_back_is_found() {
        let mut past = past(&["a", "", "b"]);
        for change in past.changes.get_mut(&4).unwrap().changes.iter_mut() {
            change.entry.as_mut().unwrap().lock_index = 1;
        }
        assert_eq!(check(&past, &[]).len(), 1);
    }

    #[test]
    fn a_fencing_number_that_was_not_given_or_falls_is_found() {
        let past = past(&["a", "", "b"]);
        assert_eq!(check(&past, &[grant("b", 2, 1, 2)]).len(), 1);
        assert_eq!(check(&past, &[grant("a", 3, 1, 2)]).len(), 1);
        assert_eq!(check(&past, &[grant("b", 4, 1, 2), grant("a", 2, 3, 4)]).len(), 1);
    }
}
