//! `keyway kv export`, and what it writes back in again: nothing is lost on the way, or it is refused.

use kvapi::client::WriteOptions;

use crate::harness::{Server, test};
use crate::kv_import::{contents, import, kv};

/// Text, binary, flags, an empty value, odd keys.
async fn furnish(server: &Server) -> anyhow::Result<()> {
    let every_byte: Vec<u8> = (0..=255).collect();
    for (key, value) in [
        ("app", b"is a key and a folder".to_vec()),
        ("app/port", b"8080".to_vec()),
        ("app/bytes", every_byte),
        ("app/empty", Vec::new()),
        ("app//odd key/\u{e9}$", b"line\nline\n".to_vec()),
        ("apple", b"not below app".to_vec()),
    ] {
        server.put(key, value).await?;
    }
    let options = WriteOptions {
        flags: u64::MAX,
        ..WriteOptions::default()
    };
    server.client().put("app/flags", "f", &options).await?;
    Ok(())
}

#[test]
fn what_is_exported_in_any_form_is_imported_as_it_was() {
    test(async |home| {
        let server = Server::start(home).await?;
        furnish(&server).await?;
        let before = contents(&server).await?;
        for form in ["consul", "json", "yaml", "toml"] {
            let document = kv(&server, home, &["export", "--as", form]).await?.expect(0)?.out;
            kv(&server, home, &["delete", "-r", "--all", "-y"]).await?.expect(0)?;
            let said = import(&server, home, &["--as", form], &document).await?.expect(0)?;
            assert!(said.err.contains("imported 7 keys: in one transaction"), "{}", said.err);
            assert_eq!(contents(&server).await?, before, "{form}");
        }
        let half = kv(&server, home, &["export", "app/"]).await?.expect(0)?.text();
        assert!(half.contains("\"app\"") && !half.contains("apple"), "{half}");
        Ok(())
    });
}

#[test]
fn an_export_is_what_consul_writes_and_reads() {
    test(async |home| {
        let server = Server::start(home).await?;
        let options = WriteOptions {
            flags: 7,
            ..WriteOptions::default()
        };
        server.client().put("a/b", "x", &options).await?;

        let export = "[\n\t{\n\t\t\"key\": \"a/b\",\n\t\t\"flags\": 7,\n\t\t\"value\": \"eA==\"\n\t}\n]\n";
        assert_eq!(kv(&server, home, &["export"]).await?.expect(0)?.text(), export);
        assert_eq!(kv(&server, home, &["export", "none"]).await?.expect(0)?.text(), "[]\n");

        for prefix in ["-prefix=pre", "-prefix=pre/"] {
            import(&server, home, &[prefix], export.as_bytes()).await?.expect(0)?;
            assert_eq!(kv(&server, home, &["get", "pre/a/b"]).await?.text(), "x");
            kv(&server, home, &["delete", "-r", "pre"]).await?.expect(0)?;
        }
        home.write("export.json", export)?;
        for source in ["export.json", "@export.json", export] {
            kv(&server, home, &["import", "-prefix=p", source]).await?.expect(0)?;
            assert_eq!(kv(&server, home, &["get", "p/a/b"]).await?.text(), "x");
            kv(&server, home, &["delete", "-r", "p"]).await?.expect(0)?;
        }
        Ok(())
    });
}

#[test]
fn an_environment_file_and_a_folder_are_forms_too_and_say_what_they_cannot_hold() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("env/PORT", "8080").await?;
        server.put("env/GREETING", "it's a\n$HOME").await?;
        let text = kv(&server, home, &["export", "env", "--as", "env"])
            .await?
            .expect(0)?
            .text();
        assert_eq!(text, "GREETING='it'\\''s a\n$HOME'\nPORT=8080\n");
        import(&server, home, &["--as", "env", "--prefix", "back"], text.as_bytes())
            .await?
            .expect(0)?;
        assert_eq!(
            kv(&server, home, &["get", "back/GREETING"]).await?.text(),
            "it's a\n$HOME"
        );

        // Another form of what is printed is not passed over.
        for flags in [&["-o", "yaml"][..], &["-o", "table"], &["--format", "{{key}}"]] {
            let said = kv(&server, home, &[&["export", "env"], flags].concat())
                .await?
                .expect(2)?;
            assert!(said.out.is_empty() && said.err.contains("--as"), "{}", said.err);
        }
        kv(&server, home, &["export", "env", "-o", "json"]).await?.expect(0)?;

        server.put("tree/a/b", &b"\xff\0"[..]).await?;
        server.put("tree/c", "c").await?;
        kv(&server, home, &["export", "tree", "--as", "dir"]).await?.expect(2)?;
        kv(&server, home, &["export", "tree", "--as", "dir", "--out", "files"])
            .await?
            .expect(0)?;
        assert_eq!(std::fs::read(home.path("files/a/b"))?, b"\xff\0");
        kv(&server, home, &["import", "--as", "dir", "--prefix", "again", "files"])
            .await?
            .expect(0)?;
        assert_eq!(kv(&server, home, &["get", "again/a/b"]).await?.out, b"\xff\0");

        // One name for a file and a folder, or for two keys: refused before anything is written.
        server.put("both/a", "1").await?;
        server.put("both/a/b", "2").await?;
        server.put("both/both", "3").await?;
        let refused = ["export", "both", "--as", "dir", "--out", "both"];
        let said = kv(&server, home, &refused).await?.expect(3)?;
        assert!(
            said.err.contains("`a/b`") && said.err.contains("`a` is a key too"),
            "{}",
            said.err
        );
        assert!(said.err.contains("--as consul"), "{}", said.err);
        kv(&server, home, &["delete", "both/a/b"]).await?.expect(0)?;
        server.put("both", "4").await?;
        for form in ["dir", "env"] {
            let said = kv(&server, home, &["export", "both", "--as", form, "--out", "both"])
                .await?
                .expect(3)?;
            assert!(
                said.err.contains("`both` and `both/both` would both be `both`"),
                "{}",
                said.err
            );
        }
        assert!(!home.path("both").exists());

        server.put("env/bad name", "1").await?;
        let said = kv(&server, home, &["export", "env", "--as", "env"]).await?.expect(3)?;
        assert!(said.err.contains("`bad name`") && said.out.is_empty(), "{said:?}");
        Ok(())
    });
}
