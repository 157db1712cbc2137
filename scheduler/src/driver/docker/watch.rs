//! How containers end.
//!
//! The Engine tells it, and remembers only its last few hundred words. So all of ours are looked through whenever its words
//! begin, once more when they surely flow, and what ended in between is not missed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerState, ContainerSummaryStateEnum};
use bollard::query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder};
use futures_util::StreamExt as _;

use super::super::{End, Told, now};
use super::{CLUSTER, Inner, status};

/// How long until an Engine that cannot be reached is asked again, and until its words surely flow.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells the ends of all that are followed, for ever.
pub(super) async fn watch(inner: Arc<Inner>) {
    let mut told = false;
    loop {
        if inner.followed().is_empty() {
            inner.wanted.notified().await;
        }
        match inner.listen().await {
            Ok(()) => told = false,
            Err(error) if !told => {
                tracing::warn!("the Docker Engine cannot be heard: {error:#}");
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl Inner {
    /// Listens until the Engine ends what it says.
    async fn listen(&self) -> anyhow::Result<()> {
        let engine = self.engine()?;
        let since = (now().0 / 1000).to_string();
        self.look_through(&engine).await?;
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("event", vec!["die".to_owned()]),
            ("label", vec![format!("{CLUSTER}={}", self.docker.cluster)]),
        ]);
        let options = EventsOptionsBuilder::new().since(&since).filters(&filters).build();
        let mut events = std::pin::pin!(engine.events(Some(options)));
        let flowing = tokio::time::sleep(PAUSE);
        tokio::pin!(flowing);
        let mut looked = false;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => {
                        if let Some(id) = event?.actor.and_then(|actor| actor.id) {
                            self.settle(&engine, &id).await?;
                        }
                    }
                    None => return Ok(()),
                },
                () = &mut flowing, if !looked => {
                    looked = true;
                    self.look_through(&engine).await?;
                }
            }
        }
    }

    /// Settles all that do not run any more.
    async fn look_through(&self, engine: &Docker) -> anyhow::Result<()> {
        let followed: Vec<String> = self.followed().keys().cloned().collect();
        let filters = HashMap::from([("label", vec![format!("{CLUSTER}={}", self.docker.cluster)])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let listed = engine.list_containers(Some(options)).await?;
        let states: HashMap<String, ContainerSummaryStateEnum> = listed
            .into_iter()
            .filter_map(|container| Some((container.id?, container.state?)))
            .collect();
        for id in followed {
            let runs = states.get(&id).is_some_and(|state| {
                !matches!(
                    state,
                    ContainerSummaryStateEnum::EXITED | ContainerSummaryStateEnum::DEAD
                )
            });
            if !runs {
                self.settle(engine, &id).await?;
            }
        }
        Ok(())
    }

    /// Looks whether one has ended, if the Engine answers.
    pub(super) async fn look_at(&self, id: &str) {
        if let Ok(engine) = self.engine() {
            let _ = self.settle(&engine, id).await;
        }
    }

    /// That it runs has been told: now its end may be.
    pub(super) async fn announced(&self, id: &str) {
        let ended = self.followed().get_mut(id).is_some_and(|followed| {
            followed.announced = true;
            followed.ended
        });
        if ended {
            self.look_at(id).await;
        }
    }

    /// Tells the end of one that is followed and has ended.
    async fn settle(&self, engine: &Docker, id: &str) -> anyhow::Result<()> {
        if !self.followed().contains_key(id) {
            return Ok(());
        }
        let end = match engine.inspect_container(id, None).await {
            Ok(container) => match container.state.as_ref().and_then(meaning) {
                Some(end) => end,
                None => return Ok(()),
            },
            Err(error) if status(&error) == Some(404) => End::Gone,
            Err(error) => return Err(error.into()),
        };
        let told = {
            let mut all = self.followed();
            match all.get_mut(id) {
                Some(followed) if !followed.announced => {
                    followed.ended = true;
                    None
                }
                Some(_) => all.remove(id),
                None => None,
            }
        };
        if let Some(followed) = told {
            let (task, at) = (followed.task, now());
            self.tell(Told::Ended { task, end, at });
        }
        Ok(())
    }
}

/// How a container ended; `None` if it has not, or not even begun.
pub(super) fn meaning(state: &ContainerState) -> Option<End> {
    use bollard::models::ContainerStateStatusEnum as Status;
    match state.status? {
        Status::EXITED | Status::DEAD => {}
        _ => return None,
    }
    if state.oom_killed == Some(true) {
        return Some(End::OutOfMemory);
    }
    let code = state.exit_code.and_then(|code| i32::try_from(code).ok());
    // The Engine tells a signal as a shell does.
    Some(code.map_or(End::Gone, |code| match code {
        129..=159 => End::Signalled(code - 128),
        code => End::Exited(code),
    }))
}
