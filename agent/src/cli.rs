//! `agent run`, `once`, `render`, `validate`, `convert`: flags become a [`Plan`](crate::load::Plan), a plan is carried out.
//!
//! Shared by `keyway agent` and `keyway-agent`. Every flag has an environment variable,
//! `KEYWAY_AGENT_` and its name.

mod convert;
mod environment;
mod exit_file;
mod flags;
mod render;
mod run;
mod status;
mod telling;
mod validate;

use std::time::Duration;

use clap::Subcommand;
use kvapi::{Address, Client, Problem};

use self::convert::Convert;
use self::render::Render;
use self::run::{Once, Run};
use self::status::Status;
use self::validate::Validate;

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
    ///
    /// Fails as `run` would, with the same words: a key that is missing, a template that is wrong, a check that
    /// refuses. With --values it needs no store.
    #[command(after_help = "Examples:\n  \
        keyway agent render -t app.conf.hbs\n  \
        keyway agent render -t app.conf.hbs --values sample.yaml --explain\n  \
        keyway agent render -c agent.toml --diff --at 851\n  \
        keyway agent render -c agent.toml --check --run-checks")]
    Render(Render),
    /// Tell how a running agent is: revisions, every file, what it waits for, its program.
    ///
    /// The agent is found by its state folder, so give the same -c and -t as to `run`, or its socket.
    ///
    /// Exit code: 0 if every file is in place and the program runs, also while the store is away; 1 if
    /// something waits or failed; 6 if no agent answers.
    #[command(after_help = "Examples:\n  \
        keyway agent status -c agent.toml\n  \
        keyway agent status -t app.conf.hbs:/etc/app.conf -o json\n  \
        keyway agent status --status /run/agent.sock")]
    Status(Status),
    /// Read the configuration and compile the templates as `run` would, and do nothing else.
    ///
    /// Needs no store and writes nothing. What it refuses, `run` refuses with the same words and the
    /// same exit code. A value that is printed without a quoting helper into a format that is known
    /// by the file's name is pointed at as FILE:LINE, and refuses nothing.
    #[command(after_help = "Examples:\n  \
        keyway agent validate -c agent.toml\n  \
        keyway agent validate -c agent.toml --values sample.yaml --run-checks\n  \
        keyway agent validate -t app.conf.hbs:/etc/app.conf --on-change signal=HUP -- app")]
    Validate(Validate),
    /// Turn a consul-template configuration and its templates into agent.toml and Handlebars.
    ///
    /// What has an exact counterpart is translated. What has none stays in the template as a comment,
    /// with a key that is not there and so holds the file back; each such place is told as
    /// FILE:LINE: look: WHAT; WHAT TO DO. Lines with `note` tell where the two could differ and do not
    /// in most files. Nothing that is there is written over.
    ///
    /// Exit code: 0 if nothing is left to look at, 1 if something is, 3 if a file cannot be read.
    #[command(after_help = "Examples:\n  \
        keyway agent convert consul-template.hcl --out keyway\n  \
        keyway agent convert -t nginx.ctmpl:/etc/nginx/nginx.conf:'nginx -s reload' --out keyway\n  \
        keyway agent validate -c keyway/agent.toml")]
    Convert(Convert),
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
    /// Print documents of JSON where there are any.
    pub json: bool,
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
        AgentCommand::Status(status) => status.run(&connection).await,
        AgentCommand::Validate(validate) => validate.run(&connection).await,
        AgentCommand::Convert(convert) => convert.run(),
    }
}

impl Connection {
    fn client(&self) -> Client {
        Client::new(self.addresses.clone(), self.token.clone(), self.timeout)
    }
}

#[cfg(test)]
mod tests;
