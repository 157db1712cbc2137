//! nginx and haproxy under the agent: 200 requests a second while settings change 50 times, and not one fails.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

use crate::harness::{Exit, Home, Program, Server, alone, backend, binary, command, eventually, holds};

const CHANGES: usize = 50;
/// So many clients, and each asks so often: 200 requests a second.
const CLIENTS: usize = 8;
const EVERY: Duration = Duration::from_millis(40);

pub(crate) type Requests = http1::SendRequest<Empty<Bytes>>;

async fn connect(to: SocketAddr) -> anyhow::Result<Requests> {
    let (requests, connection) = http1::handshake(TokioIo::new(TcpStream::connect(to).await?)).await?;
    tokio::spawn(connection);
    Ok(requests)
}

/// The text of an answer that has begun, or why it was none; the outer error is a connection without one.
async fn ask(requests: &mut Requests) -> hyper::Result<anyhow::Result<String>> {
    requests.ready().await?;
    let mut request = hyper::Request::new(Empty::new());
    request
        .headers_mut()
        .insert("host", hyper::header::HeaderValue::from_static("localhost"));
    let answer = requests.send_request(request).await?;
    Ok(whole(answer).await)
}

async fn whole(answer: hyper::Response<hyper::body::Incoming>) -> anyhow::Result<String> {
    let status = answer.status();
    let text = answer.into_body().collect().await?.to_bytes();
    anyhow::ensure!(status == 200, "status {status}");
    Ok(String::from_utf8(text.to_vec())?)
}

/// One request as real clients make it: a connection that was used before may have been closed in the meantime, and
/// then the request is made on a new one. An answer that has begun is whole, and on a new connection nothing may fail.
pub(crate) async fn request(to: SocketAddr, kept: &mut Option<Requests>) -> anyhow::Result<String> {
    if let Some(mut used) = kept.take()
        && let Ok(answer) = ask(&mut used).await
    {
        *kept = Some(used);
        return answer;
    }
    let mut new = connect(to).await?;
    let text = ask(&mut new).await??;
    *kept = Some(new);
    Ok(text)
}

/// Asks until it is told to stop; every second client opens a connection for each request.
async fn client(n: usize, to: SocketAddr, stop: Arc<AtomicBool>, done: Arc<AtomicUsize>) -> anyhow::Result<()> {
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut kept = None;
    while !stop.load(Ordering::Relaxed) {
        every.tick().await;
        if n.is_multiple_of(2) {
            kept = None;
        }
        let text = request(to, &mut kept).await;
        let number = done.fetch_add(1, Ordering::Relaxed);
        let text = text.with_context(|| format!("request {number} of client {n}"))?;
        anyhow::ensure!(text == "one" || text == "two", "request {number}: `{text}`");
    }
    Ok(())
}

/// Runs the shipped template's program under the agent; `words` are its flags and command, where `FILE` is the file.
async fn no_request_fails(home: &Home, template: &str, words: &[&str]) -> anyhow::Result<()> {
    let server = Server::start(home).await?;
    let backends = [("one", backend("one").await?), ("two", backend("two").await?)];
    // Nobody else is given ports of this address while the program does not have it yet.
    let to = TcpListener::bind("127.0.0.77:0")?.local_addr()?;
    server.put("web/listen", to.to_string()).await?;
    server
        .put("nginx/pid", home.path("nginx.pid").display().to_string())
        .await?;
    server.put("web/backends/a", backends[0].1.to_string()).await?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates").join(template);
    let file = home.path("conf").display().to_string();
    let mut command = command(home, binary("keyway-agent")?);
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("KEYWAY_ADDR", server.address.to_string())
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .args(["run", "-t", &format!("{}:{file}", source.display())])
        .args(words.iter().map(|word| word.replace("FILE", &file)));
    let mut agent = Program::start(home, "agent", &mut command)?;
    let first = async || request(to, &mut None).await.ok();
    eventually("the program answers", first).await?;

    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| tokio::spawn(client(n, to, Arc::clone(&stop), Arc::clone(&done))))
        .collect();
    let started = tokio::time::Instant::now();
    for n in 1..=CHANGES {
        let (text, address) = backends[n % 2];
        server.put("web/backends/a", address.to_string()).await?;
        holds(&format!("change {n} is in use"), async || {
            // The old workers may still take a connection or two.
            clients.iter().any(tokio::task::JoinHandle::is_finished)
                || request(to, &mut None).await.is_ok_and(|answer| answer == text)
        })
        .await?;
    }
    let took = started.elapsed();
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await??;
    }

    let rate = done.load(Ordering::Relaxed) as f64 / took.as_secs_f64();
    assert!(
        rate >= 190.0,
        "only {rate} requests a second: this machine is too slow to tell"
    );
    agent.signal(nix::sys::signal::Signal::SIGTERM)?;
    let exit = agent.exit().await?;
    assert!(matches!(exit, Exit::Code(0 | 143)), "{exit:?}");
    Ok(())
}

#[test]
fn no_request_to_nginx_fails_while_settings_change() {
    alone(Duration::from_secs(180), async |home| {
        let words = ["--check", "nginx -t -q -c {}", "--on-change", "signal=HUP", "--"];
        let program = ["nginx", "-c", "FILE", "-g", "daemon off;"];
        no_request_fails(home, "nginx.conf.hbs", &[&words[..], &program].concat()).await
    });
}

#[test]
fn no_request_to_haproxy_fails_while_settings_change() {
    alone(Duration::from_secs(180), async |home| {
        let words = ["--check", "haproxy -c -q -f {}", "--on-change", "signal=USR2", "--"];
        let program = ["haproxy", "-W", "-db", "-f", "FILE"];
        no_request_fails(home, "haproxy-keys.cfg.hbs", &[&words[..], &program].concat()).await
    });
}
