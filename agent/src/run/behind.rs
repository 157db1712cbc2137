//! What the last sets were rendered from, so that it can be taken out of what others say of them.
//!
//! The view goes on while a check or a command is at work on values that it no longer has.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Agent;
use crate::helpers::file::Content;
use crate::load::Program;
use crate::view::View;

/// How many: of the set in hand, of the one before it, and of a render that had to be done again.
const KEPT: usize = 3;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Behind(VecDeque<(Arc<Program>, Arc<View>)>);

impl Behind {
    pub(super) fn add(&mut self, program: &Arc<Program>, view: &Arc<View>) {
        self.0.truncate(KEPT - 1);
        self.0.push_front((Arc::clone(program), Arc::clone(view)));
    }
}

impl Agent {
    /// What others have said, without values of the store and without lines of files that were shown.
    pub(super) fn redacted(&self, text: &str) -> String {
        let mut files = Vec::new();
        for (program, _) in &self.behind.0 {
            for (wanted, content) in program.files.known().iter() {
                if let Content::Text(text) = content {
                    files.push((wanted.path.display().to_string(), Arc::clone(text)));
                }
            }
        }
        let files = files.iter().map(|(path, text)| (path.as_str(), text.as_bytes()));
        let views = self.behind.0.iter().flat_map(|(_, view)| view.values());
        self.core.redacted(text, views.chain(files))
    }
}
