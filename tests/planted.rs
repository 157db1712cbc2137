//! Bugs that other stores had, planted one by one: the checks of the other tests find each, and find nothing without.

use std::time::Duration;

use anyhow::Context as _;
use kvapi::client::WriteOptions;
use kvapi::types::{WatchEvent, WatchRequest};
use kvapi::watch::News;
use kvapi::{Client, Revision};
use nix::sys::signal::Signal;

use crate::harness::{Cluster, Disk, Home, Options, Record, Server, Settings, Trial, alone, holds, past};
use crate::oracle::stream::Recording;

fn planted(bug: Option<&str>) -> Options {
    Options {
        environment: bug.map(|bug| ("KEYWAY_PLANTED", bug.to_owned())).into_iter().collect(),
        ..Options::default()
    }
}

/// What is wrong after a power cut; `None` where there are no loop devices.
async fn after_a_power_cut(home: &Home, name: &str, bug: Option<&str>) -> anyhow::Result<Option<anyhow::Result<()>>> {
    let disk = Disk::new(home, name, 192)?;
    if !disk.can_be_cut() {
        return Ok(None);
    }
    let options = |disk: &Disk, bug| Options {
        data: Some(disk.dir.join("data")),
        ..planted(bug)
    };
    // Its first entries are durable: a server whose log has nothing at all refuses to start.
    let mut server = Server::with(home, options(&disk, None)).await?;
    server.put("first", "1").await?;
    server.stop().await?;
    let mut server = Server::with(home, options(&disk, bug)).await?;
    let running = Record::new(4, 20).run(&server);
    holds("writes", async || running.acknowledged() >= 100).await?;

    server.program.signal(Signal::SIGSTOP)?;
    let cut = disk.after_power_cut(home, &format!("{name}-cut"))?;
    server.program.kill().await?;
    let mut record = running.end().await?;

    let server = Server::with(home, options(&cut, None)).await?;
    Ok(Some(record.check(&server).await))
}

#[test]
fn an_acknowledgement_before_the_disk_has_it_is_found_by_a_power_cut() {
    alone(Duration::from_secs(120), async |home| {
        let Some(sound) = after_a_power_cut(home, "sound", None).await? else {
            return Ok(());
        };
        sound?;
        let broken = after_a_power_cut(home, "broken", Some("ack-before-fsync")).await?;
        let found = broken.context("it can be cut")?.err().context("nothing was found")?;
        assert!(format!("{found:#}").contains("is shown, but"), "{found:#}");
        Ok(())
    });
}

/// So many values, of so many bytes, are more than the ring holds, and less than the history.
const VALUES: usize = 70;
const BYTES: usize = 500_000;

/// What is wrong with what a watcher hears that reads nothing while the ring wraps.
async fn heard_late(home: &Home, name: &str, bug: Option<&str>) -> anyhow::Result<Vec<String>> {
    let options = Options {
        data: Some(home.path(name)),
        ..planted(bug)
    };
    let mut server = Server::with(home, options).await?;
    let request = WatchRequest {
        prefixes: vec!["a/".into()],
        ..WatchRequest::default()
    };
    let client = Client::new(vec![server.address.clone()], None, Duration::from_secs(10));
    let mut watch = client.watch(request.clone());
    let mut recording = Recording {
        name: name.to_owned(),
        request,
        news: vec![watch.next().await, watch.next().await],
    };
    for number in 0..VALUES {
        server.put(&format!("a/{number}"), vec![b'x'; BYTES]).await?;
    }
    // It is over once a change is heard that was made after the ring had wrapped. What was dropped may be the newest
    // too, so there is always one more.
    let wrapped = client.store("a/last", "0", &WriteOptions::default()).await?;
    let wrapped = wrapped.revision.context("a write says its revision")?.0;
    let mut more = 0;
    let all = async {
        while recording.newest() < wrapped {
            match tokio::time::timeout(Duration::from_millis(500), watch.next()).await {
                Ok(news @ News::Event(WatchEvent::Change(_) | WatchEvent::Progress(_))) => recording.news.push(news),
                Ok(other) => anyhow::bail!("{other:?}"),
                Err(_) => {
                    more += 1;
                    server.put("a/last", more.to_string()).await?;
                }
            }
        }
        Ok(())
    };
    let heard = tokio::time::timeout(Duration::from_secs(30), all).await;
    heard.context("it hears what is new")??;
    // What the past is, is told by a sound one.
    server.stop().await?;
    server.restart(home).await?;
    let last = recording.newest();
    Ok(recording.check(&past(&server.address, "a/", Revision::EMPTY, last).await?))
}

#[test]
fn an_event_that_is_dropped_when_the_ring_wraps_is_found_by_a_slow_watcher() {
    alone(Duration::from_secs(120), async |home| {
        assert_eq!(heard_late(home, "sound", None).await?, [] as [&str; 0]);
        let found = heard_late(home, "broken", Some("ring-drops-events")).await?;
        assert!(
            !found.is_empty() && found.iter().all(|what| what.contains("was not told")),
            "{found:?}"
        );
        Ok(())
    });
}

#[test]
fn a_read_that_asks_nobody_whether_it_is_the_newest_is_found_by_clients_of_several_servers() {
    alone(Duration::from_secs(120), async |home| {
        let settings = Settings {
            environment: planted(Some("read-without-index")).environment,
            ..Settings::default()
        };
        let cluster = Cluster::with(home, 3, settings).await?;
        let trial = Trial::begin(&cluster.addresses(), "trial").await?;
        trial.goes_on(300).await?;
        let found = trial.end().await.err().context("nothing was found")?;
        assert!(format!("{found:#}").contains("is not linearizable"), "{found:#}");
        Ok(())
    });
}
