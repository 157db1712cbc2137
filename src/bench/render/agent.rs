//! Agents that are measured, each with its folder and its program.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use kvapi::problem::exit;
use kvapi::{Address, Problem};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::shape::Shape;
use crate::spawned::{keyway, terminate};
use crate::told::{READY, TOLD, listen};
use crate::usage;

/// How long all programs together may take to say that they were told.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long nothing is heard before it is looked whether all agents run.
const GLANCE: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct Agents {
    pub(super) shape: Shape,
    /// From the start of the last agent to its program's first word; of a single agent, its start.
    pub(super) started: Duration,
    agents: Vec<Agent>,
    words: mpsc::UnboundedReceiver<(u8, Instant)>,
    _folder: TempDir,
}

struct Agent {
    process: Child,
    dir: PathBuf,
}

/// Memory of one agent; of several the mean.
pub(super) struct Memory {
    pub(super) rss_mib: f64,
    pub(super) pss_mib: f64,
}

/// Who a file is: a new one has another inode or time.
pub(super) type Stamp = Option<(u64, i64, i64)>;

impl Agents {
    /// Starts them one after another, each once the one before has started its program.
    pub(super) async fn start(
        address: &Address,
        dir: &Path,
        shape: Shape,
        count: usize,
        program: Option<&Path>,
    ) -> Result<Self, Problem> {
        let folder = tempfile::Builder::new()
            .prefix("keyway-bench-")
            .tempdir_in(dir)
            .map_err(|e| Problem::new(exit::USAGE, format!("make a folder in {}: {e}", dir.display())))?;
        let place = folder.path().join("told");
        let mut all = Self {
            shape,
            started: Duration::ZERO,
            agents: Vec::with_capacity(count),
            words: listen(&place)?,
            _folder: folder,
        };
        let command = program_that_tells(&place)?;
        for number in 0..count {
            let dir = place.with_file_name(format!("agent-{number}"));
            std::fs::create_dir(&dir)
                .map_err(|e| Problem::new(exit::UNAVAILABLE, format!("make {}: {e}", dir.display())))?;
            let config = dir.join("agent.toml");
            crate::scratch::write(&config, &shape.configuration(&dir, &command))?;
            let start = Instant::now();
            let process = agent(program)?
                .env("KEYWAY_LOG", "warn")
                .args(["--addr", &address.to_string(), "run", "-c"])
                .arg(&config)
                .stdout(Stdio::null())
                .spawn()
                .map_err(|e| Problem::new(exit::UNAVAILABLE, format!("start the agent: {e}")))?;
            all.agents.push(Agent { process, dir });
            all.started = all.hear(READY).await?.saturating_duration_since(start);
        }
        Ok(all)
    }

    /// When the last program said that it was told.
    pub(super) async fn told(&mut self) -> Result<Instant, Problem> {
        let mut last = Instant::now();
        for _ in 0..self.agents.len() {
            last = self.hear(TOLD).await?;
        }
        Ok(last)
    }

    async fn hear(&mut self, wanted: u8) -> Result<Instant, Problem> {
        let limit = Instant::now() + PATIENCE;
        loop {
            match timeout(GLANCE, self.words.recv()).await.ok().flatten() {
                Some((word, at)) if word == wanted => return Ok(at),
                Some(_) => {
                    let what = "a program was told more often than there were changes";
                    return Err(Problem::new(exit::BUG, what));
                }
                None if Instant::now() >= limit => {
                    let what = format!("a program was not told within {PATIENCE:?}");
                    return Err(Problem::new(exit::TIMEOUT, what));
                }
                None => self.all_run()?,
            }
        }
    }

    /// Who has ended tells no program of anything.
    fn all_run(&mut self) -> Result<(), Problem> {
        for agent in &mut self.agents {
            if let Ok(Some(status)) = agent.process.try_wait() {
                let what = format!("an agent has ended: {status}; its own message is above");
                return Err(Problem::new(exit::AGENT, what));
            }
        }
        Ok(())
    }

    /// Each agent's first file has to be of this round before its program is told.
    pub(super) fn expect_round(&self, round: usize) -> Result<(), Problem> {
        for agent in &self.agents {
            let text = std::fs::read(agent.file(0)).unwrap_or_default();
            if !text.starts_with(format!("{round}-").as_bytes()) {
                let what = format!("{} is not of change {round}", agent.file(0).display());
                return Err(Problem::new(exit::BUG, what));
            }
        }
        Ok(())
    }

    /// All files of the first agent.
    pub(super) fn stamps(&self) -> Vec<Stamp> {
        use std::os::unix::fs::MetadataExt as _;
        let Some(agent) = self.agents.first() else {
            return Vec::new();
        };
        let stamp = |path: PathBuf| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.ino(), meta.mtime(), meta.mtime_nsec()))
        };
        (0..self.shape.templates)
            .map(|number| stamp(agent.file(number)))
            .collect()
    }

    /// CPU time of all agents so far.
    pub(super) fn cpu(&self) -> Duration {
        self.pids().map(usage::cpu).sum()
    }

    fn pids(&self) -> impl Iterator<Item = u32> {
        self.agents.iter().filter_map(|agent| agent.process.id())
    }

    /// What they take now.
    pub(super) fn memory(&self) -> Memory {
        let sum = |name: &str| self.pids().filter_map(|pid| usage::kib(pid, name)).sum::<u64>();
        let mean = |name: &str| sum(name) as f64 / 1024.0 / self.agents.len() as f64;
        Memory {
            rss_mib: mean("Rss:"),
            pss_mib: mean("Pss:"),
        }
    }

    pub(super) async fn stop(mut self) {
        for agent in &self.agents {
            if let Some(pid) = agent.process.id().and_then(|pid| i32::try_from(pid).ok()) {
                // It may have ended by itself just now.
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
        }
        for agent in &mut self.agents {
            terminate(&mut agent.process).await;
        }
    }
}

impl Agent {
    fn file(&self, number: usize) -> PathBuf {
        self.dir.join(format!("{number}.out"))
    }
}

/// `keyway-agent`, or this program's own `agent`.
fn agent(program: Option<&Path>) -> Result<Command, Problem> {
    let mut command = keyway()?;
    let Some(program) = program else {
        command.arg("agent");
        return Ok(command);
    };
    let mut other = Command::new(program);
    for (name, value) in command.as_std().get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    other.process_group(0).kill_on_drop(true).stdin(Stdio::null());
    Ok(other)
}

fn program_that_tells(place: &Path) -> Result<Vec<String>, Problem> {
    let program =
        std::env::current_exe().map_err(|e| Problem::new(exit::BUG, format!("find the path of keyway itself: {e}")))?;
    let words = [
        program.as_os_str(),
        "bench".as_ref(),
        "child".as_ref(),
        "--to".as_ref(),
        place.as_os_str(),
    ];
    Ok(words.map(|word| word.to_string_lossy().into_owned()).to_vec())
}
