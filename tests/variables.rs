//! Variables that say nothing, and variables that say something wrong.

use serde_json::Value;

use crate::harness::{Home, Keyway, Said, Server, test};

/// `keyway config show -o json` with these variables.
async fn shown(home: &Home, variables: &[(&str, &str)], flags: &[&str]) -> anyhow::Result<Said> {
    let keyway = variables
        .iter()
        .fold(Keyway::new(home), |keyway, (name, value)| keyway.env(name, value));
    keyway.run(&[&["config", "show", "-o", "json"], flags].concat()).await
}

#[test]
fn an_empty_variable_says_nothing() {
    test(async |home| {
        let plain = shown(home, &[], &[]).await?.expect(0)?.json()?;
        let names = [
            "ADDR",
            "TOKEN",
            "TOKEN_FILE",
            "CONTEXT",
            "TIMEOUT",
            "CONSISTENCY",
            "COLOR",
            "PROGRESS",
            "LOG_FORMAT",
            "FORMAT",
            "UTC",
            "YES",
        ];
        let names: Vec<String> = names.iter().map(|name| format!("KEYWAY_{name}")).collect();
        let empty: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();

        let same: Value = shown(home, &empty, &[]).await?.expect(0)?.json()?;

        assert_eq!(same, {
            // A switch that says no is one that was said.
            let mut plain = plain;
            for one in plain["settings"].as_array_mut().into_iter().flatten() {
                if one["key"] == "utc" {
                    one["origin"] = "environment".into();
                }
            }
            plain
        });
        let server = Server::start(home).await?;
        server.put("a", "1").await?;
        let get = server
            .keyway(home)
            .env("KEYWAY_KV_GET_DEFAULT", "")
            .env("KEYWAY_KV_GET_REV", "")
            .env("KEYWAY_LOG", "");
        assert_eq!(get.run(&["kv", "get", "a"]).await?.expect(0)?.out, b"1");
        Ok(())
    });
}

#[test]
fn what_is_wrong_in_a_variable_is_told_by_its_name() {
    test(async |home| {
        for (name, value) in [
            ("KEYWAY_TIMEOUT", "abc"),
            ("KEYWAY_OUTPUT", "xml"),
            ("KEYWAY_ADDR", "unix:relative"),
            ("KEYWAY_UTC", "maybe"),
            ("KEYWAY_CONTEXT", "nobody"),
            ("KEYWAY_TOKEN_FILE", "nowhere"),
            ("KEYWAY_LOG", "a=b=c"),
        ] {
            let arguments: &[&str] = if name == "KEYWAY_OUTPUT" {
                &["config", "show"]
            } else {
                &["config", "show", "-o", "text"]
            };
            let said = Keyway::new(home).env(name, value).run(arguments).await?.expect(2)?;
            let flag = format!("--{}", name.trim_start_matches("KEYWAY_").to_lowercase());
            assert!(said.err.contains(name) && said.err.contains(value), "{}", said.err);
            assert!(!said.err.contains(&flag), "{}", said.err);
        }
        let said = shown(home, &[("KEYWAY_FORMAT", "{{#if")], &[]).await?.expect(3)?;
        assert!(
            said.err.contains("KEYWAY_FORMAT is no template") && !said.err.contains("--format"),
            "{}",
            said.err
        );
        let said = shown(home, &[("KEYWAY_TIMEOUT", "abc")], &["--timeout", "abc"]).await?;
        let said = said.expect(2)?;
        assert!(
            said.err.contains("'--timeout <DURATION>'") && !said.err.contains("KEYWAY_"),
            "{}",
            said.err
        );
        let said = Keyway::new(home)
            .env("KEYWAY_KV_GET_RECURSE", "maybe")
            .run(&["kv", "get", "ex"])
            .await?
            .expect(2)?;
        assert!(
            said.err.contains("KEYWAY_KV_GET_RECURSE") && said.err.contains("on with 1 or true"),
            "{}",
            said.err
        );
        Ok(())
    });
}
