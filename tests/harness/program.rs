//! A running program: its log, its signals, its end.
//!
//! What it prints goes to files in the test's folder, so that it never blocks on a full pipe and a
//! failed test can show it. Dropped, it is killed by its number, and its children with it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Home, Process, descendants, eventually};

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

/// See the module.
pub(crate) struct Program {
    name: String,
    child: Child,
    out: PathBuf,
    log: PathBuf,
}

/// A program of this workspace, built beside the tests.
pub(crate) fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let keyway = Path::new(env!("CARGO_BIN_EXE_keyway"));
    let path = keyway.with_file_name(name);
    anyhow::ensure!(
        path.exists(),
        "{} is missing; `cargo build --workspace --all-targets` with the profile of the tests makes it",
        path.display()
    );
    Ok(path)
}

/// A command as a test runs it: in the test's folder, and with nothing of the caller's
/// settings.
pub(crate) fn command(home: &Home, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if ["KEYWAY_", "CONSUL_"]
            .iter()
            .any(|ours| name.to_string_lossy().starts_with(ours))
        {
            command.env_remove(name);
        }
    }
    command
        .current_dir(home.dir())
        .env("XDG_CONFIG_HOME", home.path("config"))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    command
}

impl Program {
    /// Starts `command`; its output goes to `NAME.out`, what it says besides to `NAME.log`. A
    /// second program of the same name goes on in the same files.
    pub(crate) fn start(home: &Home, name: &str, command: &mut Command) -> anyhow::Result<Self> {
        let out = home.path(&format!("{name}.out"));
        let log = home.path(&format!("{name}.log"));
        let open = |path: &Path| File::options().create(true).append(true).open(path);
        let child = command
            .stdout(open(&out)?)
            .stderr(open(&log)?)
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            out,
            log,
        })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// What it printed on its standard output so far.
    pub(crate) fn output(&self) -> String {
        text(&self.out)
    }

    /// What it said on its standard error so far.
    pub(crate) fn log(&self) -> String {
        text(&self.log)
    }

    /// The first complete line of its output from byte `from` on that `pick` takes.
    pub(crate) async fn line<T>(
        &mut self,
        what: &str,
        from: usize,
        pick: impl Fn(&str) -> Option<T>,
    ) -> anyhow::Result<T> {
        let found = eventually(&format!("{}: {what}", self.name), async || {
            let output = self.output();
            let line = output
                .get(from..)?
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            match line.map(str::trim_end).find_map(&pick) {
                Some(found) => Some(Ok(found)),
                // What has ended says nothing more.
                None => self.ended().map(Err),
            }
        })
        .await?;
        found.map_err(|exit| {
            anyhow::anyhow!(
                "{} ended with {exit:?} before it said {what}:\n{}",
                self.name,
                self.log()
            )
        })
    }

    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.pid()), signal).with_context(|| format!("{signal} to {}", self.name))
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<Exit> {
        self.child.try_wait().ok().flatten().map(Exit::from)
    }

    /// How it ended; waits for it.
    pub(crate) async fn exit(&mut self) -> anyhow::Result<Exit> {
        let what = format!("the end of {}", self.name);
        eventually(&what, async || self.ended()).await
    }

    /// kill -9, and its end.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.exit().await?;
        Ok(())
    }

    /// Its children, and theirs.
    pub(crate) fn children(&self) -> Vec<Process> {
        descendants(self.pid())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        let children = self.children();
        drop(self.child.kill());
        drop(self.child.wait());
        for child in children {
            child.kill();
        }
    }
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
