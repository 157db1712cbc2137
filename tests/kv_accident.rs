//! The past after one very large change, as `keyway kv` shows it and puts it back.

use kvapi::client::WriteOptions;
use kvapi::types::TxnOp;

use crate::harness::{Options, Server, test};

/// Below `big/`, with names so long that no answer of a history holds them.
const BIG: usize = 1_450;

#[test]
fn after_a_change_that_no_answer_holds_the_past_is_looked_at_and_put_back_as_ever() {
    test(async |home| {
        let flags = ["--max-txn-ops", "2000", "--max-txn-size", "16MiB"];
        let options = Options {
            flags: flags.map(str::to_owned).to_vec(),
            ..Options::default()
        };
        let server = Server::with(home, options).await?;
        server.put("app/x", "1").await?;
        let name = |n: usize| format!("big/{n:04}{}", "<".repeat(8_000));
        let ops: Vec<TxnOp> = (0..BIG).map(|n| TxnOp::set(name(n), "1")).collect();
        assert!(server.client().txn(&ops, &WriteOptions::default()).await?.is_ok());
        server.put("app/y", "1").await?;
        let before = server.revision("app/y").await?;
        let head = server
            .kv(home, &["history", "app/y", "-o", "json"])
            .await?
            .expect(0)?
            .json()?;
        let then = head["changes"][0]["time"].as_str().unwrap_or_default().to_owned();
        let delete = ["delete", "-r", "big/", "--yes", "-m", "by accident"];
        server.kv(home, &delete).await?.expect(0)?;
        server.put("app/x", "2").await?;
        let gone = before + 1;

        let said = server.kv(home, &["history", "big/"]).await?.expect(0)?;
        let text = said.text();
        let rows: Vec<&str> = text.lines().collect();
        assert!(rows.len() == 3 && rows[1].contains("(1450 keys)") && rows[1].contains("by accident"));
        let hint = format!("keyway kv diff big/ --rev {before}..{gone}");
        assert!(said.err.contains(&hint), "{}", said.err);
        let said = server
            .kv(home, &["history", "/", "-n", "2", "--diff", "-o", "json"])
            .await?
            .expect(0)?
            .json()?;
        assert_eq!(said["changes"][1]["omitted"], BIG);
        assert!(
            said["changes"][0]["diff"]
                .as_str()
                .is_some_and(|diff| diff.contains("-1\n+2\n"))
        );

        let names = server
            .kv(home, &["diff", "big/", "--at", &format!("{then}.."), "-o", "name"])
            .await?
            .expect(0)?;
        assert_eq!(names.text().lines().count(), BIG);
        let said = server.kv(home, &["get", "nothere", "--at", &then]).await?.expect(1)?;
        assert!(said.err.contains(&format!("at revision {before}")), "{}", said.err);
        let said = server
            .kv(home, &["watch", "--since", &then, "app/", "--once", "-o", "json"])
            .await?
            .expect(0)?;
        assert!(
            said.text().contains(&format!("\"revision\":{}", gone + 1)),
            "{}",
            said.text()
        );
        let revert = ["revert", "big/", "--to", &then, "--yes"];
        let said = server
            .kv(home, &[&revert[..], &["--dry-run"]].concat())
            .await?
            .expect(0)?;
        assert!(said.err.contains("would set back 1450 keys"), "{}", said.err);
        server.kv(home, &revert).await?.expect(0)?;
        assert_eq!(server.client().count("big/").await?, BIG as u64);
        Ok(())
    });
}
