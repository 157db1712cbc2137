//! The HTTP API: Consul's, to the letter where its clients look, and a few routes of our own.
//!
//! A router of our own, because Consul's rules come before any router's: paths are cleaned
//! without a redirect, and what cannot be decoded, printed or found is refused in its words. The
//! routes are in `route`, and each has a file:
//!
//! | file | what it holds |
//! | --- | --- |
//! | `route` | paths and methods |
//! | `openapi` | all of them described |
//! | [`traffic`], `metrics` | requests counted, and all numbers shown |
//! | `kv`, `txn`, `session`, `cluster`, `snapshot`, `restore`, `status`, `agent`, `operator`, `autopilot`, `catalog`, `history`, `watch`, `health` | the handlers |
//! | `acl`, `registration` | what is refused in Consul's words |
//! | `family` | paths that are many and alike |
//! | `blocking` | reads that wait for a change |
//! | [`waiting`] | a server that belongs to no cluster yet |
//! | [`caller`] | who asks, and what that allows |
//! | `params`, `slice`, `ops`, `terms`, `path` | what requests say, checked in Consul's order; pure |
//! | `golang`, `json` | Go's ways of reading and writing; pure |
//! | `list`, `flow` | lists in pieces, and what they are made of while a client takes its time |
//! | `answer`, [`body`], `error` | what goes out |
//! | [`budget`] | how much of all that may be in memory at a time |

mod acl;
mod agent;
mod answer;
mod autopilot;
mod blocking;
pub mod body;
pub mod budget;
mod call;
pub mod caller;
mod catalog;
mod cluster;
mod error;
mod family;
mod flow;
#[doc(hidden)]
pub mod fuzzing;
mod golang;
mod health;
mod history;
mod json;
mod kv;
mod list;
mod metrics;
mod openapi;
mod operator;
mod ops;
mod params;
mod path;
mod registration;
mod restore;
mod route;
mod session;
mod slice;
mod snapshot;
mod status;
mod terms;
#[cfg(test)]
mod tests;
pub mod traffic;
mod txn;
pub mod waiting;
mod watch;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::service::service_fn;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::net::{self, Listener, Places};
use crate::node::Node;
use answer::Answer;
use body::{Body, Incoming};
use budget::Budgets;
use call::{Call, cluster_header};
use caller::{Caller, Door, refuse_pages};
use error::{Error, Kind, Refusal};
use golang::Query;
use path::BadPath;
use route::Route;

/// What every door leads to.
pub struct Doors {
    pub node: Node,
    /// Names, beside addresses and `localhost`, under which clients on this machine may ask.
    pub allowed_hosts: Vec<String>,
    /// Connections, over all doors.
    pub places: Arc<Places>,
    /// Bytes on their way, over all connections.
    pub budgets: Budgets,
}

/// Serves a door until the node stops and every request under way has its answer; `close` cuts
/// what is left.
pub async fn serve(listener: Listener, door: Door, doors: Arc<Doors>, close: CancellationToken) {
    let stopping = doors.node.stopping().clone();
    let places = Arc::clone(&doors.places);
    let service_for = |peer: &net::Peer| {
        let doors = Arc::clone(&doors);
        let local = peer.local.map(|addr| addr.ip());
        service_fn(move |request: Request<net::Incoming>| {
            let doors = Arc::clone(&doors);
            // Boxed, since hyper keeps room for a handler in every connection, and most are idle.
            Box::pin(async move {
                let request = request.map(|body| Incoming::new(body, &doors.budgets.bodies));
                Ok::<_, Infallible>(handle(&doors, door, local, request).await)
            })
        })
    };
    net::serve(listener, service_for, places, stopping, close).await;
}

/// One request, from any door. `local` is our end of a TCP connection.
async fn handle(doors: &Doors, door: Door, local: Option<IpAddr>, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let gzip = answer::takes_gzip(&parts.headers);
    let (method, uri) = (parts.method.clone(), parts.uri.clone());
    let begun = clock::now();
    let mut number = traffic::ROUTES.len() - 1;
    let answer = match enter(doors, local, &parts) {
        Ok(path) => match Route::of(&path) {
            Ok(route) => {
                number = route.number();
                answer(doors, door, route, parts, body).await
            }
            Err(error) => error.into(),
        },
        Err(error) => error.into(),
    };
    let response = answer.into_response(gzip, &cluster_header(&doors.node));
    let response = body::counted(response, &doors.budgets.answers);
    if let Some(refusal) = response.extensions().get::<Refusal>() {
        doors.node.traffic().refuse(*refusal);
    }
    // What is asked to wait says nothing of how fast we are.
    let waits = uri.path() == "/v1/watch" || uri.query().is_some_and(|query| query.contains("index="));
    let took = (!waits).then(|| begun.elapsed());
    doors.node.traffic().count(number, &method, response.status(), took);
    // Without the query: a token may be in it.
    tracing::debug!(%method, path = uri.path(), status = response.status().as_u16(), "answered");
    response
}

/// What is checked before anything is looked up. The path, cleaned and decoded.
fn enter(doors: &Doors, local: Option<IpAddr>, parts: &http::request::Parts) -> Result<Vec<u8>, Error> {
    let head = head_len(parts);
    if head > net::MAX_HEAD_BYTES {
        let text = format!(
            "the head of the request is {head} bytes long; at most {} are taken",
            net::MAX_HEAD_BYTES
        );
        return Err(Error::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text).kind(Kind::Close));
    }
    let path = path::decode(parts.uri.path()).map_err(|bad| match bad {
        BadPath::Undecodable => Error::bad("400 Bad Request").kind(Kind::Close),
        BadPath::Unprintable => Error::bad("").kind(Kind::Bare),
    })?;
    refuse_pages(&parts.headers, local, &doors.allowed_hosts)?;
    Ok(path)
}

/// How long the head of a request was, as clients write it. hyper looks only between two reads.
fn head_len(parts: &http::request::Parts) -> usize {
    let target = parts.uri.path_and_query().map_or(1, |target| target.as_str().len());
    let headers = parts.headers.iter();
    let headers = headers.map(|(name, value)| name.as_str().len() + ": ".len() + value.len() + "\r\n".len());
    parts.method.as_str().len() + "  HTTP/1.1\r\n".len() + target + headers.sum::<usize>() + "\r\n".len()
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
        route.handle(&parts.method, call, body, doors).await
    };
    let answer = answer.await.unwrap_or_else(Answer::from);
    if route.is_consuls() { answer.consul() } else { answer }
}
