//! Snapshots as Consul has them: the command under the name `consul`, and a file that Consul has written.

use sha2::{Digest as _, Sha256};

use crate::harness::{Home, Keyway, Said, Server, test};
use crate::restores::envelope;
use crate::snapshots::{save, snapshot};

async fn consul(server: &Server, home: &Home, arguments: &[&str]) -> anyhow::Result<Said> {
    let command = Keyway::consul(home)?.env("CONSUL_HTTP_ADDR", &server.address.to_string());
    command.run(&[&["snapshot"], arguments].concat()).await
}

/// The code, the output and the errors, to the byte.
async fn says(server: &Server, home: &Home, arguments: &[&str], said: (i32, &str, &str)) -> anyhow::Result<()> {
    let (code, out, err) = said;
    let said = consul(server, home, arguments).await?.expect(code)?;
    anyhow::ensure!(
        said.text() == out && said.err == err,
        "{arguments:?}: {:?} {:?}",
        said.text(),
        said.err
    );
    Ok(())
}

#[test]
fn consul_snapshot_saves_inspects_and_restores_in_the_words_of_consul() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("a", "1").await?;
        let saved = (0, "Saved and verified snapshot to index 2\n", "");
        says(&server, home, &["save", "backup.snap"], saved).await?;
        assert!(!home.path("backup.snap.unverified").exists());
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(home.path("backup.snap"))?.permissions());
        assert_eq!(mode & 0o777, 0o600);
        server.put("a", "2").await?;
        says(
            &server,
            home,
            &["save", "-stale", "backup2.snap"],
            (0, "Saved and verified snapshot to index 3\n", ""),
        )
        .await?;

        says(
            &server,
            home,
            &["restore", "backup.snap"],
            (0, "Restored snapshot\n", ""),
        )
        .await?;

        assert_eq!(server.kv(home, &["get", "a"]).await?.expect(0)?.text(), "1");
        let inspected = consul(&server, home, &["inspect", "backup.snap"])
            .await?
            .expect(0)?
            .text();
        let lines: Vec<Vec<&str>> = inspected
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        for line in [&["Index", "2"][..], &["Type", "Count", "Size"], &["keys", "1", "18B"]] {
            assert!(lines.iter().any(|found| found == line), "{inspected}");
        }
        for (arguments, said) in [
            (&["save"][..], "Missing FILE argument\n"),
            (&["restore", "a", "b"], "Too many arguments (expected 1, got 2)\n"),
            (
                &["restore", "missing"],
                "Error opening snapshot file: open missing: no such file or directory\n",
            ),
            (
                &["save", "no/such/folder"],
                "Error writing unverified snapshot file: open no/such/folder.unverified: no such file or directory\n",
            ),
        ] {
            says(&server, home, arguments, (1, "", said)).await?;
        }
        home.write("text", "this is no snapshot")?;
        let why = "failed to decompress snapshot: gzip: invalid header";
        let said = format!("Error restoring snapshot: Unexpected response code: 500 ({why})\n");
        says(&server, home, &["restore", "text"], (1, "", &said)).await?;
        says(
            &server,
            home,
            &["inspect", "text"],
            (1, "", &format!("Error reading snapshot: {why}\n")),
        )
        .await?;
        Ok(())
    });
}

/// A text as Consul writes it.
fn text(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&[0xda][..], &length.to_be_bytes(), bytes].concat()
}

fn record(kind: u8, fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![kind, 0x80 | u8::try_from(fields.len()).unwrap_or_default()];
    for (name, value) in fields {
        out.extend(text(name.as_bytes()));
        out.extend(value);
    }
    out
}

/// As `consul snapshot save` writes it: a server's registration, a session, two keys, one of them held by it.
fn of_consul() -> anyhow::Result<Vec<u8>> {
    let key = |name: &str, value: &[u8], flags: u8, session: &str| {
        let fields = [
            ("LockIndex", vec![0]),
            ("Key", text(name.as_bytes())),
            ("Flags", vec![flags]),
            ("Value", text(value)),
            ("Session", text(session.as_bytes())),
            ("CreateIndex", vec![90]),
            ("ModifyIndex", vec![99]),
        ];
        record(2, &fields)
    };
    let header = record(0, &[("LastIndex", vec![100])]);
    let state = [
        &header[1..],
        &record(0, &[("Node", text(b"n1")), ("Address", text(b"10.0.0.1"))]),
        &record(
            3,
            &[
                ("ID", text(b"adf4238a-882b-9ddc-4a9d-5b6758e4159e")),
                ("TTL", text(b"15s")),
            ],
        ),
        &key("app/port", b"8080", 7, ""),
        &key("app/lock", b"\xff\x00", 0, "adf4238a-882b-9ddc-4a9d-5b6758e4159e"),
        &record(16, &[("Key", text(b"kvs")), ("Value", vec![99])]),
    ]
    .concat();
    let meta = serde_json::json!({"Version": 1, "ID": "2-100-1603221729747", "Index": 100, "Term": 2, "Peers": null,
        "Configuration": {"Servers": []}, "ConfigurationIndex": 1, "Size": state.len()});
    let meta = meta.to_string();
    let sum = |bytes: &[u8]| {
        Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let sums = format!("{}  meta.json\n{}  state.bin\n", sum(meta.as_bytes()), sum(&state));
    envelope(&[
        ("meta.json", meta.as_bytes()),
        ("state.bin", &state),
        ("SHA256SUMS", sums.as_bytes()),
    ])
}

#[test]
fn the_keys_of_a_snapshot_of_consul_come_in_and_what_is_left_out_is_told() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("mine", "1").await?;
        save(&server, home, "before.snap").await?;
        home.write("consul.snap", of_consul()?)?;
        let inspected = snapshot(&server, home, &["inspect", "consul.snap", "-o", "json"])
            .await?
            .expect(0)?
            .json()?;
        assert_eq!(
            (&inspected["format"], &inspected["revision"]),
            (&"consul".into(), &100.into())
        );

        let said = snapshot(&server, home, &["restore", "consul.snap", "--yes"])
            .await?
            .expect(0)?;

        assert!(
            said.err
                .starts_with("left out: 1 sessions, whose clients begin new ones"),
            "{}",
            said.err
        );
        assert!(
            said.err.contains("restored 2 keys and 0 sessions at revision 101"),
            "{}",
            said.err
        );
        let list = server.client().list("", Default::default()).await?.value;
        let list: Vec<_> = list
            .iter()
            .map(|entry| (&*entry.key, &*entry.value, entry.flags, &entry.session))
            .collect();
        assert_eq!(
            list,
            [
                ("app/lock", &b"\xff\x00"[..], 0, &None),
                ("app/port", b"8080", 7, &None)
            ]
        );
        // And back again, through the command of Consul.
        says(
            &server,
            home,
            &["restore", "before.snap"],
            (0, "Restored snapshot\n", ""),
        )
        .await?;
        says(
            &server,
            home,
            &["restore", "consul.snap"],
            (0, "Restored snapshot\n", ""),
        )
        .await?;
        assert_eq!(server.kv(home, &["get", "app/port"]).await?.expect(0)?.text(), "8080");
        let shown = consul(&server, home, &["inspect", "consul.snap"])
            .await?
            .expect(0)?
            .text();
        assert!(shown.contains("\n KVS           2          "), "{shown}");
        Ok(())
    });
}
