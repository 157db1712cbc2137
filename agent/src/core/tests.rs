use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use kvapi::problem::exit;
use kvapi::types::{Change, Entry, KeyChange, Progress, Revision, Snapshot};
use proptest::prelude::*;

use super::*;
use crate::config::Raw;
use crate::render::{Surroundings, render};
use crate::templates::Templates;

/// The world around a core: a store, files, a child. It performs actions at once, or as told.
struct World {
    core: Core,
    now: Instant,
    store: BTreeMap<String, Entry>,
    revision: u64,
    /// What each file shows, with the revision that it was promoted at.
    files: BTreeMap<TemplateId, String>,
    old_files: BTreeMap<TemplateId, String>,
    staged: BTreeMap<TemplateId, String>,
    child: bool,
    linked: bool,
    check: fn(&BTreeMap<TemplateId, String>) -> bool,
    reload: fn(&BTreeMap<TemplateId, String>) -> bool,
    log: Vec<String>,
    ended: Option<u8>,
}

fn program(config: &str, texts: &[&str]) -> Arc<Program> {
    let templates: String = (0..texts.len())
        .map(|n| format!("[[template]]\ncontents = \"\"\ndestination = \"/f{n}\"\n"))
        .collect();
    let config = Raw::parse(&format!("{config}\n{templates}"), Path::new("/t.toml")).unwrap();
    let once = config.exec.command.first().is_some_and(|word| word == "once");
    let named: Vec<(String, String)> = texts
        .iter()
        .enumerate()
        .map(|(n, text)| (format!("t{n}"), (*text).to_owned()))
        .collect();
    Arc::new(Program {
        config: config.check(once).unwrap(),
        templates: Templates::compile(&named, &BTreeMap::new(), None).unwrap(),
    })
}

const CHILD: &str = "on_change = \"signal=HUP\"\n[exec]\ncommand = [\"x\"]\n";

impl World {
    fn new(config: &str, texts: &[&str]) -> Self {
        Self {
            core: Core::new(program(config, texts), View::default(), false),
            now: Instant::now(),
            store: BTreeMap::new(),
            revision: 1,
            files: BTreeMap::new(),
            old_files: BTreeMap::new(),
            staged: BTreeMap::new(),
            child: false,
            linked: true,
            check: |_| true,
            reload: |_| true,
            log: Vec::new(),
            ended: None,
        }
    }

    fn entry(&self, key: &str, value: &str) -> Entry {
        Entry {
            lock_index: 0,
            key: key.into(),
            flags: 0,
            value: Bytes::copy_from_slice(value.as_bytes()),
            session: None,
            create_index: Revision(self.revision),
            modify_index: Revision(self.revision),
        }
    }

    /// Hands an event to the core and performs what comes back, until nothing does.
    fn on(&mut self, event: Event) {
        let mut queue = vec![event];
        while !queue.is_empty() {
            let event = queue.remove(0);
            for action in self.core.on(event, self.now) {
                if self.ended.is_none() {
                    queue.extend(self.perform(action));
                }
            }
        }
    }

    fn perform(&mut self, action: Action) -> Vec<Event> {
        match action {
            Action::Watch(_) if !self.linked => vec![Event::Lost { reason: "away".into() }],
            Action::Watch(scope) => {
                self.log.push("watch".into());
                let keys = self.store.iter().filter(|(key, _)| scope.covers_key(key));
                let entries = keys.map(|(_, entry)| entry.clone()).collect();
                let snapshot = Snapshot {
                    revision: Revision(self.revision),
                    entries,
                };
                vec![
                    Event::Connected { cluster: "c".into() },
                    Event::Stream(WatchEvent::Snapshot(snapshot)),
                ]
            }
            Action::Render { program, ids, view } => {
                self.log.push(format!("render {ids:?}"));
                let around = Surroundings {
                    missing: program.config.policy.missing,
                    ..Surroundings::default()
                };
                let all = ids
                    .iter()
                    .map(|id| render(&program.templates, *id, &view, &around))
                    .collect();
                vec![Event::Rendered(all)]
            }
            Action::Check { set, .. } => {
                self.staged = set
                    .texts
                    .iter()
                    .enumerate()
                    .map(|(id, text)| (id, text.to_string()))
                    .collect();
                let differs = |id: &TemplateId| self.files.get(id) != self.staged.get(id);
                let changed = (0..set.texts.len()).filter(differs).collect();
                vec![Event::Checked(if (self.check)(&self.staged) {
                    Ok(changed)
                } else {
                    Err("check".into())
                })]
            }
            Action::Promote => {
                self.log.push("promote".into());
                self.old_files = std::mem::replace(&mut self.files, self.staged.clone());
                vec![Event::Promoted(Ok(()))]
            }
            Action::PutBack => {
                self.log.push("put back".into());
                self.files = self.old_files.clone();
                vec![Event::PutBack(Ok(()))]
            }
            Action::Start => {
                self.log.push("start".into());
                assert!(!self.child, "two children");
                self.child = true;
                vec![Event::Started]
            }
            Action::Reload { attempt, .. } | Action::Run { attempt, .. } => {
                self.log.push("reload".into());
                let result = if (self.reload)(&self.files) {
                    Ok(())
                } else {
                    Err("reload".into())
                };
                vec![Event::Applied { attempt, result }]
            }
            Action::SignalGroup(signal) => {
                self.log.push(signal.to_string());
                Vec::new()
            }
            Action::SignalChild(_) | Action::Say(..) | Action::Remember(_) => Vec::new(),
            Action::Lacking { lacks, fatal } => {
                self.log.push(format!("lacking {}", lacks[0].key));
                if fatal {
                    self.ended = Some(exit::INVALID);
                }
                Vec::new()
            }
            Action::Exit(code) => {
                self.ended = Some(code);
                Vec::new()
            }
            Action::Fail(problem) => {
                self.ended = Some(problem.code);
                Vec::new()
            }
        }
    }

    /// One transaction.
    fn put(&mut self, values: &[(&str, Option<&str>)]) {
        self.revision += 1;
        let mut changes = Vec::new();
        for (key, value) in values {
            let entry = value.map(|value| self.entry(key, value));
            match entry.clone() {
                Some(entry) => self.store.insert((*key).into(), entry),
                None => self.store.remove(*key),
            };
            changes.push(KeyChange {
                key: (*key).into(),
                entry,
            });
        }
        if self.linked {
            let change = Change {
                revision: Revision(self.revision),
                at: 0,
                author: None,
                message: None,
                changes,
            };
            self.on(Event::Stream(WatchEvent::Change(change)));
        }
    }

    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.on(Event::Tick);
    }

    fn exit(&mut self, code: u8) {
        self.child = false;
        self.on(Event::Exited {
            code,
            told: format!("exited with {code}"),
        });
    }

    fn count(&self, word: &str) -> usize {
        self.log.iter().filter(|line| line.starts_with(word)).count()
    }
}

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
    world.on(Event::Stop);
    assert_eq!((world.count("SIGTERM"), world.ended), (1, None));
    world.on(Event::Stop);
    assert_eq!(world.count("SIGKILL"), 1);
    world.exit(3);
    assert_eq!(world.ended, Some(3));

    let mut waiting = World::new(CHILD, FIVE);
    waiting.on(Event::Tick);
    waiting.on(Event::Stop);
    assert_eq!(waiting.ended, Some(143));
}

#[test]
fn a_missing_key_may_be_fatal_before_the_start_and_never_after() {
    let mut world = World::new(&format!("missing = \"fail\"\n{CHILD}"), FIVE);
    world.on(Event::Tick);
    assert_eq!(world.ended, Some(exit::INVALID));

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
    world.on(Event::Lost { reason: "gone".into() });
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
    };
    world.on(Event::Stream(WatchEvent::Change(first)));

    assert_eq!(world.log, ["watch", "render {0, 2}", "promote", "reload"]);
    assert_eq!(world.files[&2], "8");
}

#[test]
fn a_reconnect_that_missed_nothing_asks_for_nothing() {
    let mut world = World::new(CHILD, FIVE);
    world.put(&[("a", Some("1")), ("b", Some("1"))]);
    world.on(Event::Tick);
    world.pass(100);
    world.log.clear();
    world.on(Event::Lost { reason: "gone".into() });
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
    world.core = Core::new(program("on_change = \"command=x\"", &["x"]), View::default(), true);
    world.on(Event::Tick);
    assert_eq!(world.log, ["render {0}", "reload"]);

    let mut quiet = World::new("on_change = \"command=x\"", &["x"]);
    quiet.files.insert(0, "x".into());
    quiet.on(Event::Tick);
    assert_eq!(quiet.log, ["render {0}"]);
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
fn templates_that_were_read_again_are_used_when_the_set_in_flight_is_done() {
    let mut world = World::new(CHILD, &["x{{key \"a\"}}"]);
    world.put(&[("a", Some("1"))]);
    world.on(Event::Tick);
    world.on(Event::Loaded(program(CHILD, &["y{{key \"a\"}}"])));
    assert_eq!(world.files[&0], "x1");
    world.pass(100);
    assert_eq!((world.files[&0].as_str(), world.count("reload")), ("y1", 1));
}

#[derive(Debug, Clone)]
enum Step {
    Put(Vec<(usize, u8)>),
    Pass(u64),
    Cut,
    Mend,
    Die(u8),
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec((0usize..4, 0u8..5), 1..4).prop_map(Step::Put),
        4 => (0u64..150).prop_map(Step::Pass),
        1 => Just(Step::Cut),
        2 => Just(Step::Mend),
        1 => (0u8..3).prop_map(Step::Die),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens: files are of one revision, no reload comes without a changed file, and
    /// once all is quiet the files show the store as it is, or a set that was refused.
    #[test]
    fn files_are_never_torn_and_follow_the_store(
        steps in prop::collection::vec(step(), 0..40),
        restart in any::<bool>(),
        end in any::<bool>(),
    ) {
        const KEYS: [&str; 4] = ["k/0", "k/1", "k/2", "rev"];
        let config = if restart { "[exec]\ncommand = [\"x\"]\n" } else { CHILD };
        let mut world = World::new(config, &[
            "{{key \"rev\" default=\"0\"}}|{{key \"k/0\" default=\"-\"}}",
            "{{key \"rev\" default=\"0\"}}|{{#each (tree \"k\")}}{{value}}{{/each}}",
            "{{key \"k/1\"}}|{{key \"rev\" default=\"0\"}}",
        ]);
        world.check = |files| !files[&0].ends_with("|4");
        world.reload = |files| !files[&2].starts_with("3|");
        world.on(Event::Tick);
        let steps = steps.into_iter().chain(end.then_some(Step::Stop));
        for step in steps {
            if world.ended.is_some() {
                break;
            }
            match step {
                Step::Put(values) => {
                    let rev = (world.revision + 1).to_string();
                    let texts: Vec<String> = values.iter().map(|(_, v)| v.to_string()).collect();
                    let mut all: Vec<(&str, Option<&str>)> = values.iter().zip(&texts)
                        .filter(|((k, _), _)| *k < 3)
                        .map(|((k, v), text)| (KEYS[*k], (*v > 0).then_some(text.as_str()))).collect();
                    all.push(("rev", Some(&rev)));
                    world.put(&all);
                }
                Step::Pass(millis) => world.pass(millis),
                Step::Cut => { world.linked = false; world.on(Event::Lost { reason: "cut".into() }); }
                Step::Mend => if !world.linked {
                    world.linked = true;
                    world.on(Event::Connected { cluster: "c".into() });
                    let changes = vec![];
                    let change = Change { revision: Revision(world.revision), at: 0, author: None, message: None, changes };
                    world.on(Event::Stream(WatchEvent::Change(change)));
                }
                Step::Die(code) => if world.child { world.exit(code); }
                Step::Stop => world.on(Event::Stop),
            }
            if let (Some(a), Some(b), Some(c)) = (world.files.get(&0), world.files.get(&1), world.files.get(&2)) {
                let rev = a.split('|').next();
                prop_assert_eq!(rev, b.split('|').next());
                prop_assert_eq!(rev, c.split('|').nth(1));
            }
            prop_assert!(world.count("reload") <= 2 * world.count("promote"));
        }
        if end && world.ended.is_none() {
            if world.child {
                world.exit(0);
            }
            prop_assert!(world.ended.is_some());
        }
    }
}
