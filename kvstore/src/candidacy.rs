//! When a server stands for election.
//!
//! openraft 0.9 decides that too, but it draws a server's patience once, when that starts, and has it wait two seconds
//! longer once another has refused it for having more of the log, as happens whenever a leader dies under load. A server
//! that was cut off raises its term all the while, and ends the leader's when it is back. So openraft is told not to
//! stand, and is made to: a server that has not heard of a leader for long enough first asks the others how they see it.
//! Only if a majority is without a leader there is an election, and the one that has most of the log stands.

use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::chance;
use crate::clock;
use crate::contact::Contact;
use crate::leadership::Leadership;
use crate::peer::ask::{Ask, Opinion, Told};
use crate::peer::links::Links;
use crate::raft::{NodeId, Pace};

/// Who is to stand, if anybody is: of those that can be reached and elected, the one that has most of the log, and who
/// asks rather than another. One that was asked to `in_vain` just now may not be able to.
fn choose(
    me: (NodeId, Opinion),
    others: &[(NodeId, Opinion)],
    voters: usize,
    in_vain: Option<NodeId>,
) -> Option<NodeId> {
    let leaderless = [me]
        .iter()
        .chain(others)
        .filter(|(_, opinion)| opinion.leaderless)
        .count();
    if leaderless * 2 <= voters {
        return None;
    }
    let able = others
        .iter()
        .filter(|(id, opinion)| opinion.leaderless && opinion.follows && in_vain != Some(*id));
    let best = able.fold(me, |best, other| match other.1.log > best.1.log {
        true => *other,
        false => best,
    });
    Some(best.0)
}

/// How long a server waits before it does something about there being no leader.
struct Patience {
    pace: Pace,
    /// When it last did.
    acted: Option<Duration>,
    /// What it waits beyond the least, drawn anew each time, so that two servers do not stand at the same time.
    draw: Duration,
}

impl Patience {
    fn new(pace: Pace) -> Self {
        Self {
            pace,
            acted: None,
            draw: draw(pace),
        }
    }

    /// It does something now.
    fn acts(&mut self, now: Duration) {
        self.acted = Some(now);
        self.draw = draw(self.pace);
    }

    /// When it is over, if nothing comes in between. The others must be without a leader by then too: the last of
    /// them may have heard of it a heartbeat later.
    fn ends(&self, contact: &Contact) -> Duration {
        let heartbeat = self.pace.heartbeat();
        let heard = contact.heard_at() + self.pace.lease() + heartbeat * 2;
        let election = contact.voted_at().max(self.acted.unwrap_or_default()) + heartbeat * 3;
        heard.max(election) + self.draw
    }
}

fn draw(pace: Pace) -> Duration {
    chance::jitter(pace.heartbeat() * 3)
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Candidacy {
    leadership: Leadership,
    links: Links,
    contact: Contact,
    pace: Pace,
}

impl Candidacy {
    pub(crate) const fn new(leadership: Leadership, links: Links, contact: Contact, pace: Pace) -> Self {
        Self {
            leadership,
            links,
            contact,
            pace,
        }
    }

    /// How this server sees it.
    pub(crate) fn opinion(&self) -> Opinion {
        let now = self.contact.now();
        let heard = self.contact.heard_at() + self.pace.lease();
        let voted = self.contact.voted_at() + self.pace.heartbeat() * 3;
        let leads = self.leadership.is_held() && self.leadership.is_answered();
        Opinion {
            leaderless: !leads && now > heard && now > voted,
            follows: !self.leadership.is_held(),
            log: self.leadership.raft().data_metrics().borrow().last_log,
        }
    }

    /// Stands for election whenever it is time, until the server stops.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        let mut patience = Patience::new(self.pace);
        let mut in_vain = None;
        loop {
            let wait = self.wait(&patience);
            let due = self.contact.now() + wait;
            if stopping.run_until_cancelled(clock::sleep(wait)).await.is_none() {
                return;
            }
            let now = self.contact.now();
            if self.leadership.is_held() {
                if self.leadership.is_answered() {
                    // Once it does not lead any more it waits for another, like everybody.
                    self.contact.heard();
                }
            } else if self.leadership.is_alone() {
                patience.acts(now);
                self.stand(self.leadership.me()).await;
            } else if now > due + self.pace.lease() / 2 {
                // This server stood still, and may not have heard what was said meanwhile.
                patience.acts(now);
            } else if now >= patience.ends(&self.contact) {
                patience.acts(now);
                // If this one is asked to as well, and to no avail, the other one may be able to by then.
                in_vain = self.canvass(in_vain).await;
                if let Some(chosen) = in_vain {
                    self.stand(chosen).await;
                }
            }
        }
    }

    /// How long nothing is to be done.
    fn wait(&self, patience: &Patience) -> Duration {
        if self.leadership.is_held() {
            return self.pace.lease();
        }
        let ends = match patience.acted {
            None if self.leadership.is_alone() => Duration::ZERO,
            // It wins, unless the disk is slow, and that is no reason to begin again.
            Some(acted) if self.leadership.is_alone() => acted + self.pace.lease() * 2,
            _ => patience.ends(&self.contact),
        };
        let least = self.pace.heartbeat() / 4;
        ends.saturating_sub(self.contact.now()).max(least)
    }

    /// Asks everybody who votes. Who is to stand, if anybody is.
    async fn canvass(&self, in_vain: Option<NodeId>) -> Option<NodeId> {
        let me = self.leadership.me();
        let voters = self.leadership.voters();
        if !voters.contains(&me) {
            return None;
        }
        let asked = voters.iter().filter(|id| **id != me).map(async |id| {
            let told = self.links.ask(*id, &Ask::Opinion, self.pace.heartbeat()).await;
            match told {
                Ok(Told::Opinion(opinion)) => Some((*id, opinion)),
                _ => None,
            }
        });
        let others: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        let chosen = choose((me, self.opinion()), &others, voters.len(), in_vain);
        tracing::debug!(?others, ?chosen, "no leader is heard of");
        chosen
    }

    /// Has a server stand for election.
    async fn stand(&self, chosen: NodeId) {
        if chosen == self.leadership.me() {
            // It fails when Raft has ended, which is told elsewhere.
            let _ = self.leadership.raft().trigger().elect().await;
        } else if let Err(error) = self
            .links
            .ask(chosen, &Ask::Stand { anyway: false }, self.pace.heartbeat())
            .await
        {
            tracing::debug!(%error, "a server was to stand for election");
        }
    }
}

#[cfg(test)]
mod tests {
    use openraft::CommittedLeaderId;

    use super::*;
    use crate::raft::LogId;

    fn opinion(leaderless: bool, log: (u64, u64)) -> Opinion {
        Opinion {
            leaderless,
            follows: true,
            log: Some(LogId::new(CommittedLeaderId::new(log.0, 1), log.1)),
        }
    }

    #[test]
    fn the_one_with_most_of_the_log_stands() {
        let me = (2, opinion(true, (3, 10)));
        assert_eq!(choose(me, &[(1, opinion(true, (3, 10)))], 3, None), Some(2));
        assert_eq!(choose(me, &[(1, opinion(true, (3, 11)))], 3, None), Some(1));
        assert_eq!(choose(me, &[(1, opinion(true, (2, 99)))], 3, None), Some(2));
        let others = [(1, opinion(true, (4, 1))), (3, opinion(true, (4, 2)))];
        assert_eq!(choose(me, &others, 5, None), Some(3));
    }

    #[test]
    fn nobody_stands_while_no_majority_is_without_a_leader() {
        let me = (2, opinion(true, (3, 10)));
        assert_eq!(choose(me, &[], 3, None), None, "cut off");
        assert_eq!(
            choose(me, &[(1, opinion(false, (3, 10)))], 3, None),
            None,
            "it hears the leader"
        );
        let one_does = [
            (1, opinion(false, (3, 12))),
            (3, opinion(true, (3, 9))),
            (4, opinion(true, (3, 9))),
        ];
        assert_eq!(
            choose(me, &one_does, 5, None),
            Some(2),
            "a leader that most do not hear"
        );
        assert_eq!(choose(me, &[], 1, None), Some(2));
    }

    #[test]
    fn nobody_is_chosen_who_cannot_be_elected() {
        let me = (2, opinion(true, (3, 10)));
        let mut leads = opinion(true, (3, 12));
        leads.follows = false;
        let others = [(1, leads), (3, opinion(true, (3, 11)))];
        assert_eq!(
            choose(me, &others, 3, None),
            Some(3),
            "a leader without a majority cannot stand"
        );
        assert_eq!(
            choose(me, &others, 3, Some(3)),
            Some(2),
            "it was asked to, and has not been elected"
        );
        assert_eq!(choose(me, &others, 3, Some(2)), Some(3));
    }

    #[test]
    fn patience_ends_some_time_after_the_lease_and_is_drawn_anew() {
        let contact = Contact::start();
        let mut draws = std::collections::BTreeSet::new();
        let mut patience = Patience::new(Pace::USUAL);
        for _ in 0..20 {
            let ends = patience.ends(&contact).as_millis();
            assert!((1200..=1500).contains(&ends), "{ends}");
            draws.insert(ends);
            patience.acts(Duration::ZERO);
        }
        assert!(draws.len() > 5, "{draws:?}");
        patience.acts(Duration::from_secs(9));
        assert!(patience.ends(&contact) >= Duration::from_millis(9300));
    }
}
