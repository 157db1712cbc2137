//! `keyway demo-app`: an ordinary HTTP server. It reads its file at start and at HUP, and knows
//! nothing of Keyway; the demo shows on it what Keyway does to any program.
//!
//! The file has lines `name = value` and `#` comments; `greeting` (not empty) and `limit` (a number
//! from 1 to 1000) must be there. Like many servers it can check a file without using it.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kvapi::Problem;
use kvapi::problem::exit;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::context::Context;
use crate::failure::Outcome;
use crate::signals::Stop;
use crate::told::{self, TOLD};

/// Connections that may wait to be taken.
const BACKLOG: u32 = 128;

/// How long whoever has asked may take to be answered, at the end.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct DemoApp {
    /// File to read
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where to listen
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Check the file and end: 0 if it is good, 3 if not
    #[arg(long)]
    check: bool,
    /// Whom to tell that it has read another file
    #[arg(long, value_name = "SOCKET", hide = true)]
    tell: Option<PathBuf>,
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Config {
    greeting: String,
    limit: u32,
}

impl DemoApp {
    pub(crate) async fn run(self, context: Context<'_>) -> Outcome {
        let config = Config::read(&self.config)?;
        if self.check {
            return Ok(exit::OK);
        }
        let mut hangups =
            signal(SignalKind::hangup()).map_err(|e| Problem::new(exit::BUG, format!("listen for HUP: {e}")))?;
        let mut stop = Stop::listen()?;
        let listener = listen(self.listen)
            .map_err(|e| Problem::new(exit::UNAVAILABLE, format!("listen on {}: {e}", self.listen)))?;
        let address = listener.local_addr().map_err(crate::failure::Failure::from)?;
        context.out.say(format_args!(
            "demo-app {}: serving on http://{address}",
            std::process::id()
        ));
        let shared = Arc::new(Mutex::new(config));
        let (ending, ends) = watch::channel(());
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.next() => break,
                _ = hangups.recv() => match Config::read(&self.config) {
                    Ok(config) => {
                        *shared.lock().unwrap_or_else(PoisonError::into_inner) = config;
                        if let Some(place) = &self.tell {
                            told::tell(place, TOLD)?;
                        }
                    }
                    Err(problem) => context.out.say(format_args!("demo-app: {}; the old settings stay", problem.what)),
                },
                Ok((stream, _)) = listener.accept() => {
                    connections.spawn(answer(stream, Arc::clone(&shared), ends.clone()));
                }
                Some(_) = connections.join_next() => {}
            }
        }
        // Who has asked is still answered.
        drop((listener, ending));
        let all = async { while connections.join_next().await.is_some() {} };
        tokio::select! {
            biased;
            () = all => {}
            () = stop.next() => {}
            () = sleep(PATIENCE) => {}
        }
        Ok(exit::OK)
    }
}

/// A port may be held for us by whoever started us, as socket activation does it: so, shared.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Answers every request on a connection with the settings in use, until the server ends.
async fn answer(stream: tokio::net::TcpStream, config: Arc<Mutex<Config>>, mut ends: watch::Receiver<()>) {
    let service = service_fn(move |_| {
        let Config { greeting, limit } = config.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = format!("{greeting} (limit {limit}, process {})\n", std::process::id());
        async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text)))) }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // A client that goes away in mid-answer is its own affair.
    tokio::select! {
        biased;
        _ = connection.as_mut() => {}
        _ = ends.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

impl Config {
    fn read(path: &Path) -> Result<Self, Problem> {
        let invalid = |what: String| Problem::new(exit::INVALID, format!("{}: {what}", path.display()));
        let text = fs::read_to_string(path).map_err(|e| invalid(e.to_string()))?;
        Self::parse(&text).map_err(invalid)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (mut greeting, mut limit) = (None, None);
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = line
                .split_once('=')
                .ok_or(format!("line {number}: `{line}` has no `=`"))?;
            match (name.trim(), value.trim()) {
                ("greeting", "") => return Err(format!("line {number}: greeting is empty")),
                ("greeting", value) => greeting = Some(value.to_owned()),
                ("limit", value) => {
                    let parsed = value.parse().ok().filter(|limit| (1..=1000).contains(limit));
                    limit =
                        Some(parsed.ok_or(format!("line {number}: limit `{value}` is not a number from 1 to 1000"))?);
                }
                (name, _) => return Err(format!("line {number}: unknown setting `{name}`")),
            }
        }
        Ok(Self {
            greeting: greeting.ok_or("greeting is missing")?,
            limit: limit.ok_or("limit is missing")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_or_refused_with_its_line() {
        let good = Config::parse("# c\ngreeting = hello = you\n\nlimit=10\n").unwrap();

        assert_eq!((good.greeting.as_str(), good.limit), ("hello = you", 10));
        for (text, reason) in [
            (
                "greeting = a\nlimit = many",
                "line 2: limit `many` is not a number from 1 to 1000",
            ),
            (
                "greeting = a\nlimit = 0",
                "line 2: limit `0` is not a number from 1 to 1000",
            ),
            ("greeting = a", "limit is missing"),
            ("greeting", "line 1: `greeting` has no `=`"),
            ("colour = red", "line 1: unknown setting `colour`"),
        ] {
            assert_eq!(Config::parse(text).unwrap_err(), reason);
        }
    }
}
