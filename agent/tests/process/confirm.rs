//! Between files in place and files confirmed: `splay` and `[confirm]`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use nix::sys::signal::Signal;

use crate::scene::{READER, Scene, pause};

/// One template, a program that tells what it has read, and somebody who confirms.
fn config(scene: &Scene, confirm: &str) {
    let reader = format!("[exec]\ncommand = [\"sh\", \"-c\", {READER:?}]\n");
    scene.write(
        "agent.toml",
        &format!(
            "on_change = \"signal=HUP\"\nsettle = \"1ms\"\n{reader}[confirm]\n{confirm}\n\
             [[template]]\nsource = \"t\"\ndestination = \"out\"\n"
        ),
    );
}

#[test]
fn what_a_command_does_not_confirm_is_put_back_and_told_again() {
    let mut scene = Scene::new();
    scene.write("t", "one ");
    config(
        &scene,
        "command = \"echo x >>asked; until tail -c 4 seen | cmp -s - out; do sleep 0.01; done; ! grep -q bad out\"\n\
         interval = \"1ms\"\nattempts = 3",
    );
    scene.start(&["run", "-c", "agent.toml"]);
    scene.eventually("the start", |scene| scene.read("seen") == "one ");

    scene.write("t", "bad ");

    scene.eventually("the way back", |scene| scene.read("seen") == "one bad one ");
    assert_eq!(scene.read("out"), "one ");
    assert_eq!(
        scene.read("asked"),
        "x\nx\nx\n",
        "as often as it may fail, and never of the start"
    );
    let log = scene.read("log");
    assert!(
        log.contains("not confirmed") && log.contains("failed 3 times, at last: it exited with 1"),
        "{log}"
    );
    scene.write("t", "two ");
    scene.eventually("the next", |scene| scene.read("seen") == "one bad one two ");
    scene.eventually("its confirmation", |scene| scene.read("log").contains("INFO confirmed"));
    assert_eq!(scene.read("out"), "two ");
}

#[test]
fn an_address_confirms_with_a_good_status() {
    let mut scene = Scene::new();
    let health = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/health?x", health.local_addr().unwrap());
    let (out, seen) = (scene.path("out"), scene.path("seen"));
    std::thread::spawn(move || {
        for mut stream in health.incoming().flatten() {
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap_or_default();
            let asked = head[..length].starts_with(b"GET /health?x HTTP/1.1\r\n");
            let text = fs::read_to_string(&out).unwrap();
            while !fs::read_to_string(&seen).unwrap().ends_with(&text) {
                pause();
            }
            let well = asked && !text.contains("bad");
            let status = if well {
                "204 No Content"
            } else {
                "503 Service Unavailable"
            };
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
        }
    });
    scene.write("t", "one ");
    config(&scene, &format!("http = \"{url}\"\ninterval = \"1ms\"\nattempts = 2"));
    scene.start(&["run", "-c", "agent.toml"]);
    scene.eventually("the start", |scene| scene.read("seen") == "one ");

    scene.write("t", "bad ");
    scene.eventually("the way back", |scene| scene.read("seen") == "one bad one ");
    let log = scene.read("log");
    assert!(log.contains("at last: it answered 503"), "{log}");

    scene.write("t", "two ");
    scene.eventually("its confirmation", |scene| {
        scene.read("seen") == "one bad one two " && scene.read("log").contains("INFO confirmed")
    });
}

#[test]
fn an_answer_that_does_not_come_is_none() {
    let mut scene = Scene::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    scene.write("t", "one ");
    config(
        &scene,
        &format!("http = \"{url}\"\ninterval = \"1ms\"\ntimeout = \"20ms\"\nattempts = 1"),
    );
    scene.start(&["run", "-c", "agent.toml"]);
    scene.eventually("the start", |scene| scene.read("seen") == "one ");

    scene.write("t", "two ");

    scene.eventually("the way back", |scene| {
        scene.read("out") == "one "
            && scene
                .read("log")
                .contains("failed: it took longer than 20ms (confirm.timeout)")
    });
}

#[test]
fn the_next_set_waits_until_this_one_is_confirmed() {
    let mut scene = Scene::new();
    scene.write("t", "one ");
    config(
        &scene,
        "command = \"echo x >>asked; [ -e good ]\"\ninterval = \"1ms\"\nattempts = 1000000",
    );
    scene.start(&["run", "-c", "agent.toml"]);
    scene.eventually("the start", |scene| scene.read("seen") == "one ");
    scene.write("t", "two ");
    scene.eventually("the second", |scene| scene.read("seen") == "one two ");

    for (number, text) in ["three ", "four "].into_iter().enumerate() {
        scene.write("t", text);
        scene.eventually("the template that was read again", |scene| {
            scene.read("log").matches("were read again").count() >= number + 2
        });
        let asked = scene.read("asked").len();
        scene.eventually("a good while", |scene| scene.read("asked").len() > asked + 20);
        assert_eq!(scene.read("out"), "two ");
    }
    scene.write("good", "");

    scene.eventually("the last", |scene| scene.read("seen").ends_with("four "));
    assert_eq!(scene.read("seen"), "one two four ");
}

#[test]
fn a_program_that_dies_while_it_is_asked_about_gets_the_old_files_and_nobody_asks_on() {
    let mut scene = Scene::new();
    scene.write("t", "one");
    scene.write(
        "agent.toml",
        "on_change = \"signal=HUP\"\n\
         [exec]\ncommand = [\"sh\", \"-c\", \"trap 'cat out >>seen; if [ -e fatal ]; then until [ -s asking ]; do sleep 0.01; done; exit 9; fi' HUP; echo >>starts; while :; do sleep 0.01; done\"]\n\
         [confirm]\ncommand = \"echo $$ >asking; exec sleep 1000\"\ninterval = \"1ms\"\ntimeout = \"1000s\"\n\
         [[template]]\nsource = \"t\"\ndestination = \"out\"\n",
    );
    scene.start(&["run", "-c", "agent.toml"]);
    scene.eventually("the start", |scene| !scene.read("starts").is_empty());
    scene.write("fatal", "");

    scene.write("t", "two");

    scene.eventually("the second start", |scene| scene.read("starts").lines().count() == 2);
    assert_eq!((scene.read("out"), scene.read("seen")), ("one".into(), "two".into()));
    let asking = scene.path("asking");
    scene.eventually("the end of the one who asked", |_| {
        let pid = fs::read_to_string(&asking).unwrap();
        !fs::exists(format!("/proc/{}", pid.trim())).unwrap()
    });
}

#[test]
fn once_ends_with_7_when_nobody_confirms_and_the_old_files_are_back() {
    let mut scene = Scene::new();
    scene.write("out", "old");
    scene.write("t", "new");
    scene.write(
        "agent.toml",
        "on_change = \"command=cat out >>told\"\n\
         [confirm]\ncommand = \"[ -e good ]\"\ninterval = \"1ms\"\nattempts = 2\n\
         [[template]]\nsource = \"t\"\ndestination = \"out\"\n",
    );

    scene.start(&["once", "-c", "agent.toml"]);
    assert_eq!(scene.exit_code(), 7, "{}", scene.read("log"));
    assert_eq!((scene.read("out"), scene.read("told")), ("old".into(), "new".into()));

    scene.write("good", "");
    scene.start(&["once", "-c", "agent.toml"]);
    assert_eq!(scene.exit_code(), 0, "{}", scene.read("log"));
    assert_eq!(scene.read("out"), "new");
}

#[test]
fn a_pause_by_chance_holds_up_no_end_and_the_next_start_makes_up_for_it() {
    let mut scene = Scene::new();
    scene.write("t", "one");
    let flags = [
        "run",
        "-t",
        "t:out",
        "--splay",
        "1000h",
        "--on-change",
        "command=cat out >>seen",
    ];
    scene.start(&flags);
    scene.eventually("the first, at once", |scene| scene.read("seen") == "one");

    scene.write("t", "two");
    scene.eventually("the file", |scene| scene.read("out") == "two");
    scene.signal(Signal::SIGTERM);
    scene.exit_code();
    assert_eq!(scene.read("seen"), "one");

    scene.start(&flags);
    scene.eventually("what was owed", |scene| scene.read("seen") == "onetwo");
}
