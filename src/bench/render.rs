//! `keyway bench render`: from a put to the files, by how many templates read the key.
//!
//! A real agent renders T templates, of which R read the key that changes; the others read keys that
//! do not. If only what is affected is rendered, the agent's time goes by R and not by T.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use hdrhistogram::Histogram;
use http::Method;
use kvapi::problem::exit;
use kvapi::{Address, Problem};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Child;

use super::load::{histogram, note};
use super::report::{Line, Report};
use super::target::{FOLDER, Target};
use super::{Common, yardsticks};
use crate::connection::Connection;
use crate::context::Context;
use crate::failure::Outcome;
use crate::spawned::{keyway, terminate};

/// How long a change may take to be in the last file.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at a file: far below what is measured.
const LOOK: Duration = Duration::from_micros(100);

#[derive(Debug, Args)]
pub(crate) struct Render {
    /// Templates of the agent
    #[arg(long, value_name = "N", default_value_t = 100)]
    templates: usize,
    /// How many of them read the key, one line for each number
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "1,10,100")]
    readers: Vec<usize>,
    /// Changes of each line, one after another
    #[arg(long, value_name = "N", default_value_t = 50)]
    rounds: usize,
    #[command(flatten)]
    common: Common,
}

/// An agent with its folder.
struct Agent {
    child: Child,
    folder: TempDir,
    files: usize,
    readers: usize,
}

/// What one line measured.
struct Figures {
    latency: Histogram<u64>,
    /// Files written in one change.
    written: f64,
    /// CPU of the agent in one change, in milliseconds.
    cpu_ms: f64,
}

impl Render {
    pub(super) async fn run(self, mut context: Context<'_>) -> Outcome {
        let Common { dir, value_size } = self.common;
        let target = Target::open(&mut context, &dir).await?;
        let mut report = Report::default();
        for &readers in &self.readers {
            let readers = readers.min(self.templates);
            let agent = Agent::start(&target.address, &dir, self.templates, readers).await?;
            let figures = agent.measure(&target.address, self.rounds, value_size).await;
            agent.stop().await;
            let figures = figures?;
            let line = Line::new("put to last file")
                .with("templates", self.templates)
                .with("readers", readers)
                .latency("", &figures.latency)
                .with("files_written", figures.written)
                .with("agent_cpu_ms", figures.cpu_ms);
            report.add(line);
        }
        let address = target.address.to_string();
        target.close().await?;
        yardsticks::disk(&mut report, &dir).await?;
        report.print(
            context.out,
            &json!({"address": address, "value_bytes": value_size, "rounds": self.rounds}),
        )
    }
}

impl Agent {
    async fn start(address: &Address, dir: &Path, templates: usize, readers: usize) -> Result<Self, Problem> {
        let mut connection = Connection::open(address).await?;
        for key in ["changes", "rests"] {
            let path = format!("/v1/kv/{FOLDER}{key}");
            connection
                .expect_ok(Method::PUT, &path, Bytes::from_static(b"0-"))
                .await?;
        }
        let folder = tempfile::Builder::new()
            .prefix("keyway-bench-")
            .tempdir_in(dir)
            .map_err(|e| Problem::new(exit::USAGE, format!("make a folder in {}: {e}", dir.display())))?;
        let config = folder.path().join("agent.toml");
        crate::scratch::write(&config, &configuration(folder.path(), templates, readers))?;
        let child = keyway()?
            .args(["--addr", &address.to_string(), "-q", "agent", "run", "-c"])
            .arg(&config)
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| Problem::new(exit::UNAVAILABLE, format!("start the agent: {e}")))?;
        let agent = Self {
            child,
            folder,
            files: templates,
            readers,
        };
        agent.wait_for("0-", 0..templates).await?;
        Ok(agent)
    }

    async fn measure(&self, address: &Address, rounds: usize, value_size: usize) -> Result<Figures, Problem> {
        let mut connection = Connection::open(address).await?;
        let mut latency = histogram()?;
        let (mut written, cpu) = (0, self.cpu());
        for round in 1..=rounds {
            let value = format!("{round}-{}", "x".repeat(value_size));
            let before = self.stamps();
            let start = Instant::now();
            connection
                .expect_ok(Method::PUT, &format!("/v1/kv/{FOLDER}changes"), value.into())
                .await?;
            self.wait_for(&format!("{round}-"), 0..self.readers).await?;
            note(&mut latency, start.elapsed());
            let after = self.stamps();
            written += before
                .iter()
                .zip(&after)
                .filter(|(before, after)| before != after)
                .count();
        }
        let per_round = |n: f64| n / rounds.max(1) as f64;
        Ok(Figures {
            latency,
            written: per_round(written as f64),
            cpu_ms: per_round(self.cpu().saturating_sub(cpu).as_secs_f64() * 1000.0),
        })
    }

    /// Waits until these files begin with this text.
    async fn wait_for(&self, text: &str, files: std::ops::Range<usize>) -> Result<(), Problem> {
        let paths: Vec<PathBuf> = files.map(|file| self.file(file)).collect();
        let text = text.to_owned();
        // On a thread of its own: it looks more often than a timer of the runtime ticks.
        let waited = tokio::task::spawn_blocking(move || {
            let deadline = Instant::now() + PATIENCE;
            for path in paths {
                while !std::fs::read(&path).is_ok_and(|bytes| bytes.starts_with(text.as_bytes())) {
                    if Instant::now() > deadline {
                        let what = format!("{} did not become `{text}` within {PATIENCE:?}", path.display());
                        return Err(Problem::new(exit::TIMEOUT, what));
                    }
                    std::thread::sleep(LOOK);
                }
            }
            Ok(())
        });
        waited
            .await
            .map_err(|e| Problem::new(exit::BUG, format!("wait for files: {e}")))?
    }

    fn file(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("{number}.out"))
    }

    /// Who each file is: a new one has another inode or time.
    fn stamps(&self) -> Vec<Option<(u64, i64, i64)>> {
        use std::os::unix::fs::MetadataExt as _;
        let stamp = |path: PathBuf| {
            std::fs::metadata(path)
                .ok()
                .map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec()))
        };
        (0..self.files).map(|number| stamp(self.file(number))).collect()
    }

    /// CPU time of the agent so far: proc_pid_stat(5), fields 14 and 15, in ticks of 10 ms.
    fn cpu(&self) -> Duration {
        let stat = self
            .child
            .id()
            .and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok());
        let stat = stat.unwrap_or_default();
        let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: u64 = behind_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|n| n.parse::<u64>().ok())
            .sum();
        Duration::from_millis(ticks * 10)
    }

    async fn stop(mut self) {
        terminate(&mut self.child).await;
    }
}

/// An agent's configuration: the first templates read the key that changes.
fn configuration(folder: &Path, templates: usize, readers: usize) -> String {
    let mut text = format!(
        "on_change = \"none\"\nwait = \"0s\"\nsettle = \"0s\"\nstate_dir = \"{}\"\n",
        folder.join("state").display()
    );
    for number in 0..templates {
        let key = if number < readers { "changes" } else { "rests" };
        let _ = write!(
            text,
            "\n[[template]]\ncontents = '{{{{key \"{FOLDER}{key}\"}}}} {number}'\ndestination = \"{}\"\n",
            folder.join(format!("{number}.out")).display()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_toml_with_as_many_readers_as_asked() {
        let text = configuration(Path::new("/x"), 3, 1);

        let table: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(table["template"].as_array().unwrap().len(), 3);
        assert_eq!(text.matches("keyway-bench/changes").count(), 1);
    }
}
