//! `agent render`.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use kvapi::Problem;
use kvapi::problem::exit;
use kvapi::types::Revision;

use super::Connection;
use super::environment::Environment;
use super::flags::Common;
use crate::load::{self, Plan, Program};
use crate::preview::from::From;
use crate::preview::values::{self, Form};
use crate::preview::{self, Preview, change, explain};
use crate::reap::Reaper;
use crate::render::Surroundings;

/// See [`super::AgentCommand::Render`].
#[derive(Debug, Args)]
pub struct Render {
    #[command(flatten)]
    common: Common,
    /// Values from a file instead of the store, or from standard input if it is -: JSON, YAML, TOML or lines
    /// NAME=value by the name's ending, else JSON.
    #[arg(long, value_name = "FILE", env = "KEYWAY_AGENT_VALUES")]
    values: Option<PathBuf>,
    /// What the values are written in.
    #[arg(
        long,
        value_enum,
        value_name = "FORM",
        env = "KEYWAY_AGENT_VALUES_FORMAT",
        requires = "values"
    )]
    values_format: Option<Form>,
    /// Values as they were at a revision.
    #[arg(long, value_name = "REV", env = "KEYWAY_AGENT_AT", conflicts_with = "values")]
    at: Option<u64>,
    /// Show what would change in the files that are in place, instead of the texts.
    #[arg(long, env = "KEYWAY_AGENT_DIFF")]
    diff: bool,
    /// Name the files that would change, and end with 1 if any would.
    #[arg(long, env = "KEYWAY_AGENT_RENDER_CHECK")]
    check: bool,
    /// Show for each line the keys behind it and their revisions; with -o json as a document.
    #[arg(long, env = "KEYWAY_AGENT_EXPLAIN", conflicts_with_all = ["diff", "check"])]
    explain: bool,
    #[command(flatten)]
    environment: Environment,
    /// Run the checks of the configuration on copies of the files first, as `once` does.
    #[arg(long, env = "KEYWAY_AGENT_RUN_CHECKS")]
    run_checks: bool,
}

impl Render {
    pub(super) async fn run(self, connection: &Connection) -> Result<u8, Problem> {
        let mut flags = self.common.raw(true)?;
        flags.exec.env = self.environment.raw();
        let plan = Plan {
            files: self.common.files()?,
            flags,
            once: true,
            traced: self.explain || self.diff,
        };
        let program = plan.load(None)?;
        let preview = preview::make(&program, &surroundings(&program), &self.from(connection)?).await?;
        if self.run_checks {
            let reaper = Reaper::start().map_err(|e| Problem::new(exit::AGENT, format!("{e:#}")))?;
            preview.check(&program, &reaper).await?;
        }
        self.show(&program, &preview, connection.json)
    }

    fn from(&self, connection: &Connection) -> Result<From, Problem> {
        Ok(match (&self.values, self.at) {
            (Some(path), _) => From::Values(values::read(path, self.values_format)?),
            (None, Some(revision)) => From::Past(connection.client(), Revision(revision)),
            (None, None) => From::Store(connection.client(), connection.timeout),
        })
    }

    fn show(&self, program: &Program, preview: &Preview, as_json: bool) -> Result<u8, Problem> {
        let config = &program.config;
        let mut out = std::io::stdout().lock();
        let mut code = exit::OK;
        let mut write = |code: &mut u8| -> std::io::Result<Result<(), Problem>> {
            if self.explain && as_json {
                writeln!(out, "{:#}", explain::document(preview, config))?;
            } else if self.explain {
                out.write_all(explain::text(preview, config).as_bytes())?;
            } else if self.diff || self.check {
                let changes = match change::changes(preview, config) {
                    Ok(changes) => changes,
                    Err(problem) => return Ok(Err(problem)),
                };
                for one in &changes {
                    let told = if self.diff { one.shown() } else { one.named() };
                    out.write_all(told.as_bytes())?;
                }
                if self.check && !changes.is_empty() {
                    *code = exit::NO;
                }
            } else {
                preview.print(config, &mut out)?;
            }
            out.flush().map(Ok)
        };
        match write(&mut code) {
            Ok(done) => done.map(|()| code),
            // Whoever read it has seen enough.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(code),
            Err(e) => Err(Problem::new(exit::AGENT, format!("cannot write the output: {e}"))),
        }
    }
}

/// What a render needs beside values.
pub(super) fn surroundings(program: &Program) -> Surroundings {
    program.around(Arc::new(load::variables()))
}
