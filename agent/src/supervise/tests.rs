//! What holds whatever happens, and examples.

use proptest::prelude::*;

use super::*;

const TIMEOUT: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy)]
enum Step {
    Start,
    Stop(Purpose),
    Pass(u64),
    /// The child ends with a code, and may leave others in its group.
    Exit(u8, bool),
    /// Those end too.
    Swept,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Start),
        1 => Just(Step::Stop(Purpose::End)),
        2 => Just(Step::Stop(Purpose::Restart)),
        4 => (0u64..200).prop_map(Step::Pass),
        3 => (0u8..2, any::<bool>()).prop_map(|(code, left)| Step::Exit(code, left)),
        2 => Just(Step::Swept),
    ]
}

/// The processes, and what was asked of them.
#[derive(Debug, Default)]
struct World {
    child: bool,
    left: bool,
    ends: u32,
    over: bool,
    /// When the group was asked to end, and whether it was killed.
    asked: Option<Instant>,
    killed: Option<Instant>,
}

impl World {
    fn take(&mut self, supervise: &mut Supervise, step: Step, now: Instant) -> Option<Deed> {
        match step {
            Step::Start => supervise.start(now),
            Step::Stop(purpose) => {
                self.ends += u32::from(purpose == Purpose::End);
                supervise.stop(purpose, now)
            }
            Step::Pass(_) => supervise.tick(now),
            Step::Exit(code, left) if self.child => {
                (self.child, self.left) = (false, left);
                let (exited, deed) = supervise.exited(left, now);
                assert!(self.ends == 0 || exited == Exited::End);
                match exited {
                    Exited::Again => assert_eq!(supervise.start(now).is_some(), self.starts(!left)),
                    Exited::Unasked { ran } if supervise.again(code, ran, now).is_none() => {
                        self.over = true;
                        supervise.finish();
                    }
                    Exited::Unasked { .. } | Exited::End => {}
                }
                deed
            }
            Step::Swept if self.left => {
                self.left = false;
                supervise.swept();
                None
            }
            Step::Exit(..) | Step::Swept => None,
        }
    }

    fn starts(&mut self, starts: bool) -> bool {
        if starts {
            *self = Self {
                child: true,
                ends: self.ends,
                ..Self::default()
            };
        }
        starts
    }

    fn perform(&mut self, deed: Deed, now: Instant) {
        match deed {
            Deed::Start => {
                assert!(!self.child, "two children");
                assert!(self.ends == 0 && !self.over, "started after the end");
                let hopeless = self.killed.is_some_and(|at| now >= at + GONE);
                assert!(!self.left || hopeless, "started beside what the last one left");
                self.starts(true);
            }
            Deed::Signal(signal) => {
                assert!(self.child || self.left, "{signal} to nobody");
                if signal == Signal::SIGKILL {
                    let waited = self.asked.is_some_and(|at| now >= at + TIMEOUT);
                    assert!(self.ends > 1 || waited, "killed too early");
                    self.killed = Some(now);
                } else {
                    assert_eq!(self.asked, None, "asked twice");
                    self.asked = Some(now);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_starts_after_the_end_or_beside_what_was_left_and_nothing_is_killed_too_early_or_never(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let policy = Policy {
            kill_timeout: TIMEOUT,
            restart: Restart::OnFailure(Some(3)),
            ..Policy::default()
        };
        let mut supervise = Supervise::new(&policy);
        let (mut world, mut now) = (World::default(), Instant::now());
        for step in steps.into_iter().chain([Step::Stop(Purpose::End), Step::Pass(100)]) {
            if let Step::Pass(millis) = step {
                now += Duration::from_millis(millis);
            }
            if let Some(deed) = world.take(&mut supervise, step, now) {
                world.perform(deed, now);
            }
            prop_assert_eq!(supervise.alive(), world.child);
            prop_assert!(world.left || !supervise.sweeping());
        }
        prop_assert!(!world.child || world.killed.is_some(), "it does not end: {:?}", world);
        prop_assert!(supervise.deadline().is_none_or(|at| at > now), "it is asked again and again");
    }
}

#[test]
fn a_child_that_does_not_last_is_started_after_growing_pauses_until_the_limit() {
    let policy = Policy {
        restart: Restart::OnFailure(Some(3)),
        ..Policy::default()
    };
    let mut supervise = Supervise::new(&policy);
    let mut now = Instant::now();
    let mut fails = |supervise: &mut Supervise, ran: u64| {
        assert_eq!(supervise.start(now), Some(Deed::Start));
        now += Duration::from_secs(ran);
        let (Exited::Unasked { ran }, None) = supervise.exited(false, now) else {
            panic!("nobody asked")
        };
        supervise.again(1, ran, now).map(|pause| pause.as_millis())
    };

    let pauses: Vec<_> = (0..4).map(|_| fails(&mut supervise, 1)).collect();

    assert_eq!(pauses, [Some(100), Some(200), Some(400), None]);
    assert_eq!(
        fails(&mut supervise, 10),
        Some(100),
        "it had run long enough to count as started"
    );
}

#[test]
fn a_start_that_waits_is_done_when_it_is_due_or_wished_and_not_after_the_end() {
    let policy = Policy {
        restart: Restart::Always,
        ..Policy::default()
    };
    let mut supervise = Supervise::new(&policy);
    let now = Instant::now();
    supervise.start(now);
    supervise.exited(false, now);
    assert_eq!(supervise.again(0, Duration::ZERO, now), Some(PAUSE));
    assert_eq!((supervise.deadline(), supervise.alive()), (Some(now + PAUSE), false));
    assert_eq!(supervise.tick(now), None);
    assert_eq!(supervise.tick(now + PAUSE), Some(Deed::Start));

    supervise.exited(false, now);
    supervise.again(0, Duration::ZERO, now);
    assert_eq!(supervise.stop(Purpose::End, now), None);
    assert_eq!((supervise.deadline(), supervise.tick(now + LONGEST)), (None, None));
}
