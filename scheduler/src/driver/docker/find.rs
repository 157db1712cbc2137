//! The containers that are there when a scheduler starts.

use std::collections::HashMap;

use anyhow::Context as _;
use bollard::models::ContainerSummaryStateEnum as State;
use bollard::query_parameters::ListContainersOptionsBuilder;

use super::super::{End, Found, Handle, TaskId};
use super::watch::meaning;
use super::{CLUSTER, Containers, TASK};

impl Containers {
    /// See [`super::super::Driver::find`]. One that was created and not started has ended, unless somebody wants it started.
    pub(in super::super) async fn find(&self) -> anyhow::Result<Vec<Found>> {
        let engine = self.inner.engine()?;
        let filters = HashMap::from([("label", vec![format!("{CLUSTER}={}", self.inner.docker.cluster)])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let listed = engine.list_containers(Some(options)).await;
        let mut found = Vec::new();
        for container in listed.context("ask the Docker Engine for its containers")? {
            let task = container.labels.and_then(|mut labels| labels.remove(TASK));
            let (Some(id), Some(task)) = (container.id, task) else {
                continue;
            };
            let ended = match container.state {
                Some(State::RUNNING | State::PAUSED | State::RESTARTING | State::STOPPING) => None,
                Some(State::EXITED | State::DEAD) => {
                    let state = engine.inspect_container(&id, None).await.ok().and_then(|all| all.state);
                    Some(state.as_ref().and_then(meaning).unwrap_or(End::Gone))
                }
                Some(State::CREATED) => Some(End::Unstarted),
                _ => Some(End::Gone),
            };
            found.push(Found {
                task: TaskId(task),
                handle: Handle::Container { id },
                ended,
            });
        }
        // A scheduler that was killed may have written some for containers that it never made.
        self.inner.secrets.keep_only(found.iter().map(|found| &found.task))?;
        Ok(found)
    }
}
