//! What a core tells of itself, and that it is so.

use crate::core::state::{BOUNDS, ChildState, Histogram, Link, Standing, State};

use super::*;

fn standings(state: &State) -> Vec<&Standing> {
    state.templates.iter().map(|one| &one.standing).collect()
}

/// A world whose first set is in place.
fn settled() -> World {
    let mut world = World::new(CHILD, FIVE);
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    world.on(Event::Tick);
    world.pass(100);
    world
}

#[test]
fn each_template_tells_what_it_waits_for_until_all_are_in_place() {
    let mut world = World::new(CHILD, FIVE);
    let state = world.core.state();
    assert_eq!(
        (state.link, state.ready, state.child),
        (Link::Connecting, false, Some(ChildState::NotStarted))
    );
    world.on(Event::Tick);

    let state = world.core.state();
    let keys = |standing: &Standing| match standing {
        Standing::WaitingForKeys(lacks) => lacks.iter().map(|lack| lack.key.clone()).collect(),
        _ => Vec::new(),
    };
    assert_eq!(keys(&state.templates[0].standing), ["a", "b"]);
    assert_eq!(keys(&state.templates[2].standing), ["a"]);
    assert!(
        [1, 3, 4]
            .iter()
            .all(|id| state.templates[*id].standing == Standing::Held)
    );
    let (waiting, since) = state.waiting.unwrap();
    assert!(
        waiting.starts_with("the key `a`") && waiting.ends_with("and 1 more"),
        "{waiting}"
    );
    assert_eq!(since, Some(world.now));
    assert_eq!(
        (state.seen.unwrap().revisions, state.applied),
        (Revisions::both(Revision(1)), None)
    );

    let version = world.core.version();
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    assert!(world.core.version() > version);
    world.pass(100);
    let state = world.core.state();
    assert!(
        standings(&state).iter().all(|one| **one == Standing::InPlace),
        "{state:?}"
    );
    for mark in [state.seen, state.rendered, state.applied] {
        assert_eq!(mark.unwrap().revisions, Revisions::both(Revision(2)));
    }
    assert_eq!(
        (state.waiting, state.ready, state.child),
        (None, true, Some(ChildState::Running))
    );
    assert_eq!(
        (state.counts.applied, state.counts.starts, state.counts.broken),
        (1, 1, 0)
    );
}

#[test]
fn what_nobody_reads_changes_nothing_that_is_told() {
    let mut world = settled();
    let version = world.core.version();
    world.put(&[("stranger", Some("x"))]);
    world.pass(1000);
    assert_eq!(world.core.version(), version);
    world.put(&[("b", Some("2"))]);
    assert!(world.core.version() > version);
}

#[test]
fn a_refusal_is_told_until_it_is_over_and_remembered_then() {
    let mut world = settled();
    world.check = |files| files[&2] != "bad";
    world.put(&[("a", Some("bad"))]);

    let state = world.core.state();
    let refused = Standing::Refused("check".to_owned());
    assert_eq!(
        [&state.templates[0].standing, &state.templates[2].standing],
        [&refused, &refused]
    );
    assert_eq!(state.templates[1].standing, Standing::InPlace);
    assert_eq!(
        state.templates[2].revisions,
        Some(Revisions::both(Revision(2))),
        "the old file"
    );
    let (mark, reason) = state.refusal.unwrap();
    assert_eq!((mark.revisions.settings, reason.as_str()), (Revision(3), "check"));
    assert_eq!(state.rendered.unwrap().revisions.settings, Revision(3));
    assert_eq!(state.applied.unwrap().revisions.settings, Revision(2));
    assert!(state.ready, "the program runs on");

    world.put(&[("a", Some("good"))]);
    world.pass(100);
    let state = world.core.state();
    assert!(standings(&state).iter().all(|one| **one == Standing::InPlace));
    assert!(
        state
            .refusal
            .is_some_and(|(mark, _)| mark.revisions.settings == Revision(3))
    );
    assert_eq!(
        (state.counts.refused, state.counts.applied, state.counts.put_back),
        (1, 2, 0)
    );
}

#[test]
fn a_reload_that_fails_is_told_as_put_back_and_files_that_cannot_be_as_trouble() {
    let mut world = settled();
    world.reload = |files| files[&2] != "bad";
    world.put(&[("a", Some("bad"))]);
    let state = world.core.state();
    assert_eq!((state.counts.put_back, state.counts.applied), (1, 1));
    assert_eq!(state.refusal.unwrap().1, "reload");
    world.pass(100);
    let state = world.core.state();
    let file = &state.templates[0];
    assert_eq!(file.standing, Standing::PutBack("reload".into()));
    assert_eq!(file.revisions, state.applied.map(|mark| mark.revisions), "the old one");
    assert!(
        state
            .waiting
            .is_some_and(|(what, _)| what == "values that the program takes")
    );

    world.stuck = true;
    world.put(&[("b", Some("2"))]);
    let state = world.core.state();
    assert_eq!(state.templates[0].standing, Standing::PuttingBack);
    let (reason, tries, next) = state.trouble.unwrap();
    assert_eq!((reason.as_str(), tries), ("disk", 1));
    assert!(next.is_some_and(|at| at > world.now));
    world.stuck = false;
    world.pass(10_000);
    assert!(world.core.state().trouble.is_none());
}

#[test]
fn an_outage_and_a_program_that_ends_are_told_with_their_time() {
    let mut world = World::new("[exec]\ncommand = [\"x\"]\nrestart = \"always\"\n", FIVE);
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    world.on(Event::Tick);
    world.pass(100);
    world.linked = false;
    let away = world.now;
    world.on(Event::Lost {
        reason: "gone".into(),
        everywhere: true,
    });
    world.pass(50);
    let state = world.core.state();
    assert_eq!(
        (state.link, state.link_since, state.link_reason.as_deref()),
        (Link::Away, Some(away), Some("gone"))
    );
    assert!(state.ready, "an outage concerns nobody who runs");
    assert!(
        state
            .waiting
            .is_some_and(|(what, _)| what == "the store to come back: gone")
    );

    world.exit(3);
    let state = world.core.state();
    assert_eq!(
        (state.child, state.child_since),
        (Some(ChildState::Pausing), Some(world.now))
    );
    assert_eq!(state.last_exit, Some(("exited with 3".to_owned(), world.now)));
    assert!(!state.ready);
    world.linked = true;
    world.pass(1000);
    world.on(Event::Connected { cluster: "c".into() });
    let state = world.core.state();
    assert_eq!(
        (state.link, state.child, state.counts.starts),
        (Link::Connected, Some(ChildState::Running), 2)
    );
    assert!(state.counts.reconnects > 0 && state.ready);
}

#[test]
fn a_histogram_counts_each_duration_in_every_part_that_it_fits_into() {
    let mut histogram = Histogram::default();
    for millis in [0, 1, 3, 150, 700_000] {
        histogram.add(Duration::from_millis(millis));
    }
    let parts: Vec<(f64, u64)> = histogram.parts().collect();
    assert_eq!(parts.len(), BOUNDS.len());
    assert!(parts.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{parts:?}");
    assert_eq!((parts[0].1, parts[2].1, parts[7].1, parts[13].1), (2, 3, 4, 4));
    let (count, seconds) = histogram.sum();
    assert_eq!(count, 5);
    assert!((seconds - 700.154).abs() < 1e-6, "{seconds}");
}
