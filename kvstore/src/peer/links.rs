//! Connections to the other servers, kept open, and where these servers are.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Mutex as Turn;

use super::ask::{Ask, Told};
use super::hello::{HEADER, Hello};
use super::{CONNECTION_WINDOW, KEEP_ALIVE, KEEP_ALIVE_LIMIT, STREAM_WINDOW, decode, encode, path};
use crate::clock;
use crate::net;
use crate::raft::Node;
use crate::store::Fatal;

/// What a request carries.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    Raft,
    Snapshot,
    Ask,
}

/// Why a peer gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It was not asked.
    #[error("server {to} at {at} cannot be reached: {reason}")]
    Unreachable { to: u64, at: String, reason: String },
    /// It was asked, and may have done what it was asked.
    #[error("server {to} at {at} was asked, and its answer was lost: {reason}")]
    Lost { to: u64, at: String, reason: String },
    /// It refuses to speak with this server.
    #[error("server {to} at {at} refuses this server: {reason}")]
    Refused { to: u64, at: String, reason: String },
}

/// This server, as it introduces itself.
#[derive(Debug, Clone)]
pub(crate) struct Me {
    pub(crate) cluster: String,
    pub(crate) id: u64,
    pub(crate) instance: String,
    pub(crate) node: Node,
    /// Where connections come from, so that the others see the address that they know.
    pub(crate) from: Option<IpAddr>,
}

/// See the module. Clones share the connections.
#[derive(Clone)]
pub struct Links {
    inner: Arc<Inner>,
}

struct Inner {
    me: Me,
    /// Where the others say that they are. It is newer than what the cluster has agreed on.
    book: RwLock<BTreeMap<u64, Node>>,
    links: Mutex<HashMap<(u64, Purpose), Arc<Link>>>,
    /// Ends the server once it hears that it was removed.
    fatal: Fatal,
}

/// One connection, made when it is needed.
#[derive(Default)]
struct Link {
    open: Arc<Turn<Option<Open>>>,
}

#[derive(Clone)]
struct Open {
    at: String,
    hello: HeaderValue,
    sender: http2::SendRequest<Body>,
}

impl Links {
    pub(crate) fn new(me: Me, fatal: Fatal) -> Self {
        Self {
            inner: Arc::new(Inner {
                me,
                book: RwLock::default(),
                links: Mutex::default(),
                fatal,
            }),
        }
    }

    /// This server.
    pub(crate) fn me(&self) -> &Me {
        &self.inner.me
    }

    /// A server is there, as the cluster has agreed; what it says itself goes before that.
    pub(crate) fn learn(&self, id: u64, node: &Node) {
        let mut book = self.inner.book.write().unwrap_or_else(PoisonError::into_inner);
        book.entry(id).or_insert_with(|| node.clone());
    }

    /// A server says that it is there.
    pub(crate) fn hear(&self, id: u64, node: &Node) {
        let known = self.at(id);
        if known.as_ref() == Some(node) {
            return;
        }
        tracing::info!(server = id, at = %node, "a server says where it is");
        let mut book = self.inner.book.write().unwrap_or_else(PoisonError::into_inner);
        book.insert(id, node.clone());
    }

    /// Where a server is.
    pub(crate) fn at(&self, id: u64) -> Option<Node> {
        let book = self.inner.book.read().unwrap_or_else(PoisonError::into_inner);
        book.get(&id).cloned()
    }

    /// Asks a server for something.
    pub(crate) async fn ask(&self, to: u64, ask: &Ask, limit: Duration) -> Result<Told, PeerError> {
        let sent = self.send(to, Purpose::Ask, path::ASK, whole(encode(ask)));
        let answer = clock::timeout(limit, sent).await;
        let answer = answer.unwrap_or_else(|_| Err(self.lost(to, "there was none in time")))?;
        decode(&answer).map_err(|reason| self.lost(to, reason))
    }

    /// Sends a request and waits for its answer. Dropping it takes the request back.
    pub(crate) async fn send(&self, to: u64, purpose: Purpose, path: &str, body: Body) -> Result<Bytes, PeerError> {
        let mut open = self.open(to, purpose).await?;
        let request = Request::post(format!("http://{}{path}", open.at)).header(HEADER, open.hello);
        let request = request.body(body).map_err(|e| self.unreachable(to, e))?;
        let ready = open.sender.ready().await;
        ready.map_err(|e| self.unreachable(to, e))?;
        let response = open.sender.send_request(request).await;
        let response = response.map_err(|e| self.lost(to, e))?;
        let status = response.status();
        let body = response.into_body().collect().await;
        let body = body.map_err(|e| self.lost(to, e))?.to_bytes();
        if status == StatusCode::OK {
            return Ok(body);
        }
        let reason = String::from_utf8_lossy(&body).into_owned();
        if status == StatusCode::GONE {
            self.inner.fatal.report(reason.clone());
        }
        Err(PeerError::Refused {
            to,
            at: self.place(to),
            reason,
        })
    }

    /// The connection to a server, made now if there is none. Who goes away while it is made leaves the
    /// making to go on: a heartbeat has less time than a far connection may need.
    async fn open(&self, to: u64, purpose: Purpose) -> Result<Open, PeerError> {
        let Some(node) = self.at(to) else {
            return Err(self.unreachable(to, "its address is not known"));
        };
        let link = {
            let mut links = self.inner.links.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(links.entry((to, purpose)).or_default())
        };
        let mut slot = Arc::clone(&link.open).lock_owned().await;
        if let Some(open) = &*slot
            && open.at == node.raft_addr
            && !open.sender.is_closed()
        {
            return Ok(open.clone());
        }
        *slot = None;
        let (links, at) = (self.clone(), node.raft_addr);
        let made = tokio::spawn(async move {
            let open = links.connect(to, at).await?;
            *slot = Some(open.clone());
            Ok(open)
        });
        made.await.unwrap_or_else(|e| Err(self.unreachable(to, e)))
    }

    async fn connect(&self, to: u64, at: String) -> Result<Open, PeerError> {
        let me = &self.inner.me;
        let stream = net::dial(&at, me.from).await.map_err(|e| self.unreachable(to, e))?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_LIMIT)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| self.unreachable(to, e))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(server = to, %error, "a connection to a server has ended");
            }
        });
        let hello = Hello {
            cluster: me.cluster.clone(),
            from: me.id,
            instance: me.instance.clone(),
            to,
            node: me.node.clone(),
        };
        let hello = HeaderValue::from_str(&hello.to_string()).map_err(|e| self.unreachable(to, e))?;
        Ok(Open { at, hello, sender })
    }

    fn place(&self, to: u64) -> String {
        self.at(to).map(|node| node.raft_addr).unwrap_or_default()
    }

    fn unreachable(&self, to: u64, reason: impl std::fmt::Display) -> PeerError {
        PeerError::Unreachable {
            to,
            at: self.place(to),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn lost(&self, to: u64, reason: impl std::fmt::Display) -> PeerError {
        PeerError::Lost {
            to,
            at: self.place(to),
            reason: reason.to_string(),
        }
    }
}

/// A body that is there already.
pub(crate) fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}
