//! `agent status`: asks a running agent at its socket.

use std::path::PathBuf;

use clap::Args;
use kvapi::problem::exit;
use kvapi::{Address, Client, Problem};

use super::Connection;
use super::flags::{Common, here};
use crate::load::Plan;
use crate::status::Status as Document;

/// See [`super::AgentCommand::Status`].
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    common: Common,
    /// The socket, if `run` was given another than status.sock in its state folder.
    #[arg(long, value_name = "PATH", env = "KEYWAY_AGENT_STATUS")]
    status: Option<PathBuf>,
    /// The state folder, if `run` was given one.
    #[arg(long, value_name = "DIR", env = "KEYWAY_AGENT_STATE_DIR")]
    state_dir: Option<PathBuf>,
}

impl Status {
    fn socket(&self) -> Result<PathBuf, Problem> {
        if let Some(path) = &self.status {
            return Ok(here()?.join(path));
        }
        let mut flags = self.common.raw(false)?;
        if let Some(dir) = &self.state_dir {
            flags.state_dir = Some(here()?.join(dir));
        }
        // Which program runs makes no difference here; that one does lets every reaction be good.
        flags.exec.command = vec!["the program".to_owned()];
        let plan = Plan {
            files: self.common.files()?,
            flags,
            ..Plan::default()
        };
        Ok(plan.config()?.status_socket())
    }

    pub(super) async fn run(self, connection: &Connection) -> Result<u8, Problem> {
        let path = self.socket()?;
        let nobody = |told: String| {
            Problem::new(
                exit::UNAVAILABLE,
                format!("no agent answers at {}: {told}", path.display()),
            )
            .help("give the same -c and -t as to `agent run`, or its socket with --status")
        };
        if let Err(error) = std::os::unix::net::UnixStream::connect(&path) {
            return Err(nobody(error.to_string()));
        }
        let client = Client::new(vec![Address::Unix(path.clone())], None, connection.timeout);
        let sent = client.send(http::Method::GET, "/status", Vec::new().into(), http::HeaderMap::new());
        let reply = sent.await.map_err(|error| nobody(error.to_string()))?;
        let status: Document = serde_json::from_slice(&reply.body)
            .map_err(|error| nobody(format!("{} with something else than a status: {error}", reply.status)))?;
        if connection.json {
            println!("{}", String::from_utf8_lossy(&reply.body).trim_end());
        } else {
            print!("{}", status.told());
        }
        Ok(if status.is_good() { exit::OK } else { exit::NO })
    }
}
