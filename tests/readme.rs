//! README's commands do what README says.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;

use crate::harness::{Exit, Home, Process, Program, alone, binary, command, eventually, holds, long, test, write_file};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// Every command of README, in its order, and how it is tried: a new one has to be added here.
const COMMANDS: &[(&str, Tried)] = &[
    ("cargo run --release -- demo", Tried::InAFreshClone),
    (
        "cargo install --locked --path .",
        Tried::Not("it builds once more what the first command built; CI has no time for that"),
    ),
    ("keyway dev", Tried::AsAStore),
    ("keyway kv put web/backends/a 127.0.0.1:9001", Tried::ToItsEnd),
    ("keyway kv put web/server_name www.example.org", Tried::ToItsEnd),
    ("keyway kv get web/server_name", Tried::ToItsEnd),
    ("keyway kv ls -r web", Tried::ToItsEnd),
    ("keyway kv history web/server_name", Tried::ToItsEnd),
    ("keyway kv diff web/ --at 10m..", Tried::ToItsEnd),
    ("keyway kv revert web/ --to 10m --dry-run", Tried::ToItsEnd),
    ("keyway agent render -t templates/nginx.conf.hbs", Tried::ToItsEnd),
    (
        "keyway agent run -t templates/nginx.conf.hbs:/etc/nginx/nginx.conf --check 'nginx -t -q -c {}' \
         --on-change signal=HUP -- nginx -g 'daemon off;'",
        Tried::AsAnAgent,
    ),
    (
        "curl -X PUT http://127.0.0.1:8080/v2/apps/web -d '{\"cmd\": \"exec python3 -m http.server $PORT0\", \"instances\": 3, \"cpus\": 0.1, \"mem\": 32}'",
        Tried::Not("tests/deploying.rs does the same with a scheduler on a free port"),
    ),
    (
        "curl http://127.0.0.1:8080/v2/apps/web",
        Tried::Not("tests/deploying.rs does the same with a scheduler on a free port"),
    ),
    (
        "RUSTFLAGS='-C target-feature=+crt-static' cargo build --profile dist -p agent --target x86_64-unknown-linux-gnu",
        Tried::Not("tests/run links the programs so, without building their libraries once more"),
    ),
    (
        "cp target/x86_64-unknown-linux-gnu/dist/keyway-agent templates/nginx.conf.hbs .",
        Tried::Not("tests/containers.rs copies what tests/run has linked"),
    ),
    (
        "docker build -t web .",
        Tried::Not("tests/containers.rs builds it, in an engine of its own"),
    ),
    (
        "keyway server --data-dir /var/lib/keyway --bootstrap --agent-socket /run/keyway/agent.sock",
        Tried::Not("tests/containers.rs starts one with files of its own"),
    ),
    (
        "docker run -v /run/keyway:/run/keyway -e KEYWAY_ADDR=unix:///run/keyway/agent.sock -p 80:80 web",
        Tried::Not("tests/containers.rs does it with a socket in place of the port"),
    ),
    (
        "tests/run",
        Tried::Not("it is what runs this; `tests/run --long` runs it in an empty Debian"),
    ),
];

/// How a command is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    /// By a test of its own.
    InAFreshClone,
    /// As it stands there, on a free port; those after it find it there.
    AsAStore,
    /// As it stands there.
    ToItsEnd,
    /// With nginx's files in the test's folder, until a setting has changed.
    AsAnAgent,
    /// Not here, and why.
    Not(&'static str),
}

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

/// A `CARGO_HOME` with this machine's settings and nothing else.
fn empty_cargo_home(home: &Home) -> anyhow::Result<PathBuf> {
    let to = home.path("cargo");
    std::fs::create_dir_all(&to)?;
    let from = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let from = from.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    for name in ["config.toml", "config"] {
        let file = from.as_ref().map(|from| from.join(name)).filter(|file| file.exists());
        if let Some(file) = file {
            write_file(&to.join(name), std::fs::read(file)?)?;
        }
    }
    Ok(to)
}

/// In the full run it is the command as it stands, with nothing built and nothing fetched before, as on a machine that
/// sees the repository for the first time. Every day cargo says that the clone has all that it takes, and what it would
/// run is the program that the tests have: the same sources, built already.
#[test]
fn the_first_command_in_a_fresh_clone_shows_the_main_job() {
    alone(Duration::from_secs(30 * 60), async |home| {
        let readme = readme()?;
        let first = commands(&readme).first().copied().context("README has commands")?;
        assert_eq!(COMMANDS.first(), Some(&(first, Tried::InAFreshClone)));
        let (cargo, of_keyway) = first.split_once(" -- ").context("it hands words on to keyway")?;
        let clone = clone(home)?;
        let mut demo = if long(false, true) {
            let mut whole = Command::new("cargo");
            whole
                .args(cargo.split(' ').skip(1))
                .arg("--")
                .env_remove("RUSTFLAGS")
                .env("CARGO_HOME", empty_cargo_home(home)?)
                .env("CARGO_TARGET_DIR", home.path("target"));
            whole
        } else {
            let mut plan = Command::new("cargo");
            plan.args(["tree", "--locked", "--depth", "0"]).current_dir(&clone);
            assert!(run(&mut plan)?.starts_with("keyway "));
            Command::new(binary("keyway")?)
        };
        demo.args(of_keyway.split(' ')).arg("--once").current_dir(clone);
        let said = tokio::task::spawn_blocking(move || run(&mut demo)).await??;

        assert!(said.contains("keyway kv put"), "{said}");
        Ok(())
    });
}

#[test]
fn every_command_of_the_readme_is_tried_or_there_is_a_reason_why_not() {
    let readme = readme().unwrap();
    let listed: Vec<&str> = COMMANDS.iter().map(|(command, _)| *command).collect();
    assert_eq!(commands(&readme), listed);
    for (command, tried) in COMMANDS {
        assert_ne!(*tried, Tried::Not(""), "{command}");
    }
}

/// Follows README from `keyway dev` on, each command after the other, as a reader does.
#[test]
fn the_keyway_commands_of_the_readme_work() {
    test(async |home| {
        for file in std::fs::read_dir(Path::new(HERE).join("templates"))? {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            home.write(&format!("templates/{name}"), std::fs::read(file.path())?)?;
        }
        let mut store: Option<(Program, String)> = None;
        for (command, tried) in COMMANDS {
            let address = store.as_ref().map(|(_, address)| address.as_str());
            match tried {
                Tried::InAFreshClone | Tried::Not(_) => {}
                Tried::AsAStore => store = Some(dev(home, command).await?),
                Tried::ToItsEnd => {
                    let mut shell = shell(home, command, address)?;
                    tokio::task::spawn_blocking(move || run(&mut shell)).await??;
                }
                Tried::AsAnAgent => agent(home, command, address).await?,
            }
        }
        let (mut dev, _) = store.context("README starts a store")?;
        dev.signal(Signal::SIGINT)?;
        assert_eq!(dev.exit().await?, Exit::Code(0));
        Ok(())
    });
}

/// What the reader's shell becomes: the programs on the path, the store where it is.
fn shell(home: &Home, line: &str, address: Option<&str>) -> anyhow::Result<Command> {
    let keyway = binary("keyway")?;
    let folder = keyway.parent().context("it is in a folder")?.display();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = command(home, "sh");
    // Debian keeps the programs of daemons where only root's path leads.
    shell
        .args(["-ec", &format!("exec {line}")])
        .env("PATH", format!("{folder}:{path}:/usr/sbin:/sbin"));
    if let Some(address) = address {
        shell.env("KEYWAY_ADDR", address);
    }
    Ok(shell)
}

/// `keyway dev` and its address. Its port may be taken here, so it gets a free one.
async fn dev(home: &Home, line: &str) -> anyhow::Result<(Program, String)> {
    let mut shell = shell(home, line, None)?;
    shell.env("KEYWAY_DEV_HTTP_ADDR", "127.0.0.1:0");
    let mut dev = Program::start(home, "dev", &mut shell)?;
    let address = dev.line("where it listens", 0, |line| {
        let (_, rest) = line.split_once("http=")?;
        Some(rest.split(' ').next()?.to_owned())
    });
    let address = address.await?;
    Ok((dev, address))
}

/// The agent in front of nginx: a `kv put` is a new file, and new workers of the same nginx.
async fn agent(home: &Home, line: &str, address: Option<&str>) -> anyhow::Result<()> {
    let (conf, pid, socket) = (home.path("nginx.conf"), home.path("nginx.pid"), home.path("nginx.sock"));
    let put = async |key: &str, value: &str| {
        let mut shell = shell(home, &format!("keyway kv put {key} {value}"), address)?;
        tokio::task::spawn_blocking(move || run(&mut shell)).await?
    };
    put("nginx/pid", &pid.display().to_string()).await?;
    put("web/listen", &format!("unix:{}", socket.display())).await?;
    let here = line.replace("/etc/nginx/nginx.conf", &conf.display().to_string());
    let here = here.replace("-- nginx ", &format!("-- nginx -c {} ", conf.display()));
    let mut agent = Program::start(home, "agent", &mut shell(home, &here, address)?)?;
    // The check of the file opens the socket and the file of the number too, for a moment.
    let number = async || home.read("nginx.pid").ok()?.trim().parse::<i32>().ok();
    let nginx = eventually("nginx is up", number).await?;
    let workers = || -> Vec<Process> {
        let children = agent.children();
        children.into_iter().filter(|process| process.parent == nginx).collect()
    };
    let before = eventually("nginx has workers", async || {
        Some(workers()).filter(|now| !now.is_empty())
    })
    .await?;

    put("web/server_name", "www.example.net").await?;

    holds("the workers are new", async || !before.iter().any(Process::runs)).await?;
    assert!(home.read("nginx.conf")?.contains("server_name www.example.net;"));
    assert!(UnixStream::connect(&socket).is_ok());
    assert!(Process::of(nginx).is_some_and(|process| process.parent == agent.pid()));
    agent.signal(Signal::SIGTERM)?;
    assert_eq!(agent.exit().await?, Exit::Code(0));
    Ok(())
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
