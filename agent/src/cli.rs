//! `agent run`, `agent once`, `agent render`: flags become a [`Plan`], a plan is carried out.
//!
//! Shared by `keyway agent` and `keyway-agent`. Every flag has an environment variable,
//! `KEYWAY_AGENT_` and its name.

mod flags;
mod render;
mod run;

use std::time::Duration;

use clap::Subcommand;
use kvapi::{Address, Client, Problem};

use self::render::Render;
use self::run::{Once, Run};

/// What an agent can be asked to do.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Render files, start a program, and keep both in step with the store.
    ///
    /// Waits until every template can be rendered, writes all files, and starts the program. When
    /// a setting changes, the files that it affects are rendered from one revision, checked,
    /// replaced together, and the program is reloaded once.
    #[command(after_help = "Examples:\n  \
        keyway agent run -t nginx.conf.hbs:/etc/nginx/nginx.conf --on-change signal=HUP -- nginx -g 'daemon off;'\n  \
        keyway agent run -t app.env.hbs:/run/app.env -- ./app\n  \
        keyway agent run -c agent.toml")]
    Run(Run),
    /// Render and write all files once, then end.
    #[command(after_help = "Examples:\n  \
        keyway agent once -t app.env.hbs:/run/app.env\n  \
        keyway agent once -t app.conf.hbs:app.conf --missing fail --check 'app -t -c {}'\n  \
        keyway agent once -c agent.toml")]
    Once(Once),
    /// Print what would be written, and write nothing.
    #[command(after_help = "Examples:\n  \
        keyway agent render -t app.conf.hbs\n  \
        keyway agent render -t app.conf.hbs --values sample.json\n  \
        keyway agent render -c agent.toml")]
    Render(Render),
}

/// How to reach the store.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The servers.
    pub addresses: Vec<Address>,
    /// The token, if the store asks for one.
    pub token: Option<String>,
    /// How long a request that holds nothing open may take.
    pub timeout: Duration,
}

/// Carries a command out; returns the exit code.
///
/// # Errors
/// A [`Problem`] to be told, whose code is the exit code.
pub async fn run(command: AgentCommand, connection: Connection) -> Result<u8, Problem> {
    match command {
        AgentCommand::Run(run) => run.run(&connection).await,
        AgentCommand::Once(once) => once.run(&connection).await,
        AgentCommand::Render(render) => render.run(&connection).await,
    }
}

impl Connection {
    fn client(&self) -> Client {
        Client::new(self.addresses.clone(), self.token.clone(), self.timeout)
    }
}
