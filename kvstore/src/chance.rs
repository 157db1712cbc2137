//! Chance: one of the four seams to the world. Nothing else in this crate throws dice.

use std::time::Duration;

/// A new id that nobody else has.
#[must_use]
pub fn id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Between nothing and `most`, evenly.
#[must_use]
pub fn jitter(most: Duration) -> Duration {
    most.mul_f64(rand::random())
}
