use super::*;
use crate::app::{CheckPort, CheckProtocol};

fn check(mesos: bool, max_failures: u32, grace: u64) -> HealthCheck {
    HealthCheck {
        protocol: CheckProtocol::Tcp,
        port: Some(CheckPort::Index(0)),
        mesos,
        grace: Duration::from_secs(grace),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(2),
        max_failures,
        delay: Duration::from_secs(15),
        ignore_1xx: false,
        ipv6: false,
    }
}

fn bad() -> Probe {
    Probe::Bad("refused".into())
}

fn at(seconds: u64) -> Moment {
    Moment {
        now: Timestamp(seconds * 1000),
        running_since: Timestamp(0),
        proved: false,
    }
}

/// Which of failures in a row is the first that kills.
fn killing_failure(check: &HealthCheck) -> Option<u64> {
    let mut health = Health::unknown(1);
    (1..20).find(|nth| health.take(0, check, bad(), at(10 * nth)).kill)
}

#[test]
fn case_52_the_fourth_failure_in_a_row_kills_or_the_third_as_mesos_counts() {
    assert_eq!(killing_failure(&check(false, 3, 0)), Some(4));
    assert_eq!(killing_failure(&check(true, 3, 0)), Some(3));
    assert_eq!(killing_failure(&check(false, 0, 0)), None);
    assert_eq!(killing_failure(&check(true, 0, 0)), Some(1));
}

#[test]
fn case_53_failures_within_the_grace_count_only_after_a_success() {
    let check = check(false, 3, 5);
    let mut health = Health::unknown(1);

    assert_eq!(health.take(0, &check, bad(), at(4)), Verdict::default());
    assert_eq!(health.is_healthy(), None);
    assert!(health.take(0, &check, bad(), at(5)).failed);

    let mut health = Health::unknown(1);
    health.take(0, &check, Probe::Good, at(1));
    assert!(health.take(0, &check, bad(), at(2)).failed);

    let mut health = Health::unknown(1);
    let proved = Moment { proved: true, ..at(2) };
    assert!(
        health.take(0, &check, bad(), proved).failed,
        "whoever leads anew knows that it was healthy"
    );
}

#[test]
fn case_54_the_first_failure_that_counts_flips_it_once() {
    let check = check(false, 3, 0);
    let mut health = Health::unknown(1);

    assert_eq!(health.take(0, &check, Probe::Good, at(1)).flipped, Some(true));
    assert_eq!(health.take(0, &check, Probe::Good, at(2)).flipped, None);
    assert_eq!(health.take(0, &check, bad(), at(3)).flipped, Some(false));
    assert_eq!(health.take(0, &check, bad(), at(4)).flipped, None);
    assert_eq!(health.take(0, &check, Probe::Good, at(4)).flipped, Some(true));
}

#[test]
fn case_55_all_checks_are_known_before_the_instance_is() {
    let check = check(false, 3, 0);
    let mut health = Health::unknown(2);

    assert_eq!(health.is_healthy(), None);
    health.take(0, &check, Probe::Good, at(1));
    assert_eq!(health.is_healthy(), None);
    health.take(1, &check, Probe::Good, at(1));
    assert_eq!(health.is_healthy(), Some(true));
    health.take(0, &check, bad(), at(2));
    assert_eq!(health.is_healthy(), Some(false));
    assert_eq!(Health::unknown(0).is_healthy(), Some(true));
}

#[test]
fn an_ignored_answer_changes_nothing() {
    let mut health = Health::unknown(1);

    assert_eq!(
        health.take(0, &check(false, 1, 0), Probe::Ignored, at(9)),
        Verdict::default()
    );
    assert_eq!(health, Health::unknown(1));
}

#[test]
fn case_57_a_hundred_that_start_together_are_asked_one_after_the_other() {
    let check = check(false, 3, 0);
    let proved = Moment { proved: true, ..at(20) };
    let mut phases: Vec<Duration> = (0..100).map(|n| next_probe(&check, proved, 1, place(n))).collect();
    phases.sort();

    let window = check.interval / 100;
    for from in &phases {
        let near = phases
            .iter()
            .filter(|other| **other >= *from && **other < *from + window)
            .count();
        assert!(near <= 5, "{near} within {window:?}");
    }
}

#[test]
fn what_comes_up_is_asked_at_once_and_soon_again_until_it_is_well_and_then_once_an_interval() {
    let check = check(false, 3, 30);
    let moment = |seconds, proved| Moment { proved, ..at(seconds) };

    assert_eq!(next_probe(&check, moment(0, false), 0, 0.5), Duration::ZERO);
    assert_eq!(next_probe(&check, moment(0, false), 1, 0.5), Duration::from_millis(20));
    assert_eq!(next_probe(&check, moment(1, false), 2, 0.5), Duration::from_millis(30));
    assert_eq!(next_probe(&check, moment(9, false), 29, 0.5), check.interval);
    // Its place is 5 s into each interval of 10 s.
    for (seconds, after) in [(1, 4), (5, 10), (6, 9), (14, 1), (15, 10)] {
        assert_eq!(
            next_probe(&check, moment(seconds, true), 7, 0.5),
            Duration::from_secs(after),
            "{seconds}"
        );
    }
    assert_eq!(
        next_probe(&check, moment(31, false), 9, 0.5),
        Duration::from_secs(4),
        "its grace is over"
    );
}
