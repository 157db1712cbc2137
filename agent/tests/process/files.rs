//! Templates, values and files.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::scene::{READER, Scene};

#[test]
fn an_edited_template_reaches_the_child_and_a_bad_one_does_not() {
    let mut scene = Scene::new();
    scene.write("t", "one ");
    scene.start(&[
        "run",
        "-t",
        "t:out",
        "--on-change",
        "signal=HUP",
        "--",
        "sh",
        "-c",
        READER,
    ]);
    scene.eventually("the start", |scene| scene.read("seen") == "one ");

    scene.write("t", "two ");
    scene.eventually("the reload", |scene| scene.read("seen") == "one two ");
    scene.write("t", "{{#if}}");
    scene.eventually("the refusal", |scene| scene.read("log").contains("stays in use"));
    scene.signal(Signal::SIGHUP);
    scene.eventually("the refusal of HUP", |scene| {
        scene.read("log").matches("stays in use").count() >= 2
    });

    assert_eq!(scene.read("seen"), "one two ");
    scene.signal(Signal::SIGTERM);
    assert_eq!(scene.exit_code(), 143);
}

#[test]
fn a_command_that_fails_brings_the_old_file_back() {
    let mut scene = Scene::new();
    scene.write("t", "one");
    let command = "command=! grep -q bad out && cat out >> seen";
    scene.start(&["run", "-t", "t:out", "--settle", "1ms", "--on-change", command]);
    scene.eventually("the first", |scene| scene.read("seen") == "one");

    scene.write("t", "bad");
    scene.eventually("the way back", |scene| scene.read("seen") == "oneone");

    assert_eq!(scene.read("out"), "one");
    scene.write("t", "two");
    scene.eventually("the next", |scene| scene.read("seen") == "oneonetwo");
}

#[test]
fn a_check_sees_the_staged_set_and_leaves_nothing_behind() {
    let mut scene = Scene::new();
    scene.write("a", "1");
    scene.write("b", "2");
    let check = "cat $KEYWAY_STAGED_DIR/x $KEYWAY_STAGED_DIR/y > checked; ! grep -q bad checked";
    scene.start(&["once", "-t", "a:x", "-t", "b:y", "--check", check]);
    assert_eq!((scene.exit_code(), scene.read("checked").as_str()), (0, "12"));

    scene.write("b", "bad");
    scene.start(&["once", "-t", "a:x", "-t", "b:y", "--check", check]);
    assert_eq!((scene.exit_code(), scene.read("y").as_str()), (3, "2"));
    scene.start(&["once", "-t", "a:x", "-t", "b:y", "--check", "grep -q bad {}"]);
    assert_eq!((scene.exit_code(), scene.read("y").as_str()), (0, "bad"));

    let hidden = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
    assert_eq!(
        fs::read_dir(scene.dir.path())
            .unwrap()
            .flatten()
            .map(hidden)
            .filter(|h| *h)
            .count(),
        1
    );
}

#[test]
fn a_store_that_refuses_the_watch_ends_once() {
    let store = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", store.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in store.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 8\r\n\r\nnot here");
            // Closed with something unread in it, the connection would lose the answer.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    let mut scene = Scene::new();
    scene.write("t", "{{key \"a\"}}");

    scene.start(&["once", "-t", "t:out", "--addr", &address]);

    assert_eq!(scene.exit_code(), 4, "{}", scene.read("log"));
    assert!(scene.read("log").contains("403 Forbidden: not here"));
}

#[test]
fn a_set_in_a_folder_is_swapped_as_a_whole() {
    let mut scene = Scene::new();
    scene.write("a", "1");
    scene.write(
        "agent.toml",
        "[[set]]\ndir = \"live\"\n[[set.template]]\nsource = \"a\"\ndestination = \"x\"\n\
         [[set.template]]\ncontents = \"fixed\"\ndestination = \"sub/y\"\n",
    );
    scene.start(&["run", "-c", "agent.toml"]);
    scene.eventually("the set", |scene| scene.read("live/x") == "1");
    let before = fs::read_link(scene.path("live")).unwrap();

    scene.write("a", "2");
    scene.eventually("the new set", |scene| scene.read("live/x") == "2");

    assert_eq!(scene.read("live/sub/y"), "fixed");
    assert_ne!(fs::read_link(scene.path("live")).unwrap(), before);
    assert_eq!(
        fs::read_to_string(scene.path(before.to_str().unwrap()).join("x")).unwrap(),
        "1"
    );
}

#[test]
fn values_from_a_file_are_rendered_without_a_store() {
    let scene = Scene::new();
    scene.write("t", "{{key \"app/port\"}} {{#each (ls \"app\")}}{{key}} {{/each}}");
    scene.write("values", r#"{"app": {"port": 80}, "app/host": "h"}"#);
    let render = |values: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyway-agent"));
        command
            .current_dir(scene.dir.path())
            .args(["render", "-t", "t", "--values", values])
            .output()
            .unwrap()
    };
    assert_eq!(String::from_utf8(render("values").stdout).unwrap(), "80 host port ");

    scene.write("few", "{}");
    let told = render("few");
    assert_eq!(told.status.code(), Some(3));
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(
        told.contains("no such key: `app/port`") && told.contains("t:1"),
        "{told}"
    );
}

#[test]
fn a_value_stands_in_no_log_line_however_much_is_logged() {
    let scene = Scene::new();
    scene.write(
        "t",
        "{{upper (key \"a\")}}{{#each (ls \"b\")}}{{this.value}}{{/each}}{{#if (eq (key \"a\") \"x\")}}{{/if}}{{> p x=(key \"a\")}}",
    );
    fs::create_dir(scene.path("partials")).unwrap();
    scene.write("partials/p.hbs", "{{x}}{{#with (key \"a\") as |y|}}{{y}}{{/with}}");
    scene.write("values", r#"{"a": "marked-value", "b/c": "marked-value"}"#);
    for format in ["text", "json"] {
        let output = Command::new(env!("CARGO_BIN_EXE_keyway-agent"))
            .current_dir(scene.dir.path())
            .args(["--log", "trace", "--log-format", format])
            .args(["render", "-t", "t", "--partials", "partials", "--values", "values"])
            .output()
            .unwrap();

        let (text, log) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        );
        assert_eq!(text, "MARKED-VALUEmarked-valuemarked-valuemarked-value", "{log}");
        assert!(!log.to_lowercase().contains("marked"), "{log}");
    }
}

#[test]
fn a_bare_value_in_a_known_format_is_pointed_at_and_refuses_nothing() {
    let scene = Scene::new();
    scene.write(
        "t",
        "# nginx\nlisten {{key \"port\"}};\nserver_name {{nginx (key \"host\")}};\n",
    );
    let validate = |destination: &str| {
        Command::new(env!("CARGO_BIN_EXE_keyway-agent"))
            .current_dir(scene.dir.path())
            .args(["validate", "-t", destination])
            .output()
            .unwrap()
    };

    let known = validate("t:nginx.conf");

    let told = String::from_utf8(known.stderr).unwrap();
    assert_eq!(known.status.code(), Some(0), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains("t:2: a bare value in nginx"), "{told}");
    assert!(validate("t:some.conf").stderr.is_empty());
    assert!(!scene.path("nginx.conf").exists());
}

#[test]
fn a_number_of_a_document_keeps_its_last_digit() {
    let scene = Scene::new();
    scene.write("t", "{{json (parseJson (key \"a\"))}}");
    scene.write("values", r#"{"a": "[-432087258.41383237,0.1]"}"#);
    let output = Command::new(env!("CARGO_BIN_EXE_keyway-agent"))
        .current_dir(scene.dir.path())
        .args(["render", "-t", "t", "--values", "values"])
        .output()
        .unwrap();

    assert_eq!(String::from_utf8(output.stdout).unwrap(), "[-432087258.41383237,0.1]");
}

#[test]
fn a_file_gets_its_owner_mode_folders_and_backup_and_what_drifted_is_shown_and_put_right() {
    let mut scene = Scene::new();
    let mode = |scene: &Scene, name: &str| fs::metadata(scene.path(name)).unwrap().mode() & 0o7777;
    // Root may give files to anybody, others to themselves.
    let me = nix::unistd::Uid::effective().as_raw();
    let user = if me == 0 { 12345 } else { me };
    scene.write("t", "one");
    scene.write(
        "agent.toml",
        &format!(
            "[[template]]\nsource = \"t\"\ndestination = \"etc/app/out\"\nperms = \"0640\"\nuser = {user}\n\
             group = \"{}\"\nbackup = true\ndir_mode = \"0750\"\n",
            nix::unistd::Gid::effective()
        ),
    );
    let ask = |scene: &Scene, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyway-agent"));
        let output = command.current_dir(scene.dir.path()).args(arguments).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    scene.start(&["once", "-c", "agent.toml"]);
    assert_eq!(scene.exit_code(), 0, "{}", scene.read("log"));
    assert_eq!((mode(&scene, "etc"), mode(&scene, "etc/app")), (0o750, 0o750));
    assert_eq!(mode(&scene, "etc/app/out"), 0o640);
    assert_eq!(fs::metadata(scene.path("etc/app/out")).unwrap().uid(), user);
    assert!(!scene.path("etc/app/out.bak").exists());
    assert_eq!(ask(&scene, &["render", "-c", "agent.toml", "--check"]).0, Some(0));

    fs::set_permissions(scene.path("etc/app/out"), fs::Permissions::from_mode(0o666)).unwrap();
    if me == 0 {
        std::os::unix::fs::chown(scene.path("etc/app/out"), Some(7), None).unwrap();
    }
    let (code, told, _) = ask(&scene, &["render", "-c", "agent.toml", "--check"]);
    assert!(code == Some(1) && told.contains("mode 0666 becomes 0640"), "{told}");
    assert!(me != 0 || told.contains("user 7 becomes 12345"), "{told}");
    assert!(
        ask(&scene, &["render", "-c", "agent.toml", "--diff"])
            .1
            .contains("mode 0666 becomes 0640")
    );
    scene.start(&["once", "-c", "agent.toml"]);
    assert_eq!(scene.exit_code(), 0);
    assert_eq!(
        (mode(&scene, "etc/app/out"), scene.read("etc/app/out.bak")),
        (0o640, "one".into())
    );
    assert_eq!(fs::metadata(scene.path("etc/app/out")).unwrap().uid(), user);

    scene.write("t", "two");
    scene.start(&["once", "-c", "agent.toml"]);
    assert_eq!(scene.exit_code(), 0);
    assert_eq!(
        (
            scene.read("etc/app/out").as_str(),
            scene.read("etc/app/out.bak").as_str()
        ),
        ("two", "one")
    );

    let config = "[[template]]\nsource = \"t\"\ndestination = \"no/out\"\ncreate_dirs = false\n";
    scene.write("agent.toml", config);
    let (code, _, told) = ask(&scene, &["once", "-c", "agent.toml"]);
    assert!(
        code == Some(125) && told.contains("/no is not there, and create_dirs = false"),
        "{told}"
    );
    scene.write(
        "agent.toml",
        &config.replace("create_dirs = false", "user = \"no-such-user\""),
    );
    let (code, _, told) = ask(&scene, &["once", "-c", "agent.toml"]);
    assert!(
        code == Some(125) && told.contains("this machine has no user `no-such-user`"),
        "{told}"
    );
}
