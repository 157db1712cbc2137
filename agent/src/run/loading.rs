//! Configuration and templates are read again: one reading at a time, so that the last one is the newest.

use std::sync::Arc;

use kvapi::Problem;

use super::{Agent, Done};
use crate::core::Event;
use crate::load::Program;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Loading {
    under_way: bool,
    /// Once more behind the one that is under way; whether somebody asked for it.
    again: Option<bool>,
    /// Why they could not be used the last time.
    refused: Option<Problem>,
}

impl Agent {
    /// Reads them, now or when the reading under way is over.
    pub(super) fn load(&mut self, asked: bool) {
        let loading = &mut self.loading;
        if loading.under_way {
            loading.again = Some(asked || loading.again == Some(true));
            return;
        }
        loading.under_way = true;
        let (plan, before) = (self.plan.clone(), Arc::clone(&self.program));
        self.work.look(move || Done::Loaded {
            result: plan.load(Some(&before)).map(Arc::new),
            asked,
        });
    }

    /// They were read.
    pub(super) fn loaded(&mut self, result: Result<Arc<Program>, Problem>, asked: bool) {
        self.loading.under_way = false;
        match result {
            Ok(program) => {
                self.loading.refused = None;
                let same_files = program.files.known() == self.program.files.known();
                if asked || !same_files || !program.templates.same_texts(&self.program.templates) {
                    tracing::info!("templates and configuration were read again");
                    self.program = program;
                    self.sources.adopt(&self.program);
                    self.queue.push_back(Event::Loaded(Arc::clone(&self.program)));
                }
            }
            Err(problem) => {
                if asked || self.loading.refused.as_ref() != Some(&problem) {
                    tracing::error!("what was read before stays in use: {}", problem.what);
                }
                self.loading.refused = Some(problem);
            }
        }
        if let Some(asked) = self.loading.again.take() {
            self.load(asked);
        }
    }
}
