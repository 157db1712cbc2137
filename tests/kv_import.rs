//! `keyway kv import`: all of it or nothing where it fits, and else it is said how far it came.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kvapi::Consistency;

use crate::harness::{Exit, Home, Keyway, Options, Said, Server, alone, long, test};

pub(crate) async fn kv(server: &Server, home: &Home, arguments: &[&str]) -> anyhow::Result<Said> {
    server.keyway(home).run(&[&["kv"], arguments].concat()).await
}

pub(crate) async fn import(server: &Server, home: &Home, arguments: &[&str], document: &[u8]) -> anyhow::Result<Said> {
    let arguments = [&["kv", "import"], arguments, &["-"]].concat();
    server.keyway(home).stdin(document).run(&arguments).await
}

/// Everything as far as a document holds it.
pub(crate) async fn contents(server: &Server) -> anyhow::Result<Vec<(String, Vec<u8>, u64)>> {
    let list = server.client().list("", Consistency::Default).await?.value;
    Ok(list
        .into_iter()
        .map(|entry| (entry.key, entry.value.to_vec(), entry.flags))
        .collect())
}

#[test]
fn a_mistake_anywhere_in_a_document_writes_nothing() {
    test(async |home| {
        let server = Server::start(home).await?;
        let good = r#"{"key":"a","flags":0,"value":"MQ=="}"#;
        for (document, said) in [
            (
                format!("[{good},\n{{\"key\":\"b\",\"value\":\"!\"}}]"),
                "line 2: `b`: the value is not base64",
            ),
            (format!("[{good},{{\"key\":\"\"}}]"), "a key cannot be empty"),
            (format!("[{good},"), "the list ends in the middle"),
            ("a: 1\n".to_owned(), "--as json, yaml"),
        ] {
            let failed = import(&server, home, &[], document.as_bytes()).await?.expect(3)?;
            assert!(failed.err.contains(said), "{document}: {}", failed.err);
        }
        let failed = import(&server, home, &["--as", "yaml"], b"a: 1\nb:\n")
            .await?
            .expect(3)?;
        assert!(failed.err.contains("line 2: `b` has no value"), "{}", failed.err);
        kv(&server, home, &["import", "nowhere.json"]).await?.expect(3)?;
        assert!(contents(&server).await?.is_empty());
        Ok(())
    });
}

#[test]
fn what_is_there_already_is_kept_replaced_or_a_reason_to_write_nothing() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("a", "old").await?;
        let document = b"a: new\nb: new\n";
        let yaml = ["--as", "yaml", "--on-conflict"];

        let said = import(&server, home, &[&yaml[..], &["fail"]].concat(), document)
            .await?
            .expect(5)?;
        assert!(
            said.err.contains("`a`") && said.err.contains("nothing was written"),
            "{}",
            said.err
        );
        kv(&server, home, &["get", "b"]).await?.expect(1)?;

        let said = import(&server, home, &[&yaml[..], &["skip"]].concat(), document)
            .await?
            .expect(0)?;
        assert!(
            said.err.contains("imported 1 keys, left 1 that were there"),
            "{}",
            said.err
        );
        assert_eq!(kv(&server, home, &["get", "a"]).await?.text(), "old");

        import(&server, home, &[&yaml[..], &["overwrite"]].concat(), document)
            .await?
            .expect(0)?;
        assert_eq!(kv(&server, home, &["get", "a"]).await?.text(), "new");
        let revision = server.client().list("", Consistency::Default).await?.revision;
        import(&server, home, &["--as", "yaml"], document).await?.expect(0)?;
        let again = server.client().list("", Consistency::Default).await?.revision;
        assert_eq!(revision, again, "what is equal is not written a second time");
        Ok(())
    });
}

#[test]
fn pruning_makes_a_folder_what_the_document_says_and_nothing_else() {
    test(async |home| {
        let server = Server::start(home).await?;
        for key in ["app/old", "app/kept", "apple", "other"] {
            server.put(key, "1").await?;
        }
        let document = b"kept: '2'\nnew: '3'\n";
        let arguments = ["--as", "yaml", "--prefix", "app", "--prune"];

        let said = import(&server, home, &[&arguments[..], &["--dry-run"]].concat(), document)
            .await?
            .expect(0)?;
        assert_eq!(said.text(), "change app/kept\ncreate app/new\ndelete app/old\n");
        assert_eq!(
            kv(&server, home, &["ls", "-r"]).await?.text(),
            "app/kept\napp/old\napple\nother\n"
        );

        let said = import(&server, home, &[&arguments[..], &["-o", "json"]].concat(), document)
            .await?
            .expect(0)?;
        let done: serde_json::Value = serde_json::from_slice(&said.out)?;
        assert_eq!(
            (&done["written"], &done["deleted"], &done["transactions"]),
            (&2.into(), &1.into(), &1.into())
        );
        assert_eq!(
            kv(&server, home, &["ls", "-r"]).await?.text(),
            "app/kept\napp/new\napple\nother\n"
        );

        import(&server, home, &["--as", "yaml", "--prune"], document)
            .await?
            .expect(2)?;
        import(&server, home, &["--as", "yaml", "--prune", "--prefix", "/"], document)
            .await?
            .expect(2)?;
        Ok(())
    });
}

#[test]
fn what_is_more_than_one_transaction_is_written_in_several_and_says_so() {
    test(async |home| {
        let server = Server::start(home).await?;
        let document: String = (0..1_000).map(|n| format!("k{n:04}: v{n}\n")).collect();
        let said = import(
            &server,
            home,
            &["--as", "yaml", "--prefix", "a", "--progress", "json"],
            document.as_bytes(),
        )
        .await?
        .expect(0)?;
        assert!(
            said.err.contains("more than one transaction (at most 128 keys"),
            "{}",
            said.err
        );
        assert!(
            said.err.contains("imported 1000 keys: in 8 transactions"),
            "{}",
            said.err
        );
        assert!(said.err.contains(r#"{"done":1000,"progress":"import""#), "{}", said.err);
        assert_eq!(
            server
                .client()
                .keys("a/", None, Consistency::Default)
                .await?
                .value
                .len(),
            1_000
        );

        let fail = ["--as", "yaml", "--prefix", "a", "--on-conflict", "fail"];
        let said = import(&server, home, &fail, format!("new: 1\n{document}").as_bytes())
            .await?
            .expect(5)?;
        assert!(said.err.contains("and 59 more"), "{}", said.err);
        kv(&server, home, &["get", "a/new"]).await?.expect(1)?;
        let skip = ["--as", "yaml", "--prefix", "a", "--on-conflict", "skip"];
        let said = import(&server, home, &skip, format!("new: 1\n{document}").as_bytes())
            .await?
            .expect(0)?;
        assert!(said.err.contains("imported 1 keys, left 1000"), "{}", said.err);

        // A value that no transaction can carry goes alone.
        let large = "x".repeat(500_000);
        let document = format!("large: {large}\nsmall: y\n");
        let said = import(&server, home, &["--as", "yaml"], document.as_bytes())
            .await?
            .expect(0)?;
        assert!(
            said.err.contains("the 2 keys go in 2, one after the other"),
            "{}",
            said.err
        );
        assert_eq!(kv(&server, home, &["get", "large"]).await?.out.len(), 500_000);
        Ok(())
    });
}

#[test]
fn an_import_that_is_too_long_for_one_transaction_says_so_before_it_begins() {
    test(async |home| {
        let server = Server::start(home).await?;
        let value = "x".repeat(100_000);
        let document: String = (0..8).map(|n| format!("k{n}: {value}\n")).collect();
        let yaml = ["--as", "yaml"];
        let told = "this is more than one transaction (at most 128 keys and 524288 bytes each): the 8 keys go in 3";

        let dry = import(
            &server,
            home,
            &[&yaml[..], &["--dry-run"]].concat(),
            document.as_bytes(),
        )
        .await?
        .expect(0)?;
        assert!(dry.err.contains(told), "{}", dry.err);
        let json = [&yaml[..], &["--dry-run", "-o", "json"]].concat();
        let dry = import(&server, home, &json, document.as_bytes()).await?.expect(0)?;
        assert_eq!(dry.json()?["transactions"], 3);
        assert!(contents(&server).await?.is_empty());

        let said = import(&server, home, &yaml, document.as_bytes()).await?.expect(0)?;
        let (before, after) = said
            .err
            .split_once("imported 8 keys: in 3 transactions")
            .context("it ends")?;
        assert!(before.contains(told) && after.trim().is_empty(), "{}", said.err);
        Ok(())
    });
}

#[test]
fn raised_limits_of_the_server_are_used() {
    test(async |home| {
        let flags = ["--max-txn-ops", "1000", "--max-txn-size", "4MiB"]
            .map(str::to_owned)
            .to_vec();
        let options = Options {
            flags,
            ..Options::default()
        };
        let server = Server::with(home, options).await?;
        let value = "x".repeat(3_000);
        let document: String = (0..500).map(|n| format!("k{n}: {value}\n")).collect();

        let said = import(&server, home, &["--as", "yaml"], document.as_bytes())
            .await?
            .expect(0)?;

        assert!(
            said.err.contains("imported 500 keys: in one transaction"),
            "{}",
            said.err
        );
        assert!(!said.err.contains("more than one"), "{}", said.err);
        let revisions = server.client().list("", Consistency::Default).await?.value;
        assert!(
            revisions
                .iter()
                .all(|entry| entry.modify_index == revisions[0].modify_index)
        );
        Ok(())
    });
}

#[test]
fn an_import_that_stops_in_the_middle_says_how_far_it_came_and_the_same_again_goes_on() {
    test(async |home| {
        let server = Server::start(home).await?;
        let mut document: String = (0..300).map(|n| format!("k{n:04}: v\n")).collect();
        let good = document.clone();
        document.push_str(&format!("z: {}\n", "x".repeat(600_000)));

        let said = import(&server, home, &["--as", "yaml"], document.as_bytes())
            .await?
            .expect(8)?;

        assert!(said.err.contains("stopped after 300 of 301 keys: `z`"), "{}", said.err);
        assert!(said.err.contains("the same command again goes on"), "{}", said.err);
        assert_eq!(contents(&server).await?.len(), 300);
        import(&server, home, &["--as", "yaml"], good.as_bytes())
            .await?
            .expect(0)?;

        let nobody = Keyway::new(home)
            .addr("http://127.0.0.1:1")
            .timeout("300ms")
            .stdin("a: 1\n");
        let said = nobody.run(&["kv", "import", "--as", "yaml", "-"]).await?.expect(6)?;
        assert!(said.err.contains("nothing was written"), "{}", said.err);
        Ok(())
    });
}

/// Runs it to its end; the most memory that it was seen with, in KiB.
async fn run_and_weigh(server: &Server, home: &Home, name: &str, arguments: &[&str]) -> anyhow::Result<u64> {
    let mut program = server.keyway(home).start(home, name, arguments)?;
    let mut peak = 0;
    let exit = loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(now.unwrap_or(0));
        match program.ended() {
            Some(exit) => break exit,
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    anyhow::ensure!(exit == Exit::Code(0), "{name} ended with {exit:?}: {}", program.log());
    Ok(peak)
}

#[test]
fn the_size_of_a_store_is_not_the_memory_of_its_export_and_import() {
    alone(Duration::from_secs(1_800), async |home| {
        let keys = long(50_000, 1_000_000);
        let server = Server::start(home).await?;
        // As Consul writes it, in the order in which an export is.
        let mut file = std::io::BufWriter::new(std::fs::File::create(home.path("all.json"))?);
        write!(file, "[")?;
        for n in 0..keys {
            let comma = if n == 0 { "" } else { "," };
            let value = STANDARD.encode(format!("{n:>300}"));
            write!(
                file,
                "{comma}\n\t{{\n\t\t\"key\": \"k/{n:07}\",\n\t\t\"flags\": {n},\n\t\t\"value\": \"{value}\"\n\t}}"
            )?;
        }
        write!(file, "\n]\n")?;
        file.flush()?;
        drop(file);

        let import = run_and_weigh(&server, home, "import", &["kv", "import", "all.json"]).await?;
        let export = run_and_weigh(
            &server,
            home,
            "export",
            &["kv", "export", "--out", "back.json", "--timeout", "2m"],
        )
        .await?;

        let same = std::process::Command::new("cmp")
            .args(["all.json", "back.json"])
            .current_dir(home.dir())
            .status()?;
        assert!(same.success(), "what comes out is not what went in");
        let size = std::fs::metadata(home.path("all.json"))?.len() / 1024;
        let said = format!("{keys} keys in {size} KiB: import took {import} KiB, export {export}");
        println!("{said}");
        // Some 25 MiB are the program's own. Held whole, even the small document would be twice its size.
        assert!(import.max(export) < 40 * 1024, "{said}");
        Ok(())
    });
}
