//! Folders that the server's user may not write are refused, and what to do is said.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::time::Duration;

use crate::damage::has;
use crate::harness::harm::copy;
use crate::harness::{Disk, Exit, Program, Server, alone, binary, command};

#[test]
fn a_folder_that_may_not_be_written_is_refused_and_says_what_to_do() {
    alone(Duration::from_secs(120), async |home| {
        let mut server = Server::start(home).await?;
        server.put("app/port", "80").await?;
        server.stop().await?;
        let data = &server.data;
        // The test may be root, whom no permission stops; then somebody else has to ask.
        let root = nix::unistd::geteuid().is_root();
        allow(home.dir(), 0o755)?;
        let program = home.path("keyway");
        fs::copy(binary("keyway")?, &program)?;
        let refused = async |name: &'static str, dir: &Path, somebody: bool, words: &[&str]| {
            let mut command = command(home, &program);
            command.args(["server", "--node-id", "1", "--bootstrap", "--raft-addr", "127.0.0.1:0"]);
            command.args(["--http-addr", "127.0.0.1:0", "--data-dir"]).arg(dir);
            if somebody && root {
                command.uid(65534).gid(65534).env("HOME", home.dir());
            }
            let mut program = Program::start(home, name, &mut command)?;
            let exit = program.exit().await?;
            let said = program.log();
            anyhow::ensure!(exit == Exit::Code(3), "{exit:?}: {said}");
            anyhow::ensure!(said.matches("os error").count() == 1, "said twice: {said}");
            has(&said, words)
        };

        let user = "let the server's user read and write there";
        allow(data, 0)?;
        refused("none", data, true, &["Permission denied", user]).await?;
        allow(data, 0o777)?;
        for part in ["lock", "log", "snapshots"] {
            let path = data.join(part);
            let before = fs::metadata(&path)?.permissions();
            for other in ["lock", "log", "snapshots", "state"] {
                open_all(&data.join(other))?;
            }
            allow(&path, 0)?;
            refused(part, data, true, &[part, "Permission denied", user]).await?;
            fs::set_permissions(&path, before)?;
        }
        let disk = Disk::new(home, "read-only", 64)?;
        copy(data, &disk.dir.join("data"))?;
        disk.read_only()?;
        let mount = "mount that file system for writing";
        for dir in ["data", "new"] {
            let path = disk.dir.join(dir);
            refused(dir, &path, false, &["Read-only file system", mount]).await?;
        }
        Ok(())
    });
}

fn allow(path: &Path, mode: u32) -> anyhow::Result<()> {
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

/// For everybody, and what is in it too.
fn open_all(path: &Path) -> anyhow::Result<()> {
    allow(path, 0o777)?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            open_all(&entry?.path())?;
        }
    }
    Ok(())
}
