//! The agent as process 1 of a PID namespace.

use std::fs;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::Write as _;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::scene::{Scene, stats};

/// How often the whole story is told.
fn runs() -> usize {
    if std::env::var_os("KEYWAY_LONG").is_some() {
        200
    } else {
        20
    }
}

/// Makes so many orphans that end at once.
fn orphans(count: usize) -> String {
    format!("i=0; while [ $i -lt {count} ]; do (true &); i=$((i+1)); done; ")
}

/// The children of a process, as (pid, state).
fn children(parent: i32) -> Vec<(i32, String)> {
    let fields = |stat: &String| {
        let pid = stat.split(' ').next()?.parse().ok()?;
        let mut rest = stat.rsplit_once(") ")?.1.split(' ');
        let (state, of) = (rest.next()?.to_owned(), rest.next()?.parse::<i32>().ok()?);
        (of == parent).then_some((pid, state))
    };
    stats().iter().filter_map(fields).collect()
}

#[test]
fn as_process_1_it_reaps_a_thousand_orphans_and_ends_with_the_programs_code() {
    for run in 0..runs() {
        let code = i32::from(RandomState::new().build_hasher().finish() as u8);
        let mut scene = Scene::new();
        scene.write("a.hbs", "one");
        mkfifo(&scene.path("go"), Mode::S_IRWXU).unwrap();
        // The last orphans end while the program does.
        let (most, last) = (orphans(900), orphans(100));
        let program = format!("{most} echo $$ >made; read go <go; {last} exit {code}");
        scene.start_as_init(&["run", "-t", "a.hbs:a", "--", "sh", "-c", &program]);
        scene.eventually("the orphans", |scene| scene.read("made").ends_with('\n'));
        let made = Instant::now();
        let outside = scene.agent.as_ref().unwrap().id().cast_signed();
        let [(agent, _)] = children(outside)[..] else {
            panic!("unshare has one child")
        };

        let zombies = || children(agent).into_iter().filter(|(_, state)| state == "Z").count();
        scene.eventually("no zombie", |_| zombies() == 0);
        assert!(made.elapsed() < Duration::from_secs(1), "{:?}", made.elapsed());
        assert_eq!(children(agent).len(), 1, "the program alone is left");
        let mut go = fs::File::options().write(true).open(scene.path("go")).unwrap();
        go.write_all(b"go\n").unwrap();

        assert_eq!(scene.exit_code(), code, "run {run}: {}", scene.read("log"));
    }
}

#[test]
fn as_process_1_it_passes_signals_on_ends_at_term_and_leaves_nobody() {
    let mut scene = Scene::new();
    scene.write("a.hbs", "one");
    let program = "setsid sh -c 'echo yes >daemon; exec sleep 61' & trap 'echo usr1 >got' USR1; \
        trap 'exit 5' TERM; echo $$ >started; while :; do sleep 0.02; done";
    scene.start_as_init(&["run", "-t", "a.hbs:a", "--", "sh", "-c", program]);
    scene.eventually("the program", |scene| {
        scene.read("started").ends_with('\n') && scene.read("daemon") == "yes\n"
    });
    let outside = scene.agent.as_ref().unwrap().id().cast_signed();
    let agent = children(outside)[0].0;
    let all: Vec<i32> = children(agent).iter().map(|(pid, _)| *pid).collect();
    let signal = |signal| nix::sys::signal::kill(nix::unistd::Pid::from_raw(agent), signal).unwrap();

    signal(nix::sys::signal::Signal::SIGUSR1);
    scene.eventually("the signal", |scene| scene.read("got") == "usr1\n");
    signal(nix::sys::signal::Signal::SIGTERM);

    assert_eq!(scene.exit_code(), 5);
    for pid in all {
        assert!(!fs::exists(format!("/proc/{pid}")).unwrap(), "{pid} is left");
    }
}
