//! The program: how it is started, told, ended; and how that is told.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::scene::{READER, Scene};

#[test]
fn a_program_without_a_handler_is_not_killed_by_a_reload() {
    let mut scene = Scene::new();
    scene.write("t", "one ");
    // The handler comes only after a while: until then HUP would be deadly.
    let late = format!("while [ ! -e go ]; do sleep 0.01; done; {READER}");
    scene.start(&[
        "run",
        "-t",
        "t:out",
        "--on-change",
        "signal=HUP",
        "--",
        "sh",
        "-c",
        &late,
    ]);
    scene.eventually("the start", |scene| scene.read("out") == "one ");
    scene.write("t", "two ");
    scene.eventually("the new file", |scene| scene.read("out") == "two ");

    scene.write("go", "");

    scene.eventually("the reload", |scene| scene.read("seen").ends_with("two two "));
}

#[test]
fn a_list_is_run_without_a_shell_and_the_child_is_not_told_the_token() {
    let mut scene = Scene::new();
    scene.write("a.hbs", "one");
    scene.write(
        "agent.toml",
        "check = [\"test\", \"-s\", \"{}\"]\non_change = { command = [\"cp\", \"a b\", \"told\"] }\n\
         [[template]]\nsource = \"a.hbs\"\ndestination = \"a b\"\n\
         [exec]\ncommand = [\"sh\", \"-c\", \"env >env.new; mv env.new env; exec sleep 60\"]\n",
    );
    scene.start_with(
        &["run", "-c", "agent.toml"],
        &[
            ("KEYWAY_TOKEN", "secret"),
            ("KEYWAY_AGENT_SETTLE", "1ms"),
            ("HELLO", "world"),
        ],
    );
    scene.eventually("the child runs", |scene| !scene.read("env").is_empty());
    let env = scene.read("env");
    assert!(env.contains("HELLO=world") && env.contains("KEYWAY_ADDR="), "{env}");
    assert!(!env.contains("KEYWAY_TOKEN") && !env.contains("KEYWAY_AGENT_"), "{env}");

    scene.write("a.hbs", "two");
    scene.eventually("the list was run", |scene| scene.read("told") == "two");
    scene.write("a.hbs", "");

    scene.eventually("the check said no", |scene| {
        scene.read("log").contains("check `test -s {}`")
    });
    assert_eq!(scene.read("a b"), "two");
}

#[test]
fn a_program_that_fails_is_started_again_until_the_limit_and_its_code_is_ours() {
    let mut scene = Scene::new();
    scene.write("a.hbs", "one");
    let program = "echo start >>starts; exit 3";
    let flags = ["run", "-t", "a.hbs:a", "--settle", "1ms", "--restart", "on-failure:2"];

    scene.start(&[&flags[..], &["--", "sh", "-c", program]].concat());

    assert_eq!(scene.exit_code(), 3);
    assert_eq!(scene.read("starts").lines().count(), 3);
    assert!(
        scene.read("log").contains("started again in 200ms"),
        "{}",
        scene.read("log")
    );
}

#[test]
fn readiness_is_told_once_all_is_in_place_and_taken_back_at_the_end() {
    let mut scene = Scene::new();
    scene.write("a.hbs", "one");
    scene.write("ready", "of an earlier run");
    let socket = std::os::unix::net::UnixDatagram::bind(scene.path("service")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let word = || {
        let mut text = [0; 64];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    let flags = ["run", "-t", "a.hbs:a", "--pid-file", "pid", "--ready-file", "ready"];
    let child = ["--", "sh", "-c", "env >env.new; mv env.new env; exec sleep 60"];
    let service = scene.path("service").display().to_string();

    scene.start_with(&[&flags[..], &child].concat(), &[("NOTIFY_SOCKET", &service)]);

    assert_eq!(word(), "READY=1");
    let pid = format!("{}\n", scene.agent.as_ref().unwrap().id());
    scene.eventually("the files say so too", |scene| {
        scene.read("pid") == pid && scene.read("ready") == pid && scene.read("a") == "one"
    });
    scene.eventually("the program runs", |scene| !scene.read("env").is_empty());
    assert!(!scene.read("env").contains("NOTIFY_SOCKET"));
    let second = Command::new(env!("CARGO_BIN_EXE_keyway-agent"))
        .current_dir(scene.dir.path())
        .args(flags)
        .args(child)
        .output()
        .unwrap();
    assert!(!second.status.success());
    assert_eq!(scene.read("pid"), pid, "one that is turned away takes nothing");
    scene.signal(Signal::SIGTERM);

    assert_eq!(word(), "STOPPING=1");
    assert_eq!(scene.exit_code(), 143);
    assert!(!scene.path("pid").exists() && !scene.path("ready").exists());
}

#[test]
fn codes_tell_what_went_wrong() {
    for (arguments, code, part) in [
        (vec!["run"], 2, "there is no template"),
        (vec!["run", "-t", "t"], 2, "names no template and file"),
        (vec!["run", "-t", "t:out", "--on-change", "reload"], 2, "no reaction"),
        (vec!["run", "-t", "no:out"], 3, "cannot read the template"),
        (vec!["run", "-t", "t:/proc/no/out", "--", "true"], 125, "cannot write"),
        (vec!["run", "-t", "t:out", "--", "/no/program"], 127, "/no/program"),
        (vec!["run", "-t", "t:out", "--", "sh", "-c", "exit 9"], 9, ""),
        (vec!["run", "-t", "t:out", "--", "sh", "-c", "kill -KILL $$"], 137, ""),
    ] {
        let mut scene = Scene::new();
        scene.write("t", "text");
        scene.start(&arguments);
        assert_eq!(scene.exit_code(), code, "{arguments:?}: {}", scene.read("log"));
        assert!(scene.read("log").contains(part), "{}", scene.read("log"));
    }
}
