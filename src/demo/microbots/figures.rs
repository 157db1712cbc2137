//! What the story found, for a person and for a program.

use std::time::Duration;

use kvapi::Problem;
use kvapi::problem::exit;
use serde::Serialize;

use crate::fleet::crowd::Tally;
use crate::fleet::lookout::Seen;
use crate::fleet::used::Used;

/// See the module.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    instances: u32,
    deploy_seconds: f64,
    roll_seconds: f64,
    /// From a put until every agent has told that its files have it.
    setting_seconds: f64,
    requests: u64,
    failed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    p50_ms: f64,
    p99_ms: f64,
    looks: usize,
    floor: u32,
    /// By the scheduler's API.
    fewest_healthy: u32,
    /// By the table of processes, or the Engine's list.
    fewest_there: usize,
    cap: u32,
    /// Tasks, by the scheduler's API.
    most_told: usize,
    /// By the table of processes, or the Engine's list.
    most_there: usize,
    used: Used,
}

impl Figures {
    /// `times`: to deploy, to roll, until a setting was everywhere.
    pub(super) fn new(instances: u32, times: [Duration; 3], tally: &Tally, seen: Seen, used: Used) -> Self {
        let ms = |quantile: f64| tally.latency.value_at_quantile(quantile) as f64 / 1000.0;
        let [deploy_seconds, roll_seconds, setting_seconds] = times.map(|time| time.as_secs_f64());
        // A twentieth, as Marathon rounds it: up what must be healthy, down what may be there beside them.
        let part = instances / 20;
        Self {
            instances,
            deploy_seconds,
            roll_seconds,
            setting_seconds,
            requests: tally.requests,
            failed: tally.failed,
            failure: tally.reason.clone(),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            looks: seen.looks,
            floor: instances - part,
            fewest_healthy: seen.fewest_healthy,
            fewest_there: seen.fewest_there,
            // Where nothing could be stopped or started, one more may be there.
            cap: instances + part.max(1),
            most_told: seen.most_told,
            most_there: seen.most_there,
            used,
        }
    }

    /// What is worth to be told beside the story, and what it means.
    pub(super) fn lines(&self) -> Vec<(String, String)> {
        let used = &self.used;
        vec![
            (format!("{:.1} s", self.deploy_seconds), "to deploy".into()),
            (format!("{:.1} s", self.roll_seconds), "to roll".into()),
            (
                format!("{:.1} and {:.1} ms", self.p50_ms, self.p99_ms),
                "p50 and p99 of a request through HAProxy meanwhile".into(),
            ),
            (
                format!("{:.1} MiB, {:.1} s of CPU", used.main_mib, used.main_cpu_seconds),
                "store and scheduler, until all were deployed".into(),
            ),
            (
                format!(
                    "{:.2} MiB, {:.3} s of CPU",
                    used.agent_mib,
                    used.agents_cpu_seconds / used.agents.max(1) as f64
                ),
                format!("each of {} agents", used.agents),
            ),
            (
                format!("{:.2} MiB", used.server_mib),
                format!("each of {} servers", used.servers),
            ),
        ]
    }

    /// Whether what is promised has held.
    pub(super) fn verdict(&self) -> Result<(), Problem> {
        let broken = |what: String| Err(Problem::new(exit::LEFT, format!("the demo does not hold: {what}")));
        if self.failed > 0 {
            let reason = self.failure.as_deref().unwrap_or_default();
            return broken(format!(
                "{} of {} requests failed; the first: {reason}",
                self.failed, self.requests
            ));
        }
        let (floor, cap) = (self.floor as usize, self.cap as usize);
        for (fewest, what) in [
            (self.fewest_healthy as usize, "were healthy by the API"),
            (self.fewest_there, "were there"),
        ] {
            if fewest < floor {
                return broken(format!("{fewest} {what}, and {floor} is the floor"));
            }
        }
        for (most, what) in [
            (self.most_told, "were there by the API"),
            (self.most_there, "were there"),
        ] {
            if most > cap {
                return broken(format!("{most} {what}, and {cap} is the cap"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;

    #[test]
    fn floor_and_cap_have_to_hold_by_the_api_and_by_what_is_there() {
        let used = Used {
            main_mib: 0.0,
            main_cpu_seconds: 0.0,
            agents: 100,
            agent_mib: 0.0,
            agents_cpu_seconds: 0.0,
            servers: 100,
            server_mib: 0.0,
        };
        let tally = Tally {
            requests: 1,
            failed: 0,
            reason: None,
            latency: Histogram::new(3).unwrap(),
        };
        let verdict = |fewest_healthy, fewest_there, most_told, most_there| {
            let seen = Seen {
                looks: 1,
                fewest_healthy,
                fewest_there,
                most_told,
                most_there,
            };
            let figures = Figures::new(100, [Duration::ZERO; 3], &tally, seen, used);
            figures.verdict().map_err(|problem| problem.what)
        };

        assert_eq!(verdict(95, 95, 105, 105), Ok(()));
        for (figures, reason) in [
            ((94, 95, 105, 105), "94 were healthy by the API, and 95 is the floor"),
            ((95, 94, 105, 105), "94 were there, and 95 is the floor"),
            ((95, 95, 106, 105), "106 were there by the API, and 105 is the cap"),
            ((95, 95, 105, 106), "106 were there, and 105 is the cap"),
        ] {
            let (healthy, there, told, most) = figures;
            let told = verdict(healthy, there, told, most).unwrap_err();
            assert_eq!(told, format!("the demo does not hold: {reason}"));
        }
    }
}
