//! One question to an instance.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::app::{App, CheckPort, ReadinessCheck};
use crate::engine::Probing;
use crate::health::Probe;
use crate::instance::{Instance, Readiness};

/// How much of a readiness check's answer is kept.
const KEPT: usize = 4096;

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

async fn connect(address: &str) -> Result<TcpStream, String> {
    TcpStream::connect(address)
        .await
        .map_err(|e| format!("connect to {address}: {e}"))
}

/// Whether somebody listens.
pub(super) async fn tcp(address: &str) -> Result<Probe, String> {
    connect(address).await.map(|_| Probe::Good)
}

/// Whether it answers from 200 to 399.
pub(super) async fn http(address: &str, path: &str, ignore_1xx: bool) -> Result<Probe, String> {
    let answer = get(address, path).await?;
    match answer.status().as_u16() {
        200..=399 => Ok(Probe::Good),
        100..=199 if ignore_1xx => Ok(Probe::Ignored),
        status => Err(format!("it answered {status}")),
    }
}

async fn get(address: &str, path: &str) -> Result<http::Response<Incoming>, String> {
    let stream = connect(address).await?;
    let words = |e: hyper::Error| format!("ask {address}: {e}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(words)?;
    let request = Request::get(path)
        .header("host", address)
        .header("connection", "close")
        .header("user-agent", "keyway")
        .body(Empty::<Bytes>::new())
        .map_err(|e| format!("{path:?} is no path: {e}"))?;
    // The connection lives as long as its answer is read.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(words)
}

/// What a readiness check says.
pub(super) async fn readiness(probing: &Probing, check: &ReadinessCheck) -> Readiness {
    let ports = probing.app.ports();
    let index = ports
        .iter()
        .position(|port| port.name == Some(check.port_name.as_str()));
    let port = index.and_then(|index| u32::try_from(index).ok());
    let Some(address) = port.and_then(|port| address(&probing.instance, &probing.app, CheckPort::Index(port))) else {
        return unanswered(check, "it has no such port");
    };
    if check.https {
        return unanswered(check, "https is not asked by this version: check with http");
    }
    match get(&address, &check.path).await {
        Err(cause) => unanswered(check, &cause),
        Ok(answer) => told(check, answer).await,
    }
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
pub(super) fn unanswered(check: &ReadinessCheck, cause: &str) -> Readiness {
    Readiness {
        name: check.name.clone(),
        ready: false,
        status: StatusCode::GATEWAY_TIMEOUT.as_u16(),
        content_type: "text/plain".into(),
        body: cause.into(),
    }
}
