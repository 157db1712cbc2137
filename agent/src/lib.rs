//! draft
pub mod child;
pub mod graph;
pub mod helpers;
pub mod lint;
pub mod nearest;
pub mod policy;
pub mod quiescence;
pub mod reap;
pub mod render;
pub mod supervise;
pub mod syntax;
pub mod templates;
pub mod view;
pub mod write;
