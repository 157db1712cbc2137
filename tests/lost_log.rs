//! A log that was lost: a new cluster goes on from what is left, and nobody takes it for the old one.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use kvapi::Consistency;

use crate::damage::{Refuses, Row, has, judged, lived_in};
use crate::harness::harm::{copy, each, last};
use crate::harness::{Exit, Keyway, Options, Server, alone};

type Harm = dyn Fn(&Path) -> anyhow::Result<()>;

/// The last resort that is named where a part of the log is missing. The revision may go back in it, so
/// whoever followed the cluster must not take the new one for it.
#[test]
fn a_new_cluster_goes_on_from_what_is_left_of_a_folder_whose_log_was_lost() {
    alone(Duration::from_secs(120), async |home| {
        let good = lived_in(home).await?;
        let of_snapshot = |dir: &Path| Ok(fs::remove_dir_all(dir.join("state"))?);
        let of_state = |dir: &Path| each(&dir.join("snapshots"), |file| Ok(fs::remove_file(file)?));
        let left: [(&str, &Harm); 3] = [("state", &of_state), ("both", &|_| Ok(())), ("snapshot", &of_snapshot)];
        for (name, harm) in left {
            let dir = home.path(name);
            copy(&good.dir, &dir)?;
            fs::remove_dir_all(dir.join("log"))?;
            harm(&dir)?;
            let options = || Options {
                data: Some(dir.clone()),
                ..Options::default()
            };
            let mut refused = Server::spawn(home, &format!("{name}-refused"), &options())?;
            assert_eq!(refused.exit().await?, Exit::Code(3), "{name}: {}", refused.log());
            let said = refused.log();
            let (_, revision) = said.split_once("goes on from revision ").context("a revision")?;
            let revision: u64 = revision.split(',').next().unwrap_or_default().parse()?;
            fs::remove_file(dir.join("keyway.json"))?;
            fs::remove_dir_all(dir.join("log"))?;

            let mut server = Server::with(home, options()).await?;
            has(&server.program.log(), &["a new cluster goes on from what is left"])?;
            assert_ne!(server.cluster, good.cluster, "{name}");
            let all = server.client().list("", Consistency::Default).await?;
            assert!(all.revision.0 <= revision, "{name}: {} {revision}", all.revision);
            if name == "snapshot" {
                assert!(all.value.len() > 25 && revision < good.revision, "{name}");
            } else {
                assert_eq!((&all.value, revision), (&good.entries, good.revision), "{name}");
            }
            server.put("goes", "on").await?;
            assert_eq!(server.revision("goes").await?, revision + 1, "{name}");

            // It lasts: over a kill, over the loss of the state, and not without what it began with.
            server.program.kill().await?;
            Keyway::new(home)
                .run(&["server", "check", "--data-dir", &dir.display().to_string()])
                .await?
                .expect(0)?;
            fs::remove_dir_all(dir.join("state"))?;
            let cluster = server.cluster.clone();
            server.restart_with(home, options()).await?;
            assert_eq!(
                (&server.cluster, server.revision("goes").await?),
                (&cluster, revision + 1),
                "{name}"
            );
            server.stop().await?;
            fs::remove_dir_all(dir.join("state"))?;
            fs::remove_file(last(&dir.join("snapshots"), ".snapshot")?)?;
            let row = Row {
                name,
                harm: |_| Ok(()),
                check: (3, &["the cluster began at revision"]),
                start: Refuses(&["the cluster began at revision"]),
            };
            judged(home, &dir, &row, &good).await.context(name)?;
        }
        Ok(())
    });
}
