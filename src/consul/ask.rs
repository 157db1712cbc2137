//! Asks a server as Consul's command does: once, as long as it takes, and with Go's words for what goes wrong.
//!
//! Not through `kvapi::Client`, which asks again and tells its own story of it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use kvapi::Entry;
use kvapi::connect::addresses;
use kvapi::types::header;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::go::{errno, path, query};
use super::in_path;
use super::place::{Dial, Place};
use crate::connection::{Answer, Connection};

/// How long Consul's client waits for a connection.
const CONNECT: Duration = Duration::from_secs(30);

/// A server, and the connection to it once there is one.
pub(super) struct Server {
    place: Place,
    connection: Option<Connection>,
}

impl Server {
    pub(super) const fn new(place: Place) -> Self {
        let connection = None;
        Self { place, connection }
    }

    /// Whatever the server answers to a request for a key or a prefix. The error is Go's.
    pub(super) async fn ask(
        &mut self,
        method: &Method,
        key: &[u8],
        asked: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<Answer, String> {
        let behind = format!("/v1/kv/{}", path(key));
        self.call(method, &behind, asked, body).await
    }

    /// The same of any path.
    pub(super) async fn call(
        &mut self,
        method: &Method,
        behind: &str,
        asked: &[(&'static str, String)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, String> {
        let target = target(&self.place, behind, asked);
        self.send(method, &target, body.into()).await.map_err(|why| {
            let name = method.as_str();
            let name = format!("{}{}", &name[..1], name[1..].to_lowercase());
            format!("{name} \"http://{}{target}\": {why}", self.place.host)
        })
    }

    async fn send(&mut self, method: &Method, target: &str, body: Bytes) -> Result<Answer, String> {
        let connection = match self.connection.take().filter(Connection::is_open) {
            Some(connection) => connection,
            None => open(&self.place).await?,
        };
        let connection = self.connection.insert(connection);
        let request = connection.request(method.clone(), target, body).map_err(|e| e.what)?;
        connection.exchange(request).await.map_err(|e| {
            if e.is_incomplete_message() || e.is_closed() || e.is_canceled() {
                return "EOF".to_owned();
            }
            let cause = std::error::Error::source(&e).and_then(|cause| cause.downcast_ref::<io::Error>());
            cause.map_or_else(|| e.to_string(), |cause| format!("read: {}", errno(cause)))
        })
    }
}

/// Path and query; a query is sorted by name.
fn target(place: &Place, behind: &str, asked: &[(&'static str, String)]) -> String {
    // What the request asks for outranks what holds for all.
    let parts: BTreeMap<&str, &String> = place
        .query
        .iter()
        .chain(asked)
        .map(|(name, value)| (*name, value))
        .collect();
    let query: Vec<String> = parts
        .iter()
        .map(|(name, value)| format!("{name}={}", query(value.as_bytes())))
        .collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{}{behind}{mark}{}", place.prefix, query.join("&"))
}

async fn open(place: &Place) -> Result<Connection, String> {
    let broken = |e: hyper::Error| e.to_string();
    let mut connection = match &place.dial {
        Dial::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            let stream = stream.map_err(|e| format!("dial unix {path}: connect: {}", errno(&e)))?;
            Connection::over(stream, place.host.clone()).await.map_err(broken)?
        }
        Dial::Tcp { host, port } => {
            let stream = dial(host, port).await?;
            Connection::over(stream, place.host.clone()).await.map_err(broken)?
        }
    };
    let headers = [
        (header::TOKEN, "X-Consul-Token", place.token.as_deref()),
        ("authorization", "Authorization", place.authorization.as_deref()),
        ("content-type", "Content-Type", Some("application/octet-stream")),
    ];
    for (header, name, value) in headers {
        let Some(value) = value else { continue };
        connection
            .always_send(header, value)
            .map_err(|_| format!("net/http: invalid header field value for \"{name}\""))?;
    }
    Ok(connection)
}

/// The first address that takes the call; if none does, the first one's reason.
async fn dial(host: &str, port: &str) -> Result<TcpStream, String> {
    let number: u16 = port
        .parse()
        .map_err(|_| format!("dial tcp: lookup tcp/{port}: unknown port"))?;
    let nobody = || format!("dial tcp: lookup {host}: no such host");
    let mut first = None;
    for address in addresses(host).await.map_err(|_| nobody())? {
        let address = SocketAddr::new(address, number);
        let why = match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(e)) => format!("dial tcp {address}: connect: {}", errno(&e)),
            Err(_) => format!("dial tcp {address}: i/o timeout"),
        };
        first.get_or_insert(why);
    }
    Err(first.unwrap_or_else(nobody))
}

/// The answer, if it is one of those that are looked for. The error is that of Consul's client.
pub(super) fn expect(answer: Answer, statuses: &[StatusCode]) -> Result<Answer, String> {
    if statuses.contains(&answer.status) {
        return Ok(answer);
    }
    let body = String::from_utf8_lossy(&answer.body).trim().to_owned();
    Err(format!("Unexpected response code: {} ({body})", answer.status.as_u16()))
}

/// The entries of a key or a prefix, and the index of the answer; `asked` says how.
pub(super) async fn look(
    server: &mut Server,
    key: &str,
    asked: &[(&'static str, String)],
) -> Result<(Vec<Entry>, u64), String> {
    let answer = server
        .ask(&Method::GET, in_path(key.as_bytes()), asked, Bytes::new())
        .await?;
    let answer = expect(answer, &[StatusCode::OK, StatusCode::NOT_FOUND])?;
    let index = answer.headers.get(header::INDEX).and_then(|index| index.to_str().ok());
    let index = index.and_then(|index| index.parse().ok()).unwrap_or_default();
    let entries = match answer.status {
        StatusCode::NOT_FOUND => Vec::new(),
        _ => serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?,
    };
    Ok((entries, index))
}

/// Whether a write was done.
pub(super) fn is_true(answer: Answer) -> Result<bool, String> {
    let answer = expect(answer, &[StatusCode::OK])?;
    Ok(answer.body.windows(4).any(|word| word == b"true"))
}
