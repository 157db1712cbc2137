//! What follows a change: several files, each thing once.

use std::fs;

use nix::sys::signal::Signal;

use crate::scene::{READER, Scene, group};

/// Lines that end with a comma each, in one line.
fn seen(scene: &Scene) -> String {
    scene.read("seen").replace('\n', ",")
}

#[test]
fn what_several_files_ask_for_is_done_once_commands_first() {
    let mut scene = Scene::new();
    fs::create_dir(scene.path("parts")).unwrap();
    scene.write("parts/p.hbs", "1");
    let template = |name: &str, on_change: &str| {
        format!("[[template]]\ncontents = \"{{{{> p}}}}\"\ndestination = \"{name}\"\n{on_change}\n")
    };
    let config = [
        "partials = \"parts\"\nsettle = \"1ms\"\non_change = \"signal=HUP\"\n".to_owned(),
        template("out", ""),
        template("a", "on_change = \"command=echo x >> seen\""),
        template("b", "on_change = { command = [\"sh\", \"-c\", \"echo y >> seen\"] }"),
        template("c", "on_change = \"command=echo x >> seen\""),
        template("d", "on_change = \"signal=HUP\""),
        template("e", "on_change = \"none\""),
        "[[set]]\ndir = \"live\"\non_change = \"command=echo set $(cat live/f) >> seen\"\n".to_owned(),
        template("f", "").replace("[[template]]", "[[set.template]]"),
        template("g", "").replace("[[template]]", "[[set.template]]"),
        format!(
            "[exec]\ncommand = [\"sh\", \"-c\", {:?}]\n",
            READER.replace("cat out", "echo read $(cat out)")
        ),
    ]
    .concat();
    scene.write("agent.toml", &config);

    scene.start(&["run", "-c", "agent.toml"]);
    scene.eventually("the start", |scene| seen(scene) == "x,y,set 1,read 1,");
    scene.write("parts/p.hbs", "2");
    let both = "x,y,set 1,read 1,x,y,set 2,read 2,";
    scene.eventually("the change", |scene| seen(scene) == both);
    scene.write("parts/p.hbs", "3");
    scene.eventually("the next", |scene| seen(scene).ends_with("set 3,read 3,"));

    assert_eq!(seen(&scene), format!("{both}x,y,set 3,read 3,"), "nothing came twice");
    let log = scene.read("log");
    assert!(
        log.contains("(command=echo x >> seen, command=sh -c echo y >> seen, command=echo set "),
        "{log}"
    );
    assert!(log.contains(">> seen, signal=HUP)"), "{log}");
}

#[test]
fn a_template_has_its_command_behind_its_file() {
    let mut scene = Scene::new();
    for name in ["a.t", "b.t"] {
        scene.write(name, "1");
    }
    let a = "a.t:a:echo a:$(cat a) >> seen";
    scene.start(&["run", "-t", a, "-t", "b.t:b:echo b >> seen", "--settle", "1ms"]);
    scene.eventually("both", |scene| seen(scene) == "a:1,b,");

    scene.write("a.t", "2");

    scene.eventually("one", |scene| seen(scene) == "a:1,b,a:2,");
    // Ended before it knows of the command's end, it would owe the command.
    scene.eventually("its end", |scene| scene.read("log").contains(" applied "));
    scene.signal(Signal::SIGTERM);
    scene.exit_code();
    // What is equal already is no change.
    scene.start(&["once", "-t", a, "-t", "b.t:b:echo b >> seen"]);
    assert_eq!(scene.exit_code(), 0);
    assert_eq!(seen(&scene), "a:1,b,a:2,");
}

#[test]
fn a_kill_repeats_the_commands_that_were_owed_and_no_others() {
    let mut scene = Scene::new();
    scene.write("a.t", "1");
    scene.write("b.t", "1");
    let b = "b.t:b:if [ -e hold ]; then echo $$ > held; sleep 60; fi; echo b >> seen";
    let flags = ["run", "-t", "a.t:a:echo a >> seen", "-t", b, "--settle", "1ms"];
    scene.start(&flags);
    scene.eventually("both", |scene| seen(scene) == "a,b,");
    scene.write("hold", "");
    scene.write("b.t", "2");
    scene.eventually("the command", |scene| scene.read("held").ends_with('\n'));
    scene.signal(Signal::SIGKILL);
    scene.exit_code();
    scene.end_group("held");
    fs::remove_file(scene.path("hold")).unwrap();
    assert_eq!(seen(&scene), "a,b,");

    scene.start(&flags);
    scene.eventually("the owed one", |scene| seen(scene) == "a,b,b,");
    scene.write("a.t", "2");
    scene.eventually("the next", |scene| seen(scene) == "a,b,b,a,");
}

#[test]
fn one_command_that_fails_brings_all_files_back_and_all_are_told_again() {
    let mut scene = Scene::new();
    fs::create_dir(scene.path("parts")).unwrap();
    scene.write("parts/p.hbs", "1");
    scene.write("p.t", "{{> p}}");
    scene.start(&[
        "run",
        "--partials",
        "parts",
        "--settle",
        "1ms",
        "-t",
        "p.t:a:echo a $(cat a) >> seen",
        "-t",
        "p.t:b:! grep -q bad b && echo b $(cat b) >> seen",
    ]);
    scene.eventually("the first", |scene| seen(scene) == "a 1,b 1,");

    scene.write("parts/p.hbs", "bad");

    scene.eventually("the way back", |scene| seen(scene) == "a 1,b 1,a bad,a 1,b 1,");
    assert_eq!((scene.read("a"), scene.read("b")), ("1".into(), "1".into()));
}

#[test]
fn a_command_that_takes_too_long_is_ended_with_all_that_it_started() {
    let mut scene = Scene::new();
    scene.write("t", "1");
    let slow = "echo $$ > pid; sleep 60 & wait";
    for arguments in [
        ["once", "-t", "t:out", "--check", slow],
        ["once", "-t", "t:out", "--on-change", &format!("command={slow}")],
    ] {
        scene.start(&[&arguments[..], &["--command-timeout", "200ms"]].concat());
        let code = scene.exit_code();
        let expected = if arguments.contains(&"--check") { 3 } else { 7 };
        assert_eq!(code, expected);
        let log = scene.read("log");
        assert!(log.contains("it took longer than 200ms (command_timeout)"), "{log}");
        let pid = scene.read("pid").trim().to_owned();
        scene.eventually("the end of the command", |_| group(&pid).is_empty());
        assert!(!scene.path("out").exists());
        fs::remove_file(scene.path("log")).unwrap();
    }
}

#[test]
fn a_set_is_checked_as_a_folder_and_one_check_of_many_files_runs_once() {
    let mut scene = Scene::new();
    scene.write("t", "good");
    scene.write(
        "agent.toml",
        "[[set]]\ndir = \"live\"\ncheck = \"echo set >> checked; ls {} > inside; ! grep -rq bad {}\"\n\
         [[set.template]]\nsource = \"t\"\ndestination = \"x\"\ncheck = [\"sh\", \"-c\", \"echo one >> checked\"]\n\
         [[set.template]]\nsource = \"t\"\ndestination = \"sub/y\"\ncheck = [\"sh\", \"-c\", \"echo one >> checked\"]\n",
    );
    scene.start(&["once", "-c", "agent.toml"]);
    assert_eq!(scene.exit_code(), 0, "{}", scene.read("log"));
    assert_eq!(scene.read("checked"), "one\nset\n");
    assert_eq!(scene.read("inside"), "sub\nx\n");

    scene.write("t", "bad");
    scene.start(&["once", "-c", "agent.toml"]);
    assert_eq!((scene.exit_code(), scene.read("live/sub/y").as_str()), (3, "good"));
    assert!(
        scene.read("log").contains("live: check `echo set"),
        "{}",
        scene.read("log")
    );
}

#[test]
fn a_file_that_asks_for_a_reload_of_no_program_is_refused() {
    let mut scene = Scene::new();
    scene.write(
        "agent.toml",
        "[[template]]\ncontents = \"1\"\ndestination = \"a\"\non_change = \"signal=HUP\"\n",
    );
    scene.start(&["run", "-c", "agent.toml"]);
    assert_eq!(scene.exit_code(), 3);
    assert!(
        scene.read("log").contains("/a needs a program to reload"),
        "{}",
        scene.read("log")
    );
    // Without a program there is nobody to signal, and nobody who would miss it.
    scene.start(&["once", "-c", "agent.toml"]);
    assert_eq!((scene.exit_code(), scene.read("a").as_str()), (0, "1"));
}

#[test]
fn a_command_that_fails_before_the_first_start_is_tried_again_until_it_does_not() {
    let mut scene = Scene::new();
    scene.write("t", "1");
    scene.write(
        "agent.toml",
        "[exec]\ncommand = [\"sh\", \"-c\", \"echo >started; exec sleep 1000\"]\n\
         [[template]]\nsource = \"t\"\ndestination = \"out\"\non_change = \"command=echo >>tried; [ -e there ]\"\n",
    );
    scene.start(&["run", "-c", "agent.toml"]);
    scene.eventually("the failure", |scene| scene.read("log").contains("it is tried again"));
    scene.eventually("what was before: no file", |scene| !scene.path("out").exists());
    assert_eq!(
        (scene.read("tried"), scene.read("started")),
        ("\n".into(), String::new())
    );

    scene.write("there", "");

    scene.eventually("the start", |scene| scene.read("started") == "\n");
    assert_eq!(scene.read("out"), "1");
}
