//! `/v1/snapshot`: the whole state as a backup, in the envelope of Consul's. Source: Consul 1.22.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use tokio::sync::mpsc;

use super::Doors;
use super::answer::Answer;
use super::blocking::mode;
use super::call::{Call, Result};
use super::error::{Error, Refusal};
use super::params::{ReadParams, check_datacenter, refuse_enterprise};
use crate::archive::{self, Stamp};
use crate::clock;
use crate::held::Cut;
use crate::state::State;
use crate::view::Views;

/// Backups that are sent at a time: each takes a thread for as long as its client takes.
pub(super) const SENT_AT_A_TIME: usize = 4;

/// What is gathered before it is sent.
const PIECE: usize = 64 << 10;

/// Pieces that wait for the client.
const WAITING: usize = 4;

/// What may be replaced in the store while a backup is on its way: so much memory its state may cost.
const MOST_HELD: u64 = 256 << 20;

/// `GET`: everything that was acknowledged by now, or with `stale` what this server has.
pub(super) async fn get(call: &Call, doors: &Doors) -> Result {
    let params = ReadParams::parse(&call.query, &call.headers)?;
    refuse_enterprise(&call.query, &call.headers)?;
    check_datacenter(&call.query)?;
    call.caller.may_see_everything()?;
    let permit = Arc::clone(&doors.budgets.snapshots).try_acquire_owned().map_err(|_| {
        let text = format!("{SENT_AT_A_TIME} snapshots are being sent already; try again");
        Error::new(StatusCode::TOO_MANY_REQUESTS, text).refusal(Refusal::Answers)
    })?;
    let state = call.node.read(mode(params.consistency)).await?;
    let status = call.node.status();
    let stamp = Stamp {
        cluster_id: status.cluster_id,
        term: call.node.members().term,
        at_ms: clock::wall_ms(),
        servers: (status.peers.into_iter())
            .map(|(id, node)| (id.to_string(), node.raft_addr))
            .collect(),
    };
    let revision = state.revision();
    let (pieces, receiver) = mpsc::channel(WAITING);
    let views = call.node.views().clone();
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let _held = views.count_held();
        send(&state, &stamp, &views, pieces);
    });
    let answer = Answer::pieces(receiver).with(CONTENT_TYPE, HeaderValue::from_static("application/x-gzip"));
    Ok(answer
        .revision(revision)
        .kv_meta(revision, call.freshness(params.consistency)))
}

/// Runs until the client has everything or is gone.
fn send(state: &Arc<State>, stamp: &Stamp, views: &Views, pieces: mpsc::Sender<std::result::Result<Bytes, Cut>>) {
    let mut out = Pieces {
        gathered: Vec::with_capacity(PIECE),
        pieces,
        state,
        views,
    };
    let written = archive::write(&mut out, state, stamp).and_then(|out| out.send());
    if let Err(error) = written {
        tracing::info!(%error, "a snapshot was not sent to its end");
        // Nobody takes a body that is cut off for a whole one.
        let _ = out.pieces.blocking_send(Err(Cut));
    }
}

/// Takes bytes, and sends them on in pieces as the client takes them.
struct Pieces<'a> {
    gathered: Vec<u8>,
    pieces: mpsc::Sender<std::result::Result<Bytes, Cut>>,
    state: &'a State,
    views: &'a Views,
}

impl Pieces<'_> {
    fn send(&mut self) -> io::Result<()> {
        if self.views.current().cost_of_holding(self.state) > MOST_HELD {
            return Err(io::Error::other(
                "the client was so slow that too much was replaced meanwhile",
            ));
        }
        let piece = std::mem::replace(&mut self.gathered, Vec::with_capacity(PIECE));
        if piece.is_empty() {
            return Ok(());
        }
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.pieces.blocking_send(Ok(piece.into())).map_err(gone)
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.gathered.len());
        self.gathered.extend_from_slice(&bytes[..taken]);
        if self.gathered.len() == PIECE {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
