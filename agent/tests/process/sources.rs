//! Template files that are replaced, in every way that there is, and a system that watches none.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::scene::Scene;

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
    let mut scene = Scene::new();
    scene.write("t", "1");
    // A user namespace has a limit of its own.
    let script = "echo 0 > /proc/sys/user/max_inotify_instances; exec \"$0\" run -t t:out";
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
