//! `agent validate`: what `agent run` would refuse at its start, without a store and without writing. And
//! what it would not refuse: a bare value in a format that is known, as advice.

use std::path::PathBuf;

use clap::Args;
use kvapi::Problem;
use kvapi::problem::exit;
use serde_json::{Value, json};

use super::Connection;
use super::render::surroundings;
use super::run::Run;
use crate::formats;
use crate::load::Program;
use crate::preview;
use crate::preview::from::From;
use crate::preview::values::{self, Form};
use crate::reap::Reaper;

/// See [`super::AgentCommand::Validate`].
#[derive(Debug, Args)]
pub struct Validate {
    #[command(flatten)]
    run: Run,
    /// Render with values from a file as well, or from standard input if it is -: JSON, YAML, TOML or lines
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
    /// Run the checks of the configuration on copies of what was rendered.
    #[arg(long, env = "KEYWAY_AGENT_RUN_CHECKS", requires = "values")]
    run_checks: bool,
}

impl Validate {
    pub(super) async fn run(self, connection: &Connection) -> Result<u8, Problem> {
        let program = self.run.plan()?.load(None)?;
        let mut variables = None;
        if let Some(path) = &self.values {
            let from = From::Values(values::read(path, self.values_format)?);
            let preview = preview::make(&program, &surroundings(&program), &from).await?;
            if self.run_checks {
                let reaper = Reaper::start().map_err(|e| Problem::new(exit::AGENT, format!("{e:#}")))?;
                preview.check(&program, &reaper).await?;
            }
            variables = preview.variables.is_some().then_some(preview.names);
        }
        if connection.json {
            println!(
                "{:#}",
                document(&program, variables.as_deref(), self.values.is_some(), self.run_checks)
            );
            return Ok(exit::OK);
        }
        for (template, name) in program.config.templates.iter().zip(program.templates.names()) {
            for fault in formats::bare(&program.templates, name, &template.shown) {
                eprintln!("{name}:{}: {}", fault.line, fault.reason);
            }
        }
        for template in &program.config.templates {
            println!("{}: ok", template.shown);
        }
        if let Some(names) = variables {
            println!("the environment: ok: {}", names.join(" "));
        }
        Ok(exit::OK)
    }
}

fn document(program: &Program, variables: Option<&[String]>, rendered: bool, checked: bool) -> Value {
    let templates = program.config.templates.iter().zip(program.templates.names());
    let files = templates.map(|(template, name)| {
        let advice = formats::bare(&program.templates, name, &template.shown);
        let advice = advice
            .into_iter()
            .map(|fault| json!({"line": fault.line, "reason": fault.reason}));
        json!({"file": template.shown, "template": name, "advice": advice.collect::<Vec<_>>()})
    });
    json!({
        "files": files.collect::<Vec<_>>(),
        "variables": variables,
        "rendered": rendered,
        "checked": checked,
    })
}
