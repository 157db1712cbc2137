//! The command line, as a script uses it: arguments in, exit code and bytes out.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::program::command;
use super::terminal::Terminal;
use super::{Exit, Home, Program, binary};

/// See the module.
pub(crate) struct Keyway {
    command: Command,
    stdin: Vec<u8>,
    /// Whether its output is a pipe that nobody reads any more.
    unread: bool,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) exit: Exit,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Keyway {
    pub(crate) fn new(home: &Home) -> Self {
        Self {
            command: command(home, env!("CARGO_BIN_EXE_keyway")),
            stdin: Vec::new(),
            unread: false,
        }
    }

    /// Another program of the workspace.
    pub(crate) fn program(home: &Home, name: &str) -> anyhow::Result<Self> {
        Ok(Self {
            command: command(home, binary(name)?),
            stdin: Vec::new(),
            unread: false,
        })
    }

    /// `keyway` under the name `consul`, by a symlink in the test's folder.
    pub(crate) fn consul(home: &Home) -> anyhow::Result<Self> {
        let link = home.path("bin").join("consul");
        if !link.exists() {
            std::fs::create_dir_all(home.path("bin"))?;
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_keyway"), &link)?;
        }
        Ok(Self {
            command: command(home, link),
            stdin: Vec::new(),
            unread: false,
        })
    }

    /// Where the store is.
    pub(crate) fn addr(mut self, address: &str) -> Self {
        self.command.env("KEYWAY_ADDR", address);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// How long it may take, as a duration with a unit.
    pub(crate) fn timeout(self, duration: &str) -> Self {
        self.env("KEYWAY_TIMEOUT", duration)
    }

    /// What stands on its standard input.
    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Whoever read its output is gone before it begins.
    pub(crate) fn unread(mut self) -> Self {
        self.unread = true;
        self
    }

    /// Runs it to its end, off the test's own threads.
    pub(crate) async fn run(mut self, arguments: &[&str]) -> anyhow::Result<Said> {
        self.command.args(arguments);
        let shown = format!("{:?}", self.command);
        tokio::task::spawn_blocking(move || self.finish())
            .await?
            .with_context(|| format!("run {shown}"))
    }

    /// Starts it and goes on.
    pub(crate) fn start(mut self, home: &Home, name: &str, arguments: &[&str]) -> anyhow::Result<Program> {
        Program::start(home, name, self.command.args(arguments))
    }

    /// Starts it on a terminal of its own.
    pub(crate) fn on_a_terminal(mut self, arguments: &[&str]) -> anyhow::Result<Terminal> {
        Terminal::start(self.command.args(arguments))
    }

    fn finish(mut self) -> anyhow::Result<Said> {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(match self.unread {
                true => Stdio::from(std::io::pipe()?.1),
                false => Stdio::piped(),
            })
            .stderr(Stdio::piped())
            .spawn()?;
        let mut pipe = child.stdin.take().context("it was asked for a pipe")?;
        let stdin = std::mem::take(&mut self.stdin);
        // A program that does not read its input is no mistake.
        let writer = std::thread::spawn(move || drop(pipe.write_all(&stdin)));
        let output = child.wait_with_output()?;
        drop(writer.join());
        Ok(Said {
            exit: output.status.into(),
            out: output.stdout,
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

impl Said {
    /// The output as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// The output as one JSON document.
    pub(crate) fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(&self.out).with_context(|| format!("no JSON: {}", self.text()))
    }

    /// The error as one JSON document: the last line, behind what was said on the way.
    pub(crate) fn error(&self) -> anyhow::Result<serde_json::Value> {
        let last = self.err.trim_end().lines().next_back().unwrap_or_default();
        serde_json::from_str(last).with_context(|| format!("no JSON: {}", self.err))
    }

    /// Fails unless the exit code is `code`.
    pub(crate) fn expect(self, code: i32) -> anyhow::Result<Self> {
        anyhow::ensure!(
            self.exit == Exit::Code(code),
            "ended with {:?}, not {code}\noutput: {}\nerrors: {}",
            self.exit,
            self.text(),
            self.err
        );
        Ok(self)
    }
}
