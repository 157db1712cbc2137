//! Where the other servers come in: who they are is checked, then they are answered.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;

use super::hello::{HEADER, Hello};
use super::transfer::Receiving;
use super::{CONNECTION_WINDOW, KEEP_ALIVE, KEEP_ALIVE_LIMIT, STREAM_WINDOW, decode, encode, path};
use crate::cluster::roster::{self, Refusal};
use crate::net::Listener;
use crate::node::Node;

/// Requests of one peer that may be under way.
const MOST_STREAMS: u32 = 256;

/// See the module.
pub(crate) struct Door {
    pub(crate) node: Node,
    pub(crate) receiving: Receiving,
}

/// Serves the other servers until `closing`.
pub(crate) async fn serve(listener: Listener, door: Arc<Door>, closing: CancellationToken) {
    let accept = async {
        loop {
            match listener.accept_peer().await {
                Ok(stream) => {
                    let (door, closing) = (Arc::clone(&door), closing.clone());
                    tokio::spawn(async move { converse(stream, door, closing).await });
                }
                Err(error) => {
                    tracing::warn!(%error, at = %listener.address(), "cannot accept a connection of a server");
                    crate::clock::sleep(KEEP_ALIVE).await;
                }
            }
        }
    };
    closing.run_until_cancelled(accept).await;
}

async fn converse(stream: crate::net::Stream, door: Arc<Door>, closing: CancellationToken) {
    let service = service_fn(move |request: Request<Incoming>| {
        let door = Arc::clone(&door);
        async move { Ok::<_, Infallible>(door.handle(request).await) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MOST_STREAMS)
        // A server takes back what was not answered within a heartbeat. While this one had no processor that may be
        // many, and no attack: who comes in here is a member.
        .max_pending_accept_reset_streams(MOST_STREAMS as usize)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    if let Some(Err(error)) = closing.run_until_cancelled(connection).await {
        tracing::debug!(%error, "a connection of a server has ended");
    }
}

impl Door {
    async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let hello = request.headers().get(HEADER).and_then(|value| value.to_str().ok());
        let hello = match hello
            .ok_or_else(|| "it does not say who asks".to_owned())
            .and_then(Hello::parse)
        {
            Ok(hello) => hello,
            Err(reason) => return answer(StatusCode::BAD_REQUEST, reason),
        };
        if let Err(refusal) = self.check(&hello) {
            let status = match refusal {
                Refusal::Removed { .. } => StatusCode::GONE,
                _ => StatusCode::CONFLICT,
            };
            return answer(status, refusal.to_string());
        }
        self.node.links().hear(hello.from, &hello.node);
        match self.dispatch(&hello, request).await {
            Ok(body) => answer(StatusCode::OK, body),
            Err(reason) => answer(StatusCode::BAD_REQUEST, reason),
        }
    }

    fn check(&self, hello: &Hello) -> Result<(), Refusal> {
        let me = self.node.links().me();
        let view = self.node.view();
        roster::may_speak(hello, me, roster::entry(&view, hello.from).as_ref())
    }

    async fn dispatch(&self, hello: &Hello, request: Request<Incoming>) -> Result<Bytes, String> {
        let path = request.uri().path().to_owned();
        if path != path::ASK {
            self.node.must_be_member()?;
        }
        if path == path::SNAPSHOT {
            return self.receiving.take(&self.node, request.into_body()).await;
        }
        let body = request
            .into_body()
            .collect()
            .await
            .map_err(|e| e.to_string())?
            .to_bytes();
        match path.as_str() {
            path::APPEND => self.node.append(&body).await,
            path::VOTE => self.node.vote(&body).await,
            path::ASK => {
                let told = match decode(&body)? {
                    super::ask::Ask::Have { snapshot } => self.receiving.have(&self.node, hello.from, snapshot).await?,
                    ask => self.node.told(ask).await,
                };
                Ok(encode(&told))
            }
            _ => Err(format!(
                "{path} is not known; run the same version of keyway on all servers"
            )),
        }
    }
}

fn answer(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
