//! `agent render`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use kvapi::Problem;
use kvapi::problem::exit;

use super::Connection;
use super::flags::Common;
use crate::load::Plan;
use crate::preview;
use crate::render::Surroundings;

/// See [`super::AgentCommand::Render`].
#[derive(Debug, Args)]
pub struct Render {
    #[command(flatten)]
    common: Common,
    /// Values from a JSON file instead of the store.
    #[arg(long, value_name = "FILE", env = "KEYWAY_AGENT_VALUES")]
    values: Option<PathBuf>,
}

impl Render {
    pub(super) async fn run(self, connection: &Connection) -> Result<u8, Problem> {
        let plan = Plan {
            files: self.common.files()?,
            flags: self.common.raw(true)?,
            once: true,
        };
        let program = plan.load(None)?;
        let env: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        let around = Surroundings {
            env,
            missing: program.config.policy.missing,
            ..Surroundings::default()
        };
        let mut out = std::io::stdout();
        match &self.values {
            Some(values) => preview::from_values(&program, &around, values, &mut out)?,
            None => {
                preview::from_store(&program, &around, &connection.client(), connection.timeout, &mut out).await?;
            }
        }
        Ok(exit::OK)
    }
}
