//! Schedulers that are killed, stand still or hand over in the middle of what they do, and a store whose leader is: floor
//! and cap hold by the table of processes, and nothing is started twice or forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use kvapi::Consistency;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::dev::{Api, Dev};
use crate::harness::{Cluster, Exit, Home, Server, eventually_within, holds, test};

/// What takes an election, or the end of a lock's time, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The tasks of schedulers below a folder, by the table of processes.
#[derive(Debug, Default)]
struct Tasks {
    /// The port of each, and the pids of those that are its first process: its agent.
    all: BTreeMap<String, (u16, BTreeSet<i32>)>,
}

impl Tasks {
    fn below(folder: &str) -> Self {
        let mut tasks = Self::default();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let environ: BTreeMap<&str, &str> = environ
                .split(|byte| *byte == 0)
                .filter_map(|part| std::str::from_utf8(part).ok()?.split_once('='))
                .collect();
            let (Some(task), Some(of)) = (environ.get("KEYWAY_TASK"), environ.get("KEYWAY_TASK_DIR")) else {
                continue;
            };
            if of.starts_with(folder) {
                let port = environ.get("PORT0").and_then(|port| port.parse().ok()).unwrap_or(0);
                let (_, firsts) = tasks.all.entry((*task).to_owned()).or_insert((port, BTreeSet::new()));
                if is_its_first(pid) {
                    firsts.insert(pid);
                }
            }
        }
        tasks
    }

    /// How many answer.
    fn answering(&self) -> usize {
        let answers = |port: u16| {
            let stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
            crate::harness::ask(stream).ok().filter(|text| text.contains("hello"))
        };
        self.all.values().filter(|(port, _)| answers(*port).is_some()).count()
    }
}

/// Whether it was launched as an agent, and has founded a session: what it is just about to start looks like itself.
fn is_its_first(pid: i32) -> bool {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let session = nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(pid)));
    words.starts_with(b"keyway-launch\0--stay\0") && session.is_ok_and(|session| session.as_raw() == pid)
}

/// Looks again and again, until it is told to stop: the fewest that answered, and the most that were there.
fn look(folder: &str, stop: &AtomicBool) -> (usize, usize) {
    let (mut least, mut most) = (usize::MAX, 0);
    while !stop.load(Ordering::Relaxed) {
        let tasks = Tasks::below(folder);
        most = most.max(tasks.all.len());
        least = least.min(tasks.answering());
    }
    (least, most)
}

/// Somebody who looks meanwhile at the tasks below a folder.
pub(crate) struct Looks {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<(usize, usize)>,
}

impl Looks {
    pub(crate) fn begin(folder: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (folder, told) = (folder.to_owned(), Arc::clone(&stop));
        Self {
            stop,
            task: tokio::task::spawn_blocking(move || look(&folder, &told)),
        }
    }

    /// At least so many answered with the greeting all the time, and at most so many were there.
    pub(crate) async fn hold(mut self, floor: usize, cap: usize) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let (least, most) = (&mut self.task).await?;
        anyhow::ensure!(least >= floor, "{least} answered, and {floor} is the floor");
        anyhow::ensure!(most <= cap, "{most} were there, and {cap} is the cap");
        Ok(())
    }
}

/// A test that has failed does not wait for it.
impl Drop for Looks {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

pub(crate) const INSTANCES: u32 = 8;
pub(crate) const FLOOR: usize = 6;
pub(crate) const CAP: usize = 10;

/// Of eight at least six are healthy and at most ten there.
pub(crate) fn app(home: &Home) -> anyhow::Result<Value> {
    let mut app = crate::deploying::app(home, INSTANCES)?;
    app["upgradeStrategy"] = json!({ "minimumHealthCapacity": 0.75, "maximumOverCapacity": 0.25 });
    Ok(app)
}

fn tasks_folder(home: &Home) -> PathBuf {
    home.path("tasks")
}

/// The API and the table of processes name the same tasks, each with one first process.
pub(crate) async fn are_the_same(api: &Api, folder: &str, count: u32) -> anyhow::Result<()> {
    let mut last = String::new();
    let same = eventually_within(PATIENCE, "API and processes are the same", async || {
        let json = api.get("/v2/apps/web").await.ok()?;
        let told = json["app"]["tasks"].as_array()?.iter();
        let told: BTreeSet<String> = told.filter_map(|task| Some(task["id"].as_str()?.to_owned())).collect();
        let there = Tasks::below(folder);
        last = format!("{told:?} {there:?}");
        let is_once = there.all.values().all(|(_, firsts)| firsts.len() == 1);
        let same = told.iter().eq(there.all.keys()) && is_once;
        (same && told.len() == count as usize).then_some(())
    });
    same.await.map_err(|error| error.context(last))
}

/// Waits until some new ones run and some old ones are left.
async fn is_in_the_middle(folder: &str, before: &Tasks) -> anyhow::Result<()> {
    holds("the roll is in its middle", async || {
        let now = Tasks::below(folder);
        let new = now.all.keys().filter(|task| !before.all.contains_key(*task)).count();
        let old = before.all.keys().filter(|task| now.all.contains_key(*task)).count();
        new >= 2 && old >= 2
    })
    .await
}

pub(crate) async fn put_greeting(dev: &Dev, home: &Home) -> anyhow::Result<()> {
    let put = dev.keyway(home).run(&["kv", "put", "app/greeting", "hello"]).await?;
    put.expect(0).map(drop)
}

/// Waits until a deployment is done, whoever leads meanwhile.
async fn done(api: &Api, deployment: &str) -> anyhow::Result<()> {
    let end = eventually_within(PATIENCE, "the deployment ends", async || {
        let json = api.get(&format!("/v1/deployments/{deployment}")).await.ok()?;
        (json["state"] != "running").then_some(json)
    });
    let end = end.await?;
    anyhow::ensure!(end["state"] == "done", "{end}");
    Ok(())
}

/// Takes the app away, so that nothing is left behind.
pub(crate) async fn clear(api: &Api, folder: &str) -> anyhow::Result<()> {
    let gone = api.change("DELETE", "/v2/apps/web", &Value::Null).await?;
    done(api, &gone).await?;
    holds("nothing is left", async || Tasks::below(folder).all.is_empty()).await
}

#[test]
fn a_scheduler_killed_in_the_middle_of_a_roll_leaves_floor_and_cap_to_the_next() {
    test(async |home| {
        let server = Server::start(home).await?;
        let store = server.address.to_string();
        let folder = tasks_folder(home).display().to_string();
        let mut one = Dev::alone(home, "one", &store, "tasks").await?;
        let two = Dev::alone(home, "two", &store, "tasks").await?;
        put_greeting(&one, home).await?;
        let mut app = app(home)?;
        let deployment = one.api.change("PUT", "/v2/apps/web", &app).await?;
        one.api.done(&deployment).await?;
        let before = Tasks::below(&folder);

        let looks = Looks::begin(&folder);
        app["env"] = json!({ "VERSION": "2" });
        let deployment = one.api.change("PUT", "/v2/apps/web", &app).await?;
        is_in_the_middle(&folder, &before).await?;
        one.program.kill().await?;

        done(&two.api, &deployment).await?;
        looks.hold(FLOOR, CAP).await?;
        are_the_same(&two.api, &folder, INSTANCES).await?;
        clear(&two.api, &folder).await
    });
}

/// Whoever follows it is told of its end by the one that goes on.
#[test]
fn a_deployment_is_followed_beyond_the_scheduler_that_was_asked() {
    test(async |home| {
        let server = Server::start(home).await?;
        let store = server.address.to_string();
        let folder = tasks_folder(home).display().to_string();
        let mut one = Dev::alone(home, "one", &store, "tasks").await?;
        let two = Dev::alone(home, "two", &store, "tasks").await?;
        // It is not healthy before there is a setting.
        home.write("web.json", app(home)?.to_string())?;
        let both = format!("{},{}", one.api.address, two.api.address);
        let keyway = one.keyway(home).env("KEYWAY_SCHEDULER_ADDR", &both);
        let mut apply = keyway.start(home, "apply", &["deploy", "apply", "-f", "web.json"])?;
        holds("it is followed", async || apply.log().contains(" begins, version ")).await?;

        one.program.kill().await?;
        put_greeting(&two, home).await?;

        assert_eq!(apply.exit().await?, Exit::Code(0), "{}", apply.log());
        let said = apply.log();
        assert!(
            said.contains("done after ") && said.matches(" begins, version ").count() == 1,
            "{said}"
        );
        are_the_same(&two.api, &folder, INSTANCES).await?;
        clear(&two.api, &folder).await
    });
}

#[test]
fn a_leader_of_the_store_killed_in_the_middle_of_a_roll_leaves_it_to_end_as_it_should() {
    test(async |home| {
        let mut cluster = Cluster::start(home, 3).await?;
        let store = cluster.addresses().iter().map(ToString::to_string).collect::<Vec<_>>();
        let folder = tasks_folder(home).display().to_string();
        let dev = Dev::alone(home, "scheduler", &store.join(","), "tasks").await?;
        put_greeting(&dev, home).await?;
        let mut app = app(home)?;
        let deployment = dev.api.change("PUT", "/v2/apps/web", &app).await?;
        dev.api.done(&deployment).await?;
        let before = Tasks::below(&folder);

        let looks = Looks::begin(&folder);
        app["env"] = json!({ "VERSION": "2" });
        let deployment = dev.api.change("PUT", "/v2/apps/web", &app).await?;
        is_in_the_middle(&folder, &before).await?;
        let leader = cluster.leader().await?;
        cluster.kill(leader).await?;

        done(&dev.api, &deployment).await?;
        looks.hold(FLOOR, CAP).await?;
        are_the_same(&dev.api, &folder, INSTANCES).await?;
        clear(&dev.api, &folder).await
    });
}

/// Much waits to be started in the moment in which another one leads.
#[test]
fn a_scheduler_that_hands_over_in_the_middle_of_a_deploy_starts_nothing_any_more() {
    const MANY: u32 = 150;
    test(async |home| {
        let server = Server::start(home).await?;
        let store = server.address.to_string();
        let folder = tasks_folder(home).display().to_string();
        let dev = Dev::alone(home, "scheduler", &store, "tasks").await?;
        let app = json!({ "id": "/web", "cmd": "exec sleep 1000", "instances": MANY, "cpus": 0.1, "mem": 16 });
        let deployment = dev.api.change("PUT", "/v2/apps/web", &app).await?;
        for _ in 0..2 {
            // At once: most of them have not been started.
            dev.api.ask("DELETE", "/v2/leader", &Value::Null).await?;
            holds("it leads again", async || dev.api.get("/v2/apps").await.is_ok()).await?;
        }

        done(&dev.api, &deployment).await?;
        are_the_same(&dev.api, &folder, MANY).await?;
        clear(&dev.api, &folder).await
    });
}

/// It stands still until its lock is over, another one goes on, and it comes to itself and does not know.
#[test]
fn a_scheduler_that_stood_still_beyond_its_time_starts_nothing_when_it_goes_on() {
    const MANY: u32 = 60;
    test(async |home| {
        let server = Server::start(home).await?;
        let store = server.address.to_string();
        let folder = tasks_folder(home).display().to_string();
        let one = Dev::alone(home, "one", &store, "tasks").await?;
        let two = Dev::alone(home, "two", &store, "tasks").await?;
        let app = json!({ "id": "/web", "cmd": "exec sleep 1000", "instances": MANY, "cpus": 0.1, "mem": 16 });
        let deployment = one.api.change("PUT", "/v2/apps/web", &app).await?;
        holds("some of them run", async || Tasks::below(&folder).all.len() >= 5).await?;

        one.program.signal(Signal::SIGSTOP)?;
        done(&two.api, &deployment).await?;
        one.program.signal(Signal::SIGCONT)?;

        done(&one.api, &deployment).await?;
        are_the_same(&two.api, &folder, MANY).await?;
        clear(&two.api, &folder).await
    });
}

/// Processes are found again in their folder: with another one they would be started a second time.
#[test]
fn a_scheduler_with_another_folder_does_not_start_again_what_runs() {
    test(async |home| {
        let server = Server::start(home).await?;
        let store = server.address.to_string();
        let folder = tasks_folder(home).display().to_string();
        let mut one = Dev::alone(home, "one", &store, "tasks").await?;
        let app = json!({ "id": "/web", "cmd": "exec sleep 1000", "instances": 2, "cpus": 0.1, "mem": 16 });
        let deployment = one.api.change("PUT", "/v2/apps/web", &app).await?;
        one.api.done(&deployment).await?;
        one.program.kill().await?;

        let mut other = Dev::alone(home, "other", &store, "elsewhere").await?;
        holds("it says why it does not lead", async || {
            other.program.log().contains(&format!("--state-dir {folder}"))
        })
        .await?;
        anyhow::ensure!(
            Tasks::below(&home.path("elsewhere").display().to_string())
                .all
                .is_empty()
        );
        other.program.kill().await?;

        let again = Dev::alone(home, "again", &store, "tasks").await?;
        holds("it leads", async || again.api.get("/v2/apps").await.is_ok()).await?;
        are_the_same(&again.api, &folder, 2).await?;
        clear(&again.api, &folder).await?;
        drop(again);
        let free = Dev::alone(home, "free", &store, "elsewhere").await?;
        holds("nothing runs, so it leads", async || {
            free.api.get("/v2/apps").await.is_ok()
        })
        .await
    });
}

/// What one scheduler cannot read a newer one may have written: nothing of it is taken for unwanted.
#[test]
fn a_definition_that_cannot_be_read_stops_nothing_and_is_named() {
    test(async |home| {
        let server = Server::start(home).await?;
        let store = server.address.to_string();
        let folder = tasks_folder(home).display().to_string();
        let mut one = Dev::alone(home, "one", &store, "tasks").await?;
        let app = json!({ "id": "/web", "cmd": "exec sleep 1000", "instances": 3, "cpus": 0.1, "mem": 16 });
        let deployment = one.api.change("PUT", "/v2/apps/web", &app).await?;
        done(&one.api, &deployment).await?;
        let before = Tasks::below(&folder);
        one.program.kill().await?;
        let key = "_keyway/apps/web";
        let known = server.client().get(key, Consistency::Default).await?.value;
        let known = String::from_utf8(known.context("the definition")?.value.to_vec())?;
        server.put(key, r#"{"id": 7}"#).await?;

        let two = Dev::alone(home, "two", &store, "tasks").await?;

        holds("it says what it cannot read", async || {
            two.program.log().contains("the key _keyway/apps/web holds")
        })
        .await?;
        let now = Tasks::below(&folder);
        assert!(before.all.keys().eq(now.all.keys()), "{before:?} {now:?}");
        server.put(key, known).await?;
        are_the_same(&two.api, &folder, 3).await?;
        let now = Tasks::below(&folder);
        assert!(before.all.keys().eq(now.all.keys()), "{before:?} {now:?}");
        clear(&two.api, &folder).await
    });
}

/// Whatever name a folder goes by, it is the same one.
#[test]
fn a_scheduler_finds_its_folder_by_every_name_that_it_has() {
    test(async |home| {
        let server = Server::start(home).await?;
        let store = server.address.to_string();
        std::fs::create_dir(home.path("real"))?;
        std::os::unix::fs::symlink(home.path("real"), home.path("link"))?;
        let folder = home.path("real").canonicalize()?.display().to_string();
        let mut one = Dev::alone(home, "one", &store, "link/../link/tasks").await?;
        let app = json!({ "id": "/web", "cmd": "exec sleep 1000", "instances": 2, "cpus": 0.1, "mem": 16 });
        let deployment = one.api.change("PUT", "/v2/apps/web", &app).await?;
        done(&one.api, &deployment).await?;
        let before = Tasks::below(&folder);
        assert_eq!(before.all.len(), 2);
        one.program.kill().await?;

        let two = Dev::alone(home, "two", &store, "link/tasks").await?;

        are_the_same(&two.api, &folder, 2).await?;
        let now = Tasks::below(&folder);
        assert!(before.all.keys().eq(now.all.keys()), "{before:?} {now:?}");
        clear(&two.api, &folder).await
    });
}
