//! What is told of a deployment line by line: what differs from what was told before. Pure.

use super::deployment::{Deployment, Failed, Part, State};

/// Counts that change many times a second are told so often, in milliseconds.
const PAUSE: u64 = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Teller {
    /// What has been told.
    told: Option<Deployment>,
    /// When counts were told last.
    at: u64,
}

impl Teller {
    /// What is new at `now`, in milliseconds.
    pub(super) fn lines(&mut self, now: u64, deployment: &Deployment) -> Vec<String> {
        let before = self.told.take().filter(|told| told.id == deployment.id);
        let mut lines = Vec::new();
        let is_first = before.is_none();
        if is_first {
            lines.push(match &deployment.undoes {
                Some(undone) => format!("deployment {} puts back what {undone} changed", deployment.id),
                None => format!("deployment {} begins, version {}", deployment.id, deployment.version),
            });
        }
        let step = before.as_ref().map(|before| before.step);
        if deployment.is_running() && step != Some(deployment.step) && deployment.steps > 0 {
            lines.push(step_line(deployment));
        }
        let has_ended = !deployment.is_running();
        let counts_now = is_first || has_ended || now >= self.at + PAUSE;
        let mut told = deployment.clone();
        for part in &mut told.apps {
            let old = before
                .as_ref()
                .and_then(|before| before.apps.iter().find(|old| old.id == part.id));
            let is_known = |text: &str| old.is_some_and(|old| old.waiting.iter().any(|old| kind(old) == kind(text)));
            let new_reasons = part.waiting.iter().filter(|text| !is_known(text));
            lines.extend(new_reasons.map(|text| format!("{} waits: {text}", part.id)));
            let is_new = |failed: &&Failed| old.and_then(|old| old.failure.as_ref()) != Some(*failed);
            if let Some(failed) = part.failure.as_ref().filter(is_new) {
                let became = if failed.has_ended() { "ended" } else { "runs" };
                lines.push(format!(
                    "{}: {} {became}, {}: {}",
                    part.id, failed.task, failed.state, failed.message
                ));
            }
            // Of what has failed its reason is told, and what failed.
            let says_nothing = matches!(deployment.state, State::Failed | State::Cancelled);
            if says_nothing || old.is_some_and(|old| counts(old) == counts(part)) {
                continue;
            }
            if counts_now {
                lines.push(format!("{}: {}", part.id, numbers(part)));
                self.at = now;
            } else if let Some(old) = old {
                // Not told, so it is news next time.
                (part.target, part.old, part.new, part.healthy) = counts(old);
            }
        }
        if has_ended {
            let took = deployment.took().map(seconds);
            let took = took.map(|took| format!(" after {took}")).unwrap_or_default();
            lines.push(match deployment.state {
                State::Done => format!("done{took}"),
                _ => deployment.word(),
            });
        }
        self.told = Some(told);
        lines
    }
}

/// What the step does.
pub(super) fn step_line(deployment: &Deployment) -> String {
    const MOST: usize = 5;
    let acts = deployment
        .apps
        .iter()
        .filter(|part| !matches!(part.action.as_str(), "" | "None"));
    let acts: Vec<String> = acts
        .map(|part| format!("{} {}", part.action.to_lowercase(), part.id))
        .collect();
    let more = match acts.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "step {} of {}: {}{more}",
        deployment.step,
        deployment.steps,
        acts[..acts.len().min(MOST)].join(", ")
    )
}

/// Its instances, for a person.
pub(super) fn numbers(part: &Part) -> String {
    let old = match part.old {
        0 => String::new(),
        old => format!("{old} old, "),
    };
    format!("{old}{} new, {} of {} healthy", part.new, part.healthy, part.target)
}

/// A reason without the numbers in it, which count down.
pub(super) fn kind(reason: &str) -> &str {
    reason
        .find(|c: char| c.is_ascii_digit())
        .map_or(reason, |at| &reason[..at])
}

fn counts(part: &Part) -> (u32, u32, u32, u32) {
    (part.target, part.old, part.new, part.healthy)
}

/// Milliseconds for a person.
pub(super) fn seconds(ms: u64) -> String {
    match ms {
        0..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} m {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::super::deployment::tests::rolling;
    use super::*;

    #[test]
    fn what_was_told_is_not_told_again() {
        let mut teller = Teller::default();
        let mut deployment = rolling();

        assert_eq!(
            teller.lines(5_000, &deployment),
            [
                "deployment d1 begins, version 2026-01-02T03:04:05.678Z",
                "step 1 of 1: restart /web",
                "/web: 3 old, 7 new, 6 of 10 healthy"
            ]
        );
        assert_eq!(teller.lines(9_000, &deployment), Vec::<String>::new());
        deployment.apps[0].waiting = vec!["no port is free".into()];
        deployment.apps[0].failure = Some(Failed {
            task: "web.1".into(),
            state: "TASK_FAILED".into(),
            message: "exit code 3".into(),
            at: "2026-01-02T03:04:06.000Z".into(),
        });
        assert_eq!(
            teller.lines(9_001, &deployment),
            [
                "/web waits: no port is free",
                "/web: web.1 ended, TASK_FAILED: exit code 3"
            ]
        );
        deployment.apps[0].waiting = vec!["it is started again in 9s".into()];
        assert_eq!(
            teller.lines(9_002, &deployment),
            ["/web waits: it is started again in 9s"]
        );
        deployment.apps[0].waiting = vec!["it is started again in 500ms".into()];
        assert_eq!(teller.lines(9_003, &deployment), Vec::<String>::new());
    }

    #[test]
    fn counts_are_told_once_a_second_and_at_the_end_for_certain() {
        let mut teller = Teller::default();
        let mut deployment = rolling();
        teller.lines(5_000, &deployment);

        deployment.apps[0].healthy = 7;
        assert_eq!(teller.lines(5_500, &deployment), Vec::<String>::new());
        assert_eq!(
            teller.lines(6_000, &deployment),
            ["/web: 3 old, 7 new, 7 of 10 healthy"]
        );
        (
            deployment.apps[0].old,
            deployment.apps[0].new,
            deployment.apps[0].healthy,
        ) = (0, 10, 10);
        deployment.state = State::Done;
        deployment.ended = Some("2026-01-02T03:05:07.700Z".into());
        assert_eq!(
            teller.lines(6_001, &deployment),
            ["/web: 10 new, 10 of 10 healthy", "done after 1 m 2 s"]
        );
    }

    #[test]
    fn what_undoes_another_says_so_and_a_failure_says_why() {
        let mut undo = rolling();
        undo.undoes = Some("d0".into());
        undo.apps.clear();
        undo.steps = 0;
        undo.state = State::Failed;
        undo.reason = Some("no progress for 10m".into());

        assert_eq!(
            Teller::default().lines(0, &undo),
            ["deployment d1 puts back what d0 changed", "failed: no progress for 10m"]
        );
        assert_eq!(seconds(4_250), "4.2 s");
    }
}
