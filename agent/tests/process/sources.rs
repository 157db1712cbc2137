//! Template files that are replaced, in every way that there is, and a system that watches none.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::scene::{Scene, note_left_out};

/// How many inotify instances a process has.
fn instances(pid: u32) -> usize {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let links = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_string_lossy().contains("inotify")).count()
}

/// A version of what Kubernetes mounts, and the swap that makes it the one in use.
fn mount(scene: &Scene, version: &str, text: &str) {
    fs::create_dir_all(scene.path(&format!("map/..{version}"))).unwrap();
    scene.write(&format!("map/..{version}/t"), text);
    symlink(format!("..{version}"), scene.path("map/..data_tmp")).unwrap();
    fs::rename(scene.path("map/..data_tmp"), scene.path("map/..data")).unwrap();
}

#[test]
fn the_swap_of_a_config_map_is_rendered_again_and_again() {
    let mut scene = Scene::new();
    mount(&scene, "v1", "1");
    symlink("..data/t", scene.path("map/t")).unwrap();
    // Nor does it matter by how many links the template is reached.
    symlink("map/t", scene.path("link")).unwrap();
    scene.start(&["run", "-t", "link:out"]);
    scene.eventually("the first", |scene| scene.read("out") == "1");
    for (version, before, text) in [("v2", "v1", "2"), ("v3", "v2", "3")] {
        mount(&scene, version, text);
        fs::remove_dir_all(scene.path(&format!("map/..{before}"))).unwrap();
        scene.eventually("the next version", |scene| scene.read("out") == text);
    }
}

#[test]
fn a_folder_that_vanishes_leaves_the_last_text_and_is_followed_when_it_is_back() {
    let mut scene = Scene::new();
    let make = |scene: &Scene, text: &str| {
        fs::create_dir_all(scene.path("new/partials")).unwrap();
        scene.write("new/t", &format!("{text}{{{{> p}}}}"));
        scene.write("new/partials/p.hbs", "p");
        fs::rename(scene.path("new"), scene.path("folder")).unwrap();
    };
    make(&scene, "1");
    scene.start(&["run", "-t", "folder/t:out", "--partials", "folder/partials"]);
    scene.eventually("the first", |scene| scene.read("out") == "1p");

    fs::remove_dir_all(scene.path("folder")).unwrap();
    scene.eventually("the word", |scene| scene.read("log").contains("stays in use"));
    assert_eq!(scene.read("out"), "1p");
    make(&scene, "2");
    scene.eventually("the folder that is back", |scene| scene.read("out") == "2p");
    scene.write("folder/partials/p.hbs", "q");
    scene.eventually("its partial", |scene| scene.read("out") == "2q");

    // And once more, by a folder that is put in its place at once.
    fs::rename(scene.path("folder"), scene.path("old")).unwrap();
    make(&scene, "3");
    scene.eventually("the other folder", |scene| scene.read("out") == "3p");
    scene.write("folder/t", "4");
    scene.eventually("its template", |scene| scene.read("out") == "4");
}

#[test]
fn a_folder_further_up_that_gets_another_name_is_noticed_and_what_takes_its_place_is_followed() {
    let mut scene = Scene::new();
    let make = |scene: &Scene, text: &str| {
        fs::create_dir_all(scene.path("new/of/app")).unwrap();
        scene.write("new/of/app/t", text);
        fs::rename(scene.path("new"), scene.path("current")).unwrap();
    };
    make(&scene, "1");
    scene.start(&["run", "-t", "current/of/app/t:out"]);
    scene.eventually("the first", |scene| scene.read("out") == "1");
    for text in ["2", "3"] {
        fs::rename(scene.path("current"), scene.path(&format!("before-{text}"))).unwrap();
        make(&scene, text);
        scene.eventually("the next", |scene| scene.read("out") == text);
    }
    scene.write("current/of/app/t", "4");
    scene.eventually("the last", |scene| scene.read("out") == "4");
}

#[test]
fn a_folder_that_never_rests_puts_nothing_off_for_ever() {
    let mut scene = Scene::new();
    fs::create_dir(scene.path("partials")).unwrap();
    scene.write("t", "1");
    scene.start(&["run", "-t", "t:out", "--partials", "partials"]);
    scene.eventually("the first", |scene| scene.read("out") == "1");
    let (noise, (stop, stopped)) = (scene.path("partials/noise"), mpsc::channel());
    let busy = thread::spawn(move || {
        // Ever again, well within the quiet that is waited for.
        while stopped.recv_timeout(Duration::from_millis(5)) == Err(RecvTimeoutError::Timeout) {
            fs::File::create(&noise).unwrap();
        }
    });
    scene.write("t", "2");
    scene.eventually("the second", |scene| scene.read("out") == "2");
    stop.send(()).unwrap();
    busy.join().unwrap();
}

#[test]
fn a_log_in_a_watched_folder_does_not_feed_itself() {
    let mut scene = Scene::new();
    scene.write("t", "1");
    // The log is beside the template.
    scene.start(&["--log", "trace", "run", "-t", "t:out", "--ready-file", "ready"]);
    scene.eventually("ready", |scene| scene.path("ready").exists());
    scene.eventually("the log comes to rest", |scene| {
        let before = scene.read("log");
        // What feeds itself is read again 100 ms behind each line.
        thread::sleep(Duration::from_millis(500));
        scene.read("log") == before
    });
    scene.write("t", "2");
    scene.eventually("the second", |scene| scene.read("out") == "2");
}

#[test]
fn where_nothing_is_to_watch_there_is_no_inotify_instance() {
    let mut scene = Scene::new();
    for (config, wanted) in [("contents = \"x\"", 0), ("source = \"t\"", 1)] {
        scene.write("t", "x");
        scene.write(
            "agent.toml",
            &format!("[[template]]\n{config}\ndestination = \"out\"\n"),
        );
        scene.start(&["run", "-c", "agent.toml", "--ready-file", "ready"]);
        scene.eventually("ready", |scene| scene.path("ready").exists());
        assert_eq!(instances(scene.agent.as_ref().unwrap().id()), wanted, "{config}");
        scene.signal(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(scene.exit_code(), 0);
    }
}

#[test]
fn where_the_system_watches_nothing_files_are_looked_at() {
    // A user namespace has a limit of its own.
    let limit = "echo 0 > /proc/sys/user/max_inotify_instances";
    let tried = Command::new("unshare").args(["-Ur", "sh", "-c", limit]).status();
    if !tried.is_ok_and(|status| status.success()) {
        note_left_out("no user namespaces, so no system that watches no files was tried");
        return;
    }
    let mut scene = Scene::new();
    scene.write("t", "1");
    let script = &format!("{limit}; exec \"$0\" run -t t:out");
    let log = fs::File::create(scene.path("log")).unwrap();
    let mut command = Command::new("unshare");
    command.args(["-Ur", "sh", "-c", script, env!("CARGO_BIN_EXE_keyway-agent")]);
    command
        .current_dir(scene.dir.path())
        .env("KEYWAY_ADDR", "unix:///nowhere");
    scene.agent = Some(command.stdin(Stdio::null()).stderr(log).spawn().unwrap());
    scene.eventually("the first", |scene| scene.read("out") == "1");
    assert!(
        scene.read("log").contains("looked at every 2s"),
        "{}",
        scene.read("log")
    );

    scene.write("t", "2");
    scene.eventually("the second", |scene| scene.read("out") == "2");
}

/// A pipe in place of a file: whoever reads it waits until somebody writes.
fn pipe(scene: &Scene, name: &str) {
    let made = Command::new("mkfifo").arg(scene.path("made")).status().unwrap();
    assert!(made.success());
    fs::rename(scene.path("made"), scene.path(name)).unwrap();
}

#[test]
fn of_two_readings_the_later_one_counts_however_long_the_first_one_takes() {
    let mut scene = Scene::new();
    scene.write("t", "1");
    scene.start(&["run", "-t", "t:out"]);
    scene.eventually("the first", |scene| scene.read("out") == "1");

    pipe(&scene, "t");
    fs::hard_link(scene.path("t"), scene.path("pipe")).unwrap();
    // Opened as soon as somebody reads.
    let mut old = fs::File::options().write(true).open(scene.path("pipe")).unwrap();
    scene.write("new", "new");
    fs::rename(scene.path("new"), scene.path("t")).unwrap();
    old.write_all(b"old").unwrap();
    drop(old);

    scene.eventually("both", |scene| {
        scene.read("log").matches("were read again").count() == 2
    });
    scene.eventually("the later one", |scene| scene.read("out") == "new");
    scene.signal(Signal::SIGTERM);
    scene.exit_code();
    assert_eq!(scene.read("out"), "new");
}

#[test]
fn an_end_waits_for_no_file_that_is_being_read() {
    let mut scene = Scene::new();
    scene.write("t", "1");
    scene.start(&["run", "-t", "t:out", "--", "sleep", "1000"]);
    scene.eventually("the first", |scene| scene.read("out") == "1");

    pipe(&scene, "t");
    let _opened = fs::File::options().write(true).open(scene.path("t")).unwrap();
    scene.signal(Signal::SIGTERM);

    assert_eq!(scene.exit_code(), 143);
}
