//! Promise 1, never torn: all files of an agent are of one revision, however fast they change and
//! however slowly the child reads.

use std::time::Duration;

use bytes::Bytes;
use kvapi::client::WriteOptions;
use kvapi::types::TxnOp;
use tokio::time::{MissedTickBehavior, interval};

use crate::harness::{Agent, Home, Server, alone, eventually, long};

const KEYS: usize = 100;
const FILES: usize = 5;

/// How long the child may take to read all files after a signal.
const READING_MS: &str = "50";

/// A transaction over all keys, each set to `number`.
async fn set_all(server: &Server, number: usize) -> anyhow::Result<()> {
    let value = Bytes::from(number.to_string());
    let ops: Vec<TxnOp> = (0..KEYS)
        .map(|n| TxnOp::set(format!("all/{n:03}"), value.clone()))
        .collect();
    let done = server.client().txn(&ops, &WriteOptions::default()).await?;
    anyhow::ensure!(done.is_ok(), "{done:?}");
    Ok(())
}

/// A store, an agent with five templates over a hundred keys, and the child that reads them all.
struct Scene {
    server: Server,
    agent: Agent,
}

/// One reading of all files: HUPs before it, and the numbers seen.
type Reading = (usize, Vec<usize>);

impl Scene {
    async fn set(home: &Home) -> anyhow::Result<Self> {
        let server = Server::start(home).await?;
        set_all(&server, 0).await?;
        let mut arguments = Vec::new();
        let mut files = Vec::new();
        for file in 0..FILES {
            let mut template = String::new();
            for n in (0..KEYS).filter(|n| n % FILES == file) {
                template.push_str(&format!("K{n:03}={{{{key \"all/{n:03}\"}}}}\n"));
            }
            let source = home.write(&format!("part{file}.env.hbs"), template)?;
            let target = home.path(&format!("part{file}.env"));
            arguments.push("-t".to_owned());
            arguments.push(format!("{}:{}", source.display(), target.display()));
            files.push(target.display().to_string());
        }
        let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/children/reader.py");
        let report = home.path("report").display().to_string();
        arguments.extend(
            [
                "--on-change",
                "signal=HUP",
                "--",
                "python3",
                reader,
                &report,
                READING_MS,
            ]
            .map(str::to_owned),
        );
        arguments.extend(files);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let agent = Agent::run(home, &server.address.to_string(), &arguments)?;
        let scene = Self { server, agent };
        // The child knows what HUP means once it has read the first time.
        scene.reading(home, |reading| reading.1 == [0]).await?;
        Ok(scene)
    }

    fn readings(home: &Home) -> Vec<Reading> {
        let report = home.read("report").unwrap_or_default();
        let complete = report.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        complete
            .filter_map(|line| {
                let mut words = line.split_ascii_whitespace().map(|word| word.parse::<usize>().ok());
                Some((words.next()??, words.collect::<Option<Vec<usize>>>()?))
            })
            .collect()
    }

    async fn reading(&self, home: &Home, wanted: impl Fn(&Reading) -> bool) -> anyhow::Result<Reading> {
        eventually("a reading of the child", async || {
            Self::readings(home).into_iter().find(&wanted)
        })
        .await
    }
}

#[test]
fn a_transaction_over_100_keys_is_one_render_and_one_reload() {
    alone(Duration::from_secs(60), async |home| {
        let mut scene = Scene::set(home).await?;

        set_all(&scene.server, 1).await?;
        scene.reading(home, |reading| reading.1 == [1]).await?;
        // A second change, so that a reload too many after the first would have come by now.
        set_all(&scene.server, 2).await?;
        let (hups, _) = scene.reading(home, |reading| reading.1 == [2]).await?;

        assert_eq!(hups, 2, "one reload a transaction");
        scene.agent.stop().await?;
        Ok(())
    });
}

#[test]
fn transactions_20_ms_apart_are_never_seen_mixed_by_a_child_that_reads_slowly() {
    alone(Duration::from_secs(180), async |home| {
        let mut scene = Scene::set(home).await?;
        let last = long(40, 200);

        let mut every = interval(Duration::from_millis(20));
        every.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for number in 1..=last {
            every.tick().await;
            set_all(&scene.server, number).await?;
        }
        scene.reading(home, |reading| reading.1 == [last]).await?;

        let readings = Scene::readings(home);
        let mixed: Vec<&Reading> = readings.iter().filter(|reading| reading.1.len() != 1).collect();
        assert!(
            mixed.is_empty(),
            "of {} readings these saw several revisions: {mixed:?}",
            readings.len()
        );
        let seen: Vec<usize> = readings.iter().flat_map(|reading| reading.1.clone()).collect();
        assert!(seen.is_sorted(), "a reading went back: {seen:?}");
        assert!(
            readings.len() > 2,
            "the transactions were to be seen in several reloads, not in {}",
            readings.len()
        );
        scene.agent.stop().await?;
        Ok(())
    });
}
