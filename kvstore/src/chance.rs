//! Chance: one of the four seams to the world. Nothing else in this crate throws dice.

use std::time::Duration;

/// A new id that nobody else has.
#[must_use]
pub fn id() -> String {
    #[cfg(test)]
    if let Some(bytes) = seeded::bytes() {
        return uuid::Builder::from_random_bytes(bytes).into_uuid().to_string();
    }
    uuid::Uuid::new_v4().to_string()
}

/// Between nothing and `most`, evenly.
#[must_use]
pub fn jitter(most: Duration) -> Duration {
    #[cfg(test)]
    if let Some(part) = seeded::part() {
        return most.mul_f64(part);
    }
    most.mul_f64(rand::random())
}

/// The dice of a simulation: those of its thread, which fall as its seed has them fall.
#[cfg(test)]
pub(crate) mod seeded {
    use std::cell::RefCell;

    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    thread_local! {
        static DICE: RefCell<Option<StdRng>> = const { RefCell::new(None) };
    }

    /// From now on chance on this thread follows from a seed; from none, it is chance again.
    pub(crate) fn begin(seed: Option<u64>) {
        DICE.set(seed.map(StdRng::seed_from_u64));
    }

    pub(super) fn bytes() -> Option<[u8; 16]> {
        DICE.with_borrow_mut(|dice| Some(dice.as_mut()?.random()))
    }

    pub(super) fn part() -> Option<f64> {
        DICE.with_borrow_mut(|dice| Some(dice.as_mut()?.random()))
    }

    /// A number below `most`.
    pub(crate) fn below(most: u64) -> u64 {
        let thrown = |dice: &mut Option<StdRng>| dice.as_mut().map(|dice| dice.random_range(0..most.max(1)));
        DICE.with_borrow_mut(thrown).expect("a simulation has dice")
    }
}
