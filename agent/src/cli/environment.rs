//! Flags for the program's environment.

use clap::Args;

use crate::config::{OnVariable, RawEnvironment};

/// See [`crate::environment`].
#[derive(Debug, Args)]
pub(super) struct Environment {
    /// Give the program every key of a folder as a variable (several; a later one wins).
    #[arg(long = "env", value_name = "PREFIX", env = "KEYWAY_AGENT_ENV")]
    env_prefix: Vec<String>,
    /// Names of those variables in capital letters.
    #[arg(long, env = "KEYWAY_AGENT_ENV_UPPER", hide_short_help = true)]
    env_upper: bool,
    /// When one of them changes: start the program again, or leave it until it is started the next time
    /// [default: restart].
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        env = "KEYWAY_AGENT_ENV_ON_CHANGE",
        hide_short_help = true
    )]
    env_on_change: Option<OnVariable>,
    /// Give the program none of the agent's own variables.
    #[arg(long, env = "KEYWAY_AGENT_ENV_PRISTINE", hide_short_help = true)]
    env_pristine: bool,
    /// Of the agent's own variables, give it only those that fit a pattern such as LC_* (several).
    #[arg(long, value_name = "PATTERN", env = "KEYWAY_AGENT_ENV_ALLOW", hide_short_help = true)]
    env_allow: Vec<String>,
    /// Of the agent's own variables, give it none that fits a pattern (several).
    #[arg(long, value_name = "PATTERN", env = "KEYWAY_AGENT_ENV_DENY", hide_short_help = true)]
    env_deny: Vec<String>,
}

impl Environment {
    pub(super) fn raw(&self) -> RawEnvironment {
        RawEnvironment {
            prefix: self.env_prefix.clone(),
            upper: self.env_upper.then_some(true),
            on_change: self.env_on_change,
            pristine: self.env_pristine.then_some(true),
            allow: self.env_allow.clone(),
            deny: self.env_deny.clone(),
            ..RawEnvironment::default()
        }
    }
}
