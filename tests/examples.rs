//! docs/examples: every `keyway` command in them is understood in whole, its variables too. `tests/registry_hook.rs` runs the
//! script with a registry.

use std::collections::BTreeSet;

use anyhow::Context as _;
use serde_json::json;

use crate::harness::dev::Dev;
use crate::harness::test;

/// The files, and how many commands each has.
const EXAMPLES: [(&str, &str, usize); 3] = [
    ("Jenkinsfile", include_str!("../docs/examples/Jenkinsfile"), 2),
    (
        "github-actions.yml",
        include_str!("../docs/examples/github-actions.yml"),
        1,
    ),
    (
        "push-to-deploy.sh",
        include_str!("../docs/examples/push-to-deploy.sh"),
        1,
    ),
];

/// What stands for the image in all of them.
const IMAGE: &str = "registry.example.org/shop/web:1";

/// The commands as words behind `keyway`, with values for the shell's variables; comments have none.
fn commands(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().map(str::trim_start);
    let code = lines.filter(|line| !line.starts_with('#') && !line.starts_with("//"));
    let found = code.filter_map(|line| line.split_once("keyway "));
    found
        .map(|(_, rest)| {
            let end = rest.find(['\'', '|', ';']).unwrap_or(rest.len());
            let mut words: Vec<String> = Vec::new();
            for word in rest[..end].split_whitespace() {
                let is_file = words.last().is_some_and(|before| before == "-f");
                words.push(match word.trim_matches('"') {
                    word if !word.contains('$') => word.to_owned(),
                    _ if is_file => "web.json".to_owned(),
                    _ => IMAGE.to_owned(),
                });
            }
            words
        })
        .collect()
}

/// Our variables that a file names.
fn variables(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("KEYWAY_")).collect()
}

#[test]
fn the_examples_of_push_to_deploy_are_commands_that_there_are() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let mut app = json!({
            "id": "/web", "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 64,
            "container": { "type": "DOCKER", "docker": { "image": "nothing:yet" } },
        });
        home.write("web.json", app.to_string())?;
        // There is no such image: nothing of it is started.
        app["instances"] = json!(0);
        dev.api.changed("POST", "/v2/apps", &app).await?;

        for (name, text, count) in EXAMPLES {
            // By this one alone the scheduler is found below.
            assert_eq!(variables(text), BTreeSet::from(["KEYWAY_SCHEDULER_ADDR"]), "{name}");
            let found = commands(text);
            assert_eq!(found.len(), count, "{name}: {found:?}");
            for words in found {
                let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
                let code = match words.as_slice() {
                    ["deploy", "plan", ..] => 1,
                    _ => {
                        words.push("--dry-run");
                        0
                    }
                };
                let said = dev.keyway(home).run(&words).await?.expect(code);
                let said = said.with_context(|| format!("{name}: {words:?}"))?;
                assert!(said.text().contains(IMAGE), "{name}: {said:?}");
            }
        }
        Ok(())
    });
}
