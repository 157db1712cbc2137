//! Which ports of this machine tasks have.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

use crate::app::Protocol;
use crate::instance::InstanceId;

/// See the module. A port that was given back is given out again as late as possible: whoever still has its number would
/// reach another.
#[derive(Debug)]
pub(super) struct Ports {
    free: VecDeque<u16>,
    /// How many have it. Two may, of different protocols; what ran before this scheduler may be more.
    taken: BTreeMap<u16, Taken>,
    held: BTreeMap<InstanceId, Vec<(u16, Protocol)>>,
    range: RangeInclusive<u16>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Taken {
    tcp: u32,
    udp: u32,
}

impl Taken {
    /// Those that a protocol is about.
    fn of(&mut self, protocol: Protocol) -> impl Iterator<Item = &mut u32> {
        let tcp = (protocol != Protocol::Udp).then_some(&mut self.tcp);
        let udp = (protocol != Protocol::Tcp).then_some(&mut self.udp);
        tcp.into_iter().chain(udp)
    }
}

impl Ports {
    /// The first that is given out is `from` places behind the beginning: schedulers beside each other begin elsewhere.
    pub(super) fn new(range: RangeInclusive<u16>, from: usize) -> Self {
        let mut free: VecDeque<u16> = range.clone().collect();
        free.rotate_left(from.checked_rem(range.len()).unwrap_or(0));
        Self {
            free,
            taken: BTreeMap::new(),
            held: BTreeMap::new(),
            range,
        }
    }

    /// One that nobody has, of neither protocol.
    pub(super) fn any(&mut self, holder: &InstanceId, protocol: Protocol) -> Option<u16> {
        while let Some(port) = self.free.pop_front() {
            if !self.taken.contains_key(&port) {
                self.take(holder, port, protocol);
                return Some(port);
            }
        }
        None
    }

    pub(super) fn is_taken(&self, port: u16, protocol: Protocol) -> bool {
        self.taken.get(&port).is_some_and(|taken| match protocol {
            Protocol::Tcp => taken.tcp > 0,
            Protocol::Udp => taken.udp > 0,
            Protocol::UdpTcp => true,
        })
    }

    /// An instance has it from now on. 0 is none.
    pub(super) fn take(&mut self, holder: &InstanceId, port: u16, protocol: Protocol) {
        if port != 0 {
            let taken = self.taken.entry(port).or_default();
            taken.of(protocol).for_each(|count| *count += 1);
            self.held.entry(holder.clone()).or_default().push((port, protocol));
        }
    }

    /// An instance gives back all that it has.
    pub(super) fn free(&mut self, holder: &InstanceId) {
        for (port, protocol) in self.held.remove(holder).unwrap_or_default() {
            let Some(taken) = self.taken.get_mut(&port) else {
                continue;
            };
            taken.of(protocol).for_each(|count| *count = count.saturating_sub(1));
            if *taken == Taken::default() {
                self.taken.remove(&port);
                if self.range.contains(&port) && !self.free.contains(&port) {
                    self.free.push_back(port);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::AppId;

    fn instance(uuid: &str) -> InstanceId {
        InstanceId {
            app: AppId::root(),
            uuid: uuid.into(),
        }
    }

    #[test]
    fn ports_are_given_out_once_and_again_as_late_as_possible() {
        let mut ports = Ports::new(100..=102, 3);
        let [a, b, c] = ["a", "b", "c"].map(instance);
        ports.take(&a, 101, Protocol::Tcp);

        assert_eq!(ports.any(&b, Protocol::Tcp), Some(100));
        ports.free(&b);
        let any = [(); 3].map(|()| ports.any(&c, Protocol::Udp));
        assert_eq!(any, [Some(102), Some(100), None]);
        ports.free(&a);
        ports.free(&b);
        assert_eq!(
            ports.any(&b, Protocol::Tcp),
            Some(101),
            "it is free again, and b had none"
        );
    }

    #[test]
    fn what_one_has_of_one_protocol_another_may_have_of_the_other() {
        use Protocol::{Tcp, Udp, UdpTcp};
        let mut ports = Ports::new(100..=100, 0);
        let [a, b] = ["a", "b"].map(instance);
        let taken = |ports: &Ports| [Tcp, Udp, UdpTcp].map(|protocol| ports.is_taken(53, protocol));

        assert_eq!(taken(&ports), [false, false, false]);
        ports.take(&a, 53, Tcp);
        assert_eq!(taken(&ports), [true, false, true]);
        ports.take(&b, 53, Udp);
        assert_eq!(taken(&ports), [true, true, true]);
        ports.free(&a);
        assert_eq!(taken(&ports), [false, true, true]);
        ports.free(&b);
        ports.take(&a, 53, UdpTcp);
        assert_eq!(taken(&ports), [true, true, true]);
        ports.free(&a);
        assert_eq!(taken(&ports), [false, false, false]);
    }
}
