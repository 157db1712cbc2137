//! What is done to the servers, and when: a value, made from a seed or written down in a test.

use std::fmt;

/// See the module. Its text is the Rust that makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schedule {
    /// What else chance decides: how long messages are under way, what clients ask, what a power cut leaves.
    pub(super) seed: u64,
    /// How many servers there are.
    pub(super) servers: usize,
    pub(super) steps: Vec<Step>,
}

/// When, in milliseconds since the clients began, and what.
pub(super) type Step = (u64, Fault);

/// To whom: a server by its place beside the one that leads then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Leader,
    Next,
    /// The second next.
    Last,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// As by `kill -9`: what was written is there, durable or not.
    Kill(Who),
    /// The power of a machine fails: nobody hears of it, and what was not durable is lost.
    PowerCut(Who),
    /// Of all at once.
    PowerCutAll,
    /// As by SIGTERM.
    Stop(Who),
    /// Whoever is down is started.
    Start,
    /// Killed and started at once.
    Bounce(Who),
    /// The others do not hear it, nor it them.
    Part(Who),
    /// It hears nobody.
    Deafen(Who),
    /// Nobody hears it.
    Silence(Who),
    /// The others reach it, and it opens no connection to them.
    Confine(Who),
    /// What is said between it and the others comes with `Mend`.
    Hold(Who),
    /// What is said between it and the others takes so many milliseconds.
    Delay(Who, u64),
    /// The network is whole and quick again.
    Mend,
    /// The leader has another one lead.
    HandOver,
}

use Fault::{
    Bounce, Confine, Deafen, Delay, HandOver, Hold, Kill, Mend, Part, PowerCut, PowerCutAll, Silence, Start, Stop,
};

/// How many harms there are, at least and at most.
const HARMS: (u64, u64) = (3, 7);

/// How far they are apart, and how long one lasts, in milliseconds: at least and at most.
const APART: (u64, u64) = (100, 2500);
const LASTS: (u64, u64) = (50, 4000);

impl Schedule {
    /// Of three servers.
    pub(super) fn of(seed: u64, steps: &[Step]) -> Self {
        Self {
            seed,
            servers: 3,
            steps: steps.to_vec(),
        }
    }

    /// The same of so many servers.
    pub(super) fn among(self, servers: usize) -> Self {
        Self { servers, ..self }
    }

    /// Harms that overlap, each of which passes some time later; of three servers.
    pub(super) fn random(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut at = 300;
        let mut steps = Vec::new();
        for _ in 0..dice.between(HARMS) {
            at += dice.between(APART);
            let (harm, cure) = dice.harm();
            steps.push((at, harm));
            if let Some(cure) = cure {
                steps.push((at + dice.between(LASTS), cure));
            }
        }
        steps.sort_by_key(|(at, _)| *at);
        Self::of(seed, &steps)
    }

    /// When the last is done.
    pub(super) fn end(&self) -> u64 {
        self.steps.last().map_or(0, |(at, _)| *at)
    }

    /// It without some of its steps.
    pub(super) fn without(&self, from: usize, count: usize) -> Self {
        let kept = self.steps.iter().enumerate();
        let kept = kept.filter(|(place, _)| !(from..from + count).contains(place));
        Self {
            steps: kept.map(|(_, step)| *step).collect(),
            ..*self
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule::of({}, &{:?})", self.seed, self.steps)?;
        match self.servers {
            3 => Ok(()),
            servers => write!(f, ".among({servers})"),
        }
    }
}

/// Numbers that follow from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn between(&mut self, (least, most): (u64, u64)) -> u64 {
        least + self.next() % (most - least + 1)
    }

    fn who(&mut self) -> Who {
        match self.between((0, 3)) {
            0 | 1 => Who::Leader,
            2 => Who::Next,
            _ => Who::Last,
        }
    }

    /// A harm, and what undoes it.
    fn harm(&mut self) -> (Fault, Option<Fault>) {
        let who = self.who();
        match self.between((0, 20)) {
            0..3 => (Kill(who), Some(Start)),
            3..6 => (PowerCut(who), Some(Start)),
            6..8 => (PowerCutAll, Some(Start)),
            8 => (Stop(who), Some(Start)),
            9..11 => (Bounce(who), None),
            11..13 => (Part(who), Some(Mend)),
            13..15 => (Deafen(who), Some(Mend)),
            15..17 => (Silence(who), Some(Mend)),
            20 => (Confine(who), Some(Mend)),
            17 => (Hold(who), Some(Mend)),
            18 => (Delay(who, self.between((20, 400))), Some(Mend)),
            _ => (HandOver, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_one_schedule_and_another_seed_another() {
        assert_eq!(Schedule::random(1), Schedule::random(1));
        assert_ne!(Schedule::random(1).steps, Schedule::random(2).steps);
    }

    #[test]
    fn every_fault_comes_and_in_the_order_of_time() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let schedule = Schedule::random(seed);
            assert!(schedule.steps.is_sorted_by_key(|(at, _)| *at));
            assert!(schedule.steps.len() as u64 >= HARMS.0 && schedule.end() < 30_000);
            let names = schedule.steps.iter().map(|(_, fault)| format!("{fault:?}"));
            seen.extend(names.map(|name| name.split('(').next().unwrap_or_default().to_owned()));
        }
        assert_eq!(seen.len(), 14, "{seen:?}");
    }

    #[test]
    fn its_text_is_the_rust_that_makes_it() {
        use Who::Leader;
        let schedule = Schedule::of(7, &[(1200, Kill(Leader)), (2500, Start), (2600, Delay(Leader, 30))]);
        assert_eq!(
            schedule.to_string(),
            "Schedule::of(7, &[(1200, Kill(Leader)), (2500, Start), (2600, Delay(Leader, 30))])"
        );
        let of_five = Schedule::of(7, &[(1200, Kill(Leader))]).among(5);
        assert_eq!(of_five.to_string(), "Schedule::of(7, &[(1200, Kill(Leader))]).among(5)");
    }
}
