//! A long list on its way to its client, which may take it as slowly as it likes.
//!
//! A piece is made when there is room for it. Between pieces the state that they are made of is
//! held while that costs little: [`Held`]. After that the list goes on from a newer state, as it was
//! at its revision, as long as that can be read; then it is cut off, which no client takes for its
//! end.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::budget::{Budget, Share};
use super::list::List;
use crate::held::{Cut, Held};
use crate::state::State;
use crate::view::Views;

/// A list that fits in this goes out as a whole.
pub(super) const WHOLE: usize = 64 << 10;

/// What a piece comes to.
const PIECE: usize = 16 << 10;

/// What a list takes while its client takes it, with what hyper keeps of it: 83 KiB were seen.
const COST: usize = 128 << 10;

/// And compressed, with the tables for that: 519 KiB were seen.
const COST_COMPRESSED: usize = 640 << 10;

/// See the module.
pub struct Flow {
    list: List,
    held: Held,
    begun: Vec<u8>,
    gzip: Option<GzEncoder<Vec<u8>>>,
    /// What it is counted for, until its client has it or is gone.
    share: Option<Share>,
}

/// How a list goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    AsItIs,
    /// There was not enough room to compress it.
    NotCompressed,
    /// There is no room for it.
    Refused,
}

impl Flow {
    /// Goes on with a list that has been `begun` from a state.
    pub(super) fn new(mut list: List, begun: Vec<u8>, state: Arc<State>, views: Views) -> Self {
        list.pin(list.revision().unwrap_or_else(|| state.revision()));
        Self {
            list,
            held: Held::new(state, views),
            begun,
            gzip: None,
            share: None,
        }
    }

    /// Takes its share of the answers that wait for clients; nothing of it has been sent yet.
    pub(super) fn count(&mut self, budget: &Arc<Budget>) -> Counted {
        let mut share = budget.share();
        let compressed = self.gzip.is_some();
        if !(compressed && share.grow_while_little_is_taken(COST_COMPRESSED)) {
            self.gzip = None;
            if !share.grow_to(COST) {
                return Counted::Refused;
            }
        }
        self.share = Some(share);
        if compressed && self.gzip.is_none() {
            Counted::NotCompressed
        } else {
            Counted::AsItIs
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
                let state = self.held.state();
                let readable = |at| state.readable(self.list.prefix(), at).is_ok();
                if !self.list.revision().is_none_or(readable) {
                    return Some(Err(Cut));
                }
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

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use kvapi::Key;

    use super::*;
    use crate::command::{Action, Command};
    use crate::config::Config;
    use crate::http::list::Of;
    use crate::http::slice::Slice;
    use crate::node::Node;
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
        let command = Command::from(action);
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
        (Flow::new(list, begun, state, node.views().clone()), whole)
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
                    flow.held.let_go();
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
    async fn a_list_is_counted_until_it_is_gone_and_compressed_only_while_few_are_under_way() {
        let (node, _dir) = node("a/").await;
        let budget = Budget::new(4 * COST_COMPRESSED);
        let mut under_way = Vec::new();
        let count = async |under_way: &mut Vec<Flow>| {
            let (mut flow, _) = flow(&node, "a/").await;
            flow.compress();
            let counted = flow.count(&budget);
            under_way.push(flow);
            counted
        };

        assert_eq!(count(&mut under_way).await, Counted::AsItIs);
        assert_eq!(budget.taken(), COST_COMPRESSED);
        let rest = 3 * COST_COMPRESSED / COST;
        for _ in 0..rest {
            assert_eq!(count(&mut under_way).await, Counted::NotCompressed);
        }
        assert_eq!(count(&mut under_way).await, Counted::Refused);
        let mut plain = under_way.swap_remove(1);
        let first = plain.next_piece().unwrap().unwrap();
        assert!(first.starts_with(b"[{"), "not compressed");
        drop(plain);
        assert_eq!(count(&mut under_way).await, Counted::NotCompressed);
        drop(under_way);
        assert_eq!(budget.taken(), 0);
    }

    #[tokio::test]
    async fn a_list_whose_revision_is_gone_is_cut_off() {
        for prefix in ["a/", "_keyway/a/"] {
            let (node, _dir) = node(prefix).await;
            let (mut flow, whole) = flow(&node, prefix).await;
            let (mut held, _) = self::flow(&node, prefix).await;
            flow.held.let_go();
            put(&node, &format!("{prefix}39"), vec![]).await;
            let newest = node.view().revision();
            act(&node, Action::Compact { revision: newest }).await;

            assert!(flow.next_piece().unwrap().is_ok(), "what was made already");
            assert!(rest(&mut flow).is_err(), "{prefix}");
            assert!(rest(&mut held).unwrap() == whole, "{prefix}");
        }
    }
}
