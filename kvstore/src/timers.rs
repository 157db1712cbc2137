//! When sessions end whose clients are not heard of: deadlines, and what moves them. Pure.
//!
//! Only the leader keeps them, by its own clock, and nobody else knows them: a renewal writes
//! nothing. A session has twice its TTL from when it was created or last renewed, as in Consul. Whoever
//! comes to lead gives every session its full time from then on, since nobody told it of
//! renewals: so an election, or a start, ends no session.
//!
//! Times are milliseconds of a clock that never goes back.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::state::sessions::{Changes, Sessions};

/// A session lives this many times its TTL.
const LIVES: u64 = 2;

/// See the module.
#[derive(Debug, Default)]
pub struct Timers {
    /// The sessions that are followed, as they were when they were last looked at.
    seen: Sessions,
    lives: HashMap<Arc<str>, Life>,
    by_deadline: BTreeSet<(u64, Arc<str>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Life {
    ms: u64,
    deadline: u64,
    /// It was over, and is being ended.
    ending: bool,
}

impl Timers {
    /// This server leads from now on: every session has its full time.
    pub fn begin(&mut self, sessions: &Sessions, now: u64) {
        *self = Self::default();
        self.follow(sessions, now);
    }

    /// This server does not lead any more.
    pub fn stop(&mut self) {
        *self = Self::default();
    }

    /// Sessions have begun or ended.
    pub fn follow(&mut self, sessions: &Sessions, now: u64) {
        let Changes { begun, ended } = sessions.changes_since(&self.seen);
        for id in ended {
            if let Some(life) = self.lives.remove(&id) {
                self.by_deadline.remove(&(life.deadline, id));
            }
        }
        for (id, session) in begun {
            let ms = session.terms.ttl_ms.saturating_mul(LIVES);
            if ms > 0 {
                let deadline = now.saturating_add(ms);
                let ending = false;
                self.by_deadline.insert((deadline, Arc::clone(&id)));
                self.lives.insert(id, Life { ms, deadline, ending });
            }
        }
        self.seen = sessions.clone();
    }

    /// The client of a session is there. `false` if it came too late: the session is being ended.
    /// Of one that is not followed, nothing is known that would speak against it.
    pub fn renew(&mut self, id: &str, now: u64) -> bool {
        let Some((id, life)) = self.lives.get_key_value(id) else {
            return true;
        };
        if life.ending {
            return false;
        }
        let (id, ms) = (Arc::clone(id), life.ms);
        self.set(&id, now.saturating_add(ms), false);
        true
    }

    /// The sessions that are over at `now`, at most `most` of them. They are being ended from now on.
    pub fn take_due(&mut self, now: u64, most: usize) -> Vec<Arc<str>> {
        let mut due = Vec::new();
        while due.len() < most
            && let Some((deadline, _)) = self.by_deadline.first()
            && *deadline <= now
            && let Some((_, id)) = self.by_deadline.pop_first()
        {
            if let Some(life) = self.lives.get_mut(&id) {
                life.ending = true;
            }
            due.push(id);
        }
        due
    }

    /// They could not be ended: to be tried again at `at`.
    pub fn put_off(&mut self, ids: &[Arc<str>], at: u64) {
        for id in ids {
            self.set(id, at, true);
        }
    }

    fn set(&mut self, id: &Arc<str>, deadline: u64, ending: bool) {
        let Some(life) = self.lives.get_mut(id) else { return };
        self.by_deadline.remove(&(life.deadline, Arc::clone(id)));
        life.deadline = deadline;
        life.ending = ending;
        self.by_deadline.insert((deadline, Arc::clone(id)));
    }

    /// When the next one is over.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::command::{Action, Command};
    use crate::state::State;
    use crate::state::sessions::{Behavior, Terms};

    fn apply(state: &mut State, action: Action) {
        let command = Command::from(action);
        state.apply(1, &command);
    }

    fn create(state: &mut State, id: &str, ttl_ms: u64) {
        let terms = Terms {
            name: "".into(),
            node: "n".into(),
            lock_delay: 0,
            behavior: Behavior::Release,
            ttl: "".into(),
            ttl_ms,
            node_checks: vec![],
        };
        apply(state, Action::CreateSession { id: id.into(), terms });
    }

    fn end(state: &mut State, id: &str) {
        apply(state, Action::EndSession { id: id.into() });
    }

    fn ids(ids: &[Arc<str>]) -> Vec<&str> {
        ids.iter().map(|id| &**id).collect()
    }

    #[test]
    fn a_session_has_twice_its_ttl_and_again_with_each_renewal() {
        let mut state = State::default();
        create(&mut state, "a", 10_000);
        create(&mut state, "for-ever", 0);
        let mut timers = Timers::default();
        timers.begin(state.sessions(), 1_000);
        assert_eq!(timers.next(), Some(21_000));

        assert!(timers.renew("a", 20_999) && timers.renew("for-ever", 5) && timers.renew("nobody", 5));

        assert!(timers.take_due(40_998, 10).is_empty());
        assert_eq!(ids(&timers.take_due(40_999, 10)), ["a"]);
        assert!(!timers.renew("a", 40_999), "it came too late");
        assert_eq!(timers.next(), None);
        end(&mut state, "a");
        timers.follow(state.sessions(), 41_000);
        assert!(timers.renew("a", 41_000), "it is not there, which is for others to say");
    }

    #[test]
    fn who_leads_anew_gives_all_their_full_time() {
        let mut state = State::default();
        create(&mut state, "a", 10_000);
        let mut timers = Timers::default();
        timers.begin(state.sessions(), 0);
        timers.stop();
        assert_eq!(timers.next(), None);

        timers.begin(state.sessions(), 19_999);

        assert_eq!(timers.next(), Some(39_999));
    }

    #[test]
    fn what_could_not_be_ended_is_tried_again() {
        let mut state = State::default();
        for id in ["a", "b", "c"] {
            create(&mut state, id, 10_000);
        }
        let mut timers = Timers::default();
        timers.begin(state.sessions(), 0);
        let due = timers.take_due(20_000, 2);
        assert_eq!(ids(&due), ["a", "b"]);

        timers.put_off(&due, 21_000);

        assert_eq!(ids(&timers.take_due(20_000, 2)), ["c"]);
        assert!(!timers.renew("a", 20_500));
        assert_eq!(timers.next(), Some(21_000));
        end(&mut state, "a");
        timers.follow(state.sessions(), 20_600);
        assert_eq!(ids(&timers.take_due(21_000, 2)), ["b"]);
    }

    proptest! {
        /// Whatever comes: no session is ended before its time, and none later than the first look
        /// after it.
        #[test]
        fn a_session_ends_at_the_first_look_after_its_time(
            steps in prop::collection::vec((0..6_u8, 0..4_u8, 0..9_u64), 0..80),
        ) {
            let mut state = State::default();
            let mut timers = Timers::default();
            timers.begin(state.sessions(), 0);
            let mut deadlines: BTreeMap<String, (u64, u64)> = BTreeMap::new();
            let mut now = 0;
            for (what, who, time) in steps {
                now += time;
                let id = format!("s{who}");
                match what {
                    0 => {
                        let ttl = 3 + u64::from(who);
                        create(&mut state, &id, ttl);
                        timers.follow(state.sessions(), now);
                        deadlines.entry(id).or_insert((now + 2 * ttl, 2 * ttl));
                    }
                    1 => {
                        end(&mut state, &id);
                        timers.follow(state.sessions(), now);
                        deadlines.remove(&id);
                    }
                    2 | 3 => {
                        prop_assert!(timers.renew(&id, now));
                        if let Some((deadline, life)) = deadlines.get_mut(&id) {
                            *deadline = now + *life;
                        }
                    }
                    4 => {
                        timers.begin(state.sessions(), now);
                        for (deadline, life) in deadlines.values_mut() {
                            *deadline = now + *life;
                        }
                    }
                    _ => {
                        prop_assert_eq!(timers.next(), deadlines.values().map(|(deadline, _)| *deadline).min());
                        for id in timers.take_due(now, 100) {
                            let (deadline, _) = deadlines.remove(&*id).unwrap();
                            prop_assert!(deadline <= now, "{} ended at {}, before {}", id, now, deadline);
                            end(&mut state, &id);
                        }
                        prop_assert!(deadlines.values().all(|(deadline, _)| now < *deadline));
                        timers.follow(state.sessions(), now);
                    }
                }
            }
        }
    }
}
