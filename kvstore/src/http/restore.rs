//! `PUT /v1/snapshot`: puts a backup in the place of what the cluster holds.
//!
//! The backup is gathered in a file and checked whole before anything of it is proposed. Then it goes through the
//! log in pieces, which are put aside, and one last command makes all of them count at once. Whatever ends it
//! before that has changed nothing that anybody sees.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Doors;
use super::answer::Answer;
use super::body::{self, Incoming};
use super::call::{Call, Result};
use super::error::{Error, Refusal};
use super::params::{check_datacenter, refuse_enterprise};
use crate::archive::{self, BadArchive, Contents, Item};
use crate::batch::ProposeError;
use crate::clock;
use crate::command::{Action, Command, Outcome};
use crate::disk::{self, NewFile};
use crate::node::Node;
use crate::room::NoRoom;
use crate::state::staged::{Kept, Piece};

/// The name of the file that a backup is gathered in; removed at the next start if it stays.
const GATHERED: &str = "restored";

/// What a piece comes to, unless one value alone is more.
const PIECE: usize = 128 << 10;

/// Pieces that are proposed at a time.
const AT_A_TIME: usize = 3;

/// How often a piece is proposed again whose end is not known: put aside twice, it is there once.
const TRIES: u32 = 5;

/// How often it is looked how much room the disk has.
const LOOK: usize = 4 << 20;

/// So many times the bytes of a backup are needed on the disk: in the log, put aside, as rows and in the history.
const COPIES: u64 = 4;

pub(super) async fn put(call: &Call, body: Incoming, doors: &Doors) -> Result {
    refuse_enterprise(&call.query, &call.headers)?;
    check_datacenter(&call.query)?;
    call.caller.may_see_everything()?;
    let _one = doors.budgets.restores.try_acquire().map_err(|_| {
        let text = "another snapshot is being restored through this server; wait for it";
        Error::new(StatusCode::TOO_MANY_REQUESTS, text).refusal(Refusal::Bodies)
    })?;
    let node = &call.node;
    let file = gather(node, body, call).await?;
    let (file, contents, weight) = check(file).await?;
    room_for(node, weight)?;
    let restore: Arc<str> = contents.sha256.as_str().into();
    let parts = stage(node, &restore, file).await?;
    let newest = contents.revision;
    let action = Action::Restore { restore, parts, newest };
    let why = || Some(format!("snapshot {} restored", contents.meta.id));
    let reply = call.propose_saying(action, why).await?;
    if let Outcome::Refused(why) = reply.outcome {
        return Err(Error::internal(format!("failed to restore snapshot: {why}")));
    }
    let (keys, revision) = (contents.keys, reply.revision);
    if let Some(left_out) = contents.left_out() {
        tracing::info!(snapshot = contents.meta.id, "{left_out}");
    }
    tracing::info!(snapshot = contents.meta.id, keys, %revision, "a snapshot was restored");
    let binary = HeaderValue::from_static("application/octet-stream");
    Ok(Answer::empty(StatusCode::OK)
        .with(CONTENT_TYPE, binary)
        .revision(revision))
}

/// Writes the body to a file without a name of its own.
async fn gather(node: &Node, body: Incoming, call: &Call) -> Result<NewFile> {
    let path = node.scratch_dir().join(GATHERED);
    let needed = node.room().needed;
    let (pieces, receiver) = mpsc::channel::<Bytes>(4);
    let writing = tokio::task::spawn_blocking(move || write(&path, needed, receiver));
    let poured = body::pour(body, &call.headers, &pieces).await;
    drop(pieces);
    let written = writing.await.map_err(|e| Error::internal(e.to_string()))?;
    // Why the file could not be written comes before that nobody took the body any more.
    let file = written?;
    poured?;
    Ok(file)
}

fn write(path: &Path, needed: u64, mut pieces: mpsc::Receiver<Bytes>) -> Result<NewFile> {
    use std::io::Write as _;
    let failed = |e: &std::io::Error| {
        if disk::is_full(e) {
            return ProposeError::from(NoRoom { free: 0, needed }).into();
        }
        Error::internal(format!("failed to read or write snapshot data: {e}"))
    };
    let dir = path.parent().unwrap_or(path);
    let mut file = NewFile::create(path).map_err(|e| failed(&e))?;
    let mut unlooked = 0;
    while let Some(piece) = pieces.blocking_recv() {
        file.write_all(&piece).map_err(|e| failed(&e))?;
        unlooked += piece.len();
        if unlooked >= LOOK {
            unlooked = 0;
            let free = disk::free(dir).map_err(|e| failed(&e))?;
            if free < needed {
                return Err(ProposeError::from(NoRoom { free, needed }).into());
            }
        }
    }
    Ok(file)
}

/// Reads the file to its end. Also how much what it holds comes to.
async fn check(mut file: NewFile) -> Result<(NewFile, Contents, u64)> {
    let checked = tokio::task::spawn_blocking(move || {
        let mut weight = 0;
        let reading = file.reread().map_err(|e| BadArchive::Envelope(e.to_string()))?;
        let contents = archive::read(reading, &mut |item| {
            weight += match item {
                Item::Key(kept) => kept.weight(),
                Item::Session(_, terms) => terms.weight(),
            } as u64;
            ControlFlow::Continue(())
        })?;
        Ok::<_, BadArchive>((file, contents, weight))
    });
    let checked = checked.await.map_err(|e| Error::internal(e.to_string()))?;
    checked.map_err(|e| Error::internal(e.to_string()))
}

/// A restore that begins on a disk that is too small for it would end the server.
fn room_for(node: &Node, weight: u64) -> Result<()> {
    let room = node.room();
    let needed = room.needed.saturating_add(weight.saturating_mul(COPIES));
    if room.free < needed {
        let (free, needed) = (room.free, needed);
        return Err(ProposeError::from(NoRoom { free, needed }).into());
    }
    Ok(())
}

/// Has every piece put aside. Returns how many there are.
async fn stage(node: &Node, restore: &Arc<str>, mut file: NewFile) -> Result<u64> {
    let (sender, mut pieces) = mpsc::channel(AT_A_TIME);
    let reading = tokio::task::spawn_blocking(move || {
        let mut cut = Cutter {
            piece: Piece::default(),
            weight: 0,
            sender,
        };
        let reading = file.reread().map_err(|e| BadArchive::Envelope(e.to_string()))?;
        archive::read(reading, &mut |item| cut.take(item))?;
        // An empty backup has one empty piece.
        let _ = cut.send();
        Ok::<_, BadArchive>(())
    });
    let mut proposed = JoinSet::new();
    let mut parts = 0;
    while let Some(piece) = pieces.recv().await {
        // The first one makes room for all others.
        while proposed.len() >= if parts <= 1 { 1 } else { AT_A_TIME } {
            joined(proposed.join_next().await)?;
        }
        let action = Action::Stage {
            restore: Arc::clone(restore),
            part: parts,
            piece: Arc::new(piece),
        };
        proposed.spawn(put_aside(node.clone(), action));
        parts += 1;
    }
    while let Some(done) = proposed.join_next().await {
        joined(Some(done))?;
    }
    let read = reading.await.map_err(|e| Error::internal(e.to_string()))?;
    read.map_err(|e| Error::internal(e.to_string()))?;
    Ok(parts)
}

fn joined(done: Option<std::result::Result<Result<()>, tokio::task::JoinError>>) -> Result<()> {
    match done {
        None => Ok(()),
        Some(Ok(done)) => done,
        Some(Err(e)) => Err(Error::internal(e.to_string())),
    }
}

async fn put_aside(node: Node, action: Action) -> Result<()> {
    let mut tries = 0;
    loop {
        let command = Command::from(action.clone());
        tries += 1;
        match node.propose(command).await {
            Ok(reply) => {
                return match reply.outcome {
                    Outcome::Refused(why) => Err(Error::internal(format!("failed to restore snapshot: {why}"))),
                    _ => Ok(()),
                };
            }
            Err(ProposeError::Unknown(_) | ProposeError::Overloaded) if tries < TRIES => {
                clock::sleep(std::time::Duration::from_millis(200)).await;
            }
            // What was put aside is nothing that anybody sees, so nothing was done.
            Err(ProposeError::Unknown(why)) => {
                return Err(Error::internal(format!(
                    "failed to restore snapshot: {why}; nothing was changed"
                )));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Makes pieces of what is read.
struct Cutter {
    piece: Piece,
    weight: usize,
    sender: mpsc::Sender<Piece>,
}

impl Cutter {
    fn take(&mut self, item: Item) -> ControlFlow<()> {
        match item {
            Item::Key(kept) => {
                self.weight += Kept::weight(&kept);
                self.piece.keys.push(kept);
            }
            Item::Session(id, terms) => {
                self.weight += terms.weight();
                self.piece.sessions.push((id, terms));
            }
        }
        if self.weight >= PIECE {
            return self.send();
        }
        ControlFlow::Continue(())
    }

    fn send(&mut self) -> ControlFlow<()> {
        self.weight = 0;
        let piece = std::mem::take(&mut self.piece);
        match self.sender.blocking_send(piece) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}
