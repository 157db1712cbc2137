//! What a schedule has done to the servers.

use std::net::IpAddr;
use std::time::Duration;

use super::net;
use super::schedule::{Fault, Who};
use super::world::{CLIENTS, WAY, World, ip};

/// How long a server may take to stop that was told to, and to start.
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(10);

impl World {
    /// Does it, now.
    pub(super) fn apply(&mut self, fault: Fault) -> anyhow::Result<()> {
        match fault {
            Fault::Kill(who) => self.kill(self.place(who)),
            Fault::PowerCut(who) => self.cut_power(self.place(who))?,
            Fault::PowerCutAll => (0..self.count()).try_for_each(|number| self.cut_power(number))?,
            Fault::Stop(who) => self.stop(self.place(who)),
            Fault::Start => self.start(),
            Fault::Bounce(who) => {
                let number = self.place(who);
                self.kill(number);
                self.power_up(number);
            }
            Fault::Part(who) => self.others(who, |world, one, other| world.sim.partition(one, other)),
            Fault::Deafen(who) => self.others(who, |world, one, other| world.sim.partition_oneway(other, one)),
            Fault::Silence(who) => self.others(who, |world, one, other| world.sim.partition_oneway(one, other)),
            Fault::Confine(who) => net::confine(ip(self.place(who))),
            Fault::Hold(who) => self.others(who, |world, one, other| world.sim.hold(one, other)),
            Fault::Delay(who, ms) => self.others(who, |world, one, other| {
                world.sim.set_link_latency(one, other, Duration::from_millis(ms));
            }),
            Fault::Mend => self.mend(),
            Fault::HandOver => self.hand_over(),
        }
        Ok(())
    }

    /// All is whole again, and everybody up.
    pub(super) fn heal(&mut self) -> anyhow::Result<()> {
        self.mend();
        self.until("a server that was told to stop has stopped", STOP, |world| {
            !world.is_stopping()
        })?;
        self.start();
        self.until("everybody is up", START, Self::is_open)
    }

    fn place(&self, who: Who) -> usize {
        let beside = match who {
            Who::Leader => 0,
            Who::Next => 1,
            Who::Last => 2,
        };
        (self.leader().unwrap_or(0) + beside) % self.count()
    }

    /// The other servers, and the clients.
    fn beside(&self, number: usize) -> Vec<usize> {
        let servers = (0..self.count()).filter(|other| *other != number);
        servers.chain([CLIENTS]).collect()
    }

    fn others(&self, who: Who, harm: impl Fn(&Self, IpAddr, IpAddr)) {
        let one = self.place(who);
        for other in (0..self.count()).filter(|other| *other != one) {
            harm(self, ip(one), ip(other));
        }
    }

    /// Nothing of what it says comes through any more, not even that it has gone.
    fn cut_power(&mut self, number: usize) -> anyhow::Result<()> {
        for other in self.beside(number) {
            self.sim.partition(ip(number), ip(other));
        }
        self.kill(number);
        self.lose(number)
    }

    fn mend(&mut self) {
        let (least, most) = (Duration::from_millis(WAY.0), Duration::from_millis(WAY.1));
        net::confine_nobody();
        for one in 0..self.count() {
            for other in self.beside(one).into_iter().filter(|other| *other > one) {
                let (one, other) = (ip(one), ip(other));
                self.sim.release(one, other);
                self.sim.repair(one, other);
                self.sim.set_link_latency(one, other, least);
                self.sim.set_link_max_message_latency(one, other, most);
            }
        }
    }

    fn start(&mut self) {
        for number in 0..self.count() {
            if !self.is_up(number) {
                for other in self.beside(number) {
                    self.sim.repair(ip(number), ip(other));
                }
                self.power_up(number);
            }
        }
    }
}
