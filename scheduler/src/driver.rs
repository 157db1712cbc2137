//! The seam behind which instances start and stop. What is behind it knows nothing of apps, deployments or the store.
//!
//! What a driver has started outlives the scheduler: another one finds it with [`Driver::find`] and goes on.
//!
//! | room | what it holds |
//! | --- | --- |
//! | `both` | which driver a task belongs to: [`Driver`] |
//! | `process`, `docker` | plain processes; containers |
//! | `gate` | whether anything may still be started |
//! | `kept` | what ended tasks have written |
//! | `ready` | descriptors that are waited for |
//! | `secrets` | what a task is given and nobody is shown, in files |
//! | `starting` | starts that can be called off |
//! | `tail` | the end of a file, and what is written to it from then on |

mod both;
mod docker;
mod gate;
mod kept;
mod process;
mod ready;
mod secrets;
mod starting;
mod tail;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::app::{Fetch, Image, Protocol, Resources, Volume};
use crate::time::Timestamp;

pub use both::Driver;
pub use docker::REQUESTS;
pub use gate::Gate;

/// What all tasks of a scheduler have in common.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where processes have their folders, and where the logs of ended tasks are kept. Schedulers that follow each other have
    /// the same: what was started with another one is not found. No two that lead different stores share it.
    pub folder: PathBuf,
    /// `keyway-agent`, or `keyway`.
    pub program: PathBuf,
    /// The words with which that program is an agent: none, or `agent`.
    pub agent: Vec<String>,
    /// `KEYWAY_ADDR` of every task that does not say otherwise: the store's agent socket, as `unix:///path`.
    pub store: Option<String>,
    /// `None` if there is no Docker Engine.
    pub docker: Option<DockerSettings>,
}

/// What all containers of a scheduler have in common.
#[derive(Debug, Clone)]
pub struct DockerSettings {
    /// The Engine's socket.
    pub socket: String,
    /// Whose containers they are: other schedulers of one Engine have other names.
    pub cluster: String,
    /// The address of this machine on which ports are published.
    pub publish_on: IpAddr,
    /// Whether an app may ask for a container that may do everything.
    pub privileged: bool,
}

/// The name of one run of one instance, such as `shop_web.instance-<uuid>._app.1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub String);

impl TaskId {
    /// What all tasks of one app have in common.
    #[must_use]
    pub fn app(&self) -> &str {
        self.0.split_once(".instance-").map_or(&self.0, |(app, _)| app)
    }
}

/// All that is needed to start a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    pub task: TaskId,
    /// `None` is what the image starts by itself.
    pub command: Option<crate::app::Command>,
    /// `None` for a plain process.
    pub image: Option<Image>,
    pub network: crate::app::Network,
    pub env: BTreeMap<String, String>,
    pub ports: Vec<PortUse>,
    pub volumes: Vec<Volume>,
    pub resources: Resources,
    pub user: Option<String>,
    /// For containers: labels beside those by which we know our own.
    pub labels: BTreeMap<String, String>,
    /// What the agent inside does. `None` starts the program without one; so is a container in which nothing is to be
    /// rendered, if no agent of ours starts in any image.
    pub agent: Option<AgentUse>,
    pub tty: bool,
    /// Files that a plain process finds in its folder.
    pub fetch: Vec<Fetch>,
    /// What it is given and nobody is shown.
    pub secrets: Vec<Secret>,
    /// A scheduler that died may have told it to start before: a container may be there already, whole or in part.
    pub again: bool,
}

impl Launch {
    /// The variables that are secrets.
    fn secret_variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.secrets.iter().filter_map(|secret| match secret {
            Secret::Variable { name, value } => Some((name.as_str(), value.as_str())),
            Secret::File { .. } => None,
        })
    }

    /// Where files with secrets are to be, and what is in them.
    fn secret_files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.secrets.iter().filter_map(|secret| match secret {
            Secret::File { path, value } => Some((path.as_str(), value.as_ref())),
            Secret::Variable { .. } => None,
        })
    }
}

/// Something secret that a task is given. What it is is never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Variable {
        name: String,
        value: String,
    },
    /// A file that its owner may read. `path` is the container's, or of a plain process its folder's.
    File {
        path: String,
        value: Bytes,
    },
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable { name, .. } => write!(f, "Variable({name})"),
            Self::File { path, .. } => write!(f, "File({path})"),
        }
    }
}

/// One port of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortUse {
    /// Of the host; `None` is not published.
    pub host: Option<u16>,
    /// Of the container. The same as the host's without a network of its own.
    pub inside: u16,
    pub protocol: Protocol,
}

/// What the agent in an instance is told: `keyway-agent run FLAGS -- COMMAND`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentUse {
    /// Such as `--template`, `web.conf.hbs:/etc/web.conf`.
    pub flags: Vec<String>,
    /// Files of the host that the flags name; in a container they are mounted read-only at the same path.
    pub files: Vec<String>,
    /// Without it the task would not be what its app says: something is to be rendered.
    pub needed: bool,
}

/// Where a task is, in the words of its driver: enough to find it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handle {
    /// The leader of a session, known by when it started (clock ticks since boot). Both are 0 of one that has ended and
    /// of which nobody knows any more.
    Process { pid: i32, started: u64 },
    /// A container by its id.
    Container { id: String },
}

/// A task that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub task: TaskId,
    pub handle: Handle,
    /// `None` while it runs.
    pub ended: Option<End>,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Exited(i32),
    Signalled(i32),
    /// It is gone, and nobody saw how.
    Gone,
    /// It was made, and has not been started: whoever made it died before that.
    Unstarted,
    /// More memory than it may have.
    OutOfMemory,
}

/// What a driver says by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It runs: its program has been started. `addresses` are those of a network of its own.
    Running {
        task: TaskId,
        handle: Handle,
        addresses: Vec<String>,
    },
    Ended {
        task: TaskId,
        end: End,
        at: Timestamp,
    },
    /// It could not be started.
    Refused {
        task: TaskId,
        refusal: Refusal,
    },
    /// It is not started before something else is done, in words.
    Preparing {
        task: TaskId,
        what: String,
    },
}

/// Why a task could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the image {image} cannot be had: {reason}")]
    Image { image: String, reason: String },
    #[error("port {0} of this machine is taken")]
    PortTaken(u16),
    /// By [`Driver::call_off`].
    #[error("its start was called off")]
    CalledOff,
    #[error("{0}")]
    Other(String),
}

/// What asks a task to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stop {
    /// TERM to its agent or program.
    Ask,
    /// KILL to all of it.
    Force,
}

/// What a command of a health check said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: i32,
    /// The end of what it wrote.
    pub output: String,
}

/// What is logged of the Engine's client, whoever asks for more: it would show whole requests, with the secrets in them.
pub const LOGGED: &str = "bollard=info";

/// How long a task may take from [`Stop::Ask`] to its end, if its app does not say.
pub const GRACE: Duration = Duration::from_secs(10);

fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
