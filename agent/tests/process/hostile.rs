//! Clumsy and hostile input: large, binary, endless, in circles. Each is shown or refused, and none harms a file.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use crate::scene::Scene;

#[test]
fn a_value_of_10_mb_and_100_000_keys_under_a_prefix_are_rendered() {
    let scene = Scene::new();
    let mut values = format!("{{\"big\": \"{}\"", "x".repeat(10 << 20));
    for number in 0..100_000 {
        let _ = write!(values, ",\"many/k{number:06}\":\"{number}\"");
    }
    scene.write("v.json", &(values + "}"));
    scene.write("t", "{{key \"big\"}}\n{{#each (ls \"many\")}}{{value}}\n{{/each}}");

    let mut render = Command::new(env!("CARGO_BIN_EXE_keyway-agent"));
    let render = render.args(["render", "-t", "t:out", "--values", "v.json"]);
    let output = render.current_dir(scene.path("")).output().unwrap();

    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.starts_with(&[b'x'; 10 << 20]));
    assert!(output.stdout.ends_with(b"\n99998\n99999\n"));
}

#[test]
fn a_template_without_end_and_partials_in_a_circle_leave_the_last_text() {
    let mut scene = Scene::new();
    fs::create_dir(scene.path("partials")).unwrap();
    scene.write("t", "good");
    scene.start(&["run", "-t", "t:out", "--partials", "partials"]);
    scene.eventually("the first", |scene| scene.read("out") == "good");

    let row = "x".repeat(100_000);
    let endless =
        format!("{{{{#each (range 0 100000)}}}}{{{{#each (range 0 100000)}}}}{row}{{{{/each}}}}{{{{/each}}}}");
    scene.write("t", &endless);
    scene.eventually("the word", |scene| {
        scene.read("log").contains("the files stay as they are")
    });
    scene.write("partials/a.hbs", "{{> b}}");
    scene.write("partials/b.hbs", "{{> a}}");
    scene.write("t", "{{> a}}");
    scene.eventually("the circle", |scene| scene.read("log").contains("a -> b -> a"));
    assert_eq!(scene.read("out"), "good");

    scene.write("t", "better");
    fs::remove_file(scene.path("partials/a.hbs")).unwrap();
    fs::remove_file(scene.path("partials/b.hbs")).unwrap();
    scene.eventually("the repair", |scene| scene.read("out") == "better");
}
