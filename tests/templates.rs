//! The templates that ship: each renders its sample to its expected output, and the program that it
//! is for accepts what comes out.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kvapi::client::WriteOptions;
use kvapi::types::TxnOp;

use crate::harness::{Home, Program, Server, ask, holds, test};

const TEMPLATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/templates");

fn file(name: &str, end: &str) -> PathBuf {
    Path::new(TEMPLATES).join(format!("{name}{end}"))
}

/// Loads a template's sample into a store and renders it; the output must be as expected. Gives
/// the file, in the test's folder.
async fn rendered(home: &Home, name: &str) -> anyhow::Result<PathBuf> {
    let server = Server::start(home).await?;
    let sample: BTreeMap<String, String> = serde_json::from_slice(&std::fs::read(file(name, ".sample.json"))?)?;
    let ops: Vec<TxnOp> = sample.into_iter().map(|(key, value)| TxnOp::set(key, value)).collect();
    assert!(server.client().txn(&ops, &WriteOptions::default()).await?.is_ok());

    let template = file(name, ".hbs").display().to_string();
    let said = server
        .keyway(home)
        .run(&["agent", "render", "-t", &template])
        .await?
        .expect(0)?;

    let expected = std::fs::read_to_string(file(name, ".expected"))?;
    assert_eq!(said.text(), expected, "{name}");
    Ok(home.write(name, said.out)?)
}

/// Debian keeps the programs of daemons where only root's path leads.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Runs a program's own check in the test's folder.
fn accepts(home: &Home, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(home.dir())
        .env("PATH", path())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| anyhow::anyhow!("{program}: {error}; tests/run installs it"))?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    anyhow::ensure!(output.status.success(), "{program} refuses it: {said}");
    Ok(said)
}

#[test]
fn nginx_accepts_nginx_conf() {
    test(async |home| {
        let conf = rendered(home, "nginx.conf").await?.display().to_string();
        let prefix = format!("{}/", home.dir().display());

        let said = accepts(home, "nginx", &["-t", "-p", &prefix, "-c", &conf])?;

        assert!(said.contains("test is successful"), "{said}");
        Ok(())
    });
}

#[test]
fn haproxy_accepts_haproxy_cfg() {
    test(async |home| {
        let conf = rendered(home, "haproxy.cfg").await?.display().to_string();

        accepts(home, "haproxy", &["-c", "-f", &conf])?;

        Ok(())
    });
}

#[test]
fn haproxy_accepts_haproxy_keys_cfg() {
    test(async |home| {
        let conf = rendered(home, "haproxy-keys.cfg").await?.display().to_string();

        accepts(home, "haproxy", &["-c", "-f", &conf])?;

        Ok(())
    });
}

#[test]
fn prometheus_accepts_prometheus_targets_json() {
    test(async |home| {
        let targets = rendered(home, "prometheus-targets.json").await?.display().to_string();
        let config = format!("scrape_configs: [{{job_name: all, file_sd_configs: [{{files: [{targets:?}]}}]}}]");
        let config = home.write("prometheus.yml", config.into_bytes())?.display().to_string();

        let said = accepts(home, "promtool", &["check", "config", &config])?;

        assert!(said.contains("SUCCESS"), "{said}");
        Ok(())
    });
}

/// Redis has no check but to start: it does, on its socket alone, and says what it took.
#[test]
fn redis_accepts_redis_conf() {
    test(async |home| {
        let conf = rendered(home, "redis.conf").await?;
        let mut command = Command::new("redis-server");
        command.arg(conf).current_dir(home.dir()).stdin(Stdio::null());
        let _redis = Program::start(home, "redis", &mut command)?;
        holds("redis listens", async || home.path("redis.sock").exists()).await?;

        let ask = |arguments: &[&str]| accepts(home, "redis-cli", &[&["-s", "redis.sock"], arguments].concat());
        assert_eq!(ask(&["PING"])?.trim(), "PONG");
        for (name, value) in [
            ("maxmemory", "67108864"),
            ("maxmemory-policy", "allkeys-lru"),
            ("timeout", "30"),
        ] {
            assert_eq!(ask(&["CONFIG", "GET", name])?, format!("{name}\n{value}\n"));
        }
        Ok(())
    });
}

#[test]
fn a_shell_reads_app_env_as_it_was_stored() {
    test(async |home| {
        let env = rendered(home, "app.env").await?.display().to_string();

        let said = accepts(
            home,
            "sh",
            &[
                "-c",
                "set -a; . \"$0\"; printf '%s\\n' \"$GREETING\" \"$VERSION\"",
                &env,
            ],
        )?;

        assert_eq!(said, "it's <b>\"good\"</b> & $HOME `date`\n1.10\n");
        Ok(())
    });
}

/// A value with all that ends words, quotes and comments, rendered as a word of a program's configuration.
fn nasty(home: &Home, template: &str) -> anyhow::Result<(PathBuf, String)> {
    let value = "it's \"q\" \\ \\\\n \\t ; } { # $HOME ${HOME} `id` x";
    let values = serde_json::json!({ "a": value }).to_string();
    let (source, values) = (home.write("t", template)?, home.write("values", values)?);
    let output = Command::new(env!("CARGO_BIN_EXE_keyway"))
        .args(["agent", "render", "-t", &source.display().to_string()])
        .args(["--values", &values.display().to_string()])
        .output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok((home.write("conf", output.stdout)?, value.to_owned()))
}

/// What a server says behind a socket.
fn answer(socket: &Path) -> anyhow::Result<String> {
    ask(UnixStream::connect(socket)?)
}

#[test]
fn nginx_reads_a_quoted_value_as_it_was_stored() {
    test(async |home| {
        let (conf, value) = nasty(
            home,
            "pid n.pid; error_log stderr; daemon off; master_process off; events {}\n\
             http { access_log off; server { listen unix:n.sock; location / { return 200 {{nginx (replace (key \"a\") \"$\" \"\")}}; } } }",
        )?;
        let mut command = Command::new("nginx");
        command
            .args(["-p", &format!("{}/", home.dir().display()), "-c"])
            .arg(conf);
        command.current_dir(home.dir()).env("PATH", path()).stdin(Stdio::null());
        let _nginx = Program::start(home, "nginx", &mut command)?;
        let socket = home.path("n.sock");
        holds("nginx answers", async || answer(&socket).is_ok()).await?;

        assert_eq!(answer(&socket)?, value.replace('$', ""));
        Ok(())
    });
}

#[test]
fn haproxy_reads_a_quoted_value_as_it_was_stored() {
    test(async |home| {
        let (conf, value) = nasty(
            home,
            "defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\nfrontend web\n  bind unix@h.sock\n  \
             http-request return status 200 content-type text/plain string {{haproxy (key \"a\")}}\n",
        )?;
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(conf).current_dir(home.dir());
        command.env("PATH", path()).stdin(Stdio::null());
        let _haproxy = Program::start(home, "haproxy", &mut command)?;
        let socket = home.path("h.sock");
        holds("haproxy answers", async || answer(&socket).is_ok()).await?;

        assert_eq!(answer(&socket)?, value);
        Ok(())
    });
}

#[test]
fn every_template_has_a_sample_an_expected_output_and_says_what_it_reads() {
    test(async |_| {
        let mut count = 0;
        for entry in std::fs::read_dir(TEMPLATES)? {
            let path = entry?.path();
            let Some(name) = path.to_str().and_then(|path| path.strip_suffix(".hbs")) else {
                continue;
            };
            for end in [".sample.json", ".expected"] {
                assert!(Path::new(&format!("{name}{end}")).exists(), "{name}{end} is missing");
            }
            let text = std::fs::read_to_string(&path)?;
            for part in ["{{!--", "Keys read", "File written", "How to reload"] {
                assert!(text.contains(part), "{name}.hbs does not say `{part}`");
            }
            count += 1;
        }
        assert!(count >= 5);
        Ok(())
    });
}
