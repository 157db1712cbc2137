//! `agent validate`: what `agent run` would refuse at its start, without a store and without writing. And
//! what it would not refuse: a bare value in a format that is known, as advice.

use clap::Args;
use kvapi::Problem;
use kvapi::problem::exit;

use super::run::Run;
use crate::formats;

/// See [`super::AgentCommand::Validate`].
#[derive(Debug, Args)]
pub struct Validate {
    #[command(flatten)]
    run: Run,
}

impl Validate {
    pub(super) fn run(self) -> Result<u8, Problem> {
        let program = self.run.plan()?.load(None)?;
        let templates = &program.templates;
        for (template, name) in program.config.templates.iter().zip(templates.names()) {
            for fault in formats::bare(templates, name, &template.shown) {
                eprintln!("{name}:{}: {}", fault.line, fault.reason);
            }
            println!("{}: ok", template.shown);
        }
        Ok(exit::OK)
    }
}
