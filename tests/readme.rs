//! README's commands do what README says.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use crate::harness::{Home, Server, alone, binary, test};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn readme() -> anyhow::Result<String> {
    Ok(std::fs::read_to_string(Path::new(HERE).join("README.md"))?)
}

/// The lines that begin with `$ ` in the README's `console` blocks, in order.
fn commands(readme: &str) -> Vec<&str> {
    let blocks = readme
        .split("```console\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    blocks
        .flat_map(str::lines)
        .filter_map(|line| line.strip_prefix("$ "))
        .collect()
}

fn run(program: &mut Command) -> anyhow::Result<String> {
    let shown = format!("{program:?}");
    let output = program.stdin(Stdio::null()).output().with_context(|| shown.clone())?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(
        output.status.success(),
        "{shown}\n{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said)
}

/// Clones what is committed into the test's folder.
fn clone(home: &Home) -> anyhow::Result<std::path::PathBuf> {
    let to = home.path("keyway");
    run(Command::new("git")
        .args(["clone", "--quiet", "--depth", "1"])
        .arg(format!("file://{HERE}"))
        .arg(&to))?;
    Ok(to)
}

#[test]
fn the_first_command_in_a_fresh_clone_shows_the_main_job() {
    alone(Duration::from_secs(30 * 60), async |home| {
        let readme = readme()?;
        let first = commands(&readme).first().copied().context("README has commands")?;
        assert_eq!(first, "cargo run --release -- demo");
        let clone = clone(home)?;

        let mut cargo = Command::new("cargo");
        cargo
            .args(first.split(' ').skip(1))
            .arg("--once")
            .current_dir(clone)
            // Its own, so that nothing of this build helps it; kept, so that only what changed is
            // built the next time.
            .env("CARGO_TARGET_DIR", Path::new(HERE).join("target/readme"))
            .env_remove("RUSTFLAGS");
        let said = tokio::task::spawn_blocking(move || run(&mut cargo)).await??;

        assert!(said.contains("keyway kv put"), "{said}");
        Ok(())
    });
}

/// Runs the README's `keyway` commands that end by themselves, in order, as they stand there.
#[test]
fn the_keyway_commands_of_the_readme_work() {
    test(async |home| {
        let readme = readme()?;
        let server = Server::start(home).await?;
        for file in std::fs::read_dir(Path::new(HERE).join("templates"))? {
            let file = file?;
            home.write(
                &format!("templates/{}", file.file_name().to_string_lossy()),
                std::fs::read(file.path())?,
            )?;
        }
        let folder = binary("keyway")?
            .parent()
            .context("it is in a folder")?
            .display()
            .to_string();
        let mut count = 0;
        for command in commands(&readme) {
            let ends = command.starts_with("keyway kv ") || command.starts_with("keyway agent render");
            if !ends || command.contains(" watch ") {
                continue;
            }
            let mut shell = Command::new("sh");
            shell
                .args(["-ec", command])
                .current_dir(home.dir())
                .env("KEYWAY_ADDR", server.address.to_string())
                .env(
                    "PATH",
                    format!("{folder}:{}", std::env::var("PATH").unwrap_or_default()),
                );
            tokio::task::spawn_blocking(move || run(&mut shell)).await??;
            count += 1;
        }
        assert!(
            count >= 3,
            "README shows at least three commands that can be tried here, not {count}"
        );
        Ok(())
    });
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    test(async |_| {
        let mut documents = vec![
            "README.md".to_owned(),
            "ARCHITECTURE.md".to_owned(),
            "CHANGELOG.md".to_owned(),
        ];
        for folder in ["docs", "docs/decisions"] {
            for entry in std::fs::read_dir(Path::new(HERE).join(folder))? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if name.ends_with(".md") {
                    documents.push(format!("{folder}/{name}"));
                }
            }
        }
        for document in documents {
            let path = Path::new(HERE).join(&document);
            let text = std::fs::read_to_string(&path).with_context(|| document.clone())?;
            let folder = path.parent().context("a file is in a folder")?;
            for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let target = link.split('#').next().unwrap_or_default();
                if target.is_empty() || target.starts_with("http") {
                    continue;
                }
                assert!(
                    folder.join(target).exists(),
                    "{document} links to {target}, which is not there"
                );
            }
        }
        Ok(())
    });
}
