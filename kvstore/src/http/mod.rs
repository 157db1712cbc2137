//! The HTTP API: Consul's, to the letter where its clients look, and a few routes of our own.
//!
//! A router of our own, because Consul's rules come before any router's: paths are cleaned
//! without a redirect, and what cannot be decoded, printed or found is refused in its words. The
//! routes are in `Route`, and each has a file:
//!
//! | file | what it holds |
//! | --- | --- |
//! | `kv`, `txn`, `status`, `watch`, `health` | the handlers |
//! | `blocking` | reads that wait for a change |
//! | [`caller`] | who asks, and what that allows |
//! | `params`, `ops`, `path` | what requests say, checked in Consul's order; pure |
//! | `golang`, `go_json`, `json` | Go's ways of reading and writing; pure |
//! | `answer`, [`body`], `error` | what goes out |

mod answer;
mod blocking;
pub mod body;
mod call;
pub mod caller;
mod error;
mod go_json;
mod golang;
mod health;
mod json;
mod kv;
mod ops;
mod params;
mod path;
mod status;
#[cfg(test)]
mod tests;
mod txn;
mod watch;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::service::service_fn;
use tokio_util::sync::CancellationToken;

use crate::net::{self, Listener};
use crate::node::Node;
use answer::Answer;
use body::{Body, Incoming};
use call::{Call, cluster_header};
use caller::{Caller, Door, refuse_pages};
use error::{Error, Kind};
use golang::Query;
use path::BadPath;

/// What every door leads to.
pub struct Doors {
    pub node: Node,
    /// Names, beside addresses and `localhost`, under which clients on this machine may ask.
    pub allowed_hosts: Vec<String>,
}

/// Serves a door until the node stops and every request under way has its answer; `close` cuts
/// what is left.
pub async fn serve(listener: Listener, door: Door, doors: Arc<Doors>, close: CancellationToken) {
    let stopping = doors.node.stopping().clone();
    let service_for = |peer: &net::Peer| {
        let doors = Arc::clone(&doors);
        let local = peer.local.map(|addr| addr.ip());
        service_fn(move |request: Request<hyper::body::Incoming>| {
            let doors = Arc::clone(&doors);
            // Boxed, since hyper keeps room for a handler in every connection, and most are idle.
            Box::pin(async move {
                let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
                Ok::<_, Infallible>(handle(&doors, door, local, request).await)
            })
        })
    };
    net::serve(listener, service_for, stopping, close).await;
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route<'a> {
    /// `/v1/kv/KEY`
    Kv(&'a [u8]),
    /// `/v1/txn`
    Txn,
    /// `/v1/watch`
    Watch,
    /// `/v1/status/leader`
    Leader,
    /// `/v1/status/peers`
    Peers,
    /// `/livez`
    Livez,
    /// `/readyz`
    Readyz,
    /// `/`
    Root,
}

impl<'a> Route<'a> {
    /// The route of a decoded path.
    fn of(path: &'a [u8]) -> Result<Self, Error> {
        if let Some(key) = path.strip_prefix(path::KV) {
            return Ok(Self::Kv(key));
        }
        Ok(match path {
            b"/v1/txn" => Self::Txn,
            b"/v1/watch" => Self::Watch,
            b"/v1/status/leader" => Self::Leader,
            b"/v1/status/peers" => Self::Peers,
            b"/livez" => Self::Livez,
            b"/readyz" => Self::Readyz,
            b"/" => Self::Root,
            path if path.starts_with(b"/v1/") => {
                return Err(not_found("Invalid URL path: not a recognized HTTP API endpoint\n"));
            }
            _ => {
                return Err(not_found(
                    "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n",
                ));
            }
        })
    }

    /// The methods it takes, as they stand in `Allow`.
    const fn allow(self) -> &'static str {
        match self {
            Self::Kv(_) => "OPTIONS,GET,PUT,DELETE",
            Self::Txn => "OPTIONS,PUT",
            Self::Watch => "OPTIONS,GET,POST",
            Self::Leader | Self::Peers | Self::Livez | Self::Readyz | Self::Root => "OPTIONS,GET",
        }
    }

    async fn handle(self, method: &Method, call: Call, body: Incoming) -> Result<Answer, Error> {
        match self {
            Self::Kv(key) if *method == Method::PUT => kv::put(&call, key, body).await,
            Self::Kv(key) if *method == Method::DELETE => kv::delete(&call, key).await,
            Self::Kv(key) => kv::get(&call, key).await,
            Self::Txn => txn::put(&call, body).await,
            Self::Watch if *method == Method::POST => watch::post(call, body).await,
            Self::Watch => watch::get(call).await,
            Self::Leader => Ok(status::leader(&call)),
            Self::Peers => Ok(status::peers(&call)),
            Self::Livez => Ok(health::livez()),
            Self::Readyz => Ok(health::readyz(&call)),
            Self::Root => Ok(Answer::text(
                StatusCode::OK,
                "Consul Agent: UI disabled. To enable, set ui_config.enabled=true in the agent configuration and restart.",
            )),
        }
    }
}

fn not_found(text: &'static str) -> Error {
    Error::new(StatusCode::NOT_FOUND, text)
}

/// One request, from any door. `local` is our end of a TCP connection.
async fn handle(doors: &Doors, door: Door, local: Option<IpAddr>, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let gzip = answer::takes_gzip(&parts.headers);
    let (method, uri) = (parts.method.clone(), parts.uri.clone());
    let answer = match enter(doors, local, &parts) {
        Ok(path) => match Route::of(&path) {
            Ok(route) => answer(doors, door, route, parts, body).await,
            Err(error) => error.into(),
        },
        Err(error) => error.into(),
    };
    let response = answer.into_response(gzip, &cluster_header(&doors.node));
    // Without the query: a token may be in it.
    tracing::debug!(%method, path = uri.path(), status = response.status().as_u16(), "answered");
    response
}

/// What is checked before anything is looked up. The path, cleaned and decoded.
fn enter(doors: &Doors, local: Option<IpAddr>, parts: &http::request::Parts) -> Result<Vec<u8>, Error> {
    let path = path::decode(parts.uri.path()).map_err(|bad| match bad {
        BadPath::Undecodable => Error::bad("400 Bad Request").kind(Kind::Close),
        BadPath::Unprintable => Error::bad("").kind(Kind::Bare),
    })?;
    refuse_pages(&parts.headers, local, &doors.allowed_hosts)?;
    Ok(path)
}

async fn answer(doors: &Doors, door: Door, route: Route<'_>, parts: http::request::Parts, body: Incoming) -> Answer {
    let Some(query) = Query::parse(parts.uri.query().unwrap_or_default()) else {
        return Answer::from(Error::internal("")).consul();
    };
    let allow = route.allow();
    if parts.method == Method::OPTIONS {
        return Answer::options(allow).consul();
    }
    if !allow.split(',').any(|method| method == parts.method.as_str()) {
        let text = format!("method {} not allowed", parts.method);
        return Answer::from(Error::new(StatusCode::METHOD_NOT_ALLOWED, text).kind(Kind::Allow(allow))).consul();
    }
    let answer = async {
        let caller = Caller::of(door, &query, &parts.headers)?;
        let call = Call {
            node: doors.node.clone(),
            caller,
            query,
            headers: parts.headers,
        };
        route.handle(&parts.method, call, body).await
    };
    let answer = answer.await.unwrap_or_else(Answer::from);
    match route {
        Route::Kv(_) | Route::Txn | Route::Leader | Route::Peers => answer.consul(),
        Route::Watch | Route::Livez | Route::Readyz | Route::Root => answer,
    }
}
