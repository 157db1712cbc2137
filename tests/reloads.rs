//! The templates that ship, at work: the real program has what was put, without anybody's doing. nginx and haproxy are
//! in load.rs, under requests.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::harness::{Home, Program, Server, binary, command, holds, test};

/// Debian keeps the programs of daemons where only root's path leads.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// The agent with one of the templates; `words` are more flags and the command, where `FILE` is the file.
fn agent(home: &Home, server: &Server, template: &str, words: &[&str]) -> anyhow::Result<Program> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates").join(template);
    let file = home.path("file.json").display().to_string();
    let mut command = command(home, binary("keyway-agent")?);
    command
        .env("KEYWAY_ADDR", server.address.to_string())
        .env("PATH", path())
        .args(["run", "-t", &format!("{}:{file}", source.display())])
        .args(words.iter().map(|word| word.replace("FILE", &file)));
    Program::start(home, "agent", &mut command)
}

#[test]
fn redis_is_started_again_with_what_was_put() {
    test(async |home| {
        let server = Server::start(home).await?;
        let socket = home.path("redis.sock").display().to_string();
        server.put("redis/port", "0").await?;
        server.put("redis/socket", socket.clone()).await?;
        server.put("redis/dir", home.dir().display().to_string()).await?;
        server.put("redis/maxmemory", "64mb").await?;
        let words = ["--on-change", "restart", "--", "redis-server", "FILE"];
        let _agent = agent(home, &server, "redis.conf.hbs", &words)?;
        let holds_at_most = async |bytes: &str| {
            holds(&format!("redis holds at most {bytes} bytes"), async || {
                let mut ask = Command::new("redis-cli");
                ask.args(["-s", &socket, "CONFIG", "GET", "maxmemory"])
                    .env("PATH", path());
                ask.output()
                    .is_ok_and(|output| output.stdout == format!("maxmemory\n{bytes}\n").as_bytes())
            })
            .await
        };
        holds_at_most("67108864").await?;

        server.put("redis/maxmemory", "32mb").await?;

        holds_at_most("33554432").await
    });
}

#[test]
fn prometheus_asks_a_target_that_was_put() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("prometheus/targets/web/1", "127.0.0.1:1").await?;
        let _agent = agent(home, &server, "prometheus-targets.json.hbs", &[])?;
        holds("the targets are there", async || home.path("file.json").exists()).await?;
        let targets = home.path("file.json");
        let config = format!("scrape_configs: [{{job_name: all, file_sd_configs: [{{files: [{targets:?}]}}]}}]");
        let config = home.write("prometheus.yml", config)?;
        // Nobody else is given ports of this address while the program does not have it yet.
        let address = TcpListener::bind("127.0.0.77:0")?.local_addr()?;
        let mut command = command(home, "prometheus");
        command
            .env("PATH", path())
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", home.path("tsdb").display()))
            .arg(format!("--web.listen-address={address}"));
        let _prometheus = Program::start(home, "prometheus", &mut command)?;
        let asks = async |target: &str| {
            holds(&format!("prometheus asks {target}"), async || {
                active(address).is_ok_and(|text| text.contains(&format!("http://{target}/metrics")))
            })
            .await
        };
        asks("127.0.0.1:1").await?;

        server.put("prometheus/targets/db/1", "127.0.0.1:2").await?;

        asks("127.0.0.1:2").await
    });
}

/// What Prometheus says of its targets.
fn active(address: SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /api/v1/targets?state=active HTTP/1.0\r\nHost: x\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn a_program_is_started_again_with_the_environment_that_was_put() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/env/greeting", "it's $HOME").await?;
        let script = "set -a; . FILE; exec sh -c 'echo \"greeting: $GREETING\"; exec sleep 600'";
        let words = ["--on-change", "restart", "--", "sh", "-c", script];
        let mut agent = agent(home, &server, "app.env.hbs", &words)?;
        let mut says = async |text: &str| {
            let line = format!("greeting: {text}");
            agent.line(&line, 0, |said| (said == line).then_some(())).await
        };
        says("it's $HOME").await?;

        server.put("app/env/greeting", "`id` & \"more\"").await?;

        says("`id` & \"more\"").await
    });
}
