//! Snapshots on their way from one server to another.
//!
//! The one who sends asks how much of it is there already and goes on from there, so that a connection that
//! breaks costs no more than what was on its way. What comes is written as it comes, and is checked as a whole
//! before it is believed.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex as Turn;

use super::ask::{Ask, Told};
use super::links::{Body, Links, PeerError, Purpose};
use super::{decode, encode, path};
use crate::disk;
use crate::node::Node;
use crate::raft::{Snapshot, SnapshotMeta, Vote};
use crate::store::{SnapshotFile, blocking};

/// What is read and written at once.
const PIECE: usize = 512 << 10;

/// How long a server may take to say how much it has.
const ASK: std::time::Duration = std::time::Duration::from_secs(5);

/// What comes before the bytes of a snapshot, behind its length.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Head {
    vote: Vote,
    meta: SnapshotMeta,
    /// Where in the file the bytes begin.
    from: u64,
    /// How long the file is.
    length: u64,
}

/// Sends a snapshot, or what is missing of it. What the other's Raft says to it.
pub(crate) async fn send(links: &Links, to: u64, vote: Vote, snapshot: Snapshot) -> Result<Bytes, PeerError> {
    let file = snapshot.snapshot.path().to_owned();
    let lost = |e: io::Error| links.lost(to, format!("the snapshot {} cannot be read: {e}", file.display()));
    let length = disk::length(&file).map_err(lost)?;
    let have = Ask::Have {
        snapshot: snapshot.meta.snapshot_id.clone(),
    };
    let from = match links.ask(to, &have, ASK).await? {
        Told::Have(from) if from <= length => from,
        told => return Err(links.lost(to, format!("it does not take a snapshot now ({told:?})"))),
    };
    tracing::info!(server = to, snapshot = %snapshot.meta.snapshot_id, from, length, "a snapshot is sent");
    let head = Head {
        vote,
        meta: snapshot.meta,
        from,
        length,
    };
    let body = body(&head, &file).await.map_err(lost)?;
    links.send(to, Purpose::Snapshot, path::SNAPSHOT, body).await
}

async fn body(head: &Head, file: &Path) -> io::Result<Body> {
    let head_bytes = encode(head);
    let mut first = BytesMut::new();
    first.extend_from_slice(&u32::try_from(head_bytes.len()).map_err(io::Error::other)?.to_be_bytes());
    first.extend_from_slice(&head_bytes);
    let reading = disk::open_at(file, head.from)?;
    let pieces = stream::unfold((Some(first.freeze()), reading), |(first, mut reading)| async move {
        if let Some(first) = first {
            return Some((Ok(Frame::data(first)), (None, reading)));
        }
        let read = blocking(move || {
            let piece = disk::read_piece(&mut reading, PIECE);
            (piece, reading)
        });
        let (piece, reading) = read.await;
        match piece {
            Ok(piece) if piece.is_empty() => None,
            piece => Some((piece.map(|piece| Frame::data(piece.into())), (None, reading))),
        }
    });
    Ok(StreamBody::new(pieces).boxed_unsync())
}

/// The snapshot that is being received; one at a time.
#[derive(Default)]
pub(crate) struct Receiving {
    partial: Arc<Turn<Option<Partial>>>,
}

struct Partial {
    from: u64,
    snapshot: String,
    file: SnapshotFile,
}

impl Receiving {
    /// How much of a snapshot is there. If it is another one than before, what there was is given up.
    pub(crate) async fn have(&self, node: &Node, from: u64, snapshot: String) -> Result<Told, String> {
        let Ok(mut partial) = self.partial.try_lock() else {
            return Ok(Told::Refused("a snapshot is being received already".into()));
        };
        if let Some(partial) = &*partial
            && partial.snapshot == snapshot
            && partial.from == from
        {
            let length = disk::length(partial.file.path()).map_err(|e| e.to_string())?;
            return Ok(Told::Have(length));
        }
        let file = node.begin_receiving().await?;
        *partial = Some(Partial { from, snapshot, file });
        Ok(Told::Have(0))
    }

    /// Takes what comes, and once it is whole gives it to Raft.
    pub(crate) async fn take(&self, node: &Node, mut body: Incoming) -> Result<Bytes, String> {
        let mut slot = self
            .partial
            .try_lock()
            .map_err(|_| "a snapshot is being received already")?;
        let mut waiting = BytesMut::new();
        let head = loop {
            if let Some(head) = take_head(&mut waiting)? {
                break head;
            }
            match next(&mut body).await? {
                Some(data) => waiting.extend_from_slice(&data),
                None => return Err("the snapshot has no head".into()),
            }
        };
        let partial = slot
            .as_ref()
            .filter(|partial| partial.snapshot == head.meta.snapshot_id);
        let path = partial.ok_or("another snapshot is expected")?.file.path().to_owned();
        let mut at = disk::length(&path).map_err(|e| e.to_string())?;
        if at != head.from {
            return Err(format!("{at} bytes of the snapshot are there, not {}", head.from));
        }
        loop {
            let more = next(&mut body).await?;
            let ended = more.is_none();
            waiting.extend_from_slice(&more.unwrap_or_default());
            if waiting.len() >= PIECE || ended {
                let (piece, path) = (waiting.split().freeze(), path.clone());
                at += piece.len() as u64;
                let written = blocking(move || disk::append(&path, &piece)).await;
                written.map_err(|e| format!("the snapshot cannot be written: {e}"))?;
            }
            if ended {
                break;
            }
        }
        if at != head.length {
            return Err(format!("{at} of {} bytes of the snapshot came", head.length));
        }
        let Some(partial) = slot.take() else {
            return Err("the snapshot is gone".into());
        };
        let snapshot = Snapshot {
            meta: head.meta,
            snapshot: Box::new(partial.file),
        };
        node.install(head.vote, snapshot).await
    }
}

fn take_head(waiting: &mut BytesMut) -> Result<Option<Head>, String> {
    let Some(length) = waiting.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if waiting.len() < 4 + length {
        return Ok(None);
    }
    waiting.advance(4);
    decode(&waiting.split_to(length)).map(Some)
}

async fn next(body: &mut Incoming) -> Result<Option<Bytes>, String> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(e)) => return Err(format!("the snapshot broke off: {e}")),
        }
    }
}
