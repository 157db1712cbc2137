use proptest::prelude::*;

use super::*;
use crate::plan::testing::{Town, old, running};
use crate::share::Share;

fn strategy(minimum: f64, over: f64) -> UpgradeStrategy {
    UpgradeStrategy {
        minimum_health: Share::new(minimum).unwrap(),
        maximum_over: Share::new(over).unwrap(),
    }
}

/// Rows 24, 25 and 27 to 34. In 23, 26 and 28 an app that keeps its state on a machine goes below its floor, where others
/// have one more: none is taken here, and nothing else goes below its floor.
#[test]
fn cases_23_to_34_the_cap_and_what_goes_at_once() {
    for (n, minimum, over, there, ill, cap, first) in [
        (1, 0.5, 0.0, 1, 1, 1, 0),
        (5, 0.5, 0.0, 5, 0, 5, 2),
        (1, 0.5, 0.0, 1, 0, 2, 0),
        (1, 0.5, 0.0, 0, 0, 1, 0),
        (2, 0.5, 0.0, 2, 0, 2, 1),
        (10, 0.1, 0.0, 1, 0, 10, 0),
        (10, 0.1, 1.0, 10, 0, 20, 9),
        (10, 1.0, 1.0, 10, 0, 20, 0),
        (5, 1.0, 0.0, 5, 2, 5, 0),
        (10, 1.0, 0.0, 10, 0, 11, 0),
        (10, 0.5, 0.0, 10, 0, 10, 5),
        (10, 0.5, 1.0, 10, 0, 20, 5),
        (10, 0.0, 0.0, 10, 0, 10, 10),
        (10, 0.9, 0.1, 10, 0, 11, 1),
        (1, 1.0, 0.0, 1, 0, 2, 0),
        (1, 0.0, 0.0, 1, 0, 1, 1),
        (1000, 0.95, 0.05, 1000, 0, 1050, 50),
        (1000, 1.0, 0.02, 1000, 0, 1020, 0),
        (3, 1.0, 0.3, 4, 0, 4, 1),
    ] {
        let rollout = begin(n, strategy(minimum, over), &old(there, ill));

        assert_eq!(
            (rollout.cap, rollout.first),
            (cap, first),
            "{n} {minimum}/{over}, {there} there, {ill} ill"
        );
    }
}

/// Another scheduler leads, and has asked nobody yet.
#[test]
fn what_is_not_known_yet_does_not_go_and_counts_when_the_numbers_are_decided_on() {
    let mut seen = old(2, 2);
    for one in &mut seen {
        one.unknown = true;
    }
    let all = strategy(1.0, 0.0);
    let rollout = begin(2, all, &seen);

    assert_eq!((rollout.cap, rollout.first), (3, 0), "as if all were well");
    assert_eq!(moves(2, all, rollout, &seen).stop, vec![]);
    let half = strategy(0.5, 0.0);
    assert_eq!(
        moves(2, half, begin(2, half, &seen), &seen),
        Moves::default(),
        "nothing moves"
    );
    seen.iter_mut()
        .for_each(|one| (one.unknown, one.healthy) = (false, true));
    assert_eq!(moves(2, half, begin(2, half, &seen), &seen).stop.len(), 1);
}

/// What a whole roll does, one thing at a time: `s2` starts two, `k1` takes one away, `e` one ends, `h` one becomes healthy.
fn trace(n: u32, minimum: f64, over: f64, there: u32) -> String {
    let strategy = strategy(minimum, over);
    let mut town = Town::new(old(there, 0));
    let rollout = begin(n, strategy, &town.seen);
    let mut told = Vec::new();
    loop {
        let moves = moves(n, strategy, rollout, &town.seen);
        if !moves.stop.is_empty() {
            told.push(format!("k{}", moves.stop.len()));
        }
        if moves.start > 0 {
            told.push(format!("s{}", moves.start));
        }
        town.carry_out(&moves);
        if moves.done {
            return told.join(" ");
        }
        told.push(match town.one_ends() {
            true => "e".into(),
            false => {
                assert!(town.one_heals(), "it goes on: {told:?}");
                "h".into()
            }
        });
    }
}

#[test]
fn case_35_whole_rolls_go_step_by_step() {
    assert_eq!(trace(3, 0.5, 0.0, 3), "k1 e s1 h k1 e s1 h k1 e s1 h");
    assert_eq!(trace(3, 1.0, 0.0, 3), "s1 h k1 e s1 h k1 e s1 h k1 e");
    assert_eq!(trace(3, 1.0, 0.7, 3), "s2 h k1 e s1 h k1 e h k1 e");
    assert_eq!(trace(3, 1.0, 0.3, 4), "k1 e s1 h k1 e s1 h k1 e s1 h k1 e");
    assert_eq!(trace(2, 1.0, 0.0, 3), "k1 e s1 h k1 e s1 h k1 e");
    assert_eq!(trace(5, 0.0, 1.0, 2), "k2 s5 e e h h h h h");
}

#[test]
fn case_39_those_that_are_not_healthy_go_first() {
    let strategy = strategy(0.5, 0.0);
    let seen = [
        running(1, false, true),
        running(2, false, false),
        running(3, false, true),
        running(4, false, true),
    ];
    let rollout = begin(4, strategy, &seen);

    let moves = moves(4, strategy, rollout, &seen);

    assert_eq!(moves.stop, [seen[1].id.clone()]);
}

#[test]
fn case_43_after_a_failover_nothing_goes_until_a_new_one_is_healthy() {
    let strategy = strategy(0.5, 0.0);
    let mut seen = vec![running(1, false, true), running(2, true, false)];
    let rollout = begin(2, strategy, &seen);

    assert_eq!(moves(2, strategy, rollout, &seen).stop, []);
    seen[1].healthy = true;
    assert_eq!(moves(2, strategy, rollout, &seen).stop, [seen[0].id.clone()]);
}

#[test]
fn what_has_the_newest_configuration_already_is_left_alone() {
    let strategy = strategy(1.0, 1.0);
    let seen = [running(1, false, true), running(2, true, true)];
    let rollout = begin(5, strategy, &seen);
    let moves = moves(5, strategy, rollout, &seen);

    assert_eq!((rollout.first, moves.start), (0, 4));
    assert!(!moves.stop.contains(&seen[1].id));
}

/// Where Marathon counts on what it saw at the beginning: new ones that were well, released an old one each, and fell ill.
#[test]
fn the_floor_is_looked_at_again_before_each_that_goes() {
    let strategy = strategy(1.0, 1.0);
    let mut seen = old(3, 0);
    let rollout = begin(3, strategy, &seen);
    seen.extend([
        running(10, true, true),
        running(11, true, false),
        running(12, true, false),
    ]);
    seen[1].wanted = false;
    seen[2].healthy = false;

    let moves = moves(3, strategy, rollout, &seen);

    assert_eq!(
        moves.stop,
        [],
        "two are healthy, three are the floor, and one has gone for the one that is new"
    );
}

/// What may happen to an instance that nobody asked.
#[derive(Debug, Clone, Copy)]
enum Chance {
    Ends,
    Heals,
    Falls(prop::sample::Index),
}

fn chance() -> impl Strategy<Value = Chance> {
    prop_oneof![
        3 => Just(Chance::Ends),
        3 => Just(Chance::Heals),
        1 => any::<prop::sample::Index>().prop_map(Chance::Falls),
    ]
}

proptest! {
    #[test]
    fn never_below_the_floor_by_our_doing_and_never_above_the_cap_and_it_ends(
        n in 0u32..12,
        there in 0u32..14,
        ill in 0u32..4,
        minimum in (0u32..=10).prop_map(|tenths| f64::from(tenths) / 10.0),
        over in (0u32..=10).prop_map(|tenths| f64::from(tenths) / 10.0),
        chances in prop::collection::vec(chance(), 0..60),
    ) {
        let strategy = strategy(minimum, over);
        let floor = strategy.minimum_health.ceil_of(n) as usize;
        let mut town = Town::new(old(there, ill));
        let rollout = begin(n, strategy, &town.seen);
        // One more than the cap only if nothing else would move.
        let most = (rollout.cap as usize + 1).max(there as usize);
        let step = |town: &mut Town| {
            let before = town.healthy();
            let moves = moves(n, strategy, rollout, &town.seen);
            town.carry_out(&moves);
            // Whatever fell ill by itself, we took none away below the floor.
            assert!(town.healthy() >= floor.min(before), "{moves:?}");
            assert!(town.seen.len() <= most, "{moves:?}");
            moves
        };
        for chance in chances {
            step(&mut town);
            match chance {
                Chance::Ends => {
                    town.one_ends();
                }
                Chance::Heals => {
                    town.one_heals();
                }
                Chance::Falls(index) => {
                    if !town.seen.is_empty() {
                        let at = index.index(town.seen.len());
                        town.seen[at].healthy = false;
                    }
                }
            }
        }
        // From here all become healthy, and all that is to end ends.
        for _ in 0..200 {
            if step(&mut town).done {
                prop_assert_eq!(town.seen.len(), n as usize);
                prop_assert!(town.seen.iter().all(|seen| seen.current && seen.healthy));
                return Ok(());
            }
            let _ = town.one_ends() || town.one_heals();
        }
        prop_assert!(false, "it does not end: {:?}", town.seen);
    }

    #[test]
    fn with_no_new_one_healthy_it_stops_at_the_floor(
        n in 1u32..12,
        minimum in (0u32..=10).prop_map(|tenths| f64::from(tenths) / 10.0),
        over in (0u32..=10).prop_map(|tenths| f64::from(tenths) / 10.0),
    ) {
        let strategy = strategy(minimum, over);
        let mut town = Town::new(old(n, 0));
        let rollout = begin(n, strategy, &town.seen);
        for _ in 0..100 {
            let moves = moves(n, strategy, rollout, &town.seen);
            town.carry_out(&moves);
            if !town.one_ends() && moves == Moves::default() {
                break;
            }
        }
        prop_assert_eq!(town.healthy(), strategy.minimum_health.ceil_of(n) as usize);
        prop_assert_eq!(moves(n, strategy, rollout, &town.seen), Moves::default());
    }
}
