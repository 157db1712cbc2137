//! A new version rolls through the instances of an app behind a real HAProxy, under steady load: no request fails, and floor
//! and cap hold at every moment that is looked at.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::harness::dev::{Api, Dev};
use crate::harness::{Home, alone, eventually, long};
use crate::load::request;

/// So many clients, and each asks so often.
const CLIENTS: usize = 4;
const EVERY: Duration = Duration::from_millis(20);

/// Asks until it is told to stop; every second client opens a connection for each request.
async fn client(n: usize, to: SocketAddr, stop: Arc<AtomicBool>, done: Arc<AtomicUsize>) -> anyhow::Result<()> {
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept = None;
    while !stop.load(Ordering::Relaxed) {
        every.tick().await;
        if n.is_multiple_of(2) {
            kept = None;
        }
        let number = done.fetch_add(1, Ordering::Relaxed);
        let text = request(to, &mut kept)
            .await
            .with_context(|| format!("request {number} of client {n}"))?;
        anyhow::ensure!(text.contains("hello"), "request {number}: `{text}`");
    }
    Ok(())
}

/// What was seen while a version rolled.
struct Seen {
    /// The fewest that were healthy.
    least: u64,
    /// The most that were there.
    most: usize,
    /// How long each list of all apps and tasks took.
    lists: Vec<Duration>,
}

/// Looks again and again, until it is told to stop.
async fn look(api: Api, folder: String, stop: Arc<AtomicBool>) -> anyhow::Result<Seen> {
    let (mut least, mut most, mut lists) = (u64::MAX, 0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let json = api.get("/v2/apps?embed=apps.tasks").await?;
        lists.push(began.elapsed());
        least = least.min(json["apps"][0]["tasksHealthy"].as_u64().context("a count")?);
        let below = folder.clone();
        let there = tokio::task::spawn_blocking(move || tasks_below(&below)).await?;
        most = most.max(there);
        sleep(EVERY).await;
    }
    lists.sort();
    Ok(Seen { least, most, lists })
}

/// How many tasks of the scheduler with this folder have processes.
fn tasks_below(folder: &str) -> usize {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let tasks = all.filter_map(|entry| {
        let environ = std::fs::read(entry.path().join("environ")).ok()?;
        let mut parts = environ.split(|byte| *byte == 0);
        let folder_of_task = parts.find_map(|part| part.strip_prefix(b"KEYWAY_TASK_DIR="))?;
        folder_of_task
            .starts_with(folder.as_bytes())
            .then(|| folder_of_task.to_vec())
    });
    tasks.collect::<std::collections::BTreeSet<_>>().len()
}

/// Cases 69 and 72: 200 requests a second, and each instance has two seconds before it is asked to stop.
#[test]
fn a_version_rolls_behind_haproxy_and_no_request_fails() {
    alone(Duration::from_secs(600), async |home| roll(home, long(10, 100)).await);
}

async fn roll(home: &Home, instances: u32) -> anyhow::Result<()> {
    let folder = home.path("d").display().to_string();
    let dev = Dev::start(home, "dev", &["--data-dir", &folder]).await?;
    let keyway = async |arguments: &[&str]| dev.keyway(home).run(arguments).await?.expect(0);
    keyway(&["kv", "put", "app/greeting", "hello"]).await?;
    // Nobody else is given ports of this address while the program does not have it yet.
    let to = TcpListener::bind("127.0.0.78:0")?.local_addr()?;
    keyway(&["kv", "put", "haproxy/bind", &to.to_string()]).await?;
    let mut app = crate::deploying::app(home, instances)?;
    app["labels"]["HAPROXY_0_VHOST"] = json!("localhost");
    app["labels"]["KEYWAY_DRAIN"] = json!("2s");
    app["upgradeStrategy"] = json!({ "minimumHealthCapacity": 0.9, "maximumOverCapacity": 0.1 });
    let deployment = dev.api.change("PUT", "/v2/apps/web", &app).await?;
    dev.api.done(&deployment).await?;
    let _haproxy = dev.haproxy(home)?;
    eventually("haproxy leads to the app", async || request(to, &mut None).await.ok()).await?;

    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| tokio::spawn(client(n, to, Arc::clone(&stop), Arc::clone(&done))))
        .collect();
    let looks = tokio::spawn(look(dev.api.clone(), folder, Arc::clone(&stop)));
    app["env"] = json!({ "VERSION": "2" });
    let began = Instant::now();
    let deployment = dev.api.change("PUT", "/v2/apps/web", &app).await?;
    dev.api.done(&deployment).await?;
    let took = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await??;
    }
    let Seen { least, most, lists } = looks.await??;
    println!(
        "{instances} rolled in {took:?}, {} requests; of {} lists of all tasks 99 in a hundred took at most {:?}",
        done.load(Ordering::Relaxed),
        lists.len(),
        lists.get(lists.len() * 99 / 100)
    );

    let floor = u64::from(instances * 9 / 10);
    let cap = usize::try_from(instances + instances / 10)?;
    assert!(least >= floor, "{least} healthy, and {floor} is the floor");
    assert!(most <= cap, "{most} there, and {cap} is the cap");
    let tasks = dev.api.get("/v2/apps/web/tasks").await?;
    let versions = tasks["tasks"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|task: &Value| task["version"].to_string());
    assert_eq!(versions.collect::<std::collections::BTreeSet<_>>().len(), 1);
    Ok(())
}
