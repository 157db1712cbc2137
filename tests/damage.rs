//! Damaged and foreign data folders: each is refused or mended, and says which and what to do, at a
//! start and by `keyway server check`, which changes nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use kvapi::Consistency;
use kvapi::client::WriteOptions;

use crate::harness::harm::{contents, copy, cut, each, first, flip, last, names, replace};
use crate::harness::{Exit, Home, Keyway, Options, Server, alone, holds, write_file};

/// What becomes of a folder that something was done to.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) harm: fn(&Path) -> anyhow::Result<()>,
    /// The exit code of `server check`, and words of it.
    pub(crate) check: (i32, &'static [&'static str]),
    /// What a start does.
    pub(crate) start: Start,
}

pub(crate) enum Start {
    /// It comes up, shows all there was, and has said this.
    Shows(&'static [&'static str]),
    /// It exits with 3 and says this.
    Refuses(&'static [&'static str]),
}
pub(crate) use Start::{Refuses, Shows};

const ROWS: &[Row] = &[
    Row {
        name: "untouched",
        harm: |_| Ok(()),
        check: (
            0,
            &[
                "every checksum matches",
                "every row's checksum matches",
                "makes what snapshot and log make",
            ],
        ),
        start: Shows(&[]),
    },
    Row {
        name: "keyway.json missing",
        harm: |dir| Ok(fs::remove_file(dir.join("keyway.json"))?),
        check: (3, &["no keyway.json", "put that file back from a copy"]),
        start: Refuses(&["no keyway.json", "put that file back from a copy"]),
    },
    Row {
        name: "keyway.json garbage",
        harm: |dir| Ok(write_file(&dir.join("keyway.json"), "{\"format\": ")?),
        check: (3, &["keyway.json cannot be read", "put the file back from a copy"]),
        start: Refuses(&["keyway.json cannot be read", "put the file back from a copy"]),
    },
    Row {
        name: "keyway.json of a newer format",
        harm: |dir| replace(&dir.join("keyway.json"), "\"format\": 1", "\"format\": 1001"),
        check: (3, &["format 1001", "start a newer version"]),
        start: Refuses(&["format 1001", "start a newer version"]),
    },
    Row {
        name: "keyway.json of another node",
        harm: |dir| replace(&dir.join("keyway.json"), "\"node_id\": 1", "\"node_id\": 2"),
        check: (0, &["node 2 of cluster"]),
        start: Refuses(&["belongs to node 2, not 1", "--node-id 2"]),
    },
    Row {
        name: "keyway.json of another cluster",
        harm: |dir| {
            replace(
                &dir.join("keyway.json"),
                "\"cluster_id\": \"",
                "\"cluster_id\": \"other-",
            )
        },
        check: (3, &["is of cluster", "not other-"]),
        start: Refuses(&["is of cluster", "not other-", "keyway.json"]),
    },
    Row {
        name: "log damaged in the middle",
        harm: |dir| flip(&first(&dir.join("log"), ".wal")?, |length| length / 2),
        check: (3, &["is damaged at byte", "put the data folder back from a copy"]),
        start: Refuses(&["is damaged at byte", "put the data folder back from a copy"]),
    },
    Row {
        name: "log cut off at its end",
        harm: |dir| cut(&last(&dir.join("log"), ".wal")?, |length| length - 3),
        check: (
            1,
            &["the last record is incomplete", "the next start removes that record"],
        ),
        start: Shows(&["the log's last record was incomplete"]),
    },
    Row {
        name: "log with zeros after its end",
        harm: |dir| {
            let file = last(&dir.join("log"), ".wal")?;
            let bytes = [fs::read(&file)?, vec![0; 5_000]].concat();
            Ok(write_file(&file, bytes)?)
        },
        check: (1, &["the last record is incomplete"]),
        start: Shows(&["the log's last record was incomplete"]),
    },
    Row {
        name: "newest file of the log missing",
        harm: |dir| Ok(fs::remove_file(last(&dir.join("log"), ".wal")?)?),
        check: (
            3,
            &[
                "holds no entry, and the folder was in use",
                "put the data folder back from a copy",
            ],
        ),
        start: Refuses(&[
            "holds no entry, and the folder was in use",
            "put the data folder back from a copy",
            "goes on from revision",
        ]),
    },
    Row {
        name: "log missing",
        harm: |dir| Ok(fs::remove_dir_all(dir.join("log"))?),
        check: (
            3,
            &["holds no entry, and the folder was in use", "goes on from revision"],
        ),
        start: Refuses(&["holds no entry, and the folder was in use", "goes on from revision"]),
    },
    Row {
        name: "log and state missing",
        harm: |dir| {
            fs::remove_dir_all(dir.join("log"))?;
            Ok(fs::remove_dir_all(dir.join("state"))?)
        },
        check: (
            3,
            &["holds no entry, and the folder was in use", "goes on from revision"],
        ),
        start: Refuses(&["holds no entry, and the folder was in use", "goes on from revision"]),
    },
    Row {
        name: "log and state of an earlier version missing",
        harm: |dir| {
            fs::remove_dir_all(dir.join("log"))?;
            fs::remove_dir_all(dir.join("state"))?;
            replace(&dir.join("keyway.json"), "\"initialised\": true", "\"other\": 1")
        },
        check: (
            3,
            &[
                "ends at entry 0, and the newest snapshot has entry",
                "goes on from revision",
            ],
        ),
        start: Refuses(&[
            "ends at entry 0, and the newest snapshot has entry",
            "goes on from revision",
        ]),
    },
    Row {
        name: "log, state and snapshots missing",
        harm: |dir| {
            ["log", "state", "snapshots"]
                .iter()
                .try_for_each(|part| Ok(fs::remove_dir_all(dir.join(part))?))
        },
        check: (
            3,
            &[
                "holds no entry, and the folder was in use",
                "back from a copy, or begin with an empty one",
            ],
        ),
        start: Refuses(&[
            "holds no entry, and the folder was in use",
            "back from a copy, or begin with an empty one",
        ]),
    },
    Row {
        name: "the state is ahead of the log",
        harm: |dir| cut(&last(&dir.join("log"), ".wal")?, |length| length / 2),
        check: (3, &["a part of it is missing", "put the data folder back from a copy"]),
        start: Refuses(&["a part of it is missing", "move `log` and `keyway.json` away"]),
    },
    Row {
        name: "newest snapshot damaged",
        harm: |dir| flip(&last(&dir.join("snapshots"), ".snapshot")?, |length| length / 2),
        check: (1, &["a checksum does not match", "a start passes it over"]),
        start: Shows(&[]),
    },
    Row {
        name: "newest snapshot and state damaged",
        harm: |dir| {
            flip(&last(&dir.join("snapshots"), ".snapshot")?, |length| length / 2)?;
            Ok(fs::remove_dir_all(dir.join("state"))?)
        },
        check: (1, &["a checksum does not match", "rebuilds it from snapshot and log"]),
        start: Shows(&["a snapshot is passed over", "it is rebuilt"]),
    },
    Row {
        name: "both snapshots damaged",
        harm: |dir| each(&dir.join("snapshots"), |file| cut(file, |length| length - 1)),
        check: (1, &["it ends too early", "the next snapshot mends it"]),
        start: Shows(&[]),
    },
    Row {
        name: "both snapshots and state damaged",
        harm: |dir| {
            each(&dir.join("snapshots"), |file| cut(file, |length| length - 1))?;
            Ok(write_file(&dir.join("state/db"), [7; 9_000])?)
        },
        check: (3, &["it cannot be rebuilt", "put the data folder back from a copy"]),
        start: Refuses(&[
            "the state cannot be rebuilt",
            "it ends too early",
            "put the data folder back from a copy",
        ]),
    },
    Row {
        name: "both snapshots of a newer format, no state",
        harm: |dir| {
            each(&dir.join("snapshots"), |file| {
                let mut bytes = fs::read(file)?;
                bytes[8] = 9;
                Ok(write_file(file, bytes)?)
            })?;
            Ok(fs::remove_dir_all(dir.join("state"))?)
        },
        check: (3, &["made by a newer version of keyway (format 9)", "use that version"]),
        start: Refuses(&["made by a newer version of keyway (format 9)", "use that version"]),
    },
    Row {
        name: "a snapshot half written",
        harm: |dir| Ok(write_file(&dir.join("snapshots/9.snapshot.unfinished"), "half")?),
        check: (1, &["a crash left it half written", "the next start removes it"]),
        start: Shows(&[]),
    },
    Row {
        name: "state missing",
        harm: |dir| Ok(fs::remove_dir_all(dir.join("state"))?),
        check: (1, &["it is not there", "rebuilds it from snapshot and log"]),
        start: Shows(&["the state on disk is gone; it is rebuilt"]),
    },
    Row {
        name: "state of garbage",
        harm: |dir| Ok(write_file(&dir.join("state/db"), vec![0xA5; 100_000])?),
        check: (1, &["rebuilds it from snapshot and log"]),
        start: Shows(&["the state on disk cannot be used; it is set aside and rebuilt"]),
    },
    Row {
        name: "state emptied",
        harm: |dir| Ok(write_file(&dir.join("state/db"), [])?),
        check: (1, &["rebuilds it from snapshot and log"]),
        start: Shows(&["the state on disk cannot be used; it is set aside and rebuilt"]),
    },
    Row {
        name: "state with damaged settings",
        harm: |dir| {
            let file = dir.join("state/conf");
            let bytes: Vec<u8> = fs::read(&file)?.iter().map(|byte| byte ^ 0x55).collect();
            Ok(write_file(&file, bytes)?)
        },
        check: (1, &["rebuilds it from snapshot and log"]),
        start: Shows(&["the state on disk cannot be used; it is set aside and rebuilt"]),
    },
    Row {
        name: "a file too many beside the state",
        harm: |dir| Ok(write_file(&dir.join("state/blobs/12345"), "garbage")?),
        check: (0, &["every row's checksum matches"]),
        start: Shows(&[]),
    },
];

#[test]
fn a_damaged_or_foreign_folder_is_refused_or_mended_and_says_which() {
    alone(Duration::from_secs(300), async |home| {
        let good = lived_in(home).await?;
        for (number, row) in ROWS.iter().enumerate() {
            let dir = home.path(&format!("d{number}"));
            copy(&good.dir, &dir)?;
            (row.harm)(&dir).with_context(|| format!("harm: {}", row.name))?;
            judged(home, &dir, row, &good)
                .await
                .with_context(|| format!("folder {number}: {}", row.name))?;
            fs::remove_dir_all(&dir)?;
        }
        Ok(())
    });
}

pub(crate) async fn judged(home: &Home, dir: &Path, row: &Row, good: &Good) -> anyhow::Result<()> {
    let before = contents(dir)?;
    let path = dir.display().to_string();
    let (code, words) = row.check;
    let said = Keyway::new(home)
        .run(&["server", "check", "--data-dir", &path])
        .await?
        .expect(code)?;
    has(&format!("{}{}", said.text(), said.err), words)?;
    let json = Keyway::new(home)
        .run(&["server", "check", "--data-dir", &path, "-o", "json"])
        .await?
        .expect(code)?;
    let json: serde_json::Value = serde_json::from_str(&json.text())?;
    let grade = ["good", "mended", "", "refused"][usize::try_from(code)?];
    anyhow::ensure!(json["grade"] == grade, "{json}");
    anyhow::ensure!(contents(dir)? == before, "the check has changed the folder");

    let options = Options {
        data: Some(dir.to_owned()),
        ..Options::default()
    };
    match row.start {
        Refuses(words) => {
            let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mut program = Server::spawn(home, &name, &options)?;
            let exit = program.exit().await?;
            anyhow::ensure!(exit == Exit::Code(3), "{exit:?}: {}", program.log());
            has(&program.log(), words)
        }
        Shows(words) => {
            let server = Server::with(home, options).await?;
            let shown = server.client().list("", Consistency::Default).await?;
            anyhow::ensure!(shown.value == good.entries, "other entries than before");
            has(&server.program.log(), words)
        }
    }
}

pub(crate) fn has(said: &str, words: &[&str]) -> anyhow::Result<()> {
    for word in words {
        anyhow::ensure!(said.contains(word), "not said: `{word}`\n{said}");
    }
    Ok(())
}

#[test]
fn a_folder_that_a_server_uses_or_that_is_none_is_not_checked() {
    alone(Duration::from_secs(60), async |home| {
        let server = Server::start(home).await?;
        let data = server.data.display().to_string();

        let said = Keyway::new(home)
            .run(&["server", "check", "--data-dir", &data])
            .await?
            .expect(6)?;
        has(&said.err, &["in use by another server", &data])?;
        let said = server
            .keyway(home)
            .run(&["server", "--data-dir", "nowhere", "check"])
            .await?
            .expect(3)?;
        has(&said.err, &["nowhere is not a data folder of keyway"])?;
        Keyway::new(home).run(&["server", "check"]).await?.expect(2)?;
        Keyway::new(home).run(&["server"]).await?.expect(2)?;
        Ok(())
    });
}

/// A folder as a server leaves it, with two snapshots and a log that begins behind the older one.
pub(crate) struct Good {
    pub(crate) dir: PathBuf,
    pub(crate) cluster: String,
    pub(crate) revision: u64,
    pub(crate) entries: Vec<kvapi::Entry>,
}

pub(crate) async fn lived_in(home: &Home) -> anyhow::Result<Good> {
    let often = Options {
        flags: vec!["--snapshot-every".into(), "40".into()],
        ..Options::default()
    };
    let mut server = Server::with(home, often).await?;
    let client = server.client();
    let options = WriteOptions::default();
    let snapshots = server.data.join("snapshots");
    let mut n = 0;
    // Three, so that the log was purged at the first of them.
    for _ in 0..3 {
        let before = names(&snapshots)?;
        holds("another snapshot", async || {
            for _ in 0..20 {
                n += 1;
                if client
                    .put(&format!("app/{}", n % 30), format!("value {n}"), &options)
                    .await
                    .is_err()
                {
                    return false;
                }
            }
            names(&snapshots).is_ok_and(|now| now.last() > before.last())
        })
        .await?;
    }
    client.put("big", vec![0xA5; 300_000], &options).await?;
    client.delete("app/7", &options).await?;
    let all = client.list("", Consistency::Default).await?;
    assert_eq!(server.stop().await?, Exit::Code(0));
    Ok(Good {
        dir: server.data.clone(),
        cluster: server.cluster.clone(),
        revision: all.revision.0,
        entries: all.value,
    })
}
