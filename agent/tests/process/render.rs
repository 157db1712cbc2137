//! `agent render`: the same answers without a store as with one, and nothing is written.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::scene::Scene;

/// Exit code, output, errors.
fn render(scene: &Scene, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyway-agent"));
    let command = command.current_dir(scene.dir.path()).arg("render").args(arguments);
    let said = command.env("KEYWAY_ADDR", "unix:///nowhere").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (said.status.code().unwrap(), text(said.stdout), text(said.stderr))
}

fn scene() -> Scene {
    let scene = Scene::new();
    scene.write("t", "port {{key \"app/port\"}}\nfixed\n");
    scene.write("v.yaml", "app:\n  port: 81\n");
    scene
}

#[test]
fn a_diff_shows_what_would_change_and_changes_nothing() {
    let scene = scene();
    scene.write("out", "port 80\nfixed\n");
    fs::set_permissions(scene.path("out"), fs::Permissions::from_mode(0o600)).unwrap();
    scene.write(
        "agent.toml",
        "[[template]]\nsource = \"t\"\ndestination = \"out\"\nperms = \"0640\"\n",
    );
    let out = scene.path("out").display().to_string();
    let arguments = ["-c", "agent.toml", "--values", "v.yaml"];

    let (code, told, _) = render(&scene, &[&arguments[..], &["--diff"]].concat());

    let diff = format!("--- {out}\n+++ {out}\n@@ -1,2 +1,2 @@\n-port 80\n+port 81\n fixed\n");
    assert_eq!((code, told), (0, format!("{diff}{out}: mode 0600 becomes 0640\n")));
    let (code, told, _) = render(&scene, &[&arguments[..], &["--check"]].concat());
    assert_eq!(
        (code, told),
        (1, format!("{out}: is changed, mode 0600 becomes 0640\n"))
    );
    assert_eq!(scene.read("out"), "port 80\nfixed\n");

    scene.write("out", "port 81\nfixed\n");
    fs::set_permissions(scene.path("out"), fs::Permissions::from_mode(0o640)).unwrap();
    let (code, told, _) = render(&scene, &[&arguments[..], &["--check", "--diff"]].concat());
    assert_eq!((code, told.as_str()), (0, ""));
}

#[test]
fn a_set_names_the_file_that_it_would_lose() {
    let mut scene = scene();
    let set = "[[set]]\ndir = \"live\"\n[[set.template]]\ncontents = \"x\"\ndestination = \"x\"\n";
    scene.write(
        "agent.toml",
        &format!("{set}[[set.template]]\ncontents = \"y\"\ndestination = \"sub/y\"\n"),
    );
    scene.start(&["once", "-c", "agent.toml"]);
    assert_eq!(scene.exit_code(), 0, "{}", scene.read("log"));
    scene.write("agent.toml", set);

    let (code, told, _) = render(&scene, &["-c", "agent.toml", "--check"]);

    let gone = scene.path("live/sub/y").display().to_string();
    assert_eq!(
        (code, told),
        (1, format!("{gone}: is removed: no template of its set makes it\n"))
    );
    let (code, _, err) = render(&scene, &["-t", "t", "--values", "v.yaml", "--diff"]);
    assert_eq!(code, 2);
    assert!(err.contains("-t SRC:DST"), "{err}");
}

#[test]
fn each_line_tells_the_keys_behind_it() {
    let scene = scene();
    let (code, told, _) = render(&scene, &["-t", "t:out", "--values", "v.yaml", "--explain"]);
    let out = scene.path("out").display().to_string();
    assert_eq!(
        (code, told),
        (0, format!("==> {out} <==\nport 81  # app/port\nfixed\n"))
    );

    let (_, told, _) = render(
        &scene,
        &["-t", "t:out", "--values", "v.yaml", "--explain", "-o", "json"],
    );
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["files"][0]["lines"][0]["from"][0]["key"], "app/port");
    assert_eq!(told["files"][0]["lines"][1]["from"], serde_json::json!([]));
}

#[test]
fn what_is_wrong_is_told_without_a_store_as_with_one() {
    let mut scene = scene();
    scene.write("few.toml", "[app]\nprot = \"80\"\n");
    let (code, _, missing) = render(&scene, &["-t", "t", "--values", "few.toml"]);
    assert_eq!(code, 3);
    assert!(missing.contains("error[E0301]: no such key: `app/port`"), "{missing}");
    assert!(missing.contains("did you mean `app/prot`?"), "{missing}");

    scene.write("broken", "{{key \"a\" default=\"x\"}}\n{{nothing}}\n");
    scene.write("none.json", "{}");
    let (code, _, told) = render(&scene, &["-t", "broken", "--values", "none.json"]);
    assert_eq!(code, 3);
    // No store is asked for a variable, so `once` ends as well.
    scene.write("broken", "{{nothing}}\n");
    let (_, _, now) = render(&scene, &["-t", "broken", "--values", "none.json"]);
    scene.start(&["once", "-t", "broken:out"]);
    assert_eq!(scene.exit_code(), 3);
    let last = |text: &str| text.lines().find(|line| line.starts_with("error")).unwrap().to_owned();
    assert_eq!(last(&now), last(&scene.read("log")));
    assert!(told.contains("broken:2"), "{told}");

    let (code, _, told) = render(&scene, &["-t", "t", "--values", "t"]);
    assert_eq!(code, 3);
    assert!(
        told.contains("values t:1: ") && told.contains("--values-format"),
        "{told}"
    );
}

#[test]
fn checks_are_run_on_copies() {
    let scene = scene();
    scene.write(
        "agent.toml",
        "check = \"cat $KEYWAY_STAGED_DIR/out > seen; grep -q 81 $KEYWAY_STAGED_DIR/out\"\n\
         [[template]]\nsource = \"t\"\ndestination = \"out\"\n",
    );
    let (code, told, _) = render(&scene, &["-c", "agent.toml", "--values", "v.yaml", "--run-checks"]);
    assert_eq!((code, told.as_str()), (0, "port 81\nfixed\n"));
    assert_eq!(scene.read("seen"), "port 81\nfixed\n");

    scene.write("v.yaml", "app/port: 82\n");
    let (code, told, err) = render(&scene, &["-c", "agent.toml", "--values", "v.yaml", "--run-checks"]);
    assert_eq!((code, told.as_str()), (3, ""));
    assert!(err.contains("error[E0303]: check"), "{err}");
    assert!(!scene.path("out").exists());
    assert!(
        !fs::read_dir(scene.dir.path())
            .unwrap()
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with('.'))
    );
}

#[test]
fn what_a_secret_file_holds_is_shown_by_no_preview() {
    let scene = scene();
    scene.write("pw", "marked-one");
    scene.write(
        "t",
        "user x\npassword {{secretFile \"pw\"}}\n{{base64Encode (secretFile \"pw\")}}\n",
    );
    scene.write("out", "user x\npassword marked-before\n");

    let (code, diff, _) = render(&scene, &["-t", "t:out", "--diff"]);
    assert_eq!(code, 0);
    let (_, lines, _) = render(&scene, &["-t", "t:out", "--explain"]);
    let (_, json, _) = render(&scene, &["-t", "t:out", "--explain", "-o", "json"]);
    let (_, text, _) = render(&scene, &["-t", "t:out"]);

    for told in [&diff, &lines, &json] {
        assert!(!told.contains("marked") && !told.contains("bWFya2Vk"), "{told}");
    }
    assert!(diff.contains(" user x\n-(not shown"), "{diff}");
    assert!(
        lines.contains(&format!("# secret file {}", scene.path("pw").display())),
        "{lines}"
    );
    assert!(
        text.contains("password marked-one"),
        "what is asked for is printed: {text}"
    );
}

#[test]
fn a_file_is_shown_relative_to_its_template_and_none_outside_of_the_sandbox() {
    let scene = scene();
    fs::create_dir(scene.path("sub")).unwrap();
    scene.write(
        "sub/t",
        "{{file \"name\"}} {{file (trim (file \"name\"))}} {{file \"no\" default=\"d\"}}",
    );
    scene.write("sub/name", "other\n");
    scene.write("sub/other", "x");
    assert_eq!(
        render(&scene, &["-t", "sub/t"]),
        (0, "other\n x d".into(), String::new())
    );

    scene.write("sub/name", "../v.yaml");
    scene.write(
        "agent.toml",
        "sandbox = \"sub\"\n[[template]]\nsource = \"sub/t\"\ndestination = \"out\"\n",
    );
    let (code, _, told) = render(&scene, &["-c", "agent.toml"]);
    assert_eq!(code, 3);
    assert!(
        told.contains("sub/t:1") && told.contains("outside of the sandbox"),
        "{told}"
    );

    scene.write(
        "agent.toml",
        "deny_helpers = [\"*ile\"]\n[[template]]\nsource = \"sub/t\"\ndestination = \"out\"\n",
    );
    let (code, _, told) = render(&scene, &["-c", "agent.toml"]);
    assert_eq!(code, 3);
    assert!(
        told.contains("sub/t:1: the helper `file` is denied by `*ile`"),
        "{told}"
    );
}

#[test]
fn a_file_that_changes_is_rendered_again_and_one_that_goes_leaves_the_last_text() {
    let mut scene = scene();
    scene.write("t", "{{file \"x\"}}");
    scene.write("x", "1");
    scene.start(&["run", "-t", "t:out"]);
    scene.eventually("the first", |scene| scene.read("out") == "1");

    scene.write("x", "2");
    scene.eventually("the second", |scene| scene.read("out") == "2");
    fs::remove_file(scene.path("x")).unwrap();
    scene.eventually("the word", |scene| scene.read("log").contains("is not there; make it"));
    assert_eq!(scene.read("out"), "2");
    scene.write("x", "3");
    scene.eventually("the third", |scene| scene.read("out") == "3");
}

#[test]
fn the_programs_variables_are_shown_with_the_keys_behind_them_and_what_is_given_is_only_named() {
    let scene = scene();
    scene.write("v.yaml", "app:\n  port: 81\n  motto: \"it's\\nso\"\n");
    let text = "[[template]]\nsource = \"t\"\ndestination = \"out\"\n[exec]\ncommand = [\"true\"]\n\
        [exec.env]\nprefix = [\"app\"]\nupper = true\nnames = { P = \"app/port\" }\ncustom = { KIND = \"hush\", P = \"no\" }\n";
    scene.write("agent.toml", text);
    let out = scene.path("out").display().to_string();
    let arguments = ["-c", "agent.toml", "--values", "v.yaml"];

    let (code, told, err) = render(&scene, &arguments);

    let lines = "MOTTO='it'\\''s\nso'\nP=81\n# KIND: given by custom, not shown\n";
    let all = format!("==> {out} <==\nport 81\nfixed\n==> the environment <==\n{lines}");
    assert_eq!((code, told), (0, all), "{err}");
    let (_, told, _) = render(&scene, &[&arguments[..], &["--explain"]].concat());
    assert!(
        told.contains("so'                                 # app/motto\nP=81"),
        "{told}"
    );
    // A folder that is named by a flag, and a key that is not there.
    let (code, told, _) = render(&scene, &["-t", "t", "--env", "app", "--values", "v.yaml"]);
    assert_eq!(code, 0);
    assert!(told.ends_with("\nport=81\n") && told.contains("\nmotto='"), "{told}");
    scene.write("none.yaml", "x: y\n");
    let (code, told, err) = render(&scene, &["-c", "agent.toml", "--values", "none.yaml"]);
    assert_eq!((code, told.as_str()), (3, ""));
    assert!(err.contains("`app/port`") && err.contains("[exec.env]"), "{err}");

    let mut validate = Command::new(env!("CARGO_BIN_EXE_keyway-agent"));
    let validate = validate.current_dir(scene.dir.path()).arg("validate").args(arguments);
    let said = validate.output().unwrap();
    let told = String::from_utf8(said.stdout).unwrap();
    assert_eq!(told, format!("{out}: ok\nthe environment: ok: MOTTO P KIND\n"));
}

#[test]
fn validate_renders_and_checks_with_values() {
    let scene = scene();
    let check = "grep -q 81 {}";
    let validate = |values: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyway-agent"));
        let arguments = [
            "validate",
            "-t",
            "t:out",
            "--check",
            check,
            "--values",
            values,
            "--run-checks",
        ];
        let said = command.current_dir(scene.dir.path()).args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (said.status.code(), text(&said.stdout), text(&said.stderr))
    };
    let out = scene.path("out").display().to_string();
    assert_eq!(validate("v.yaml"), (Some(0), format!("{out}: ok\n"), String::new()));

    scene.write("bad.yaml", "app/port: 82\n");
    let (code, told, err) = validate("bad.yaml");
    assert_eq!((code, told.as_str()), (Some(3), ""));
    assert!(err.contains("error[E0303]"), "{err}");
    scene.write("none.yaml", "x: y\n");
    assert!(validate("none.yaml").2.contains("no such key: `app/port`"));
}

#[test]
fn a_folder_of_configurations_is_read_in_order_and_a_stray_word_is_refused() {
    let scene = scene();
    fs::create_dir(scene.path("conf")).unwrap();
    let template = "[[template]]\ndestination = \"../";
    scene.write(
        "conf/10.toml",
        &format!("missing = \"default\"\n{template}a\"\ncontents = \"{{{{key \\\"x\\\"}}}}a\"\n"),
    );
    scene.write(
        "conf/20.toml",
        &format!("missing = \"fail\"\n{template}b\"\ncontents = \"b\"\n"),
    );
    scene.write("conf/30.txt", "not this");
    scene.write("v.json", "{}");

    let (code, _, err) = render(&scene, &["-c", "conf", "--values", "v.json"]);
    assert_eq!(code, 3);
    assert!(err.contains("no such key: `x`"), "the later file wins: {err}");
    let (code, out, _) = render(&scene, &["-c", "conf", "--values", "v.json", "--missing", "default"]);
    let names = ["a", "b"].map(|name| format!("==> {}/../{name} <==\n{name}", scene.path("conf").display()));
    assert_eq!((code, out), (0, names.concat()));

    fs::create_dir(scene.path("empty")).unwrap();
    let (code, _, err) = render(&scene, &["-c", "empty"]);
    assert!(code == 3 && err.contains("there is no *.toml in"), "{err}");
    for command in ["run", "once", "render", "validate"] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_keyway-agent"));
        let said = program.args([command, "-t", "t:out", "stray"]).output().unwrap();
        assert_eq!(said.status.code(), Some(2), "{command}");
    }
}

#[test]
fn one_template_may_become_two_files_and_a_partial_gets_what_it_is_given() {
    let mut scene = scene();
    fs::create_dir(scene.path("partials")).unwrap();
    scene.write("partials/host.hbs", "{{this.name}}:{{port}}");
    scene.write(
        "t",
        "{{#each (parseJson \"[{\\\"name\\\": \\\"a\\\"}]\")}}{{> host port=80}}{{/each}}",
    );
    let files = ["-t", "t:one", "-t", "t:two", "--partials", "partials"];

    for _ in 0..3 {
        let (code, told, err) = render(&scene, &files);
        let names = ["one", "two"].map(|name| format!("==> {} <==\na:80", scene.path(name).display()));
        assert_eq!((code, told), (0, names.concat()), "{err}");
    }
    assert!(!scene.path("one").exists(), "a preview writes nothing, however often");
    assert_eq!(scene.leftovers(), Vec::<String>::new());

    scene.start(&[&["once"], &files[..]].concat());
    assert_eq!(scene.exit_code(), 0, "{}", scene.read("log"));
    assert_eq!([scene.read("one"), scene.read("two")], ["a:80", "a:80"]);
}
