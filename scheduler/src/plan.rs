//! What to do next with the instances of one app. Nothing is remembered here: each plan is made from what runs.
//!
//! | room | what it plans |
//! | --- | --- |
//! | [`replace`] | a new configuration, rolled through the instances |
//! | [`scale`] | another number of them |
//! | [`deployment`] | the steps of a change to several apps |

pub mod deployment;
pub mod replace;
pub mod scale;

use crate::instance::InstanceId;

/// An instance, as far as a plan needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub id: InstanceId,
    /// It has the newest configuration.
    pub current: bool,
    /// It is wanted to run; otherwise it is on its way out.
    pub wanted: bool,
    /// Its checks say so, and its readiness check where there is one.
    pub healthy: bool,
    /// It was well, and has not been asked since somebody else leads: it may be, and counts as one that may not go
    /// without another in its place.
    pub unknown: bool,
    pub condition: Condition,
    /// When it came into this condition, in milliseconds.
    pub since: u64,
}

impl Seen {
    fn may_be_well(&self) -> bool {
        self.healthy || self.unknown
    }
}

/// How far an instance is, in the order in which those not needed go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    Unreachable,
    Staging,
    Starting,
    Running,
    Other,
}

/// What is safe to do now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moves {
    /// How many new instances to begin.
    pub start: u32,
    /// Which to take away, in this order.
    pub stop: Vec<InstanceId>,
    /// All is as it is to be.
    pub done: bool,
}

/// A number of instances. There are never more than fit.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
pub(crate) mod testing;
