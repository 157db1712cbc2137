//! An agent: `keyway-agent run`, with a child of the test's choice.

use nix::sys::signal::Signal;

use super::program::command;
use super::{Exit, Home, Process, Program, binary, eventually};

/// See the module.
pub(crate) struct Agent {
    pub(crate) program: Program,
}

impl Agent {
    /// Starts `keyway-agent run ARGUMENTS` against the store at `address`.
    pub(crate) fn run(home: &Home, address: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = command(home, binary("keyway-agent")?);
        command.env("KEYWAY_ADDR", address).arg("run").args(arguments);
        Ok(Self {
            program: Program::start(home, "agent", &mut command)?,
        })
    }

    /// Starts `keyway-agent ARGUMENTS`, which ends by itself.
    pub(crate) fn ask(home: &Home, arguments: &[&str]) -> anyhow::Result<Program> {
        let mut command = command(home, binary("keyway-agent")?);
        command.args(arguments);
        Program::start(home, "asked", &mut command)
    }

    /// The process that it looks after, once there is one.
    pub(crate) async fn child(&self) -> anyhow::Result<Process> {
        eventually("the agent's child", async || {
            let own = self.program.pid();
            self.program
                .children()
                .into_iter()
                .find(|process| process.parent == own)
        })
        .await
    }

    /// TERM, and how it ended.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<Exit> {
        self.program.signal(Signal::SIGTERM)?;
        self.program.exit().await
    }
}
