//! What the core decides, told as examples; [`property`] has what always holds.

use std::time::Duration;

use kvapi::Problem;
use kvapi::problem::exit;
use kvapi::types::{Change, KeyChange, Progress, Revision, WatchEvent};
use nix::sys::signal::Signal;

use self::world::{CHILD, World, program};
use super::*;

mod begin;
mod child;
mod confirm;
mod environment;
mod property;
mod told;
mod world;

const FIVE: &[&str] = &[
    "{{key \"a\"}} {{key \"b\"}}",
    "{{#each (tree \"t\")}}{{value}}{{/each}}",
    "{{key \"a\"}}",
    "{{key \"b\" default=\"-\"}}",
    "fixed",
];

#[test]
fn the_child_starts_once_every_template_can_be_rendered() {
    let mut world = World::new(CHILD, FIVE);
    world.on(Event::Tick);
    assert_eq!((world.count("lacking a"), world.child), (1, false));

    world.put(&[("a", Some("1"))]);
    assert!(!world.child && world.files.is_empty());
    world.put(&[("b", Some("1"))]);

    assert!(world.child);
    assert_eq!(world.files[&0], "1 1");
    assert_eq!((world.count("start"), world.count("reload")), (1, 0));
}

#[test]
fn a_transaction_is_one_render_and_one_reload_and_strangers_are_none() {
    let mut world = World::new(CHILD, FIVE);
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    world.on(Event::Tick);
    world.pass(100);
    world.log.clear();

    world.put(&[("stranger", Some("x"))]);
    assert!(world.log.is_empty());
    world.put(&[("a", Some("2")), ("b", Some("2")), ("t/x", Some("2"))]);

    assert_eq!(world.log, ["render {0, 1, 2, 3}", "promote", "reload"]);
    world.pass(100);
    world.put(&[("a", Some("2"))]);
    assert_eq!(world.count("reload"), 1, "equal texts are no change");
}

#[test]
fn between_two_sets_the_program_has_its_peace() {
    let mut world = World::new(CHILD, FIVE);
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    world.on(Event::Tick);
    world.pass(100);
    world.put(&[("a", Some("2"))]);
    for n in 3..6 {
        world.pass(20);
        world.put(&[("a", Some(&n.to_string()))]);
    }
    assert_eq!((world.count("reload"), world.files[&2].as_str()), (1, "2"));

    assert!(world.core.deadline().is_some_and(|at| at > world.now));
    world.pass(40);
    assert_eq!((world.count("reload"), world.files[&2].as_str()), (2, "5"));
}

#[test]
fn a_refused_set_leaves_every_file_and_stays_due_as_a_whole() {
    let mut world = World::new(CHILD, FIVE);
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    world.on(Event::Tick);
    world.pass(100);
    world.check = |files| files[&2] != "bad";

    world.put(&[("a", Some("bad")), ("t/x", Some("2"))]);
    assert_eq!((world.files[&2].as_str(), world.files[&1].as_str()), ("1", ""));
    world.put(&[("b", Some("3"))]);
    assert_eq!(world.files[&3], "1", "files of two revisions would be mixed");
    world.put(&[("a", Some("3"))]);

    assert_eq!(
        (
            world.files[&0].as_str(),
            world.files[&1].as_str(),
            world.count("reload")
        ),
        ("3 3", "2", 1)
    );
}

#[test]
fn a_reload_that_fails_brings_the_old_set_back_and_reloads_it() {
    let mut world = World::new(CHILD, FIVE);
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    world.on(Event::Tick);
    world.pass(100);
    world.reload = |files| files[&2] != "bad";

    world.log.clear();
    world.put(&[("a", Some("bad"))]);

    assert_eq!(world.log, ["render {0, 2}", "promote", "reload", "put back", "reload"]);
    assert_eq!(world.files[&0], "1 1");
    world.pass(100);
    world.put(&[("b", Some("2")), ("a", Some("2"))]);
    assert_eq!(world.files[&0], "2 2");
}

#[test]
fn while_the_old_set_cannot_be_put_back_nothing_is_applied() {
    let mut world = World::new(CHILD, FIVE);
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    world.on(Event::Tick);
    world.pass(100);
    world.reload = |files| files[&2] != "bad";
    world.stuck = true;
    world.log.clear();

    world.put(&[("a", Some("bad"))]);
    world.put(&[("b", Some("2"))]);
    world.pass(5000);
    assert_eq!(
        world.log,
        ["render {0, 2}", "promote", "reload", "put back", "put back"],
        "files of two sets are in place"
    );
    world.stuck = false;
    world.pass(10_000);

    assert_eq!(world.log[5..], ["put back", "reload"]);
    world.put(&[("a", Some("2"))]);
    world.pass(100);
    assert_eq!(world.files[&0], "2 2");
}

#[test]
fn a_set_that_is_in_place_by_half_is_put_back_before_anything_else() {
    let mut world = World::new(CHILD, FIVE);
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    world.on(Event::Tick);
    world.pass(100);
    (world.half, world.stuck) = (true, true);
    world.log.clear();

    world.put(&[("a", Some("2"))]);
    world.put(&[("b", Some("2"))]);
    assert_eq!(world.log, ["render {0, 2}", "promote"]);
    world.pass(5_000);
    assert_eq!(world.log[2..], ["put back"]);
    (world.half, world.stuck) = (false, false);
    world.pass(10_000);
    assert_eq!(world.log[3..], ["put back", "reload"], "whatever was read meanwhile");
    assert_eq!(world.files[&0], "1 1");

    world.pass(100);
    world.put(&[("a", Some("3"))]);
    world.pass(100);
    assert_eq!(world.files[&0], "3 2");
}

#[test]
fn a_child_that_dies_of_a_reload_is_started_with_the_old_set() {
    let mut world = World::new(CHILD, FIVE);
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    world.on(Event::Tick);
    world.pass(100);
    world.put(&[("a", Some("bad"))]);

    world.exit(1);
    assert!(world.child);
    assert_eq!((world.files[&2].as_str(), world.ended), ("1", None));
    world.exit(7);
    assert_eq!(world.ended, Some(7));
}

#[test]
fn a_child_that_ends_by_itself_is_started_again_if_that_was_chosen() {
    let mut world = World::new("[exec]\ncommand = [\"x\"]\nrestart = \"on-failure:2\"\n", FIVE);
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    world.on(Event::Tick);
    world.pass(100);
    assert_eq!((world.count("start"), world.count("ready")), (1, 1));

    world.exit(1);
    assert!(!world.child);
    world.pass(100);
    assert_eq!((world.child, world.count("start"), world.count("ready")), (true, 2, 1));
    world.exit(1);
    world.put(&[("a", Some("2"))]);
    assert!(world.child, "what has changed may help, so the pause is over");
    world.pass(10_000);
    for _ in 0..2 {
        world.exit(1);
        world.pass(200);
    }
    world.exit(1);

    assert_eq!(world.ended, Some(1));
}

#[test]
fn a_restart_stops_starts_and_is_confirmed() {
    let mut world = World::new("[exec]\ncommand = [\"x\"]\nkill_timeout = \"1s\"\n", FIVE);
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    world.on(Event::Tick);
    world.pass(100);

    world.put(&[("a", Some("2"))]);
    assert_eq!(world.count("SIGTERM"), 1);
    world.pass(999);
    assert_eq!(world.count("SIGKILL"), 0);
    world.pass(1);
    assert_eq!(world.count("SIGKILL"), 1);
    world.exit(137);
    assert_eq!((world.count("start"), world.ended), (2, None));
}

#[test]
fn a_stop_ends_with_the_childs_code_and_a_second_one_kills() {
    let mut world = World::new(CHILD, &["x"]);
    world.on(Event::Tick);
    world.on(Event::Stop(Signal::SIGTERM));
    assert_eq!((world.count("SIGTERM"), world.ended), (1, None));
    world.on(Event::Stop(Signal::SIGTERM));
    assert_eq!(world.count("SIGKILL"), 1);
    world.exit(3);
    assert_eq!(world.ended, Some(3));

    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let mut waiting = World::new(CHILD, FIVE);
        waiting.on(Event::Tick);
        waiting.on(Event::Stop(signal));
        assert_eq!(waiting.ended, Some(code));
    }
}

#[test]
fn a_missing_key_may_be_fatal_before_the_start_and_never_after() {
    let mut world = World::new(&format!("missing = \"fail\"\n{CHILD}"), FIVE);
    world.on(Event::Tick);
    assert_eq!(world.ended.take(), Some(exit::INVALID));
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    assert!(
        !world.child,
        "while the names that were meant are looked for, nothing is started any more"
    );

    let mut world = World::new(&format!("missing = \"fail\"\n{CHILD}"), FIVE);
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    world.on(Event::Tick);
    world.pass(100);
    world.put(&[("a", None)]);
    assert_eq!((world.ended, world.files[&2].as_str()), (None, "1"));
}

#[test]
fn after_an_outage_the_newest_revision_is_rendered_once() {
    let mut world = World::new(CHILD, FIVE);
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    world.on(Event::Tick);
    world.pass(100);
    world.linked = false;
    world.on(Event::Lost {
        reason: "gone".into(),
        everywhere: true,
    });
    world.log.clear();
    for n in 2..9 {
        world.put(&[("a", Some(&n.to_string()))]);
    }
    world.linked = true;
    world.on(Event::Connected { cluster: "c".into() });

    // The server resumes with the first change that was missed.
    let entry = world.entry("a", "2");
    let changes = vec![KeyChange {
        key: "a".into(),
        entry: Some(entry),
    }];
    let first = Change {
        revision: Revision(3),
        at: 0,
        author: None,
        message: None,
        changes,
        omitted: 0,
    };
    world.on(Event::Stream(WatchEvent::Change(first)));

    assert_eq!(world.log, ["watch", "render {0, 2}", "promote", "reload"]);
    assert_eq!(world.files[&2], "8");
}

#[test]
fn a_watch_that_is_refused_is_told_once_and_ends_only_once() {
    let denied = || Event::Denied(Problem::new(exit::DENIED, "the server answered 403 Forbidden: no"));
    let mut world = World::new(CHILD, FIVE);
    world.on(Event::Tick);
    let said = |world: &mut World| {
        let actions = world.core.on(denied(), world.now);
        actions
            .iter()
            .any(|action| matches!(action, Action::Say(Level::Error, told) if told.contains("403 Forbidden: no")))
    };
    assert_eq!((said(&mut world), said(&mut world)), (true, false));
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    assert!(world.child, "allowed later, it goes on");

    let mut once = World::new("[exec]\ncommand = [\"once\"]", &["{{key \"a\"}}"]);
    once.on(Event::Tick);
    once.on(denied());
    assert_eq!(once.ended, Some(exit::DENIED));
}

#[test]
fn a_reconnect_that_missed_nothing_asks_for_nothing() {
    let mut world = World::new(CHILD, FIVE);
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    world.on(Event::Tick);
    world.pass(100);
    world.log.clear();
    world.on(Event::Lost {
        reason: "gone".into(),
        everywhere: true,
    });
    world.on(Event::Connected { cluster: "c".into() });
    world.on(Event::Stream(WatchEvent::Progress(Progress { revision: Revision(2) })));

    world.put(&[("a", Some("2"))]);

    assert_eq!(world.log, ["render {0, 2}", "promote", "reload"]);
}

#[test]
fn another_cluster_is_never_rendered() {
    let mut world = World::new(CHILD, FIVE);
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    world.on(Event::Tick);
    world.pass(100);
    world.on(Event::Connected {
        cluster: "other".into(),
    });
    world.put(&[("a", Some("stranger"))]);
    assert_eq!(world.files[&2], "1");

    world.on(Event::Connected { cluster: "c".into() });
    assert_eq!(world.files[&2], "stranger", "back with ours, a fresh snapshot is taken");
}

#[test]
fn what_an_earlier_run_did_not_apply_is_applied() {
    let mut world = World::new("on_change = \"command=x\"", &["x"]);
    world.files.insert(0, "x".into());
    world.core = Core::new(
        program("on_change = \"command=x\"", &["x"]),
        View::default(),
        Some(Vec::new()),
    );
    world.on(Event::Tick);
    assert_eq!(world.log, ["render {0}", "reload", "ready"]);

    let mut quiet = World::new("on_change = \"command=x\"", &["x"]);
    quiet.files.insert(0, "x".into());
    quiet.on(Event::Tick);
    assert_eq!(quiet.log, ["render {0}", "ready"]);
}

#[test]
fn once_ends_when_the_set_is_in_place() {
    let mut world = World::new("[exec]\ncommand = [\"once\"]", &["{{key \"a\"}}"]);
    world.on(Event::Tick);
    assert_eq!(world.ended, None);
    world.put(&[("a", Some("1"))]);
    assert_eq!((world.ended, world.files[&0].as_str()), (Some(0), "1"));
}

#[test]
fn once_ends_only_when_the_old_files_are_back() {
    let mut world = World::new(
        "on_change = \"command=x\"\n[exec]\ncommand = [\"once\"]",
        &["{{key \"a\"}}"],
    );
    world.reload = |_| false;
    world.on(Event::Tick);
    world.put(&[("a", Some("1"))]);
    assert_eq!((world.ended, world.files.len()), (Some(exit::ROLLED_BACK), 0));
    assert!(world.log.ends_with(&["reload".into(), "put back".into()]));
}

#[test]
fn templates_that_were_read_again_are_used_when_the_set_in_flight_is_done() {
    let mut world = World::new(CHILD, &["x{{key \"a\"}}"]);
    world.put(&[("a", Some("1"))]);
    world.on(Event::Tick);
    world.on(Event::Loaded(program(CHILD, &["y{{key \"a\"}}"])));
    assert_eq!(world.files[&0], "x1");
    world.pass(100);
    assert_eq!((world.files[&0].as_str(), world.count("reload")), ("y1", 1));
}

#[test]
fn a_burst_is_gathered_and_the_next_one_waits_as_long() {
    let mut world = World::new(&format!("wait = \"50ms:200ms\"\n{CHILD}"), FIVE);
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    world.on(Event::Tick);
    assert!(world.child, "the first set waits for nothing");
    world.pass(1000);

    for round in 1..3 {
        for n in 0..3 {
            world.put(&[("a", Some(&format!("{round}{n}")))]);
            world.pass(40);
            assert_eq!(world.count("reload"), round - 1);
        }
        world.pass(10);
        assert_eq!(world.count("reload"), round);
        world.pass(1000);
    }
}
