//! Disks that refuse: full, read-only, and a file that is mounted by itself. Mounting needs root.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::scene::Scene;

/// What is mounted there as long as this lives.
struct Mount(std::path::PathBuf);

impl Mount {
    fn new(arguments: &[&str], place: &Path) -> Self {
        let mounted = Command::new("mount").args(arguments).arg(place).status().unwrap();
        assert!(mounted.success(), "mount {arguments:?}");
        Self(place.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// Two files on a small disk, the state elsewhere.
fn flags() -> [&'static str; 9] {
    [
        "once",
        "-t",
        "t:disk/a",
        "-t",
        "t:disk/b",
        "--state-dir",
        "state",
        "--check",
        "true",
    ]
}

#[test]
fn a_disk_that_is_full_or_read_only_changes_nothing_and_says_why() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new();
    fs::create_dir(scene.path("disk")).unwrap();
    let disk = scene.path("disk");
    let _mount = Mount::new(&["-t", "tmpfs", "-o", "size=64k", "tmpfs"], &disk);
    scene.write("t", "1");
    scene.start(&flags());
    assert_eq!(scene.exit_code(), 0, "{}", scene.read("log"));
    let names = |scene: &Scene| {
        let mut names: Vec<_> = fs::read_dir(scene.path("disk"))
            .unwrap()
            .flatten()
            .map(|e| e.file_name())
            .collect();
        names.sort();
        names
    };

    // The first of the two would fit, both do not.
    scene.write("t", &"2".repeat(40_000));
    scene.start(&flags());
    assert_eq!(scene.exit_code(), 125);
    let log = scene.read("log");
    assert!(log.contains("disk/b: No space left on device"), "{log}");
    assert_eq!((scene.read("disk/a"), scene.read("disk/b")), ("1".into(), "1".into()));
    assert_eq!(names(&scene), ["a", "b"]);

    scene.write("t", "3");
    let remount = |how: &str| {
        let done = Command::new("mount").args(["-o", how]).arg(&disk).status().unwrap();
        assert!(done.success());
    };
    remount("remount,ro");
    scene.start(&flags());
    assert_eq!(scene.exit_code(), 125);
    assert!(
        scene.read("log").contains("disk/a: Read-only file system"),
        "{}",
        scene.read("log")
    );
    assert_eq!(scene.read("disk/a"), "1");

    remount("remount,rw");
    scene.start(&flags());
    assert_eq!(
        (
            scene.exit_code(),
            scene.read("disk/a").as_str(),
            scene.read("disk/b").as_str()
        ),
        (0, "3", "3")
    );
    assert_eq!(names(&scene), ["a", "b"]);
}

#[test]
fn a_file_that_is_mounted_by_itself_is_written_in_place_and_whole_again_after_a_kill() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new();
    scene.write("out", "0");
    scene.write("behind", "0");
    let behind = scene.path("behind").display().to_string();
    let _mount = Mount::new(&["--bind", &behind], &scene.path("out"));
    scene.write("t", "1");
    scene.start(&["once", "-t", "t:out"]);
    assert_eq!(
        (scene.exit_code(), scene.read("behind").as_str()),
        (0, "1"),
        "{}",
        scene.read("log")
    );
    assert!(scene.read("log").contains("written in place"), "{}", scene.read("log"));

    scene.write("t", "2");
    scene.start_with(&["once", "-t", "t:out"], &[("KEYWAY_AGENT_FAILPOINT", "overwrite")]);
    assert_eq!(scene.exit_code(), -1);
    assert_eq!(scene.read("out"), "", "killed in the middle of it");

    scene.start(&["once", "-t", "t:out", "--check", "false"]);
    scene.exit_code();
    assert_eq!(scene.read("out"), "2", "completed before anything is rendered");

    scene.write("t", "bad");
    let command = "command=! grep -q bad out";
    scene.start(&["once", "-t", "t:out", "--on-change", command]);
    assert_eq!(
        (scene.exit_code(), scene.read("behind").as_str()),
        (7, "2"),
        "{}",
        scene.read("log")
    );
    assert_eq!(scene.leftovers(), Vec::<String>::new());
}
