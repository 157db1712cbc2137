//! A store: `keyway server` on a port that was free, with its data in the test's folder.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use kvapi::client::{Reply, WriteOptions};
use kvapi::{Address, Client};

use super::program::command;
use super::{Exit, Home, Keyway, Program, Said, binary};

/// How a server differs from the usual.
#[derive(Default)]
pub(crate) struct Options {
    /// The folder below the test's; `data` if `None`.
    pub(crate) data: Option<PathBuf>,
    /// The address to listen on; a free port of 127.0.0.1 if `None`.
    pub(crate) address: Option<String>,
    /// The address for the other servers; a free port of 127.0.0.1 if `None`.
    pub(crate) raft: Option<String>,
    /// The number and whom to join; the first of a cluster if `None`.
    pub(crate) join: Option<(String, String)>,
    /// More flags.
    pub(crate) flags: Vec<String>,
    /// More environment.
    pub(crate) environment: Vec<(&'static str, String)>,
}

/// See the module.
pub(crate) struct Server {
    pub(crate) program: Program,
    pub(crate) address: Address,
    pub(crate) cluster: String,
    /// Where the other servers reach it.
    pub(crate) raft: String,
    pub(crate) data: PathBuf,
}

impl Server {
    pub(crate) async fn start(home: &Home) -> anyhow::Result<Self> {
        Self::with(home, Options::default()).await
    }

    /// Starts a server and waits until it says where it listens.
    pub(crate) async fn with(home: &Home, options: Options) -> anyhow::Result<Self> {
        let data = options.data.clone().unwrap_or_else(|| home.path("data"));
        let name = data.file_name().and_then(|name| name.to_str()).unwrap_or("server");
        let mut program = Self::spawn(home, &format!("server-{name}"), &options)?;
        let from = program.output().len();
        let ready = program
            .line("where it listens", from, |line| {
                line.starts_with("keyway server ready").then(|| line.to_owned())
            })
            .await?;
        let word = |name: &str| {
            ready
                .split(' ')
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
                .with_context(|| format!("no {name}= in `{ready}`"))
        };
        let address = word("http")?;
        Ok(Self {
            address: Address::parse_list(address).map_err(anyhow::Error::msg)?.remove(0),
            cluster: word("cluster")?.to_owned(),
            raft: word("raft")?.to_owned(),
            program,
            data,
        })
    }

    /// Starts a server that is not expected to come up.
    pub(crate) fn spawn(home: &Home, name: &str, options: &Options) -> anyhow::Result<Program> {
        let data = options.data.clone().unwrap_or_else(|| home.path("data"));
        let mut command = command(home, binary("keyway")?);
        command
            .args([
                "server",
                "--raft-addr",
                options.raft.as_deref().unwrap_or("127.0.0.1:0"),
                "--data-dir",
            ])
            .arg(&data)
            .args(match &options.join {
                None => vec!["--node-id", "1", "--bootstrap"],
                Some((number, servers)) if servers.is_empty() => vec!["--node-id", number],
                Some((number, servers)) => vec!["--node-id", number, "--join", servers],
            })
            .args(["--http-addr", options.address.as_deref().unwrap_or("127.0.0.1:0")])
            .args(&options.flags)
            .envs(options.environment.iter().map(|(name, value)| (name, value)));
        Program::start(home, name, &mut command)
    }

    /// Starts the same server again, at the address it had, once it has ended.
    pub(crate) async fn restart(&mut self, home: &Home) -> anyhow::Result<()> {
        self.restart_with(home, Options::default()).await
    }

    /// [`Server::restart`] with other flags.
    pub(crate) async fn restart_with(&mut self, home: &Home, options: Options) -> anyhow::Result<()> {
        self.program.exit().await?;
        let (data, address) = (Some(self.data.clone()), Some(self.address.to_string()));
        let raft = options.raft.or_else(|| Some(self.raft.clone()));
        *self = Self::with(
            home,
            Options {
                data,
                address,
                raft,
                ..options
            },
        )
        .await?;
        Ok(())
    }

    /// TERM, and the end.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<Exit> {
        self.program.signal(nix::sys::signal::Signal::SIGTERM)?;
        self.program.exit().await
    }

    /// A client that waits ten seconds for an answer.
    pub(crate) fn client(&self) -> Client {
        self.client_within(Duration::from_secs(10))
    }

    /// A client that gives up sooner or later than that.
    pub(crate) fn client_within(&self, timeout: Duration) -> Client {
        Client::new(vec![self.address.clone()], None, timeout)
    }

    /// The command line, pointed here.
    pub(crate) fn keyway(&self, home: &Home) -> Keyway {
        Keyway::new(home).addr(&self.address.to_string())
    }

    /// `keyway kv ARGUMENTS`, to its end.
    pub(crate) async fn kv(&self, home: &Home, arguments: &[&str]) -> anyhow::Result<Said> {
        self.keyway(home).run(&[&["kv"], arguments].concat()).await
    }

    /// The revision that a key is at.
    pub(crate) async fn revision(&self, key: &str) -> anyhow::Result<u64> {
        let entry = self.client().get(key, Default::default()).await?.value;
        Ok(entry.with_context(|| format!("there is no {key}"))?.modify_index.0)
    }

    /// A request with headers as they stand.
    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> anyhow::Result<Reply> {
        let mut map = http::HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse()?);
        }
        Ok(self.client().send(method.parse()?, path, Bytes::new(), map).await?)
    }

    /// A number of `/metrics`, by its name and labels.
    pub(crate) async fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let said = self.request("GET", "/metrics", &[]).await?;
        let text = String::from_utf8_lossy(&said.body).into_owned();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.with_context(|| format!("there is no {name}\n{text}"))?;
        value.parse().with_context(|| format!("{name} {value}"))
    }

    /// Stores one value.
    pub(crate) async fn put(&self, key: &str, value: impl Into<Bytes>) -> anyhow::Result<()> {
        let stored = self.client().put(key, value, &WriteOptions::default()).await?;
        anyhow::ensure!(stored, "{key} was not stored");
        Ok(())
    }
}
