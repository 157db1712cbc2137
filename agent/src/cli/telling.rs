//! Flags about who is told how the agent is.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::config::{self, Raw};

/// See [`crate::config::Telling`].
#[derive(Debug, Args)]
pub(super) struct Telling {
    /// The unix socket that tells how the agent is, to `agent status` and as GET /status, /metrics, /livez,
    /// /readyz [default: status.sock in the state folder].
    #[arg(long, value_name = "PATH", env = "KEYWAY_AGENT_STATUS", hide_short_help = true)]
    status: Option<PathBuf>,
    /// Tell the same at an address, such as 127.0.0.1:9103; port 0 is a free one, which the log names.
    #[arg(long, value_name = "ADDR", value_parser = config::listen, env = "KEYWAY_AGENT_LISTEN", hide_short_help = true)]
    listen: Option<SocketAddr>,
    /// Let that address be one that other machines reach, though nobody is asked for a token.
    #[arg(long, env = "KEYWAY_AGENT_INSECURE_LISTEN", hide_short_help = true)]
    insecure_listen: bool,
    /// Keep the status in the store too, as the key _keyway/agents/NAME: at most one write a second, removed at
    /// the end.
    #[arg(long, env = "KEYWAY_AGENT_REPORT", hide_short_help = true)]
    report: bool,
    /// What the agent is called in its status and its report [default: the machine's name].
    #[arg(long, value_name = "NAME", value_parser = config::name, env = "KEYWAY_AGENT_NAME", hide_short_help = true)]
    name: Option<String>,
}

impl Telling {
    pub(super) fn put(self, raw: &mut Raw) {
        raw.status = self.status;
        raw.listen = self.listen;
        // A flag that is not given leaves the choice to the files.
        raw.insecure_listen = self.insecure_listen.then_some(true);
        raw.report = self.report.then_some(true);
        raw.name = self.name;
    }
}
