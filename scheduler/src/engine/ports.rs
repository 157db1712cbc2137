//! Which ports of this machine tasks have.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

/// See the module. A port that was given back is given out again as late as possible: whoever still has its number would
/// reach another.
#[derive(Debug)]
pub(super) struct Ports {
    free: VecDeque<u16>,
    /// How many have it; two may, of different protocols.
    taken: BTreeMap<u16, u32>,
    range: RangeInclusive<u16>,
}

impl Ports {
    /// The first that is given out is `from` places behind the beginning: schedulers beside each other begin elsewhere.
    pub(super) fn new(range: RangeInclusive<u16>, from: usize) -> Self {
        let mut free: VecDeque<u16> = range.clone().collect();
        free.rotate_left(from.checked_rem(range.len()).unwrap_or(0));
        Self {
            free,
            taken: BTreeMap::new(),
            range,
        }
    }

    /// One that nobody has.
    pub(super) fn any(&mut self) -> Option<u16> {
        while let Some(port) = self.free.pop_front() {
            if !self.is_taken(port) {
                self.take(&[port]);
                return Some(port);
            }
        }
        None
    }

    pub(super) fn is_taken(&self, port: u16) -> bool {
        self.taken.contains_key(&port)
    }

    pub(super) fn take(&mut self, ports: &[u16]) {
        for port in ports.iter().filter(|port| **port != 0) {
            *self.taken.entry(*port).or_default() += 1;
        }
    }

    pub(super) fn free(&mut self, ports: &[u16]) {
        for port in ports.iter().filter(|port| **port != 0) {
            match self.taken.get_mut(port) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) => {
                    self.taken.remove(port);
                    if self.range.contains(port) && !self.free.contains(port) {
                        self.free.push_back(*port);
                    }
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_given_out_once_and_again_as_late_as_possible() {
        let mut ports = Ports::new(100..=102, 3);
        ports.take(&[101]);

        assert_eq!(ports.any(), Some(100));
        ports.free(&[100]);
        assert_eq!((ports.any(), ports.any(), ports.any()), (Some(102), Some(100), None));
        ports.free(&[101, 7]);
        assert_eq!(ports.any(), Some(101), "it is free again, and 7 never was ours");
    }
}
