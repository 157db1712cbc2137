//! Images that are pulled from a registry that falls silent.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::dev::Dev;
use crate::harness::{Docker, Server, alone, holds};

/// A registry that has the manifest of every image, and begins no part of any.
struct Silent {
    address: String,
    /// How many have asked for a part.
    waiting: Arc<AtomicUsize>,
}

impl Silent {
    fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let silent = Self {
            address: listener.local_addr()?.to_string(),
            waiting: Arc::default(),
        };
        let waiting = Arc::clone(&silent.waiting);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let waiting = Arc::clone(&waiting);
                std::thread::spawn(move || serve(stream, &waiting));
            }
        });
        Ok(silent)
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }
}

fn digest(text: &str) -> String {
    let digits = Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    format!("sha256:{digits}")
}

/// Until the other end leaves.
fn serve(mut stream: TcpStream, waiting: &AtomicUsize) -> Option<()> {
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    let part = |kind: &str| json!({ "mediaType": kind, "size": 1000, "digest": digest(kind) });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind,
        "config": part("application/vnd.docker.container.image.v1+json"),
        "layers": [part("application/vnd.docker.image.rootfs.diff.tar.gzip")],
    })
    .to_string();
    loop {
        let request = request(&mut stream)?;
        let path = request.split(' ').nth(1)?;
        if path.contains("/blobs/") {
            waiting.fetch_add(1, Ordering::SeqCst);
            return std::io::copy(&mut stream, &mut std::io::sink()).ok().map(drop);
        }
        let (head, body) = match path.contains("/manifests/") {
            true => (
                format!("content-type: {kind}\r\ndocker-content-digest: {}", digest(&manifest)),
                manifest.as_str(),
            ),
            false => ("docker-distribution-api-version: registry/2.0".to_owned(), ""),
        };
        let length = body.len();
        let body = if request.starts_with("HEAD") { "" } else { body };
        write!(
            stream,
            "HTTP/1.1 200 OK\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .ok()?;
    }
}

/// The head of a request. `None` for what is none: whoever tries TLS first goes away.
fn request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
        if !byte[0].is_ascii() || (head.len() == 1 && !byte[0].is_ascii_alphabetic()) {
            return None;
        }
    }
    String::from_utf8(head).ok()
}

#[test]
fn a_pull_that_hangs_is_called_off_with_its_app_and_holds_up_nobody() {
    alone(Duration::from_secs(180), async |home| {
        let Some(docker) = Docker::start(home).await? else {
            return Ok(());
        };
        let registry = Silent::start()?;
        let server = Server::start(home).await?;
        let socket = home.path("docker.sock").display().to_string();
        let flags = ["--docker-socket", &socket];
        let dev = Dev::alone_with(home, "scheduler", &server.address.to_string(), "tasks", &flags).await?;
        holds("it leads", async || dev.api.get("/v2/apps").await.is_ok()).await?;
        let image = |name: &str| {
            let image = format!("{}/{name}:1", registry.address);
            json!({
                "instances": 2, "cpus": 0.1, "mem": 32,
                "container": { "type": "DOCKER", "docker": { "image": image } },
            })
        };
        dev.api.change("PUT", "/v2/apps/one", &image("one")).await?;
        holds("somebody waits for a part", async || registry.waiting() > 0).await?;
        let said = dev
            .keyway(home)
            .run(&["deploy", "status", "/one"])
            .await?
            .expect(0)?
            .text();
        assert!(said.contains("/one:1 is being pulled"), "{said}");

        // With another image, and for good: both instances of either, the one that pulls and the one that waits for it.
        let other = dev.api.change("PUT", "/v2/apps/one?force=true", &image("two")).await?;
        dev.api.get(&format!("/v1/deployments/{other}")).await?;
        let gone = dev
            .api
            .change("DELETE", "/v2/apps/one?force=true", &Value::Null)
            .await?;
        dev.api.done(&gone).await?;

        assert!(registry.waiting() > 0, "it is as silent as before");
        let containers = docker.run(home, &["ps", "-aq"]).await?;
        assert_eq!(containers, "");
        docker.end(home).await
    });
}
