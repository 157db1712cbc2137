//! The client libraries and programs that people have, as they come from their registries: what each does in
//! its everyday life, over its own HTTP, against our server.
//!
//! `tests/run` installs them below `target/clients`. What drives a library is a small program of its own language in
//! `tests/clients`, which fails by itself when an answer is not what it should be.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Method};
use kvapi::types::HistoryChange;
use kvapi::{Address, Client, Revision};
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;

use crate::harness::{Home, Program, Server, command, eventually, holds, long, note_left_out, test};

/// What `tests/run` has installed; whoever runs such a test alone runs that first.
pub(crate) fn installed(name: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients").join(name);
    anyhow::ensure!(path.exists(), "{} is missing; tests/run installs it", path.display());
    Ok(path)
}

/// The same of what is written in Go, which not every machine has. `None` is noted.
pub(crate) fn installed_of_go(name: &str) -> anyhow::Result<Option<PathBuf>> {
    let found = installed(name);
    let none = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/no-go");
    if found.is_err() && none.exists() {
        let why = std::fs::read_to_string(none)?;
        note_left_out(&format!(
            "{name}, a client of Consul that is built with Go: {}",
            why.trim()
        ));
        return Ok(None);
    }
    found.map(Some)
}

pub(crate) fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// Runs a client to its end, which must be a good one.
pub(crate) async fn done(home: &Home, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = command(home, program);
    command.args(arguments).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let said = String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(
        output.status.success() && said.ends_with("done\n"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The address as host and port.
pub(crate) fn place(server: &Server) -> anyhow::Result<(String, String)> {
    let address = server.address.to_string();
    let place = address.trim_start_matches("http://").rsplit_once(':');
    let (host, port) = place.with_context(|| format!("no port in {address}"))?;
    Ok((host.to_owned(), port.to_owned()))
}

async fn by_python(home: &Home, python: &Path, script: &str) -> anyhow::Result<()> {
    let server = Server::start(home).await?;
    let (host, port) = place(&server)?;
    let script = source(script);
    done(home, python, &[&script.to_string_lossy(), &host, &port]).await
}

#[test]
fn python_consul_finds_all_that_it_does() {
    test(async |home| by_python(home, &installed("python-consul/bin/python")?, "flows.py").await);
}

#[test]
fn py_consul_finds_all_that_it_does() {
    test(async |home| by_python(home, &installed("py-consul/bin/python")?, "flows.py").await);
}

#[test]
fn patroni_elects_a_leader_and_another_when_that_one_is_gone() {
    // Debian's package, so Debian's own interpreter.
    test(async |home| by_python(home, Path::new("/usr/bin/python3"), "patroni_dcs.py").await);
}

#[test]
fn rs_consul_finds_all_that_it_does() {
    test(async |home| {
        let server = Server::start(home).await?;
        done(home, installed("rust/debug/clients")?, &[&server.address.to_string()]).await
    });
}

#[test]
fn consuls_own_client_finds_all_that_it_does() {
    test(async |home| {
        let Some(program) = installed_of_go("go/clients")? else {
            return Ok(());
        };
        let server = Server::start(home).await?;
        done(home, program, &["flows", &server.address.to_string()]).await
    });
}

#[test]
fn consul_template_renders_what_there_is_and_again_when_it_changes() {
    test(async |home| {
        let Some(program) = installed_of_go("go/consul-template")? else {
            return Ok(());
        };
        let server = Server::start(home).await?;
        home.write(
            "app.ctmpl",
            "port={{ key \"app/port\" }}\nmode={{ keyOrDefault \"app/mode\" \"calm\" }}\n\
             {{ range ls \"app/hosts\" }}host {{ .Key }}={{ .Value }}\n{{ end }}\
             {{ range tree \"app/tree\" }}tree {{ .Key }}={{ .Value }}\n{{ end }}\
             {{ range service \"web\" }}web {{ .Address }}\n{{ end }}\
             {{ range services }}service {{ .Name }}\n{{ end }}",
        )?;
        let renders = |name: &str, flags: &[&str]| {
            let to = home.path(&format!("{name}.conf"));
            let mut command = command(home, &program);
            command
                .args(["-consul-addr", &server.address.to_string(), "-template"])
                .arg(format!("{}:{}", home.path("app.ctmpl").display(), to.display()))
                .args(flags);
            Program::start(home, name, &mut command)
        };
        let rendered = |name: &str| home.read(&format!("{name}.conf")).unwrap_or_default();
        let _one = renders("one", &[])?;
        // Two that share their work: one of them reads, under a lock, and the other has it from there.
        let _two = renders("two", &["-dedup"])?;
        let _three = renders("three", &["-dedup"])?;
        let all = ["one", "two", "three"];
        server.put("app/hosts/a", "10.0.0.1").await?;
        server.put("app/hosts/b/not", "listed").await?;
        server.put("app/tree/x/y", "deep").await?;
        assert_eq!(all.map(rendered), ["", "", ""], "a key that it needs is missing");

        server.put("app/port", "80").await?;

        let text = |port: &str, mode: &str, hosts: &str| {
            format!("port={port}\nmode={mode}\n{hosts}tree x/y=deep\nservice consul\n")
        };
        let first = text("80", "calm", "host a=10.0.0.1\n");
        for name in all {
            holds(&format!("{name} is rendered"), async || rendered(name) == first).await?;
        }
        server.put("app/port", "81").await?;
        server.put("app/mode", "busy").await?;
        server.put("app/hosts/c", "10.0.0.3").await?;
        let second = text("81", "busy", "host a=10.0.0.1\nhost c=10.0.0.3\n");
        for name in all {
            holds(&format!("{name} is rendered again"), async || rendered(name) == second).await?;
        }
        let locks = server
            .client()
            .list("consul-template/dedup/", Default::default())
            .await?
            .value;
        anyhow::ensure!(
            locks.iter().any(|entry| entry.session.is_some()),
            "nobody holds a lock: {locks:?}"
        );
        Ok(())
    });
}

/// The lock that the contenders take, and the number that they count up under it.
const LOCK: &str = "contest/lock";
const COUNT: &str = "contest/count";

/// What a contender wrote: `in SESSION N` when it had the lock and read N, `out SESSION N` when it had written it,
/// `clash` when somebody else had meanwhile.
struct Told {
    what: String,
    session: String,
    number: u64,
}

fn told(output: &str) -> Vec<Told> {
    let lines = output.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let of = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        Some(Told {
            what: words.next()?.to_owned(),
            session: words.next()?.to_owned(),
            number: words.next().and_then(|word| word.parse().ok()).unwrap_or_default(),
        })
    };
    lines.filter_map(of).collect()
}

/// Some that want one lock, by Consul's own client, and some of them killed.
pub(crate) struct Contest<'a> {
    home: &'a Home,
    /// Where they ask, one server each.
    servers: Vec<Address>,
    /// Knows all of them.
    client: Client,
    program: PathBuf,
    running: Vec<Program>,
    /// What those wrote that were killed.
    ended: Vec<Told>,
    started: usize,
    killed: usize,
}

impl<'a> Contest<'a> {
    /// So many. `None` if there is no program for it.
    pub(crate) async fn begin(
        home: &'a Home,
        servers: Vec<Address>,
        contenders: usize,
    ) -> anyhow::Result<Option<Self>> {
        let Some(program) = installed_of_go("go/clients")? else {
            return Ok(None);
        };
        let client = Client::new(servers.clone(), None, Duration::from_secs(20));
        let all = HistoryChange {
            revisions: Some(1_000_000),
            versions: Some(10_000),
            ..HistoryChange::default()
        };
        client.change_history(&all, &Default::default()).await?;
        let mut contest = Self {
            home,
            servers,
            client,
            program,
            running: Vec::new(),
            ended: Vec::new(),
            started: 0,
            killed: 0,
        };
        for _ in 0..contenders {
            contest.start()?;
        }
        Ok(Some(contest))
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let mut command = command(self.home, &self.program);
        let server = self.servers[self.started % self.servers.len()].to_string();
        command.args(["contend", &server, "contest", "1000000"]);
        let name = format!("contender-{}", self.started);
        self.running.push(Program::start(self.home, &name, &mut command)?);
        self.started += 1;
        Ok(())
    }

    async fn count(&self) -> anyhow::Result<u64> {
        let found = self.client.get(COUNT, Default::default()).await?.value;
        Ok(found.map_or(Ok(0), |entry| String::from_utf8_lossy(&entry.value).parse())?)
    }

    /// Which of them holds the lock, and by which session.
    async fn holder(&self) -> anyhow::Result<(usize, String)> {
        eventually("somebody holds the lock and says so", async || {
            let held = self.client.get(LOCK, Default::default()).await.ok()?;
            let session = held.value?.session?;
            let is_its = |program: &Program| {
                told(&program.output())
                    .last()
                    .is_some_and(|last| last.session == session)
            };
            let place = self.running.iter().position(is_its)?;
            Some((place, session))
        })
        .await
    }

    async fn kill(&mut self, place: usize) -> anyhow::Result<()> {
        let mut victim = self.running.remove(place);
        victim.kill().await?;
        self.ended.extend(told(&victim.output()));
        self.killed += 1;
        self.start()
    }

    /// Ends the session of whoever has the lock and does not count: so that the others need not wait until it ends.
    pub(crate) async fn let_go(&self) -> anyhow::Result<()> {
        if tokio::time::timeout(Duration::from_secs(3), self.goes_on(1))
            .await
            .is_err()
            && let Some(entry) = self.client.get(LOCK, Default::default()).await?.value
            && let Some(session) = entry.session
        {
            self.client.destroy_session(&session, &Default::default()).await?;
        }
        Ok(())
    }

    /// Kills one by chance.
    pub(crate) async fn kill_one(&mut self) -> anyhow::Result<()> {
        self.kill(rand::random_range(0..self.running.len())).await
    }

    /// Waits until the number is higher by so many.
    pub(crate) async fn goes_on(&self, by: u64) -> anyhow::Result<()> {
        let from = self.count().await?;
        // Twice the TTL of ten seconds, when a holder was killed.
        for _ in 0..4 {
            let higher = async || self.count().await.is_ok_and(|now| now >= from + by);
            if holds("they count on", higher).await.is_ok() {
                return Ok(());
            }
        }
        anyhow::bail!("nobody has had the lock for long")
    }

    /// Kills all of them and judges what they wrote. What was answered with an error.
    pub(crate) async fn end(mut self) -> anyhow::Result<usize> {
        for program in &mut self.running {
            program.kill().await?;
            self.ended.extend(told(&program.output()));
            self.killed += 1;
        }
        // Nobody was disturbed: what was read under the lock was what was written over.
        let of = |what: &str| {
            let of = self.ended.iter().filter(|told| told.what == what);
            of.map(|told| told.number).collect::<Vec<_>>()
        };
        assert_eq!(of("clash"), [] as [u64; 0]);
        let written = of("out");
        let numbers: BTreeSet<u64> = written.iter().copied().collect();
        assert_eq!(numbers.len(), written.len(), "one number was written twice");
        // Whoever was killed, or was not answered, may have written one without saying so.
        let (count, unanswered) = (self.count().await?, of("unknown").len());
        let unsaid = (1..=count).filter(|number| !numbers.contains(number)).count();
        assert!(
            numbers.last() <= Some(&count) && unsaid <= self.killed + unanswered,
            "{unsaid} of {count} were written by nobody"
        );
        // And in the store's own history nobody has it from another's hands.
        let holders = holders(&self.client).await?;
        let taken = holders
            .windows(2)
            .filter(|pair| pair[0].is_some() && pair[1].is_some() && pair[0] != pair[1]);
        assert_eq!(taken.count(), 0);
        let sessions: BTreeSet<&String> = holders.iter().flatten().collect();
        let failed = of("failed").len();
        println!(
            "the lock had {} holders, {} were killed, {failed} requests failed, {count} times was it counted",
            sessions.len(),
            self.killed,
        );
        anyhow::ensure!(
            sessions.len() >= numbers.len(),
            "{} holders counted {count} times",
            sessions.len()
        );
        Ok(failed)
    }
}

/// Every state that the lock's key was in, oldest first: the session that held it, if any.
async fn holders(client: &Client) -> anyhow::Result<Vec<Option<String>>> {
    let mut found = Vec::new();
    let mut before: Option<Revision> = None;
    loop {
        let page = client.history(LOCK, false, None, before).await?;
        before = page.changes.last().map(|change| change.revision);
        for change in &page.changes {
            let entry = change.changes.first().and_then(|key| key.entry.as_ref());
            found.push(entry.and_then(|entry| entry.session.clone()));
        }
        if !page.more {
            found.reverse();
            return Ok(found);
        }
    }
}

#[test]
fn of_ten_that_contend_by_consuls_own_client_and_are_killed_at_random_no_two_hold_the_lock() {
    test(async |home| {
        let server = Server::start(home).await?;
        let Some(mut contest) = Contest::begin(home, vec![server.address.clone()], 10).await? else {
            return Ok(());
        };
        contest.goes_on(10).await?;
        // One that holds the lock, whose session ends by its own time.
        let (holder, _) = contest.holder().await?;
        contest.kill(holder).await?;
        contest.goes_on(10).await?;
        for _ in 0..long(8, 60) {
            if rand::rng().random_bool(0.5) {
                let (holder, session) = contest.holder().await?;
                contest.kill(holder).await?;
                // As whoever sees that it is gone would, so that the others need not wait.
                let path = format!("/v1/session/destroy/{session}");
                server
                    .client()
                    .send(Method::PUT, &path, Bytes::new(), HeaderMap::new())
                    .await?;
            } else {
                let places: Vec<usize> = (0..contest.running.len()).collect();
                let holder = contest.holder().await?.0;
                let others: Vec<usize> = places.into_iter().filter(|place| *place != holder).collect();
                contest
                    .kill(*others.choose(&mut rand::rng()).context("ten run")?)
                    .await?;
            }
            contest.goes_on(5).await?;
        }
        assert_eq!(contest.end().await?, 0, "requests failed");
        Ok(())
    });
}
