//! What is measured: the servers that were named, or some of our own on folders that go away.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use http::Method;
use kvapi::problem::exit;
use kvapi::{Address, Client, Problem};
use tempfile::TempDir;

use super::{Ask, Common};
use crate::connection::Connection;
use crate::context::Context;
use crate::spawned::{PATIENCE, Spawned, allow_many_files};

/// Every key of a measurement lies below it and is deleted afterwards.
pub(super) const FOLDER: &str = "keyway-bench/";

/// See the module.
pub(super) struct Target {
    /// Where single requests go: the leader, if the servers are our own.
    pub(super) address: Address,
    /// Where clients go, in turn.
    pub(super) asked: Vec<Address>,
    /// Our own, the leader first.
    servers: Vec<(Spawned, TempDir)>,
}

impl Target {
    /// The addresses of --addr (flag, environment or file), else servers started below the folder.
    pub(super) async fn open(context: &mut Context<'_>, common: &Common) -> Result<Self, Problem> {
        allow_many_files();
        if context.settings.addresses_named {
            let asked = context.settings.addresses.clone();
            let address = asked.first().cloned();
            let address = address.ok_or_else(|| Problem::new(exit::USAGE, "--addr names no server"))?;
            context.out.say(format_args!(
                "measuring {}; its keys below {FOLDER} are overwritten and then deleted",
                named(&asked)
            ));
            return Ok(Self {
                address,
                asked,
                servers: Vec::new(),
            });
        }
        let target = Self::start(common).await?;
        let whose = match target.servers.len() {
            1 => "a server of its own".to_owned(),
            count => format!("{count} servers of its own"),
        };
        context.out.say(format_args!(
            "no --addr: measuring {whose} at {}, on this machine, with data below {}",
            named(&target.asked),
            common.dir.display()
        ));
        Ok(target)
    }

    /// New servers in new folders, which all vote.
    async fn start(common: &Common) -> Result<Self, Problem> {
        let first = spawn(common, 1, &["--bootstrap".into()]).await?;
        let address = first.0.address.clone();
        let mut servers = vec![first];
        for number in 2..=common.servers {
            let join = ["--join".into(), address.to_string().into()];
            servers.push(spawn(common, number, &join).await?);
        }
        all_vote(&address, servers.len()).await?;
        let all = servers.iter().map(|(spawned, _)| spawned.address.clone());
        let asked = match common.ask {
            Ask::Leader => vec![address.clone()],
            Ask::Follower => all.skip(usize::from(common.servers > 1)).take(1).collect(),
            Ask::All => all.collect(),
        };
        Ok(Self {
            address,
            asked,
            servers,
        })
    }

    /// Others in their place if they are ours, so that what a line left in their memory does not
    /// count for the next.
    pub(super) async fn renewed(self, common: &Common) -> Result<Self, Problem> {
        if self.servers.is_empty() {
            return Ok(self);
        }
        self.close().await?;
        Self::start(common).await
    }

    /// Kills one of our own servers, by its place, as `kill -9` does.
    pub(super) async fn kill(&mut self, place: usize) {
        if let Some((spawned, _)) = self.servers.get_mut(place) {
            spawned.kill().await;
        }
    }

    /// Starts one that was killed again, on its folder and at its address.
    pub(super) async fn restart(&mut self, place: usize) -> Result<(), Problem> {
        if let Some((spawned, folder)) = self.servers.get_mut(place) {
            let address = spawned.address.to_string();
            *spawned = serve(place + 1, &[], &address, folder.path()).await?;
        }
        Ok(())
    }

    /// Where watchers go.
    pub(super) fn watched(&self) -> &Address {
        self.asked.last().unwrap_or(&self.address)
    }

    /// The process id of the server that is watched, if it is ours.
    pub(super) fn pid(&self) -> Option<u32> {
        let watched = self
            .servers
            .iter()
            .find(|(spawned, _)| spawned.address == *self.watched());
        watched.and_then(|(spawned, _)| spawned.pid())
    }

    /// Those that are asked, for the report.
    pub(super) fn name(&self) -> String {
        named(&self.asked)
    }

    /// Deletes the keys, or stops the servers that go with their folders: the leader last, so that nobody has to be
    /// elected.
    pub(super) async fn close(self) -> Result<(), Problem> {
        if self.servers.is_empty() {
            let mut connection = Connection::open(&self.address).await?;
            let path = format!("/v1/kv/{FOLDER}?recurse");
            connection.expect_ok(Method::DELETE, &path, bytes::Bytes::new()).await?;
        }
        for (spawned, _folder) in self.servers.into_iter().rev() {
            spawned.stop().await;
        }
        Ok(())
    }
}

async fn spawn(common: &Common, number: u8, how: &[OsString]) -> Result<(Spawned, TempDir), Problem> {
    let dir = &common.dir;
    let folder = tempfile::Builder::new()
        .prefix("keyway-bench-")
        .tempdir_in(dir)
        .map_err(|e| Problem::new(exit::USAGE, format!("make a folder in {}: {e}", dir.display())))?;
    let spawned = serve(number.into(), how, "127.0.0.1:0", folder.path()).await?;
    Ok((spawned, folder))
}

/// A server on a folder.
async fn serve(number: usize, how: &[OsString], http: &str, folder: &Path) -> Result<Spawned, Problem> {
    let mut args: Vec<OsString> = ["server", "-q", "--node-id"].map(Into::into).to_vec();
    args.push(number.to_string().into());
    args.extend(how.iter().cloned());
    args.extend(["--http-addr", http, "--raft-addr", "127.0.0.1:0", "--data-dir"].map(Into::into));
    args.push(folder.into());
    Spawned::start(args).await
}

/// Waits until all servers vote.
async fn all_vote(address: &Address, count: usize) -> Result<(), Problem> {
    let client = Client::new(vec![address.clone()], None, PATIENCE);
    let vote = async {
        loop {
            let status = client.cluster_status().await?;
            let voters = status.servers.iter().filter(|server| server.voter).count();
            if voters == count && status.settled {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let late = || {
        Problem::new(
            exit::UNAVAILABLE,
            format!("the {count} servers do not all vote after {PATIENCE:?}"),
        )
    };
    tokio::time::timeout(PATIENCE, vote)
        .await
        .unwrap_or_else(|_| Err(late()))
}

fn named(addresses: &[Address]) -> String {
    let names: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    names.join(",")
}
