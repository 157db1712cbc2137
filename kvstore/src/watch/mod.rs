//! Watches: the news of every revision, to whoever asked for it.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`index`] | who watches what: a trie of keys and prefixes |
//! | [`ring`] | the newest revisions, each serialised once |
//! | [`frame`] | events as server-sent events |
//! | [`hub`] | takes the news in, wakes those it concerns |
//! | [`patterns`] | what one watch asks for |
//! | `passage` | a large change, in pieces |
//! | [`stream`] | one watcher: a cursor that pulls from ring, history or view |
//!
//! Nothing is pushed to a watcher and nothing is queued for one: it is woken, and reads on from
//! its own cursor as fast as its connection takes it. So a slow watcher costs nobody anything.

pub mod frame;
pub mod hub;
pub mod index;
mod passage;
pub mod patterns;
pub mod ring;
pub mod stream;
