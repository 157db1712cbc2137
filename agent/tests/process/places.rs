//! A disk that is full for a while, a destination that is a symlink, and files that others have changed.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::{Command, Output};

use crate::scene::Scene;

/// Runs a script that may mount, in a mount namespace of its own; `$AGENT` is the agent.
fn mounting(scene: &Scene, script: &str) -> Output {
    Command::new("unshare")
        .args(["--mount", "timeout", "60", "sh", "-euc", script])
        .current_dir(scene.dir.path())
        .env("AGENT", env!("CARGO_BIN_EXE_keyway-agent"))
        .env("KEYWAY_ADDR", "unix:///nowhere")
        .output()
        .unwrap()
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn on_a_full_disk_the_old_file_stays_until_there_is_room() {
    let scene = Scene::new();
    fs::create_dir(scene.path("small")).unwrap();
    scene.write("t", "old");
    let (code, out, log) = told(&mounting(
        &scene,
        "mount -t tmpfs -o size=256k none small
         $AGENT run -t t:small/out --state-dir state 2>log & agent=$!
         until [ \"$(cat small/out)\" = old ]; do sleep 0.02; done 2>/dev/null
         head -c 100000 /dev/zero | tr '\\0' n >next
         head -c 200000 /dev/zero >small/filler
         mv next t
         until grep -q 'No space left.*it is tried again' log; do sleep 0.02; done
         cat small/out; ls -A small
         rm small/filler
         until [ \"$(wc -c <small/out)\" = 100000 ]; do sleep 0.02; done
         kill $agent; wait $agent || true; ls -A small",
    ));
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "oldfiller\nout\nout\n"),
        "{log}{}",
        scene.read("log")
    );
}

#[test]
fn a_symlink_stays_one_and_the_file_behind_it_is_replaced() {
    let mut scene = Scene::new();
    scene.write("t", "new");
    fs::create_dir(scene.path("etc")).unwrap();
    scene.write("etc/real", "old");
    symlink("etc/real", scene.path("out")).unwrap();

    scene.start(&["once", "-t", "t:out"]);

    assert_eq!(
        (scene.exit_code(), scene.read("etc/real").as_str()),
        (0, "new"),
        "{}",
        scene.read("log")
    );
    assert_eq!(fs::read_link(scene.path("out")).unwrap().to_str(), Some("etc/real"));
    assert_eq!(
        fs::read_dir(scene.path("etc")).unwrap().count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn what_others_did_to_a_file_is_put_right_with_the_next_set() {
    let mut scene = Scene::new();
    for name in ["a.t", "b.t", "c.t"] {
        scene.write(name, "one");
    }
    scene.write(
        "agent.toml",
        "settle = \"1ms\"\n[[template]]\nsource = \"a.t\"\ndestination = \"a\"\nperms = \"0640\"\n\
         [[template]]\nsource = \"b.t\"\ndestination = \"b\"\n[[template]]\nsource = \"c.t\"\ndestination = \"c\"\n",
    );
    scene.start(&["run", "-c", "agent.toml"]);
    scene.eventually("the start", |scene| scene.read("c") == "one");
    fs::set_permissions(scene.path("a"), fs::Permissions::from_mode(0o666)).unwrap();
    // As long as what was there, and as old.
    let before = fs::metadata(scene.path("b")).unwrap().modified().unwrap();
    let mut file = fs::File::options().write(true).open(scene.path("b")).unwrap();
    file.write_all(b"two").unwrap();
    file.set_modified(before).unwrap();

    scene.write("c.t", "two");

    scene.eventually("the next set", |scene| scene.read("c") == "two");
    assert_eq!(scene.read("b"), "one");
    assert_eq!(fs::metadata(scene.path("a")).unwrap().mode() & 0o7777, 0o640);
    fs::remove_file(scene.path("a")).unwrap();
    scene.write("c.t", "three");
    scene.eventually("the file that was gone", |scene| {
        scene.read("a") == "one" && scene.read("c") == "three"
    });
}

#[test]
fn what_is_no_file_is_never_replaced() {
    let mut scene = Scene::new();
    scene.write("t", "one");
    fs::create_dir(scene.path("folder")).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(scene.path("pipe"))
            .status()
            .unwrap()
            .success()
    );
    for (name, is) in [("folder", "a folder; name the file in it"), ("pipe", "a pipe")] {
        scene.start(&["once", "-t", &format!("t:{name}")]);
        assert_eq!(scene.exit_code(), 125);
        let log = scene.read("log");
        assert!(log.contains(&format!("/{name}: it is no file but {is}")), "{log}");
        fs::remove_file(scene.path("log")).unwrap();
    }
    let left: Vec<_> = fs::read_dir(scene.dir.path()).unwrap().flatten().collect();
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(fs::symlink_metadata(scene.path("pipe")).is_ok_and(|meta| !meta.is_file()));
}
