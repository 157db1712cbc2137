//! A Docker Engine of a test's own: its folders, its socket, no network beside the machine's and none.
//!
//! It runs in namespaces of its own for mounts and processes, so whatever ends the test ends it, its containers and
//! their mounts. Images are built from files of this machine; nothing is asked of a registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use nix::sys::signal::Signal;

use super::disk::note_left_out;
use super::program::command;
use super::{Home, Process, Program, Said, descendants, eventually, holds};

/// See the module.
pub(crate) struct Docker {
    daemon: Program,
    socket: PathBuf,
    config: PathBuf,
    /// The control groups of its containers are below this.
    group: String,
    _network: Option<Network>,
}

/// Where this file is, an engine is not started again when it ends.
const STOPPED: &str = "docker/stopped";

/// A network of this machine's own, for the containers of one engine.
struct Network(String);

impl Network {
    /// Of addresses that are nobody's: they are set aside for trials of networks.
    fn make() -> anyhow::Result<Self> {
        let number = std::process::id() % 0x100;
        let network = Self(format!("kwt{number}"));
        let address = format!("198.18.{number}.1/24");
        network.ip(&["link", "add", &network.0, "type", "bridge"])?;
        network.ip(&["addr", "add", &address, "dev", &network.0])?;
        network.ip(&["link", "set", &network.0, "up"])?;
        Ok(network)
    }

    fn ip(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("ip");
        command.args(arguments).env("PATH", format!("{path}:/usr/sbin:/sbin"));
        let output = command.output().context("ip cannot be started")?;
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        anyhow::ensure!(output.status.success(), "ip {}: {why}", arguments.join(" "));
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.ip(&["link", "del", &self.0]);
    }
}

/// What is done when the engine itself ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Containers {
    /// They go on.
    Live,
    /// They end with it.
    End,
}

impl Docker {
    /// Starts one; `None` where the machine does not let anybody, which is noted.
    pub(crate) async fn start(home: &Home) -> anyhow::Result<Option<Self>> {
        Self::with(home, None).await
    }

    /// One that has a network for containers, and is started again whenever it ends, as systemd does it.
    pub(crate) async fn with_network(home: &Home, containers: Containers) -> anyhow::Result<Option<Self>> {
        Self::with(home, Some(containers)).await
    }

    async fn with(home: &Home, networked: Option<Containers>) -> anyhow::Result<Option<Self>> {
        if let Some(why) = forbidden(home) {
            note_left_out(&format!("containers: {why}"));
            return Ok(None);
        }
        let (socket, group) = (home.path("docker.sock"), format!("keyway-test-{}", std::process::id()));
        let live = networked == Some(Containers::Live);
        let settings = serde_json::json!({ "live-restore": live }).to_string();
        let config = home.write("docker/config/daemon.json", &settings)?;
        let network = networked.map(|_| Network::make()).transpose()?;
        let bridge = network.as_ref().map_or("none", |network| network.0.as_str());
        let stopped = home.path(STOPPED);
        // The first process of the namespace is not the engine: its end would be everybody's.
        let again = "stopped=$1; shift; until [ -e \"$stopped\" ]; do dockerd \"$@\"; done";
        let mut command = with_path(command(home, "unshare"));
        command
            .args(["--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc"])
            .args(["--kill-child", "sh", "-c", again, "sh"])
            .arg(&stopped)
            .arg(format!("--bridge={bridge}"))
            .args(["--iptables=false", "--ip6tables=false", "--ip-masq=false"])
            .args(["--cgroup-parent", &format!("/{group}"), "--data-root"])
            .arg(home.path("docker/data"))
            .arg("--exec-root")
            .arg(home.path("docker/run"))
            .arg("--pidfile")
            .arg(home.path("docker/pid"))
            .arg("--config-file")
            .arg(&config)
            .arg("--host")
            .arg(format!("unix://{}", socket.display()));
        let mut docker = Self {
            daemon: Program::start(home, "dockerd", &mut command)?,
            socket,
            config: home.path("docker/config"),
            group,
            _network: network,
        };
        let up = eventually("the Docker Engine answers", async || match docker.daemon.ended() {
            Some(exit) => Some(Err(exit)),
            None => docker.run(home, &["version"]).await.ok().map(|_| Ok(())),
        });
        match up.await? {
            Ok(()) => Ok(Some(docker)),
            Err(exit) => anyhow::bail!("dockerd ended with {exit:?}"),
        }
    }

    /// `docker ARGUMENTS`, to its end, whatever that is.
    pub(crate) async fn ask(&self, home: &Home, arguments: &[&str]) -> anyhow::Result<Said> {
        let mut command = with_path(command(home, "docker"));
        self.environment(command.args(arguments));
        let output = tokio::task::spawn_blocking(move || command.output()).await?;
        let output = output.context("docker cannot be started; tests/run installs it")?;
        Ok(Said {
            exit: output.status.into(),
            out: output.stdout,
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Has a command that starts `docker` reach this engine.
    pub(crate) fn environment(&self, command: &mut Command) {
        command
            .env("DOCKER_HOST", format!("unix://{}", self.socket.display()))
            .env("DOCKER_CONFIG", &self.config)
            .env("DOCKER_BUILDKIT", "0")
            .env_remove("DOCKER_CONTEXT");
    }

    /// `docker ARGUMENTS`, which must succeed; what it printed.
    pub(crate) async fn run(&self, home: &Home, arguments: &[&str]) -> anyhow::Result<String> {
        let said = self.ask(home, arguments).await?.expect(0);
        let said = said.with_context(|| format!("docker {}", arguments.join(" ")))?;
        Ok(said.text().trim_end().to_owned())
    }

    /// What a container said so far, on both its outputs.
    pub(crate) async fn logs(&self, home: &Home, container: &str) -> anyhow::Result<String> {
        let said = self.ask(home, &["logs", container]).await?.expect(0)?;
        Ok(format!("{}{}", said.text(), said.err))
    }

    /// Waits until a container has said something; all it said.
    pub(crate) async fn says(&self, home: &Home, container: &str, words: &str) -> anyhow::Result<String> {
        eventually(&format!("{container} says `{words}`"), async || {
            self.logs(home, container)
                .await
                .ok()
                .filter(|logs| logs.contains(words))
        })
        .await
    }

    /// The first process of a container, as the machine sees it.
    pub(crate) async fn first(&self, home: &Home, container: &str) -> anyhow::Result<Process> {
        let pid = self.run(home, &["inspect", "-f", "{{.State.Pid}}", container]).await?;
        // The engine tells its number among its own processes; the kernel tells all numbers that one has.
        let is = |process: &Process| {
            let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            numbers.is_some_and(|numbers| numbers.split_whitespace().nth(1) == Some(pid.as_str()))
        };
        let found = descendants(self.daemon.pid()).into_iter().find(is);
        found.with_context(|| format!("{container} does not run"))
    }

    /// The engine's own process. Nobody passes signals on to it.
    fn engine(&self) -> anyhow::Result<Process> {
        let is = |process: &Process| {
            let name = fs::read_to_string(format!("/proc/{}/comm", process.pid)).unwrap_or_default();
            name.trim() == "dockerd"
        };
        let found = descendants(self.daemon.pid()).into_iter().find(is);
        found.context("dockerd does not run")
    }

    /// KILL to the engine, and only to it; returns when it has been started again and answers.
    pub(crate) async fn kill(&self, home: &Home) -> anyhow::Result<()> {
        let killed = self.engine()?;
        killed.signal(Signal::SIGKILL)?;
        holds("the engine is started again", async || {
            self.engine().is_ok_and(|engine| engine.pid != killed.pid) && self.run(home, &["version"]).await.is_ok()
        })
        .await
    }

    /// TERM to the first process and KILL ten seconds later, as `docker stop` does it; the exit code.
    pub(crate) async fn stop(&self, home: &Home, container: &str) -> anyhow::Result<i32> {
        self.run(home, &["stop", container]).await?;
        let code = self
            .run(home, &["inspect", "-f", "{{.State.ExitCode}}", container])
            .await?;
        Ok(code.parse()?)
    }

    /// Removes all containers and ends the engine; nothing of it is left.
    pub(crate) async fn end(mut self, home: &Home) -> anyhow::Result<()> {
        let all = self.run(home, &["ps", "-aq"]).await?;
        for container in all.lines() {
            self.run(home, &["rm", "-f", container]).await?;
        }
        home.write(STOPPED, "")?;
        self.engine()?.signal(Signal::SIGTERM)?;
        self.daemon.exit().await?;
        let groups = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(groups)?.flatten().map(|entry| entry.path());
        for folder in hierarchies.chain([groups.to_owned()]) {
            let group = folder.join(&self.group);
            holds("the control groups are empty", async || {
                // Of containers whose engine was killed theirs are left.
                let left = fs::read_dir(&group).into_iter().flatten().flatten();
                left.for_each(|entry| drop(fs::remove_dir(entry.path())));
                !group.exists() || fs::remove_dir(&group).is_ok()
            })
            .await?;
        }
        Ok(())
    }
}

/// Why nobody can start a Docker Engine here.
fn forbidden(home: &Home) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("only root can start a Docker Engine".into());
    }
    let mut namespaces = with_path(command(home, "unshare"));
    namespaces.args([
        "--mount",
        "--propagation",
        "private",
        "--pid",
        "--fork",
        "--mount-proc",
        "true",
    ]);
    match namespaces.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Some(format!("this machine has no namespaces to give: {why}"));
        }
        Err(error) => return Some(format!("unshare: {error}")),
    }
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let groups = mounts
        .lines()
        .any(|line| line.contains(" /sys/fs/cgroup") && line.contains(" cgroup"));
    (!groups).then(|| "no control groups are mounted".into())
}

/// Debian keeps the programs of daemons where only root's path leads.
fn with_path(mut command: Command) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}
