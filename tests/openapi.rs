//! What the server says of itself in `/v1/openapi.json` is held against what it does, by a program
//! that makes requests of the description (schemathesis, which `tests/run` installs).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Home, Options, Server, alone, long};

/// Blocking queries are short, so that whatever is asked for ends.
fn impatient() -> Options {
    let flags = ["--default-query-time", "20ms", "--max-query-time", "20ms"];
    Options {
        flags: flags.map(str::to_owned).to_vec(),
        ..Options::default()
    }
}

/// What `tests/run` has installed, if it has; whoever runs this test alone has to say where it is.
fn schemathesis() -> Option<PathBuf> {
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/schemathesis/bin/schemathesis");
    let path = std::env::var_os("SCHEMATHESIS").map_or_else(usual, PathBuf::from);
    path.exists().then_some(path)
}

async fn run(home: &Home, program: PathBuf, server: &Server, examples: u32) -> anyhow::Result<()> {
    let address = server.address.to_string();
    let mut command = Command::new(program);
    command
        .current_dir(home.dir())
        .arg("--config-file")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis.toml"))
        .args(["run", &format!("{address}/v1/openapi.json"), "--url", &address])
        .args(["--max-examples", &examples.to_string()])
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    anyhow::ensure!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[test]
fn every_answer_is_one_that_the_description_tells() {
    alone(Duration::from_secs(long(120, 1800)), async |home| {
        let Some(program) = schemathesis() else {
            anyhow::bail!("schemathesis is missing; tests/run installs it, or name the program in SCHEMATHESIS");
        };
        let mut server = Server::with(home, impatient()).await?;

        run(home, program, &server, long(8, 500)).await?;

        let said = server.program.log();
        anyhow::ensure!(!said.contains("panicked"), "{said}");
        assert_eq!(server.request("GET", "/readyz", &[]).await?.status, 200);
        server.stop().await?;
        Ok(())
    });
}
