//! `keyway kv put` and `delete`: conditions, conflicts, dry runs.

use serde_json::json;

use crate::harness::{Home, Server, test};

async fn value(server: &Server, home: &Home, key: &str) -> anyhow::Result<String> {
    Ok(server.kv(home, &["get", key]).await?.expect(0)?.text())
}

#[test]
fn a_put_on_a_condition_writes_only_if_it_holds() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.kv(home, &["put", "k", "1", "--create"]).await?.expect(0)?;
        server.kv(home, &["put", "k", "2", "--create"]).await?.expect(5)?;
        server
            .kv(home, &["put", "k", "2", "--if-value", "1"])
            .await?
            .expect(0)?;
        home.write("two", "2")?;
        server
            .kv(home, &["put", "k", "3", "--if-value", "@two"])
            .await?
            .expect(0)?;
        let said = server
            .kv(home, &["put", "k", "4", "--if-value", "2"])
            .await?
            .expect(5)?;
        assert!(said.err.contains("another value than you expected"), "{}", said.err);
        let said = server
            .kv(home, &["put", "new", "4", "--if-value", ""])
            .await?
            .expect(5)?;
        assert!(said.err.contains("there is no key `new`"), "{}", said.err);
        let now = server.revision("k").await?.to_string();
        server.kv(home, &["put", "k", "5", "--if-rev", &now]).await?.expect(0)?;
        server.kv(home, &["put", "k", "6", "--if-rev", &now]).await?.expect(5)?;
        assert_eq!(value(&server, home, "k").await?, "5");
        server
            .kv(home, &["put", "k", "-", "--if-value", "-"])
            .await?
            .expect(2)?;
        server
            .kv(home, &["put", "k", "no base64!", "--base64"])
            .await?
            .expect(3)?;
        Ok(())
    });
}

#[test]
fn who_comes_too_late_is_told_who_was_faster_and_the_next_command_works() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/port", "80").await?;
        let seen = server.revision("app/port").await?;
        let theirs = ["put", "app/port", "8080", "--author", "alice@ci", "-m", "open 8080"];
        server.kv(home, &theirs).await?.expect(0)?;
        let now = server.revision("app/port").await?;

        let mine = ["put", "app/port", "84 43", "--if-rev", &seen.to_string()];
        let said = server.kv(home, &mine).await?.expect(5)?;

        let what = format!("you expected revision {seen}, it is now {now} (alice@ci, ");
        assert!(said.err.contains(&what), "{}", said.err);
        assert!(said.err.contains("\"open 8080\""), "{}", said.err);
        let diff = format!("keyway kv diff app/port --rev {seen}..{now}");
        assert!(said.err.contains(&diff), "{}", said.err);
        let again = said.err.lines().find_map(|line| line.split_once("go on with"));
        let (_, again) = again.expect("it says how to go on");
        let words = shlex::split(again.trim()).expect("it is quoted for a shell");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        server.keyway(home).run(&words[1..]).await?.expect(0)?;
        assert_eq!(value(&server, home, "app/port").await?, "84 43");

        let mine = ["delete", "app/port", "--if-rev", &seen.to_string(), "-o", "json"];
        let said = server.kv(home, &mine).await?.expect(5)?;
        assert_eq!(said.error()?["exit_code"], 5);
        assert_eq!(value(&server, home, "app/port").await?, "84 43");
        server.kv(home, &["delete", "app/port"]).await?.expect(0)?;
        let mine = ["put", "app/port", "1", "--if-rev", &seen.to_string()];
        let said = server.kv(home, &mine).await?.expect(5)?;
        assert!(said.err.contains("`app/port` is gone"), "{}", said.err);
        Ok(())
    });
}

#[test]
fn a_dry_run_shows_what_would_change_and_changes_nothing() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("a/b", "1").await?;
        server.put("a/c", "1").await?;
        let before = server.revision("a/c").await?;

        let said = server.kv(home, &["put", "a/b", "2", "--dry-run"]).await?.expect(0)?;
        assert!(said.text().ends_with("@@ -1 +1 @@\n-1\n+2\n"), "{}", said.text());
        let said = server
            .kv(home, &["put", "a/b", "1", "--dry-run", "-o", "json"])
            .await?
            .expect(0)?;
        assert_eq!(
            said.json()?,
            json!({"key": "a/b", "written": false, "dry_run": true, "bytes": 1, "difference": null})
        );
        server
            .kv(home, &["put", "a/b", "2", "--dry-run", "--create"])
            .await?
            .expect(5)?;
        let said = server.kv(home, &["delete", "-r", "a", "--dry-run"]).await?.expect(0)?;
        assert_eq!(said.text(), "a/b\na/c\n");
        server
            .kv(home, &["delete", "a/b", "--if-rev", "999", "--dry-run"])
            .await?
            .expect(5)?;

        assert_eq!(value(&server, home, "a/b").await?, "1");
        server.put("z", "1").await?;
        assert_eq!(server.revision("z").await?, before + 1, "no revision was spent");
        Ok(())
    });
}

#[test]
fn everything_is_deleted_only_by_its_own_flag() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("a", "1").await?;
        for all in ["", "/"] {
            let said = server.kv(home, &["delete", "-r", all]).await?.expect(2)?;
            assert!(said.err.contains("--all"), "{}", said.err);
        }
        server.kv(home, &["delete", ""]).await?.expect(3)?;
        assert_eq!(value(&server, home, "a").await?, "1");
        server.kv(home, &["delete", "-r", "--all", "-y"]).await?.expect(0)?;
        server.kv(home, &["get", "a"]).await?.expect(1)?;
        Ok(())
    });
}
