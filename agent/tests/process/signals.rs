//! What each signal does, as the table in docs/agent.md has it.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::scene::{Scene, group};

/// The table: each name, and what it does.
fn table() -> BTreeMap<String, String> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/agent.md")).unwrap();
    let section = page.split("\n## ").find(|part| part.starts_with("Signals\n")).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut table = BTreeMap::new();
    for row in rows {
        let (names, does) = row.split_once("` | ").unwrap();
        for name in names.split("`, `") {
            let twice = table.insert(name.to_owned(), does.trim_end_matches(" |").to_owned());
            assert_eq!(twice, None, "{name}");
        }
    }
    table
}

fn name(signal: Signal) -> String {
    signal.as_str().trim_start_matches("SIG").to_owned()
}

/// An agent over a program that tells every signal that it gets and can get.
fn scene() -> Scene {
    scene_with("50ms")
}

fn scene_with(kill_timeout: &str) -> Scene {
    let mut scene = Scene::new();
    scene.write("a.hbs", "one");
    let silent = [Signal::SIGKILL, Signal::SIGSTOP, Signal::SIGCHLD];
    let told = Signal::iterator().filter(|signal| !silent.contains(signal));
    let traps: String = told
        .map(|signal| format!("trap 'echo {} >>got' {}; ", name(signal), signal as i32))
        .collect();
    let program = format!("{traps} echo $$ >started; while :; do sleep 0.02; done");
    scene.start(&[
        "run",
        "-t",
        "a.hbs:a",
        "--kill-timeout",
        kill_timeout,
        "--",
        "sh",
        "-c",
        &program,
    ]);
    scene.eventually("the program runs", |scene| scene.read("started").ends_with('\n'));
    scene
}

fn got(scene: &Scene) -> Vec<String> {
    scene.read("got").lines().map(str::to_owned).collect()
}

#[test]
fn the_table_of_signals_has_every_one_that_can_be_caught() {
    let mut names: Vec<String> = Signal::iterator()
        .filter(|signal| ![Signal::SIGKILL, Signal::SIGSTOP].contains(signal))
        .map(name)
        .chain(["34` to `64".to_owned()])
        .collect();
    names.sort();
    assert_eq!(table().into_keys().collect::<Vec<_>>(), names);
}

#[test]
fn every_signal_that_is_passed_on_reaches_the_program_once_and_those_that_do_nothing_do_not() {
    let mut scene = scene();
    let (mut expected, table) = (Vec::new(), table());
    for signal in Signal::iterator() {
        match table.get(&name(signal)).map(String::as_str) {
            Some(does) if does.starts_with("passed on") => expected.push(name(signal)),
            Some(does) if does.starts_with("nothing") => {}
            _ => continue,
        }
        scene.signal(signal);
        scene.eventually("the signal has come", |scene| got(scene).len() >= expected.len());
    }
    let pid = scene.agent.as_ref().unwrap().id().to_string();
    for number in 34..=64 {
        assert!(
            Command::new("kill")
                .args([&format!("-{number}"), &pid])
                .status()
                .unwrap()
                .success()
        );
    }
    scene.eventually("word of it", |scene| {
        scene.read("log").contains("a real-time signal came")
    });
    // What came before it has been taken in by then.
    scene.signal(Signal::SIGUSR1);
    expected.push("USR1".to_owned());
    scene.eventually("the last one", |scene| got(scene).len() >= expected.len());

    assert_eq!(got(&scene), expected);
    assert!(expected.len() > 15, "{expected:?}");
    scene.signal(Signal::SIGTERM);
    assert_eq!(scene.exit_code(), 137, "the program minds no TERM");
}

#[test]
fn term_and_int_ask_the_program_to_end_and_hup_reads_again_without_it() {
    for (signal, does) in [
        (Signal::SIGTERM, "ends the agent"),
        (Signal::SIGINT, "ends the agent"),
        (Signal::SIGHUP, "the configuration"),
    ] {
        assert!(table()[&name(signal)].starts_with(does));
        let mut scene = scene_with("1000s");
        scene.signal(signal);
        if signal == Signal::SIGHUP {
            scene.eventually("the new reading", |scene| scene.read("log").contains("were read again"));
            scene.signal(Signal::SIGUSR2);
            scene.eventually("the signal after it", |scene| got(scene) == ["USR2"]);
            scene.signal(Signal::SIGTERM);
        }
        scene.eventually("it is asked, and woken if it was stopped", |scene| {
            got(scene).ends_with(&["TERM".to_owned(), "CONT".to_owned()])
        });
        // It minds no TERM; a second one ends it.
        scene.signal(Signal::SIGTERM);
        assert_eq!(scene.exit_code(), 137);
    }
}

#[test]
fn a_fault_ends_the_agent_and_the_program_runs_on() {
    let table = table();
    let faults = Signal::iterator().filter(|signal| {
        let does = table.get(&name(*signal));
        does.is_some_and(|does| does.starts_with("a fault"))
    });
    let faults: Vec<Signal> = faults.collect();
    assert_eq!(faults.len(), 4, "{faults:?}");
    for signal in faults {
        let mut scene = scene();
        if [Signal::SIGBUS, Signal::SIGSEGV].contains(&signal) {
            scene.signal(signal);
            scene.signal(Signal::SIGUSR1);
            scene.eventually("the signal after the first", |scene| got(scene) == ["USR1"]);
        }
        scene.signal(signal);
        let ended = scene.ended_by();
        let runs = !group(scene.read("started").trim()).is_empty();
        scene.end_group("started");
        assert_eq!((ended, runs), (Some(signal as i32), true));
    }
}

#[test]
fn a_signal_may_become_another_or_none_and_the_reload_signal_another() {
    let mut scene = Scene::new();
    scene.write("a.hbs", "one");
    let traps = ["HUP", "USR1", "USR2", "QUIT"].map(|name| format!("trap 'echo {name} >>got' {name}; "));
    let program = format!("{} echo $$ >started; while :; do sleep 0.02; done", traps.concat());
    let flags = [
        "run",
        "-t",
        "a.hbs:a",
        "--reload-signal",
        "USR1",
        "--kill-timeout",
        "50ms",
    ];
    let map = [
        "--map-signal",
        "HUP=USR2",
        "--map-signal",
        "WINCH=QUIT",
        "--map-signal",
        "USR2=none",
    ];
    scene.start(&[&flags[..], &map, &["--", "sh", "-c", &program]].concat());
    scene.eventually("the program runs", |scene| scene.read("started").ends_with('\n'));

    scene.signal(Signal::SIGUSR2);
    scene.signal(Signal::SIGHUP);
    scene.eventually("HUP as USR2", |scene| got(scene) == ["USR2"]);
    scene.signal(Signal::SIGUSR1);
    scene.eventually("the new reading", |scene| scene.read("log").contains("were read again"));
    scene.signal(Signal::SIGWINCH);
    scene.eventually("WINCH as QUIT", |scene| got(scene) == ["USR2", "QUIT"]);

    scene.signal(Signal::SIGTERM);
    assert_eq!(scene.exit_code(), 143);
}

#[test]
fn hup_with_a_configuration_that_cannot_be_used_leaves_the_program_and_what_was_read_before() {
    let mut scene = Scene::new();
    let config = |text: &str| format!("{text}\n[exec]\ncommand = [\"sh\", \"run.sh\"]\n");
    let template = "[[template]]\nsource = \"a.hbs\"\ndestination = \"a\"";
    scene.write("a.hbs", "one");
    scene.write("run.sh", "echo $$ >>starts; while :; do sleep 0.02; done");
    scene.write("agent.toml", &config(template));
    scene.start(&["run", "-c", "agent.toml", "--on-change", "none"]);
    scene.eventually("the program runs", |scene| scene.read("starts").ends_with('\n'));

    for (number, (wrong, part)) in [
        ("zzz = 1", "zzz"),
        ("[[template]]\nsource = \"no.hbs\"\ndestination = \"a\"", "no.hbs"),
        ("[[template]]\ncontents = \"{{#if\"\ndestination = \"a\"", "(contents)"),
    ]
    .into_iter()
    .enumerate()
    {
        scene.write("agent.toml", &config(wrong));
        scene.signal(Signal::SIGHUP);
        scene.eventually("word of it", |scene| {
            let log = scene.read("log");
            log.matches("what was read before stays in use").count() == number + 1 && log.contains(part)
        });
    }
    scene.write("a.hbs", "two");
    scene.write("agent.toml", &config(template));
    scene.signal(Signal::SIGHUP);

    scene.eventually("the new file", |scene| scene.read("a") == "two");
    assert_eq!(scene.read("starts").lines().count(), 1);
    assert!(!group(scene.read("starts").trim()).is_empty());
}

#[test]
fn a_storm_of_signals_delays_nothing_for_good() {
    let mut scene = Scene::new();
    scene.write("a.hbs", "one");
    let program =
        "trap 'echo usr2 >got' USR2; trap : USR1; trap : WINCH; echo $$ >started; while :; do sleep 0.02; done";
    let flags = ["run", "-t", "a.hbs:a", "--on-change", "none", "--settle", "1ms"];
    scene.start(&[&flags[..], &["--", "sh", "-c", program]].concat());
    scene.eventually("the program runs", |scene| scene.read("started").ends_with('\n'));

    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let storm = [Signal::SIGUSR1, Signal::SIGHUP, Signal::SIGWINCH, Signal::SIGCONT];
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                storm.iter().for_each(|signal| scene.signal(*signal));
                std::thread::sleep(std::time::Duration::from_micros(100));
            }
        });
        for n in 0..10 {
            scene.write("a.hbs", &n.to_string());
            scene.eventually("the change", |scene| scene.read("a") == n.to_string());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    scene.signal(Signal::SIGUSR2);
    scene.eventually("the last signal", |scene| scene.read("got") == "usr2\n");

    scene.signal(Signal::SIGTERM);
    assert_eq!(scene.exit_code(), 143);
}

#[test]
fn a_second_term_kills_at_once() {
    let mut scene = Scene::new();
    scene.write("a.hbs", "one");
    let program = "trap 'echo asked >asked' TERM; echo $$ >started; while :; do sleep 0.02; done";
    let flags = ["run", "-t", "a.hbs:a", "--kill-timeout", "1h"];
    scene.start(&[&flags[..], &["--", "sh", "-c", program]].concat());
    scene.eventually("the program runs", |scene| scene.read("started").ends_with('\n'));

    scene.signal(Signal::SIGTERM);
    scene.eventually("the program was asked", |scene| scene.read("asked") == "asked\n");
    scene.signal(Signal::SIGTERM);

    assert_eq!(scene.exit_code(), 137);
    assert!(group(scene.read("started").trim()).is_empty());
}

#[test]
fn an_end_before_the_program_runs_has_the_code_of_its_signal() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let mut scene = Scene::new();
        scene.write("a.hbs", "{{key \"a\"}}");
        scene.start(&["run", "-t", "a.hbs:a", "--", "true"]);
        scene.eventually("the store is waited for", |scene| {
            scene.read("log").contains("the store is away")
        });
        scene.signal(signal);
        assert_eq!(scene.exit_code(), code);
    }
}
