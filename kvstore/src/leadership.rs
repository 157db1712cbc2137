//! Who leads, as this server knows it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Instant, timeout_at};
use crate::contact::Contact;
use crate::majority::{Ear, Majority};
use crate::raft::{NodeId, Pace, Raft};

/// How often it is looked at whether a majority answers.
const LOOK: Duration = Duration::from_millis(100);

/// See the module. Clones are the same.
#[derive(Clone)]
pub(crate) struct Leadership {
    raft: Raft,
    restraint: Restraint,
    pace: Pace,
}

/// Who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leader {
    Me,
    Other(NodeId),
}

/// What keeps a server from leading, or from being led, although Raft has it so. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Restraint(Arc<watch::Sender<Reasons>>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Reasons {
    handover: Handover,
    majority: Majority,
    /// Whether another leads, as far as is known, and has not been heard of for long.
    unheard: bool,
}

/// How far a hand-over is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Handover {
    #[default]
    None,
    /// What is to be decided waits as if nobody led.
    Begun,
    /// The others hear nothing any more.
    Silent,
}

impl Reasons {
    const fn leads(self) -> bool {
        matches!(
            self,
            Self {
                handover: Handover::None,
                majority: Majority::Answers,
                ..
            }
        )
    }

    const fn is_silent(self) -> bool {
        matches!(self.handover, Handover::Silent) || matches!(self.majority, Majority::LeftAlone)
    }
}

impl Restraint {
    /// Whether the others are to hear nothing of this leader, so that they elect another one.
    pub(crate) fn is_silent(&self) -> bool {
        self.0.borrow().is_silent()
    }

    fn set(&self, change: impl FnOnce(&mut Reasons)) {
        self.0.send_if_modified(|reasons| {
            let before = *reasons;
            change(reasons);
            *reasons != before
        });
    }
}

/// This server hands over, until it is dropped: then it leads on, if nobody else does.
pub(crate) struct HandingOver(Restraint);

impl HandingOver {
    /// The others hear nothing of this server from now on, until they have elected another.
    pub(crate) fn fall_silent(&self) {
        self.0.set(|reasons| reasons.handover = Handover::Silent);
    }
}

impl Drop for HandingOver {
    fn drop(&mut self) {
        self.0.set(|reasons| reasons.handover = Handover::None);
    }
}

impl Leadership {
    pub(crate) const fn new(raft: Raft, restraint: Restraint, pace: Pace) -> Self {
        Self { raft, restraint, pace }
    }

    /// How long what needs a leader is held while nobody leads.
    pub(crate) const fn hold(&self) -> Duration {
        self.pace.hold()
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.raft
    }

    /// Who leads, if anybody is known to.
    pub(crate) fn leader(&self) -> Option<Leader> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow();
        match metrics.current_leader? {
            id if id != metrics.id => self.is_heard().then_some(Leader::Other(id)),
            _ if self.restraint.0.borrow().leads() => Some(Leader::Me),
            _ => None,
        }
    }

    /// Whether this server leads.
    pub(crate) fn is_mine(&self) -> bool {
        self.leader() == Some(Leader::Me)
    }

    /// Whether it leads, or will once nobody takes over from it.
    pub(crate) fn is_held(&self) -> bool {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow();
        metrics.current_leader == Some(metrics.id)
    }

    /// This server.
    pub(crate) fn me(&self) -> NodeId {
        self.raft.server_metrics().borrow().id
    }

    /// Who votes.
    pub(crate) fn voters(&self) -> BTreeSet<NodeId> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.voter_ids().collect()
    }

    /// Whether it is the only one that votes.
    pub(crate) fn is_alone(&self) -> bool {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.voter_ids().eq([metrics.id])
    }

    /// Whether a majority answers, if this server leads; if not, that is not asked.
    pub(crate) fn is_answered(&self) -> bool {
        self.restraint.0.borrow().majority == Majority::Answers
    }

    /// Whether the leader is heard of, if another one leads.
    pub(crate) fn is_heard(&self) -> bool {
        !self.restraint.0.borrow().unheard
    }

    /// Who leads, once anybody is known to; `None` if nobody was until the deadline.
    pub(crate) async fn known(&self, deadline: Instant) -> Option<Leader> {
        timeout_at(deadline, self.wait_for(Option::is_some)).await.ok()??
    }

    /// Waits until this server leads; `false` if Raft has ended.
    pub(crate) async fn begins(&self) -> bool {
        self.wait_for(|leader| *leader == Some(Leader::Me)).await.is_some()
    }

    /// Waits until this server does not lead, or Raft has ended.
    pub(crate) async fn ends(&self) {
        let _ = self.wait_for(|leader| *leader != Some(Leader::Me)).await;
    }

    /// Waits until somebody else leads, or Raft has ended.
    pub(crate) async fn passes(&self) -> Option<NodeId> {
        let other = self.wait_for(|leader| matches!(leader, Some(Leader::Other(_)))).await;
        match other {
            Some(Some(Leader::Other(id))) => Some(id),
            _ => None,
        }
    }

    /// What comes of something for as long as another server leads; `None` once it does not.
    pub(crate) async fn while_led_by<T>(&self, id: NodeId, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            _ = self.wait_for(|leader| *leader != Some(Leader::Other(id))) => None,
        }
    }

    /// From now on, until what is returned is dropped, nobody leads here.
    pub(crate) fn hand_over(&self) -> HandingOver {
        self.restraint.set(|reasons| reasons.handover = Handover::Begun);
        HandingOver(self.restraint.clone())
    }

    /// Looks, until the server stops, whether a majority answers, and leads no more while none does; and whether the
    /// other one that leads is heard of.
    pub(crate) async fn stay_in_touch(self, contact: Contact, pace: Pace, stopping: CancellationToken) {
        let (start, mut ear) = (clock::now(), Ear::default());
        while stopping.run_until_cancelled(clock::sleep(LOOK)).await.is_some() {
            let handing_over = self.restraint.0.borrow().handover != Handover::None;
            let leads = self.is_held() && !self.is_alone() && !handing_over;
            let silence = self.raft.data_metrics().borrow().millis_since_quorum_ack;
            let majority = ear.look(pace, start.elapsed(), leads, silence.map(Duration::from_millis));
            let answered = self.is_answered();
            match majority {
                Majority::Answers if !answered => tracing::info!("a majority of the servers answers again"),
                Majority::LeftAlone if answered => {
                    tracing::warn!("no majority of the servers answers: this one leads no more until one does");
                }
                _ => {}
            }
            let unheard = !self.is_held() && Duration::from_millis(contact.ms()) > pace.lease() * 2;
            self.restraint.set(|reasons| {
                reasons.majority = majority;
                reasons.unheard = unheard;
            });
        }
    }

    /// Who leads, once it is as wanted; `None` if Raft has ended.
    async fn wait_for(&self, wanted: impl Fn(&Option<Leader>) -> bool) -> Option<Option<Leader>> {
        let mut metrics = self.raft.server_metrics();
        let mut restraint = self.restraint.0.subscribe();
        loop {
            metrics.borrow_and_update();
            restraint.borrow_and_update();
            let leader = self.leader();
            if wanted(&leader) {
                return Some(leader);
            }
            tokio::select! {
                changed = metrics.changed() => changed.ok()?,
                _ = restraint.changed() => {}
            }
        }
    }
}
