//! A server that belongs to no cluster yet, and waits to be told which one to join.
//!
//! It lives and is not ready. Whatever else it is asked, it has no leader: clients go to another server.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, Request, StatusCode};
use hyper::service::service_fn;
use kvapi::Address;
use kvapi::cluster::{JOIN_CLUSTER_OF, JoinClusterOf};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::body::{self, Incoming};
use super::budget::Budgets;
use super::caller::{Door, refuse_pages};
use super::error::Error;
use crate::net::{self, Listener, Places};

/// The longest body.
const MAX_BODY_BYTES: usize = 16 << 10;

/// Serves these until it is said which servers are in the cluster; they are lent, and go on listening.
pub async fn wait_for_cluster(
    listeners: &[(Door, Listener)],
    allowed_hosts: &[String],
    places: &Arc<Places>,
) -> Vec<Address> {
    let doors = listeners.iter().filter(|(door, _)| *door != Door::AgentSocket);
    for (_, listener) in doors.clone() {
        let at = listener.address();
        tracing::info!("waits to be told which cluster to join: keyway --addr {at} cluster join URL");
    }
    let waiting = Waiting {
        budgets: Arc::default(),
        allowed_hosts: allowed_hosts.into(),
        told: watch::Sender::new(None).into(),
    };
    let (stopping, close) = (CancellationToken::new(), CancellationToken::new());
    let serving =
        doors.map(|(_, listener)| waiting.serve(listener, Arc::clone(places), stopping.clone(), close.clone()));
    let mut told = waiting.told.subscribe();
    let heard = async {
        let servers = told.wait_for(Option::is_some).await.map(|servers| servers.clone());
        stopping.cancel();
        servers.ok().flatten().unwrap_or_default()
    };
    let (_, servers) = tokio::join!(futures_util::future::join_all(serving), heard);
    servers
}

#[derive(Clone)]
struct Waiting {
    budgets: Arc<Budgets>,
    allowed_hosts: Arc<[String]>,
    told: Arc<watch::Sender<Option<Vec<Address>>>>,
}

impl Waiting {
    async fn serve(
        &self,
        listener: &Listener,
        places: Arc<Places>,
        stopping: CancellationToken,
        close: CancellationToken,
    ) {
        let service_for = |peer: &net::Peer| {
            let waiting = self.clone();
            let local = peer.local.map(|addr| addr.ip());
            service_fn(move |request: Request<net::Incoming>| {
                let waiting = waiting.clone();
                Box::pin(async move {
                    let request = request.map(|body| Incoming::new(body, &waiting.budgets.bodies));
                    let (parts, body) = request.into_parts();
                    let answer = match refuse_pages(&parts.headers, local, &waiting.allowed_hosts) {
                        Ok(()) => waiting.answer(&parts, body).await,
                        Err(e) => Err(e),
                    };
                    let answer = answer.unwrap_or_else(Answer::from);
                    Ok::<_, Infallible>(answer.into_response(false, &http::HeaderValue::from_static("")))
                })
            })
        };
        net::serve(listener, service_for, places, stopping, close).await;
    }

    async fn answer(&self, parts: &http::request::Parts, body: Incoming) -> Result<Answer, Error> {
        match (&parts.method, parts.uri.path()) {
            (_, "/livez") => Ok(Answer::text(StatusCode::OK, "ok\n")),
            (_, "/readyz") => Ok(Answer::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: member: the server waits to be told which cluster to join\n",
            )),
            (&Method::PUT, JOIN_CLUSTER_OF) => {
                let too_large = |_| format!("Request body too large, max size: {MAX_BODY_BYTES} bytes");
                let body = body::read(body, &parts.headers, MAX_BODY_BYTES, too_large).await?;
                let servers = servers(&body).map_err(Error::bad)?;
                self.told.send_replace(Some(servers));
                Ok(Answer::json(&true, false))
            }
            _ => Err(Error::no_leader()),
        }
    }
}

/// The servers that a body names.
fn servers(body: &[u8]) -> Result<Vec<Address>, String> {
    let join: JoinClusterOf =
        serde_json::from_slice(body).map_err(|e| format!("the body does not say which servers: {e}"))?;
    if join.servers.is_empty() {
        return Err("Servers is empty; name a server of the cluster to join".into());
    }
    join.servers.iter().map(|server| server.parse()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_or_it_is_said_what_is_missing() {
        let named = servers(br#"{"Servers": ["http://a:1", "unix:///s"]}"#).unwrap();
        assert_eq!(named, [Address::Tcp("a:1".into()), Address::Unix("/s".into())]);

        for (body, told) in [
            (&b"{}"[..], "missing field `Servers`"),
            (br#"{"Servers": []}"#, "Servers is empty"),
            (br#"{"Servers": ["a b"]}"#, "`a b` is not an address"),
        ] {
            let error = servers(body).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
