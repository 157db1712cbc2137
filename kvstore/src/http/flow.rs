//! A long list on its way to its client, which may take it as slowly as it likes.
//!
//! A piece is made when there is room for it. Between pieces the state that they are made of is
//! held, but not for ever: a client that takes nothing for [`PATIENCE`] would keep every value of
//! its time in memory. After that the list goes on from a newer state, as it was at its revision,
//! as long as that can be read; then it is cut off, which no client takes for its end.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::list::List;
use crate::clock;
use crate::node::Node;
use crate::state::State;

/// A list that fits in this goes out as a whole.
pub(super) const WHOLE: usize = 64 << 10;

/// What a piece comes to.
const PIECE: usize = 16 << 10;

/// How long a state is held for a client that takes nothing; at most twice this.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module.
pub struct Flow {
    list: List,
    view: View,
    begun: Vec<u8>,
    gzip: Option<GzEncoder<Vec<u8>>>,
}

impl Flow {
    /// Goes on with a list that has been `begun` from a state.
    pub(super) fn new(mut list: List, begun: Vec<u8>, state: Arc<State>, node: Node) -> Self {
        list.pin(list.revision().unwrap_or_else(|| state.revision()));
        Self {
            list,
            view: View::hold(state, node, PATIENCE),
            begun,
            gzip: None,
        }
    }

    /// Compressed from here on.
    pub(super) fn compress(&mut self) {
        self.gzip = Some(GzEncoder::new(Vec::new(), Compression::fast()));
    }

    /// The next piece; `None` behind the last.
    pub(super) fn next_piece(&mut self) -> Option<Result<Bytes, Cut>> {
        loop {
            let mut piece = std::mem::take(&mut self.begun);
            if piece.is_empty() && !self.list.ended() {
                let state = match self.view.state(&self.list) {
                    Ok(state) => state,
                    Err(cut) => return Some(Err(cut)),
                };
                piece.reserve(PIECE + PIECE / 8);
                self.list.fill(&state, PIECE, &mut piece);
            }
            let last = self.list.ended();
            if let Some(mut gzip) = self.gzip.take() {
                gzip.write_all(&piece).expect("a Vec takes all bytes");
                if last {
                    piece = gzip.finish().expect("a Vec takes all bytes");
                } else {
                    piece = std::mem::take(gzip.get_mut());
                    self.gzip = Some(gzip);
                    if piece.is_empty() {
                        continue;
                    }
                }
            }
            return (!piece.is_empty()).then(|| Ok(piece.into()));
        }
    }
}

/// Why a list was cut off.
#[derive(Debug, thiserror::Error)]
#[error("the list was cut off: its client was so slow that what it is of is no longer kept")]
pub struct Cut;

/// The state that a list is made of.
struct View {
    node: Node,
    slot: Arc<Slot>,
    timer: tokio::task::AbortHandle,
}

/// A state, and whether it was used of late.
struct Slot {
    state: Mutex<Option<Arc<State>>>,
    used: AtomicBool,
}

impl View {
    fn hold(state: Arc<State>, node: Node, patience: Duration) -> Self {
        let slot = Arc::new(Slot {
            state: Mutex::new(Some(state)),
            used: AtomicBool::new(true),
        });
        let held = Arc::clone(&slot);
        let timer = tokio::spawn(async move {
            loop {
                clock::sleep(patience).await;
                if !held.used.swap(false, Ordering::Relaxed) {
                    held.put(None);
                }
            }
        });
        Self {
            node,
            slot,
            timer: timer.abort_handle(),
        }
    }

    fn state(&self, list: &List) -> Result<Arc<State>, Cut> {
        self.slot.used.store(true, Ordering::Relaxed);
        if let Some(state) = self.slot.get() {
            return Ok(state);
        }
        let state = self.node.view();
        let readable = list.revision().map(|at| state.readable(list.prefix(), at));
        readable.transpose().map_err(|_| Cut)?;
        self.slot.put(Some(Arc::clone(&state)));
        Ok(state)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

impl Slot {
    fn get(&self) -> Option<Arc<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, state: Option<Arc<State>>) {
        let old = {
            let mut held = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *held, state)
        };
        // Outside of the lock: it may be the last, and large.
        drop(old);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use kvapi::Key;

    use super::*;
    use crate::command::{Action, Command};
    use crate::config::Config;
    use crate::http::list::Of;
    use crate::http::slice::Slice;
    use crate::read::ReadMode;

    async fn node(prefix: &str) -> (Node, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            raft_addr: "127.0.0.1:0".into(),
            ..Config::new(dir.path().join("data"))
        };
        let node = Node::open(&config).await.unwrap();
        for n in 0..40 {
            put(&node, &format!("{prefix}{n:02}"), vec![n; 5000]).await;
        }
        (node, dir)
    }

    async fn put(node: &Node, key: &str, value: Vec<u8>) {
        act(
            node,
            Action::Put {
                key: Key::new(key).unwrap(),
                value: value.into(),
                flags: 0,
                cas: None,
            },
        )
        .await;
    }

    async fn act(node: &Node, action: Action) {
        let command = Command {
            request: None,
            author: None,
            message: None,
            action,
        };
        node.propose(command).await.unwrap();
    }

    /// A list of everything below a prefix, and what it is as a whole.
    async fn flow(node: &Node, prefix: &str) -> (Flow, Vec<u8>) {
        let state = node.read(ReadMode::Linearizable).await.unwrap();
        let list = || List::new(Of::Entries, prefix, &Slice::default(), false);
        let (mut begun, mut whole) = (Vec::new(), Vec::new());
        list().fill(&state, usize::MAX, &mut whole);
        let mut list = list();
        list.fill(&state, WHOLE, &mut begun);
        assert!(!list.ended());
        (Flow::new(list, begun, state, node.clone()), whole)
    }

    fn rest(flow: &mut Flow) -> Result<Vec<u8>, Cut> {
        let pieces: Result<Vec<Bytes>, Cut> = std::iter::from_fn(|| flow.next_piece()).collect();
        Ok(pieces?.concat())
    }

    #[tokio::test]
    async fn a_list_arrives_as_it_was_compressed_or_not_and_whatever_is_written_meanwhile() {
        let (node, _dir) = node("a/").await;
        for compressed in [false, true] {
            for forgotten in [false, true] {
                let (mut flow, whole) = flow(&node, "a/").await;
                if compressed {
                    flow.compress();
                }
                let mut got = flow.next_piece().unwrap().unwrap().to_vec();
                if forgotten {
                    flow.view.slot.put(None);
                }
                put(&node, "a/39", format!("{compressed} {forgotten}").into_bytes()).await;
                put(&node, "a/39/new", format!("{compressed} {forgotten}").into_bytes()).await;

                got.extend(rest(&mut flow).unwrap());

                if compressed {
                    let mut plain = Vec::new();
                    flate2::read::GzDecoder::new(&*got).read_to_end(&mut plain).unwrap();
                    got = plain;
                }
                assert!(got == whole, "{compressed} {forgotten}");
            }
        }
    }

    #[tokio::test]
    async fn a_list_whose_revision_is_gone_is_cut_off() {
        for prefix in ["a/", "_keyway/a/"] {
            let (node, _dir) = node(prefix).await;
            let (mut flow, whole) = flow(&node, prefix).await;
            let (mut held, _) = self::flow(&node, prefix).await;
            flow.view.slot.put(None);
            put(&node, &format!("{prefix}39"), vec![]).await;
            let newest = node.view().revision();
            act(&node, Action::Compact { revision: newest }).await;

            assert!(flow.next_piece().unwrap().is_ok(), "what was made already");
            assert!(rest(&mut flow).is_err(), "{prefix}");
            assert!(rest(&mut held).unwrap() == whole, "{prefix}");
        }
    }

    #[tokio::test]
    async fn a_state_is_let_go_when_nobody_takes_what_is_made_of_it() {
        let (node, _dir) = node("a/").await;
        let state = node.view();
        let weak = Arc::downgrade(&state);
        let view = View::hold(state, node.clone(), Duration::from_millis(5));
        put(&node, "b", vec![]).await;

        while weak.upgrade().is_some() {
            clock::sleep(Duration::from_millis(1)).await;
        }
        assert!(view.slot.get().is_none());
    }
}
