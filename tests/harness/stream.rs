//! `/v1/watch` and other streams, read event by event as they stand on the wire.

use std::time::Duration;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kvapi::Address;
use kvapi::sse::{Parser, SseEvent};
use kvapi::types::{Change, Snapshot, WatchEvent};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Server;

/// See the module.
pub(crate) struct Stream {
    body: Incoming,
    parser: Parser,
    ready: Vec<SseEvent>,
}

impl Stream {
    pub(crate) async fn get(server: &Server, query: &str, headers: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::get_at(&server.address, query, headers).await
    }

    pub(crate) async fn post(server: &Server, body: &str) -> anyhow::Result<Self> {
        Self::post_at(&server.address, body, &[]).await
    }

    pub(crate) async fn get_at(address: &Address, query: &str, headers: &[(&str, &str)]) -> anyhow::Result<Self> {
        let request = hyper::Request::get(format!("/v1/watch?{query}"));
        Self::open(address, request, headers, String::new()).await
    }

    pub(crate) async fn post_at(address: &Address, body: &str, headers: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::open(address, hyper::Request::post("/v1/watch"), headers, body.to_owned()).await
    }

    /// Another stream than `/v1/watch`.
    pub(crate) async fn of(address: &Address, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::open(address, hyper::Request::get(path), headers, String::new()).await
    }

    async fn open(
        address: &Address,
        mut request: http::request::Builder,
        headers: &[(&str, &str)],
        body: String,
    ) -> anyhow::Result<Self> {
        let Address::Tcp(authority) = address else {
            anyhow::bail!("not a TCP address");
        };
        let socket = TcpStream::connect(authority).await?;
        let (mut requests, connection) = http1::Builder::new()
            .max_buf_size(16 << 10)
            .handshake(TokioIo::new(socket))
            .await?;
        tokio::spawn(connection);
        request = request.header("host", authority);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body)))?;
        let response = requests.send_request(request).await?;
        anyhow::ensure!(response.status() == 200, "{response:?}");
        let kind = response.headers().get("content-type").context("no content type")?;
        anyhow::ensure!(kind.to_str()?.starts_with("text/event-stream"), "{kind:?}");
        Ok(Self {
            body: response.into_body(),
            parser: Parser::default(),
            ready: Vec::new(),
        })
    }

    /// The next event, whatever it is.
    pub(crate) async fn raw(&mut self) -> anyhow::Result<SseEvent> {
        self.raw_within(Duration::from_secs(15)).await
    }

    /// The next event, if it comes within that time.
    pub(crate) async fn raw_within(&mut self, time: Duration) -> anyhow::Result<SseEvent> {
        timeout(time, async {
            while self.ready.is_empty() {
                let frame = self.body.frame().await.context("the stream ended")??;
                self.ready = frame
                    .data_ref()
                    .map(|data| self.parser.push(data))
                    .into_iter()
                    .flatten()
                    .collect();
            }
            Ok(self.ready.remove(0))
        })
        .await
        .context("no event came")?
    }

    /// The next event whose data is JSON, with its name.
    pub(crate) async fn json(&mut self) -> anyhow::Result<(String, serde_json::Value)> {
        let event = self.raw().await?;
        let json = serde_json::from_str(&event.data).with_context(|| format!("no JSON: {}", event.data))?;
        Ok((event.name, json))
    }

    /// The next event that is not mere progress.
    pub(crate) async fn next(&mut self) -> anyhow::Result<WatchEvent> {
        loop {
            let event = self.raw().await?;
            match WatchEvent::parse(&event.name, &event.data)? {
                None | Some(WatchEvent::Progress(_)) => {}
                Some(found) => return Ok(found),
            }
        }
    }

    pub(crate) async fn snapshot(&mut self) -> anyhow::Result<Snapshot> {
        match self.next().await? {
            WatchEvent::Snapshot(snapshot) => Ok(snapshot),
            other => anyhow::bail!("not a snapshot: {other:?}"),
        }
    }

    pub(crate) async fn change(&mut self) -> anyhow::Result<Change> {
        match self.next().await? {
            WatchEvent::Change(change) => Ok(change),
            other => anyhow::bail!("not a change: {other:?}"),
        }
    }
}

/// The keys of a change.
pub(crate) fn keys(change: &Change) -> Vec<&str> {
    change.changes.iter().map(|change| change.key.as_str()).collect()
}
