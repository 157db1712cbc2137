//! Forms that a command, a reaction or a text may have, and what is done with each.

use std::process::Command;

use crate::scene::{READER, Scene};

#[test]
fn every_form_of_a_command_is_left_to_the_shell() {
    let scene = Scene::new();
    scene.write("t", "text");
    scene.write("none", "{}");
    let check = |command: &str| {
        Command::new(env!("CARGO_BIN_EXE_keyway-agent"))
            .current_dir(scene.dir.path())
            .args([
                "validate",
                "-t",
                "t:out",
                "--values",
                "none",
                "--run-checks",
                "--check",
                command,
            ])
            .env("WORD", "a b")
            .env("PATH", if command.contains("/bin/") { "" } else { "/usr/bin:/bin" })
            .output()
            .unwrap()
    };
    for (command, made) in [
        ("true", None),
        ("touch simple", Some("simple")),
        ("sh -c 'touch inner'", Some("inner")),
        ("touch 'single quotes'", Some("single quotes")),
        ("touch \"double $WORD\"", Some("double a b")),
        ("(cd .; touch subshell)", Some("subshell")),
        ("echo pipe | xargs touch", Some("pipe")),
        ("if true; then touch condition; fi", Some("condition")),
        ("touch $(echo substitution)", Some("substitution")),
        ("{ touch braces; }", Some("braces")),
        ("true && touch and", Some("and")),
        ("false || touch or", Some("or")),
        ("touch background & wait", Some("background")),
        ("NAME=variable; touch $NAME", Some("variable")),
        ("test -s {} && touch staged", Some("staged")),
        ("/bin/touch without-a-path", Some("without-a-path")),
    ] {
        let said = check(command);
        let told = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.success(), "{command}: {told}");
        if let Some(made) = made {
            assert!(scene.path(made).exists(), "{command}: {told}");
        }
    }
    for command in ["", " ", "exit 3", "'open", "no-such-command-anywhere"] {
        assert!(!check(command).status.success(), "{command:?}");
    }
}

#[test]
fn on_change_none_leaves_the_program_alone() {
    let mut scene = Scene::new();
    scene.write("t", "one ");
    let script = format!("echo $$ >>starts; {READER}");
    let flags = ["run", "-t", "t:out", "--on-change", "none", "--settle", "1ms", "--"];
    scene.start(&[flags.as_slice(), &["sh", "-c", &script]].concat());
    scene.eventually("the start", |scene| scene.read("seen") == "one ");

    // A set is put in place only when what follows the one before is over.
    for text in ["two ", "three ", "four "] {
        scene.write("t", text);
        scene.eventually("the new file", |scene| scene.read("out") == text);
    }

    assert_eq!(scene.read("starts").lines().count(), 1);
    assert_eq!(scene.read("seen"), "one ");
}

#[test]
fn an_empty_text_becomes_an_empty_file_and_comes_back_from_one() {
    let mut scene = Scene::new();
    scene.write("t", "");
    scene.start(&["run", "-t", "t:out", "--settle", "1ms"]);
    scene.eventually("an empty file", |scene| scene.path("out").exists());
    assert_eq!(scene.read("out"), "");
    for text in ["x", "", "y"] {
        scene.write("t", text);
        scene.eventually("the new text", |scene| scene.read("out") == text);
    }
}
