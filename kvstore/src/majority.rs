//! Whether a majority of the servers still answers a leader.
//!
//! openraft 0.9 has a leader lead on although it hears nobody. If its own words still arrive, the others stay true to
//! it, and nothing is decided for as long as that lasts. So a leader that no majority has answered for a while leads no
//! more, as far as anybody here is concerned, and falls silent for so long that the others can elect another one. Then
//! it speaks again for a moment, to find out whether it is heard by now, and so on.

use std::time::Duration;

use crate::raft::Pace;

/// How a leader stands with the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Majority {
    /// A majority answers.
    #[default]
    Answers,
    /// None does, and it is asked.
    Asked,
    /// None does, and it is left alone.
    LeftAlone,
}

/// When a majority has answered. Times count from any moment that stays the same.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ear {
    answered: Duration,
}

impl Ear {
    /// What is so now. `silence` is how long no majority has answered, as far as that is known; `leads`
    /// whether anybody has to.
    pub(crate) fn look(&mut self, pace: Pace, now: Duration, leads: bool, silence: Option<Duration>) -> Majority {
        if !leads {
            self.answered = now;
        } else if let Some(silence) = silence {
            self.answered = self.answered.max(now.saturating_sub(silence));
        }
        let unheard = now.saturating_sub(self.answered);
        let Some(since) = unheard.checked_sub(lost(pace)) else {
            return Majority::Answers;
        };
        let (alone, asked) = (left_alone(pace).as_millis(), asked(pace).as_millis());
        match since.as_millis() % (alone + asked) < alone {
            true => Majority::LeftAlone,
            false => Majority::Asked,
        }
    }
}

/// So long a majority may be silent: longer than any that is well.
fn lost(pace: Pace) -> Duration {
    pace.lease() * 2
}

/// Until the others may elect another, and the last of them has stood for it.
fn left_alone(pace: Pace) -> Duration {
    pace.lease() * 2
}

fn asked(pace: Pace) -> Duration {
    pace.lease() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace::USUAL;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_leader_that_is_answered_leads_and_one_that_is_not_falls_silent_in_turns() {
        let mut ear = Ear::default();
        assert_eq!(ear.look(PACE, ms(10_000), false, None), Majority::Answers);
        // It has begun, and nobody has answered yet.
        assert_eq!(ear.look(PACE, ms(11_900), true, None), Majority::Answers);
        assert_eq!(ear.look(PACE, ms(11_950), true, Some(ms(100))), Majority::Answers);
        // From 11.85 on nobody does.
        assert_eq!(ear.look(PACE, ms(13_840), true, Some(ms(1990))), Majority::Answers);
        for (at, is) in [
            (13_850, Majority::LeftAlone),
            (15_840, Majority::LeftAlone),
            (15_850, Majority::Asked),
            (16_340, Majority::Asked),
            (16_350, Majority::LeftAlone),
        ] {
            assert_eq!(ear.look(PACE, ms(at), true, Some(ms(at - 11_850))), is, "{at}");
        }
        assert_eq!(ear.look(PACE, ms(16_400), true, Some(ms(10))), Majority::Answers);
    }

    #[test]
    fn what_is_told_late_takes_nothing_back() {
        let mut ear = Ear::default();
        assert_eq!(ear.look(PACE, ms(5000), true, Some(ms(10))), Majority::Answers);
        // The figure stands still while Raft has no time to renew it.
        assert_eq!(ear.look(PACE, ms(6000), true, Some(ms(4000))), Majority::Answers);
    }

    #[test]
    fn far_servers_have_more_time() {
        let pace = Pace::new(3).unwrap();
        let mut ear = Ear::default();
        assert_eq!(ear.look(pace, ms(5900), true, None), Majority::Answers);
        assert_eq!(ear.look(pace, ms(6000), true, None), Majority::LeftAlone);
    }
}
