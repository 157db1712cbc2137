//! What is measured: the server that was named, or one of our own on a folder that goes away.

use std::ffi::OsString;
use std::path::Path;

use http::Method;
use kvapi::problem::exit;
use kvapi::{Address, Problem};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tempfile::TempDir;

use crate::connection::Connection;
use crate::context::Context;
use crate::spawned::Spawned;

/// Every key of a measurement lies below it and is deleted afterwards.
pub(super) const FOLDER: &str = "keyway-bench/";

/// See the module.
pub(super) struct Target {
    pub(super) address: Address,
    server: Option<(Spawned, TempDir)>,
}

impl Target {
    /// The address of --addr (flag, environment or file), else a server started below `dir`.
    pub(super) async fn open(context: &mut Context<'_>, dir: &Path) -> Result<Self, Problem> {
        allow_many_files();
        if context.settings.addresses_named {
            let address = context.settings.addresses.first().cloned();
            let address = address.ok_or_else(|| Problem::new(exit::USAGE, "--addr names no server"))?;
            context.out.say(format_args!(
                "measuring {address}; its keys below {FOLDER} are overwritten and then deleted"
            ));
            return Ok(Self { address, server: None });
        }
        let target = Self::start(dir).await?;
        context.out.say(format_args!(
            "no --addr: measuring a server of its own at {}, on this machine, with its data below {}",
            target.address,
            dir.display()
        ));
        Ok(target)
    }

    /// A new server in a new folder.
    async fn start(dir: &Path) -> Result<Self, Problem> {
        let folder = tempfile::Builder::new()
            .prefix("keyway-bench-")
            .tempdir_in(dir)
            .map_err(|e| Problem::new(exit::USAGE, format!("make a folder in {}: {e}", dir.display())))?;
        let mut args: Vec<OsString> = ["server", "--bootstrap", "-q"].map(Into::into).to_vec();
        args.extend(["--http-addr", "127.0.0.1:0", "--raft-addr", "127.0.0.1:0", "--data-dir"].map(Into::into));
        args.push(folder.path().into());
        let spawned = Spawned::start(args).await?;
        Ok(Self {
            address: spawned.address.clone(),
            server: Some((spawned, folder)),
        })
    }

    /// Another server in its place if it is ours, so that what a line left in its memory does not
    /// count for the next.
    pub(super) async fn renewed(self, dir: &Path) -> Result<Self, Problem> {
        match self.server {
            Some((spawned, _folder)) => {
                spawned.stop().await;
                Self::start(dir).await
            }
            None => Ok(self),
        }
    }

    /// The process id of the server, if it is ours.
    pub(super) fn pid(&self) -> Option<u32> {
        self.server.as_ref().and_then(|(spawned, _)| spawned.pid())
    }

    /// Deletes the keys, or stops the server that goes with its folder.
    pub(super) async fn close(self) -> Result<(), Problem> {
        match self.server {
            Some((spawned, _folder)) => spawned.stop().await,
            None => {
                let mut connection = Connection::open(&self.address).await?;
                let path = format!("/v1/kv/{FOLDER}?recurse");
                connection.expect_ok(Method::DELETE, &path, bytes::Bytes::new()).await?;
            }
        }
        Ok(())
    }
}

/// Thousands of connections need thousands of files; the server that we start inherits the limit.
fn allow_many_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // If it fails, the connections that do not fit will say so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
