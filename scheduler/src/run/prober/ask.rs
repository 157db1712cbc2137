//! One question to an instance.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::app::{App, CheckPort, ReadinessCheck};
use crate::engine::Probing;
use crate::health::Probe;
use crate::instance::{Instance, Readiness};
use crate::tls;

/// How much of a readiness check's answer is kept.
const KEPT: usize = 4096;

/// How much of the first line of what is not well is told, in characters.
const LINE: usize = 200;

/// How long all steps of one question may take together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    limit: Duration,
    until: Instant,
}

impl Bound {
    pub(super) fn from_now(limit: Duration) -> Self {
        Self {
            limit,
            until: Instant::now() + limit,
        }
    }

    /// One step; `what` it is stands before what goes wrong.
    pub(super) async fn step<T, E: Display>(
        &self,
        what: impl FnOnce() -> String,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, String> {
        match timeout_at(self.until, step).await {
            Ok(done) => done.map_err(|error| format!("{}: {error}", what())),
            Err(_) => {
                let limit = kvapi::duration::format(self.limit);
                Err(format!("{}: no answer within {limit}", what()))
            }
        }
    }
}

/// What is asked of whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) address: &'a str,
    pub(super) path: &'a str,
    /// By TLS.
    pub(super) secure: bool,
}

/// Where an instance is asked.
pub(super) fn address(instance: &Instance, app: &App, port: CheckPort) -> Option<String> {
    let port = match port {
        CheckPort::Number(port) => port,
        CheckPort::Index(index) => {
            let index = usize::try_from(index).ok()?;
            match instance.ports.get(index)? {
                0 => app.ports().get(index)?.declared,
                port => *port,
            }
        }
    };
    // What this machine publishes is asked on this machine, whatever name it goes by.
    let host = match instance.addresses.first() {
        Some(own) if instance.ports.iter().all(|port| *port == 0) => own.as_str(),
        _ => "127.0.0.1",
    };
    Some(if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    })
}

async fn connect(address: &str, bound: Bound) -> Result<TcpStream, String> {
    let connecting = TcpStream::connect(address);
    bound.step(|| format!("connect to {address}"), connecting).await
}

/// Whether somebody listens.
pub(super) async fn tcp(address: &str, bound: Bound) -> Result<Probe, String> {
    connect(address, bound).await.map(|_| Probe::Good)
}

/// Whether an answer from 100 to 199 has come: others may follow it.
#[derive(Debug, Clone, Default)]
pub(super) struct Informed(Arc<AtomicBool>);

impl Informed {
    pub(super) fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn hears(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether it answers from 200 to 399.
pub(super) async fn http(question: Question<'_>, ignore_1xx: bool, bound: Bound) -> Result<Probe, String> {
    let informed = Informed::default();
    let answer = match get(question, &informed, bound).await {
        Ok(answer) => answer,
        // It said something, and nothing that counts.
        Err(_) if ignore_1xx && informed.is_so() => return Ok(Probe::Ignored),
        Err(cause) => return Err(cause),
    };
    match answer.status() {
        status if (200..=399).contains(&status.as_u16()) => Ok(Probe::Good),
        status if ignore_1xx && status.is_informational() => Ok(Probe::Ignored),
        _ => Err(complaint(answer, bound).await),
    }
}

/// What an answer that is not a good one says: its status, and the first line of its text.
async fn complaint(answer: http::Response<Incoming>, bound: Bound) -> String {
    let status = answer.status().as_u16();
    let (mut body, mut text) = (answer.into_body(), Vec::new());
    let read = async {
        while text.len() < KEPT
            && !text.contains(&b'\n')
            && let Some(frame) = body.frame().await
        {
            text.extend_from_slice(&frame?.into_data().unwrap_or_default());
        }
        Ok::<_, hyper::Error>(())
    };
    // What has come counts.
    let _ = bound.step(String::new, read).await;
    match first_line(&String::from_utf8_lossy(&text)).as_str() {
        // The first line of a page is the same of every page.
        page if page.is_empty() || page.starts_with('<') => format!("it answered {status}"),
        line => format!("it answered {status}: {line}"),
    }
}

/// The first line of what a program says that has anything in it: so much of it, and nothing that steers a terminal.
pub(super) fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let plain = line.unwrap_or_default().chars().filter(|c| !c.is_control());
    plain.take(LINE).collect()
}

async fn get(question: Question<'_>, informed: &Informed, bound: Bound) -> Result<http::Response<Incoming>, String> {
    let address = question.address;
    let stream = connect(address, bound).await?;
    if !question.secure {
        return send(stream, question, informed, bound).await;
    }
    let at = stream
        .peer_addr()
        .map_err(|e| format!("connect to {address}: {e}"))?
        .ip();
    let speaking = tls::with_anybody(stream, at);
    let stream = bound.step(|| format!("TLS with {address}"), speaking).await?;
    send(stream, question, informed, bound).await
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    question: Question<'_>,
    informed: &Informed,
    bound: Bound,
) -> Result<http::Response<Incoming>, String> {
    let Question { address, path, .. } = question;
    let mut request = Request::get(path)
        .header("host", address)
        .header("connection", "close")
        .header("user-agent", "keyway")
        .body(Empty::<Bytes>::new())
        .map_err(|e| format!("{path:?} is no path: {e}"))?;
    let informed = informed.clone();
    hyper::ext::on_informational(&mut request, move |_| informed.hears());
    let asked = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // The connection lives as long as its answer is read.
        tokio::spawn(connection);
        sender.send_request(request).await
    };
    bound.step(|| format!("ask {address}"), asked).await
}

/// What a readiness check says.
pub(super) async fn readiness(probing: &Probing, check: &ReadinessCheck) -> Readiness {
    let bound = Bound::from_now(check.timeout);
    let ports = probing.app.ports();
    let index = ports
        .iter()
        .position(|port| port.name == Some(check.port_name.as_str()));
    let port = index.and_then(|index| u32::try_from(index).ok());
    let Some(address) = port.and_then(|port| address(&probing.instance, &probing.app, CheckPort::Index(port))) else {
        return unanswered(check, "it has no such port");
    };
    let question = Question {
        address: &address,
        path: &check.path,
        secure: check.https,
    };
    let asked = async {
        let answer = get(question, &Informed::default(), bound).await?;
        let told = async { Ok::<_, String>(told(check, answer).await) };
        bound.step(|| format!("read what {address} answers"), told).await
    };
    asked.await.unwrap_or_else(|cause: String| unanswered(check, &cause))
}

async fn told(check: &ReadinessCheck, answer: http::Response<Incoming>) -> Readiness {
    let status = answer.status().as_u16();
    let content_type = answer.headers().get("content-type");
    let content_type = content_type
        .and_then(|value| value.to_str().ok())
        .unwrap_or("text/plain")
        .to_owned();
    let body = Limited::new(answer.into_body(), KEPT).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    Readiness {
        name: check.name.clone(),
        ready: check.ready_statuses.contains(&status),
        status,
        content_type,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

/// What stands for an answer that did not come.
fn unanswered(check: &ReadinessCheck, cause: &str) -> Readiness {
    Readiness {
        name: check.name.clone(),
        ready: false,
        status: StatusCode::GATEWAY_TIMEOUT.as_u16(),
        content_type: "text/plain".into(),
        body: cause.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_not_well_one_plain_line_is_told() {
        assert_eq!(
            first_line("\n  \x1b[31mno database\x1b[0m\r\nat line 3\n"),
            "[31mno database[0m"
        );
        assert_eq!(first_line(&"ü".repeat(10_000)).chars().count(), LINE);
        assert_eq!(first_line(" \n"), "");
    }
}
