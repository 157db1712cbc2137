//! A task's start.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::{Child, Stdio};

use super::super::starting::Start;
use super::super::{Handle, Launch, PortUse, Refusal, Stop, TaskId, Told, secrets};
use super::command::{self, Before, Role};
use super::sandbox::is_name;
use super::table::Entry;
use super::user::User;
use super::{Inner, Leader, Processes};
use crate::app::{Protocol, Volume, VolumeFrom};

impl Processes {
    pub(in super::super) async fn start(self, launch: Launch, start: Start) {
        let task = launch.task.clone();
        if !launch.fetch.is_empty() {
            let names = launch.fetch.iter().map(|fetch| fetch.uri.as_str());
            let what = format!("{} is being fetched", names.collect::<Vec<_>>().join(", "));
            let task = task.clone();
            self.0.tell(Told::Preparing { task, what });
        }
        if is_name(&task.0)
            && let Err(refusal) = self.0.fetcher.gather(&task, &launch.fetch, &start).await
        {
            return self.0.tell(Told::Refused { task, refusal });
        }
        let _slot = match start.unless_called_off(self.0.starts.acquire()).await {
            Ok(Ok(slot)) => slot,
            Ok(Err(_)) => return,
            Err(refusal) => return self.refused(task, refusal),
        };
        let Some(entered) = self.0.gate.enter().await else {
            return;
        };
        let inner = std::sync::Arc::clone(&self.0);
        let Ok(started) = tokio::task::spawn_blocking(move || inner.spawn(&launch)).await else {
            return;
        };
        let is_late = entered.is_late();
        drop(entered);
        match started {
            Ok(leader) if is_late => {
                self.stop(&task, leader.pid, leader.started, Stop::Force);
                self.follow(leader);
            }
            Ok(leader) => {
                self.0.tell(Told::Running {
                    task,
                    handle: leader.handle(),
                    addresses: Vec::new(),
                });
                self.follow(leader);
            }
            Err(refusal) => self.refused(task, refusal),
        }
    }

    fn refused(&self, task: TaskId, refusal: Refusal) {
        if is_name(&task.0) {
            self.0.fetcher.drop(&task);
        }
        self.0.tell(Told::Refused { task, refusal });
    }
}

impl Inner {
    fn spawn(&self, launch: &Launch) -> Result<Leader, Refusal> {
        let task = &launch.task;
        if !is_name(&task.0) {
            return Err(Refusal::Other(format!("`{}` cannot be the name of a folder", task.0)));
        }
        let Some(words) = command::words(launch, &self.settings, &self.sandboxes.exit_file(task)) else {
            return Err(Refusal::Other("a plain process needs `cmd` or `args`".to_owned()));
        };
        let user = launch
            .user
            .as_deref()
            .map(User::find)
            .transpose()
            .map_err(Refusal::Other)?;
        refuse_volumes(&launch.volumes)?;
        launch.ports.iter().try_for_each(refuse_taken)?;
        let started = self.sandboxed(launch, user.as_ref(), &words);
        let child = started.map_err(|error| Refusal::Other(error.to_string()))?;
        let pid = child.id().cast_signed();
        // It is in the table until it is collected, whatever it does.
        let entry = Entry::of(pid);
        self.children().insert(pid, child);
        Ok(Leader {
            task: task.clone(),
            pid,
            started: entry.map_or(0, |entry| entry.started),
        })
    }

    fn sandboxed(&self, launch: &Launch, user: Option<&User>, words: &[String]) -> io::Result<Child> {
        let outputs = self
            .sandboxes
            .create(&launch.task, user)
            .map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => io::Error::other("it has been started before"),
                _ => io::Error::new(error.kind(), format!("its folder cannot be made: {error}")),
            })?;
        let folder = self.folder(&launch.task);
        // Secrets first: what was fetched may lead elsewhere.
        let owner = user.map(|user| (user.user, user.group));
        let given = launch
            .secret_files()
            .try_for_each(|(path, value)| secrets::write_below(&folder, path, value, owner))
            .and_then(|()| self.fetcher.hand_over(&launch.task, &folder, user));
        if let Err(error) = given {
            let _ = self.sandboxes.remove(&launch.task);
            return Err(error);
        }
        let home = user.and_then(|user| user.home.as_deref());
        let numbers = user.map(User::in_numbers);
        let groups = self.groups.create(&launch.task, &launch.resources);
        // Who becomes a user may no longer look at itself, so that one starts anew.
        let stays = launch.agent.is_some() && numbers.is_none();
        let before = Before {
            role: if stays { Role::LeadsAsOurs } else { Role::Leads },
            user: numbers.as_deref(),
            groups: &groups,
        };
        let spawned = command::launcher(&self.settings.program, &before, words)
            .envs(command::environment(launch, &self.settings, &folder, home))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(outputs.stdout)
            .stderr(outputs.stderr)
            .spawn();
        spawned.map_err(|error| {
            let _ = self.sandboxes.remove(&launch.task);
            self.groups.clear(&launch.task);
            io::Error::new(
                error.kind(),
                format!("`{}` cannot be started: {error}", self.settings.program.display()),
            )
        })
    }
}

impl Leader {
    pub(super) fn handle(&self) -> Handle {
        Handle::Process {
            pid: self.pid,
            started: self.started,
        }
    }

    pub(super) fn new(task: TaskId, pid: i32, started: u64) -> Self {
        Self { task, pid, started }
    }
}

/// A process sees the machine's own files: a volume can only be where it is anyway.
fn refuse_volumes(volumes: &[Volume]) -> Result<(), Refusal> {
    for volume in volumes {
        match &volume.from {
            VolumeFrom::Host(path) if *path == volume.container_path => {}
            // Its file is among the secrets.
            VolumeFrom::Secret(_) => {}
            VolumeFrom::Host(_) => {
                return Err(Refusal::Other(format!(
                    "a plain process cannot have the volume {}; give it an image",
                    volume.container_path
                )));
            }
        }
    }
    Ok(())
}

/// A port that somebody listens on would be refused to the program as well, and less clearly.
fn refuse_taken(port: &PortUse) -> Result<(), Refusal> {
    let Some(host) = port.host else {
        return Ok(());
    };
    let address = (Ipv4Addr::UNSPECIFIED, host);
    let tcp = || TcpListener::bind(address).map(drop);
    let udp = || UdpSocket::bind(address).map(drop);
    let bound = match port.protocol {
        Protocol::Tcp => tcp(),
        Protocol::Udp => udp(),
        Protocol::UdpTcp => tcp().and_then(|()| udp()),
    };
    match bound {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(Refusal::PortTaken(host)),
        // Whatever else there is, the program may have a right that we have not.
        Ok(()) | Err(_) => Ok(()),
    }
}
