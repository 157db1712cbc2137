//! `agent validate`: what `agent run` would refuse at its start, without a store and without writing.

use clap::Args;
use kvapi::Problem;
use kvapi::problem::exit;

use super::run::Run;

/// See [`super::AgentCommand::Validate`].
#[derive(Debug, Args)]
pub struct Validate {
    #[command(flatten)]
    run: Run,
}

impl Validate {
    pub(super) fn run(self) -> Result<u8, Problem> {
        let program = self.run.plan()?.load(None)?;
        for template in &program.config.templates {
            println!("{}: ok", template.shown);
        }
        Ok(exit::OK)
    }
}
