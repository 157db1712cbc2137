//! The agent as the entry point of containers, in a real Docker Engine.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use crate::harness::{
    Docker, Exit, Home, Options, Server, alone, ask, backend_at, binary, descendants, eventually, holds,
};

const HERE: &str = env!("CARGO_MANIFEST_DIR");
const BOUND: Duration = Duration::from_secs(180);

/// A program of this workspace, copied to where an image is built. It has to be one static file, as it is shipped.
pub(crate) fn copy_static(home: &Home, name: &str, to: &str) -> anyhow::Result<()> {
    let program = binary(name)?;
    // A program that needs others says in its head which one loads it: PT_INTERP, type 3.
    let bytes = std::fs::read(&program)?;
    let number = |at: usize, len: usize| -> Option<usize> {
        let bytes = bytes.get(at..at + len)?.iter().rev();
        Some(bytes.fold(0, |sum, byte| (sum << 8) | usize::from(*byte)))
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let (table, size, count) = (table.zip(size).zip(count))
        .map(|((a, b), c)| (a, b, c))
        .context("a program")?;
    let is_static = (0..count).all(|n| number(table + n * size, 4) != Some(3));
    anyhow::ensure!(
        is_static,
        "{} is not static; `RUSTC_WORKSPACE_WRAPPER=$PWD/tests/static cargo build --workspace --bins` with the profile \
         of the tests makes it so, and tests/run does",
        program.display()
    );
    home.write(&format!("{to}/{name}"), "")?;
    let done = Command::new("strip")
        .arg("-o")
        .arg(home.path(to).join(name))
        .arg(&program)
        .status()?;
    anyhow::ensure!(done.success(), "strip {}", program.display());
    std::fs::set_permissions(home.path(to).join(name), std::fs::metadata(&program)?.permissions())?;
    Ok(())
}

const AGENT_TOML: &str = r#"
on_change = "signal=HUP"
check = ["/keyway", "demo-app", "--check", "--config", "{}"]

[[template]]
source = "/app.conf.hbs"
destination = "/run/app.conf"

[exec]
command = ["/keyway", "demo-app", "--config", "/run/app.conf"]
"#;

/// Nothing but our programs and two files of text: no shell, no library, no user, no /tmp. And no right to anything.
#[test]
fn the_agent_is_the_entry_point_of_an_empty_image() {
    alone(BOUND, async |home| {
        let Some(docker) = Docker::start(home).await? else {
            return Ok(());
        };
        let server = Server::start(home).await?;
        server.put("app/greeting", "hello").await?;
        server.put("app/limit", "10").await?;
        copy_static(home, "keyway-agent", "image")?;
        copy_static(home, "keyway", "image")?;
        home.write(
            "image/app.conf.hbs",
            "greeting = {{line (key \"app/greeting\")}}\nlimit = {{line (key \"app/limit\")}}\n",
        )?;
        home.write("image/agent.toml", AGENT_TOML)?;
        let steps = "FROM scratch\nCOPY keyway-agent keyway app.conf.hbs agent.toml /\n\
                     ENTRYPOINT [\"/keyway-agent\"]\nCMD [\"run\", \"-c\", \"/agent.toml\"]\n";
        home.write("image/Dockerfile", steps)?;
        docker
            .run(
                home,
                &["build", "-q", "-t", "empty", &home.path("image").display().to_string()],
            )
            .await?;
        // By its name, which nothing but the agent itself can look up in there.
        let port = server
            .address
            .to_string()
            .rsplit(':')
            .next()
            .map(str::to_owned)
            .unwrap_or_default();
        let store = format!("KEYWAY_ADDR=http://localhost:{port}");
        let strict = [
            "--network",
            "host",
            "--read-only",
            "--tmpfs",
            "/run:mode=1777",
            "--user",
            "65534:65534",
            "--cap-drop",
            "ALL",
        ];
        let flags = [&strict[..], &["-e", &store]].concat();

        docker
            .run(
                home,
                &[&["run", "-d", "--name", "app"], &flags[..], &["empty"]].concat(),
            )
            .await?;

        let logs = docker.says(home, "app", "serving on http://").await?;
        let address = logs
            .split("serving on http://")
            .nth(1)
            .and_then(|rest| rest.lines().next());
        let address = address.context("an address")?.to_owned();
        let answer = async || ask(TcpStream::connect(&address).ok()?).ok();
        let first = eventually("the program answers", answer).await?;
        assert!(first.starts_with("hello (limit 10, process "), "{first}");
        let agent = docker.first(home, "app").await?;
        let name = std::fs::read_to_string(format!("/proc/{}/comm", agent.pid))?;
        assert_eq!(name.trim(), "keyway-agent");

        server.put("app/greeting", "good evening").await?;
        let same = first.replace("hello", "good evening");
        holds("the same process has the new value", async || {
            answer().await.as_ref() == Some(&same)
        })
        .await?;

        server.put("app/limit", "many").await?;
        docker.says(home, "app", "is not a number from 1 to 1000").await?;
        docker.run(home, &["kill", "--signal", "HUP", "app"]).await?;
        assert_eq!(
            answer().await,
            Some(same),
            "a value that the check refuses changes nothing"
        );

        assert_eq!(
            docker.stop(home, "app").await?,
            0,
            "{}",
            docker.logs(home, "app").await?
        );
        server.put("app/limit", "11").await?;
        for (command, code) in [
            (&["/keyway-agent", "--version"][..], 0),
            (&["/keyway-agent", "--nonsense"], 2),
            (&["/nothing"], 127),
            (&["/agent.toml"], 126),
        ] {
            let once = ["empty", "run", "-t", "/app.conf.hbs:/run/app.conf", "--"];
            let said = docker
                .ask(home, &[&["run", "--rm"], &flags[..], &once, command].concat())
                .await?;
            assert_eq!(said.exit, Exit::Code(code), "{command:?}: {}", said.err);
        }
        docker.end(home).await
    });
}

/// README's image, word for word, upon nginx as Debian ships it.
#[test]
fn the_image_of_the_readme_is_nginx_that_follows_its_settings() {
    alone(BOUND, async |home| {
        let Some(docker) = Docker::start(home).await? else {
            return Ok(());
        };
        import_nginx(home, &docker).await?;
        copy_static(home, "keyway-agent", "image")?;
        let readme = std::fs::read_to_string(Path::new(HERE).join("README.md"))?;
        let steps = readme
            .split("```dockerfile\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next());
        home.write("image/Dockerfile", steps.context("README shows a Dockerfile")?)?;
        let template = std::fs::read(Path::new(HERE).join("templates/nginx.conf.hbs"))?;
        home.write("image/nginx.conf.hbs", template)?;
        docker
            .run(
                home,
                &["build", "-q", "-t", "web", &home.path("image").display().to_string()],
            )
            .await?;

        // What the container sees of the machine: a folder with the store's socket, and here the web server's too.
        let shared = home.path("shared");
        std::fs::create_dir(&shared)?;
        let socket = shared.join("agent.sock").display().to_string();
        let options = Options {
            flags: vec!["--agent-socket".into(), socket],
            ..Options::default()
        };
        let server = Server::with(home, options).await?;
        for text in ["one", "two", "three"] {
            backend_at(&shared.join(text), text)?;
        }
        server.put("web/listen", "unix:/run/keyway/web.sock").await?;
        server.put("web/backends/a", "unix:/run/keyway/one").await?;
        let mount = format!("{}:/run/keyway", shared.display());
        let store = "KEYWAY_ADDR=unix:///run/keyway/agent.sock";
        docker
            .run(
                home,
                &[
                    "run",
                    "-d",
                    "--name",
                    "web",
                    "--network",
                    "none",
                    "-v",
                    &mount,
                    "-e",
                    store,
                    "web",
                ],
            )
            .await?;
        let answers = async |text: &str| {
            let answer = || ask(UnixStream::connect(shared.join("web.sock")).ok()?).ok();
            holds(&format!("nginx answers `{text}`"), async || {
                answer().as_deref() == Some(text)
            })
            .await
        };
        answers("one").await?;
        let agent = docker.first(home, "web").await?;
        let master = descendants(agent.pid)
            .into_iter()
            .find(|process| process.parent == agent.pid);
        let master = master.context("nginx is the agent's child")?;

        server.put("web/backends/a", "unix:/run/keyway/two").await?;
        answers("two").await?;
        server.put("web/max_body", "nonsense").await?;
        docker
            .says(home, "web", "\"client_max_body_size\" directive invalid value")
            .await?;
        server.put("web/backends/a", "unix:/run/keyway/three").await?;
        answers("two").await?;
        server.put("web/max_body", "2m").await?;
        answers("three").await?;
        assert!(master.runs(), "the same nginx, with new workers");

        // What loses its parent becomes the agent's, and is gone when it has ended.
        let script = "for n in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.2 &); done";
        docker.run(home, &["exec", "web", "sh", "-c", script]).await?;
        let sleeps = || {
            let all = descendants(agent.pid).into_iter();
            let is = |pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n");
            all.filter(|process| is(process.pid)).count()
        };
        holds("no orphan is left, not even as a zombie", async || sleeps() == 0).await?;

        docker.run(home, &["kill", "--signal", "KILL", "web"]).await?;
        server.put("web/backends/a", "unix:/run/keyway/one").await?;
        std::fs::remove_file(shared.join("web.sock"))?;
        docker.run(home, &["start", "web"]).await?;
        answers("one").await?;
        assert_eq!(
            docker.stop(home, "web").await?,
            0,
            "{}",
            docker.logs(home, "web").await?
        );
        docker.end(home).await
    });
}

/// An image called `nginx` of this machine's own Debian: nginx, a shell, and what they need, nothing else.
async fn import_nginx(home: &Home, docker: &Docker) -> anyhow::Result<()> {
    let script = "for name in nginx /bin/sh /usr/bin/sh sleep; do\n\
        file=$(command -v $name)\n\
        echo $file\n\
        ldd $file | grep -o '/[^ ]*'\n\
        done | sort -u >files\n\
        tar -ch -f nginx.tar -T files /etc/passwd /etc/group /etc/nginx /etc/os-release 2>>tar.log\n\
        tar -rf nginx.tar --no-recursion /run /tmp /var/log/nginx /var/lib/nginx 2>>tar.log";
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let made = Command::new("sh")
        .args(["-ec", script])
        .current_dir(home.dir())
        .env("PATH", path)
        .status()?;
    anyhow::ensure!(
        made.success(),
        "no image of nginx: {}",
        home.read("tar.log").unwrap_or_default()
    );
    let tar = home.path("nginx.tar").display().to_string();
    docker.run(home, &["import", &tar, "nginx"]).await?;
    Ok(())
}
