//! The variables that come from keys: one more text of the set, which the program gets when it starts.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Core, FileSet};
use crate::graph::TemplateId;

impl Core {
    /// The variables that the program is to have, as [`crate::environment::variables`] reads them.
    #[must_use]
    pub fn environment(&self) -> Option<Arc<str>> {
        self.environment.clone()
    }

    /// What has changed, with the environment if the program has to be started again for it.
    pub(super) fn with_environment(
        &mut self,
        mut changed: BTreeSet<TemplateId>,
        set: &FileSet,
    ) -> BTreeSet<TemplateId> {
        let config = &self.program.config;
        if let Some(id) = config.environment_id()
            && config.environment.restarts
            && !self.first
            && set.texts.get(id).map(|text| &**text) != Some(self.environment.as_deref().unwrap_or_default())
        {
            changed.insert(id);
            self.environment_untold = true;
        } else {
            self.environment_untold = false;
        }
        changed
    }

    /// The variables of a set are what the program is to have.
    pub(super) fn settle_environment(&mut self, set: &FileSet) {
        let id = self.program.config.environment_id();
        self.environment = id.and_then(|id| set.texts.get(id)).cloned();
    }
}
