//! Instances for the tests of plans, and a small world in which moves are carried out.

use super::{Condition, Moves, Seen};
use crate::app::AppId;
use crate::instance::InstanceId;

pub(crate) fn id(n: u32) -> InstanceId {
    InstanceId {
        app: AppId::absolute("/web").expect("a path"),
        uuid: format!("00000000-0000-4000-8000-{n:012}"),
    }
}

pub(crate) fn running(n: u32, current: bool, healthy: bool) -> Seen {
    Seen {
        id: id(n),
        current,
        wanted: true,
        healthy,
        unknown: false,
        condition: Condition::Running,
        since: u64::from(n),
    }
}

/// `n` old ones, the first `ill` of them not healthy.
pub(crate) fn old(n: u32, ill: u32) -> Vec<Seen> {
    (0..n).map(|n| running(n, false, n >= ill)).collect()
}

/// Instances that come and go as they are told.
pub(crate) struct Town {
    pub(crate) seen: Vec<Seen>,
    next: u32,
}

impl Town {
    pub(crate) fn new(seen: Vec<Seen>) -> Self {
        Self { seen, next: 100_000 }
    }

    /// Begins what is to begin; what is to stop is on its way out and still there.
    pub(crate) fn carry_out(&mut self, moves: &Moves) {
        for _ in 0..moves.start {
            self.seen.push(running(self.next, true, false));
            self.next += 1;
        }
        for seen in self.seen.iter_mut().filter(|seen| moves.stop.contains(&seen.id)) {
            seen.wanted = false;
        }
    }

    /// One that is on its way out is gone. Whether there was one.
    pub(crate) fn one_ends(&mut self) -> bool {
        let stopping = self.seen.iter().position(|seen| !seen.wanted);
        stopping.map(|at| self.seen.remove(at)).is_some()
    }

    /// One that is wanted becomes healthy. Whether there was one.
    pub(crate) fn one_heals(&mut self) -> bool {
        let ill = self.seen.iter_mut().find(|seen| seen.wanted && !seen.healthy);
        ill.map(|seen| seen.healthy = true).is_some()
    }

    pub(crate) fn healthy(&self) -> usize {
        self.seen.iter().filter(|seen| seen.wanted && seen.healthy).count()
    }
}
