//! A container's start.

use std::sync::{Arc, PoisonError};

use bollard::Docker;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, ImageConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, RemoveContainerOptionsBuilder,
};
use futures_util::StreamExt as _;

use super::super::starting::Start;
use super::super::{Handle, Launch, Refusal, TaskId, Told};
use super::body::body;
use super::{CLUSTER, Followed, Inner, Starter, TASK, is_away, said, status};
use crate::app::Image;

/// Why a container does not run.
enum Trouble {
    Refused(Refusal),
    /// The Engine did not answer; what it was asked it may have done.
    Away(anyhow::Error),
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Trouble {
    fn of(error: impl Into<anyhow::Error>, refusal: impl FnOnce(String) -> Refusal) -> Self {
        let error = error.into();
        match error.downcast_ref::<bollard::errors::Error>() {
            Some(_) if is_away(&error) => Self::Away(error),
            Some(answer) => Self::Refused(refusal(said(answer))),
            None => Self::Refused(refusal(format!("{error:#}"))),
        }
    }
}

impl Trouble {
    /// Where nothing can have been done yet, an Engine that does not answer is a reason like others, and is told.
    fn at(self, attempt: Try) -> Self {
        match self {
            Self::Away(error) if attempt == Try::First => {
                Self::Refused(Refusal::Other(format!("the Docker Engine does not answer: {error:#}")))
            }
            other => other,
        }
    }
}

/// Whether a start is asked for the first time, or again because the Engine did not answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Try {
    First,
    Again,
}

impl Starter {
    pub(in super::super) async fn start(self, launch: Launch, image: Image, start: Start) {
        let Self(inner) = self;
        let task = launch.task.clone();
        let mut attempt = Try::First;
        let started = loop {
            match inner.started(&launch, &image, attempt, &start).await {
                Err(Trouble::Away(error)) => {
                    inner.prepares(&task, format!("the Docker Engine does not answer: {error:#}"));
                    if !inner.waits_out(&error).await {
                        // Nobody wants to know any more.
                        return;
                    }
                    attempt = Try::Again;
                }
                Err(Trouble::Refused(refusal)) => break Err(refusal),
                Ok(started) => break Ok(started),
            }
        };
        match started {
            Ok((id, addresses)) => {
                let handle = Handle::Container { id: id.clone() };
                inner.tell(Told::Running {
                    task,
                    handle,
                    addresses,
                });
                inner.announced(&id).await;
                if attempt == Try::Again || launch.again {
                    // Its end may have come before anybody listened again.
                    inner.look_at(&id).await;
                }
            }
            Err(refusal) => {
                if launch.again {
                    inner.clear(&task).await;
                }
                inner.secrets.remove(&task);
                inner.tell(Told::Refused { task, refusal });
            }
        }
    }

    /// Takes away what a scheduler that died may have made of a task that is refused now.
    pub(in super::super) async fn clear(self, task: &TaskId) {
        self.0.clear(task).await;
        self.0.secrets.remove(task);
    }
}

/// Removes a container that must not be there, if the Engine can.
async fn take_away(engine: &Docker, id: &str) {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    let _ = engine.remove_container(id, Some(options)).await;
}

impl Inner {
    /// Removes the container of a task, if it is ours, as soon as the Engine can.
    async fn clear(&self, task: &TaskId) {
        while let Err(error) = self.clear_now(task).await {
            if !self.waits_out(&error).await {
                return tracing::warn!(task = %task.0, "its container cannot be removed: {error:#}");
            }
        }
    }

    async fn clear_now(&self, task: &TaskId) -> anyhow::Result<()> {
        // The next one that leads may be starting it.
        let Some(_entered) = self.gate.enter().await else {
            return Ok(());
        };
        let engine = self.engine()?;
        let container = match engine.inspect_container(&task.0, None).await {
            Ok(container) => container,
            Err(error) if status(&error) == Some(404) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if self.is_own(&container, task)
            && let Some(id) = &container.id
        {
            take_away(&engine, id).await;
        }
        Ok(())
    }

    /// Whether a container was made for this very task.
    fn is_own(&self, container: &ContainerInspectResponse, task: &TaskId) -> bool {
        let labels = container.config.as_ref().and_then(|config| config.labels.as_ref());
        let is =
            |label: &str, value: &str| labels.is_some_and(|labels| labels.get(label).is_some_and(|have| have == value));
        is(CLUSTER, &self.docker.cluster) && is(TASK, &task.0)
    }

    fn prepares(&self, task: &TaskId, what: String) {
        let task = task.clone();
        self.tell(Told::Preparing { task, what });
    }

    async fn started(
        &self,
        launch: &Launch,
        image: &Image,
        attempt: Try,
        start: &Start,
    ) -> Result<(String, Vec<String>), Trouble> {
        // A container may be there already, and must not be left behind.
        let attempt = if launch.again { Try::Again } else { attempt };
        let told = |trouble: Trouble| trouble.at(attempt);
        let engine = self
            .engine()
            .map_err(|error| Trouble::of(error, Refusal::Other))
            .map_err(told)?;
        let getting = self.image(&engine, image, &launch.task);
        let config = match attempt {
            // A pull may take any time.
            Try::First => start.unless_called_off(getting).await?,
            // What may be there of an earlier scheduler is taken away if it is called off.
            Try::Again if launch.again => start.unless_called_off(getting).await?,
            // A container may be there already.
            Try::Again => getting.await,
        };
        let config = config.map_err(told)?;
        let Ok(_slot) = self.requests.acquire().await else {
            return Err(Refusal::Other("the scheduler ends".to_owned()).into());
        };
        let leads_no_more = || Refusal::Other("this scheduler does not lead any more".to_owned());
        let Some(entered) = self.gate.enter().await else {
            return Err(leads_no_more().into());
        };
        let asked = image.parameters.iter().rev().find(|(option, _)| option == "user");
        let user = asked
            .map(|(_, user)| user)
            .or(launch.user.as_ref())
            .or(config.user.as_ref());
        let files = self.secrets.write(launch, user.map(String::as_str))?;
        let body = body(
            launch,
            image,
            &config,
            &self.settings,
            &self.docker,
            &self.inside,
            &files,
        )?;
        let options = CreateContainerOptionsBuilder::new().name(&launch.task.0).build();
        let (id, has_run) = match engine.create_container(Some(options), body).await {
            Ok(created) => (created.id, false),
            Err(error) if status(&error) == Some(409) => self.own(&engine, launch, attempt).await?,
            Err(error) => return Err(Trouble::of(error, Refusal::Other)),
        };
        // Before it can end.
        let followed = Followed {
            task: launch.task.clone(),
            announced: false,
            ended: false,
        };
        self.followed().insert(id.clone(), followed);
        self.wanted.notify_one();
        if !has_run && let Err(error) = engine.start_container(&id, None).await {
            self.followed().remove(&id);
            let trouble = Trouble::of(error, |message| refusal(launch, &message));
            if matches!(trouble, Trouble::Refused(_)) {
                take_away(&engine, &id).await;
            }
            return Err(trouble);
        }
        if entered.is_late() {
            self.followed().remove(&id);
            take_away(&engine, &id).await;
            return Err(leads_no_more().into());
        }
        match engine.inspect_container(&id, None).await {
            Ok(container) => Ok((id, addresses(container))),
            Err(error) => match Trouble::of(error, Refusal::Other) {
                Trouble::Away(error) => Err(Trouble::Away(error)),
                // It is told as running, and then as gone.
                Trouble::Refused(_) => Ok((id, Vec::new())),
            },
        }
    }

    /// The container that has the name already, if it is this very task's and can still be started, or runs: a scheduler
    /// before us came as far as that, or we did before the Engine was silent. Then it may have ended, too. And whether it
    /// has been started.
    async fn own(&self, engine: &Docker, launch: &Launch, attempt: Try) -> Result<(String, bool), Trouble> {
        use ContainerStateStatusEnum as State;
        let taken = || Refusal::Other(format!("another container has the name {}", launch.task.0));
        let container = match engine.inspect_container(&launch.task.0, None).await {
            Ok(container) => container,
            Err(error) => return Err(Trouble::of(error, |_| taken())),
        };
        if !self.is_own(&container, &launch.task) {
            return Err(taken().into());
        }
        let id = container.id.ok_or_else(taken)?;
        match container.state.and_then(|state| state.status) {
            Some(State::CREATED) => Ok((id, false)),
            Some(State::RUNNING) => Ok((id, true)),
            Some(State::EXITED | State::DEAD) if attempt == Try::Again => Ok((id, true)),
            _ => Err(Refusal::Other("it has been started before".to_owned()).into()),
        }
    }

    /// What an image starts by itself. It is pulled if it is not there, or if it has to be new.
    async fn image(&self, engine: &Docker, image: &Image, task: &TaskId) -> Result<ImageConfig, Trouble> {
        let lock = {
            let mut pulls = self.pulls.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(pulls.entry(image.name.clone()).or_default())
        };
        let _one = lock.lock().await;
        let refused = |reason: String| Refusal::Image {
            image: image.name.clone(),
            reason,
        };
        if !image.force_pull {
            match engine.inspect_image(&image.name).await {
                Ok(found) => return Ok(found.config.unwrap_or_default()),
                Err(error) if status(&error) == Some(404) => {}
                Err(error) => return Err(Trouble::of(error, refused)),
            }
        }
        self.prepares(task, format!("the image {} is being pulled", image.name));
        let (name, tag) = name_and_tag(&image.name);
        let options = CreateImageOptionsBuilder::new().from_image(name).tag(tag).build();
        let mut progress = std::pin::pin!(engine.create_image(Some(options), None, None));
        while let Some(step) = progress.next().await {
            let step = step.map_err(|error| Trouble::of(error, refused))?;
            if let Some(message) = step.error_detail.and_then(|detail| detail.message) {
                return Err(refused(message).into());
            }
        }
        let found = engine.inspect_image(&image.name).await;
        found
            .map(|found| found.config.unwrap_or_default())
            .map_err(|error| Trouble::of(error, refused))
    }
}

/// A name and its tag, or its digest; without either the Engine would pull all tags.
fn name_and_tag(image: &str) -> (&str, &str) {
    if let Some((name, digest)) = image.split_once('@') {
        return (name, digest);
    }
    match image.rsplit_once(':') {
        // Before a slash it is a registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

fn refusal(launch: &Launch, message: &str) -> Refusal {
    let taken = message.contains("already allocated") || message.contains("already in use");
    let mut ports = launch.ports.iter().filter_map(|port| port.host);
    let named = |port: &u16| {
        message
            .split(|c: char| !c.is_ascii_digit())
            .any(|digits| digits.parse() == Ok(*port))
    };
    match ports.find(named) {
        Some(port) if taken => Refusal::PortTaken(port),
        _ => Refusal::Other(message.to_owned()),
    }
}

fn addresses(container: ContainerInspectResponse) -> Vec<String> {
    let networks = container.network_settings.and_then(|settings| settings.networks);
    let addresses = networks
        .into_iter()
        .flatten()
        .filter_map(|(_, network)| network.ip_address);
    addresses.filter(|address| !address.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_always_named() {
        for (image, parts) in [
            ("web", ("web", "latest")),
            ("web:1", ("web", "1")),
            ("host:5000/web", ("host:5000/web", "latest")),
            ("host:5000/web:1", ("host:5000/web", "1")),
            ("web@sha256:ab", ("web", "sha256:ab")),
        ] {
            assert_eq!(name_and_tag(image), parts, "{image}");
        }
    }
}
