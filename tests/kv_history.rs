//! `keyway kv history`, `diff`, and `get` of the past.

use serde_json::json;

use crate::harness::{Home, Keyway, Options, Server, holds, test};

/// A key with three versions by two people, a neighbour, and the revisions of the three.
async fn story(server: &Server, home: &Home) -> anyhow::Result<[u64; 3]> {
    let mut revisions = [0; 3];
    for (revision, (value, author, message)) in revisions.iter_mut().zip([
        ("80", "alice@ci", "first"),
        ("8080", "bob@laptop", "open 8080"),
        ("8443", "alice@ci", "tls"),
    ]) {
        let put = ["put", "app/port", value, "--author", author, "-m", message];
        server.kv(home, &put).await?.expect(0)?;
        *revision = server.revision("app/port").await?;
        server.put("apple", value).await?;
    }
    Ok(revisions)
}

#[test]
fn a_history_says_who_changed_a_key_when_and_why() {
    test(async |home| {
        let server = Server::start(home).await?;
        let [first, second, third] = story(&server, home).await?;
        server
            .kv(home, &["delete", "app/port", "-m", "gone"])
            .await?
            .expect(0)?;

        let said = server.kv(home, &["history", "app/port", "--utc"]).await?.expect(0)?;
        let lines: Vec<Vec<String>> = said
            .text()
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()))
            .map(|cells| cells.map(str::to_owned).collect())
            .collect();
        assert_eq!(lines[0], ["REVISION", "TIME", "AUTHOR", "OP", "SIZE", "MESSAGE"]);
        let column = |i: usize| -> Vec<&str> { lines.iter().skip(1).map(|line| line[i].as_str()).collect() };
        assert_eq!(
            column(0)[1..],
            [third, second, first].map(|revision| revision.to_string())
        );
        assert!(column(1).iter().all(|time| time.ends_with('Z')), "{lines:?}");
        let claims = ["alice@ci (claimed)", "bob@laptop (claimed)", "alice@ci (claimed)"];
        assert_eq!(column(2)[1..], claims);
        assert_eq!(column(3), ["delete", "put", "put", "create"]);
        assert_eq!(column(4), ["-", "4", "4", "2"]);

        let said = server
            .kv(home, &["history", "app/port", "-n", "2", "-o", "json"])
            .await?
            .expect(0)?;
        let document = said.json()?;
        assert_eq!(document["key"], "app/port");
        assert_eq!(document["changes"].as_array().map(Vec::len), Some(2));
        assert_eq!(document["changes"][1]["message"], "tls");
        assert_eq!(document["changes"][1]["author"], "alice@ci");
        assert_eq!(document["changes"][1]["author_is_claim"], true);
        assert_eq!(document["changes"][1]["changes"][0]["entry"]["value"], "8443");
        assert!(said.err.contains("--limit 0"), "{}", said.err);
        let said = server
            .kv(home, &["history", "app/port", "-o", "jsonl"])
            .await?
            .expect(0)?;
        assert_eq!(said.text().lines().count(), 4);
        Ok(())
    });
}

#[test]
fn a_history_shows_values_and_diffs_and_everything_below_a_prefix() {
    test(async |home| {
        let server = Server::start(home).await?;
        let [_, second, third] = story(&server, home).await?;
        server.put("app/host", "a").await?;

        let said = server
            .kv(home, &["history", "app/port", "--diff", "-n", "1"])
            .await?
            .expect(0)?;
        let text = said.text();
        assert!(text.starts_with(&format!("revision {third}  ")), "{text}");
        assert!(
            text.contains("alice@ci (claimed)  tls\n") && text.contains("-8080\n+8443\n"),
            "{text}"
        );
        let said = server.kv(home, &["history", "app/", "--values"]).await?.expect(0)?;
        let text = said.text();
        assert!(
            text.contains("app/host") && text.contains("8443") && !text.contains("apple"),
            "{text}"
        );
        let said = server
            .kv(home, &["history", "/", "--diff", "-o", "json"])
            .await?
            .expect(0)?;
        let document = said.json()?;
        let changes = document["changes"].as_array().expect("it is a list");
        assert_eq!(changes.len(), 7);
        let one = changes
            .iter()
            .find(|change| change["revision"] == second)
            .expect("it is in it");
        assert!(
            one["diff"].as_str().is_some_and(|diff| diff.contains("-80\n+8080\n")),
            "{one}"
        );

        let said = server.kv(home, &["history", "app"]).await?.expect(1)?;
        assert!(said.err.contains("keyway kv history app/"), "{}", said.err);
        let said = server
            .kv(home, &["history", "nowhere/", "-o", "json"])
            .await?
            .expect(1)?;
        assert_eq!(said.error()?["exit_code"], 1);
        Ok(())
    });
}

#[test]
fn the_past_is_read_by_revision_and_by_time() {
    test(async |home| {
        let server = Server::start(home).await?;
        let [first, second, _] = story(&server, home).await?;
        let document = server.kv(home, &["history", "app/port", "-o", "json"]).await?.json()?;
        let changes = document["changes"].as_array().expect("it is a list");
        for change in changes {
            // Of several changes within one millisecond the last one counts.
            let time = change["time"].as_str().expect("a time");
            let last = changes
                .iter()
                .find(|other| other["time"] == time)
                .expect("itself at least");
            let said = server.kv(home, &["get", "app/port", "--at", time]).await?.expect(0)?;
            assert_eq!(said.text(), last["changes"][0]["entry"]["value"], "{time}");
        }

        let rev = second.to_string();
        assert_eq!(
            server
                .kv(home, &["get", "app/port", "--rev", &rev])
                .await?
                .expect(0)?
                .text(),
            "8080"
        );
        let all = server
            .kv(home, &["get", "-recurse", "app", "-rev", &rev])
            .await?
            .expect(0)?
            .text();
        assert_eq!(all, "app/port:8080\napple:80\n");
        let keys = server
            .kv(home, &["get", "-keys", "--rev", &rev])
            .await?
            .expect(0)?
            .text();
        assert_eq!(keys, "app/\napple\n");
        let said = server.kv(home, &["get", "app/port", "--at", "2h"]).await?.expect(1)?;
        assert!(
            said.err.contains("there was no key `app/port` at revision 1"),
            "{}",
            said.err
        );
        let before = (first - 1).to_string();
        server
            .kv(home, &["get", "app/port", "--rev", &before])
            .await?
            .expect(1)?;
        let said = server
            .kv(home, &["get", "app/port", "--rev", "999999"])
            .await?
            .expect(3)?;
        assert!(said.err.contains("has not been taken yet"), "{}", said.err);
        server.kv(home, &["get", "app/port", "--at", "844"]).await?.expect(2)?;
        server
            .kv(home, &["get", "app/port", "--at", "yesterday"])
            .await?
            .expect(2)?;
        Ok(())
    });
}

#[test]
fn a_diff_compares_revisions_times_keys_and_folders() {
    test(async |home| {
        let server = Server::start(home).await?;
        let [first, second, third] = story(&server, home).await?;

        let said = server
            .kv(home, &["diff", "app/port", "--rev", &format!("{first}..{second}")])
            .await?
            .expect(0)?;
        assert_eq!(
            said.text(),
            format!("--- app/port\trevision {first}\n+++ app/port\trevision {second}\n@@ -1 +1 @@\n-80\n+8080\n")
        );
        let since = first.to_string();
        let said = server
            .kv(home, &["diff", "app/", "--rev", &since, "--exit-code"])
            .await?
            .expect(1)?;
        assert!(said.text().ends_with("-80\n+8443\n"), "{}", said.text());
        let same = format!("{third}..{third}");
        let said = server
            .kv(home, &["diff", "app/port", "--rev", &same, "--exit-code"])
            .await?
            .expect(0)?;
        assert_eq!(said.text(), "");
        let said = server
            .kv(home, &["diff", "/", "--at", "1h..", "-o", "json"])
            .await?
            .expect(0)?;
        let document = said.json()?;
        assert_eq!(document["same"], false);
        assert_eq!(document["differences"][0]["op"], "added");
        assert_eq!(document["differences"][0]["after"]["value"], "8443");

        server.put("b/port", "8443").await?;
        server.put("b/bin", b"\xff\xfe".to_vec()).await?;
        let said = server
            .kv(home, &["diff", "app/port", "b/port", "--exit-code"])
            .await?
            .expect(0)?;
        assert_eq!(said.text(), "");
        let said = server
            .kv(home, &["diff", "app/", "b/", "--exit-code"])
            .await?
            .expect(1)?;
        assert!(
            said.text().contains("binary: nothing became 2 bytes\n"),
            "{}",
            said.text()
        );
        let said = server
            .kv(home, &["diff", "app/", "b/", "-o", "name"])
            .await?
            .expect(0)?;
        assert_eq!(said.text(), "bin\n");
        server.kv(home, &["diff", "app/port", "nope"]).await?.expect(1)?;
        server.kv(home, &["diff", "app/port", "b/"]).await?.expect(2)?;
        server.kv(home, &["diff", "app/port"]).await?.expect(2)?;
        server
            .kv(home, &["diff", "app/port", "--rev", "x..y"])
            .await?
            .expect(2)?;
        Ok(())
    });
}

#[test]
fn a_diff_compares_the_store_with_files() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/web/port", "80").await?;
        server.put("app/host", "a").await?;
        home.write("conf.d/web/port", "80")?;
        home.write("conf.d/host", "a")?;

        let same = ["diff", "app/", "@conf.d", "--exit-code"];
        assert_eq!(server.kv(home, &same).await?.expect(0)?.text(), "");
        home.write("conf.d/host", "b")?;
        home.write("conf.d/new", "1")?;
        let said = server.kv(home, &same).await?.expect(1)?;
        assert!(said.text().contains("--- app/host\trevision"), "{}", said.text());
        assert!(
            said.text().contains("+++ conf.d/host\n@@ -1 +1 @@\n-a\n+b\n"),
            "{}",
            said.text()
        );
        assert!(said.text().contains("+++ conf.d/new\n"), "{}", said.text());
        let said = server
            .kv(home, &["diff", "app/host", "@conf.d/host", "-o", "json"])
            .await?
            .expect(0)?;
        let document = said.json()?;
        assert_eq!(document["differences"][0]["key"], "app/host");
        assert_eq!(document["differences"][0]["before"]["value"], "a");
        server.kv(home, &["diff", "app/", "@nowhere"]).await?.expect(3)?;
        server.kv(home, &["diff", "app/host", "@conf.d"]).await?.expect(2)?;
        Ok(())
    });
}

#[test]
fn a_diff_compares_two_contexts() {
    test(async |home| {
        let server = Server::start(home).await?;
        let data = Some(home.path("other"));
        let other = Server::with(
            home,
            Options {
                data,
                ..Options::default()
            },
        )
        .await?;
        for (server, port) in [(&server, "80"), (&other, "8443")] {
            server.put("app/port", port).await?;
            server.put("app/host", "a").await?;
        }
        let address = other.address.to_string();
        let add = ["context", "add", "production", "--addr", &address];
        Keyway::new(home).run(&add).await?.expect(0)?;

        let against = ["diff", "app/", "--against", "production", "--exit-code"];
        let said = server.kv(home, &against).await?.expect(1)?;

        assert!(said.text().starts_with("--- app/port\trevision "), "{}", said.text());
        assert!(
            said.text().contains("+++ production:app/port\trevision "),
            "{}",
            said.text()
        );
        assert!(said.text().ends_with("@@ -1 +1 @@\n-80\n+8443\n"), "{}", said.text());
        let nobody = ["diff", "app/", "--against", "prodction"];
        let said = server.kv(home, &nobody).await?.expect(2)?;
        assert!(said.err.contains("production"), "{}", said.err);
        Ok(())
    });
}

#[test]
fn what_is_no_longer_kept_is_said_to_be_so() {
    test(async |home| {
        let server = Server::start(home).await?;
        let [first, second, third] = story(&server, home).await?;
        let body = json!({"Revisions": 1, "Versions": 2}).to_string();
        let put = server
            .client()
            .send("PUT".parse()?, "/v1/history", body.into(), Default::default())
            .await?;
        assert_eq!(put.status, 200, "{put:?}");

        // Two versions of each key are kept, and they are exact.
        holds("the newest two are there", async || {
            let said = server.kv(home, &["history", "app/port", "-o", "jsonl"]).await;
            said.is_ok_and(|said| said.text().lines().count() == 2)
        })
        .await?;
        let rev = second.to_string();
        assert_eq!(
            server
                .kv(home, &["get", "app/port", "--rev", &rev])
                .await?
                .expect(0)?
                .text(),
            "8080"
        );
        let span = format!("{second}..{third}");
        let said = server
            .kv(home, &["diff", "app/port", "--rev", &span])
            .await?
            .expect(0)?;
        assert!(said.text().ends_with("-8080\n+8443\n"), "{}", said.text());
        let said = server
            .kv(home, &["get", "app/port", "--rev", &first.to_string()])
            .await?
            .expect(1)?;
        assert!(
            said.err.contains(&format!("revision {first} is no longer kept")),
            "{}",
            said.err
        );
        let said = server
            .kv(home, &["get", "-recurse", "app", "--rev", &rev])
            .await?
            .expect(1)?;
        assert!(said.err.contains("is no longer kept"), "{}", said.err);
        let said = server.kv(home, &["get", "app/port", "--at", "2h"]).await?.expect(1)?;
        assert!(
            said.err.contains("is no longer kept; the oldest revision kept is"),
            "{}",
            said.err
        );
        let said = server.kv(home, &["history", "app/port"]).await?.expect(0)?;
        assert!(said.err.contains("what was before is no longer kept"), "{}", said.err);
        Ok(())
    });
}
