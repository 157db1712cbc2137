//! Instances that are wanted, started as soon as nothing is in the way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Act, Engine, Place, Wanted};
use crate::app::environment::Facts;
use crate::app::ports::HostPort;
use crate::app::{App, AppId, EnvValue, Network, VolumeFrom};
use crate::constraints::{Node, Placing};
use crate::driver::{AgentUse, Launch, PortUse, TaskId};
use crate::event::Event;
use crate::extension::Extension;
use crate::instance::{Instance, Stage, Waiting};
use crate::keys;
use crate::time::Timestamp;

/// When a port that is taken by somebody else is tried again: nobody tells when it is free.
const PORT_AGAIN: Duration = Duration::from_secs(1);

impl Engine {
    /// Starts what waits, of an app. Not in the order of their names, in which load balancers go through them: those that began
    /// together are ended together, and whoever tries one that is gone tries its neighbour next.
    pub(super) fn launch(&mut self, app: &AppId, now: Timestamp) {
        let waiting = self
            .world
            .instances_of(app)
            .filter(|instance| instance.stage == Stage::Scheduled);
        let mut waiting: Vec<_> = waiting.cloned().collect();
        waiting.sort_by_cached_key(|instance| instance.id.uuid.bytes().rev().collect::<Vec<_>>());
        for instance in waiting {
            let Some(spec) = self.world.spec(&instance).cloned() else {
                // Its definition is gone, so it can never start again.
                self.remove(&instance.id);
                continue;
            };
            if self.is_replaced(&instance) {
                self.remove(&instance.id);
                continue;
            }
            self.launch_one(instance.as_ref().clone(), &spec, now);
        }
    }

    fn launch_one(&mut self, mut instance: Instance, app: &App, now: Timestamp) {
        let obstacle = match self.obstacle(&instance, app, now) {
            Some(obstacle) => Err(obstacle),
            None => self.host_ports(&instance, app),
        };
        match obstacle {
            Err(waiting) => {
                match &waiting {
                    Waiting::Backoff { until } => self.alarm(*until, &app.id),
                    // So is one of whichever app has all ports.
                    Waiting::PortTaken(_) | Waiting::Refused(_) => self.alarm_by(now + PORT_AGAIN, &app.id),
                    // Whoever tells of secrets tells when this one has come.
                    Waiting::Constraint(_) | Waiting::Preparing(_) | Waiting::Secret(_) => {}
                }
                if instance.waiting.as_ref() != Some(&waiting) {
                    instance.waiting = Some(waiting);
                    self.note(instance);
                    self.turn.is_news = true;
                }
            }
            Ok(ports) => {
                instance.ports = ports;
                instance.waiting = None;
                instance.stage = Stage::Staging { at: now };
                let task = instance.task();
                self.tasks.insert(task, instance.id.clone());
                self.wait_from_now(&app.id, instance.config, now);
                self.tell(Event::status(now, &instance, "TASK_STAGING", ""));
                self.tell(Event::instance_changed(now, &instance, "Staging"));
                self.put(instance.clone());
                self.start(app, &instance, false);
            }
        }
    }

    /// Tells a driver to start the task of an instance; `again` if one may have been told before.
    pub(super) fn start(&mut self, app: &App, instance: &Instance, again: bool) {
        let launch = Launch {
            again,
            ..launch(app, instance.task(), instance)
        };
        self.act(Act::Start(Box::new(launch), secrets(app)));
    }

    /// What is in the way of an instance.
    fn obstacle(&self, instance: &Instance, app: &App, now: Timestamp) -> Option<Waiting> {
        let missing = secrets(app).into_iter().map(|wanted| wanted.key);
        if let Some(missing) = missing.filter(|key| !self.secrets.contains(key)).min() {
            return Some(Waiting::Secret(missing));
        }
        let pause = self
            .world
            .launches
            .get(&app.id)
            .and_then(|launches| launches.pause.as_ref());
        // Where others are well, only those that failed wait.
        let is_concerned = instance.incarnation > 1 || !self.has_well(&app.id, instance.config);
        if let Some(pause) = pause.filter(|pause| pause.config == instance.config && is_concerned)
            && now < pause.until()
        {
            return Some(Waiting::Backoff { until: pause.until() });
        }
        if let Some(reason) = self.constraint(instance, app) {
            return Some(Waiting::Constraint(reason));
        }
        match instance.waiting {
            // Just told; the alarm is set, and it is tried when it rings.
            Some(Waiting::PortTaken(port)) if now < instance.since + PORT_AGAIN => Some(Waiting::PortTaken(port)),
            _ => None,
        }
    }

    /// The constraint that keeps an instance from this machine, in words.
    fn constraint(&self, instance: &Instance, app: &App) -> Option<String> {
        if app.constraints.is_empty() {
            return None;
        }
        let node = self.settings.node();
        let same = self
            .world
            .instances_of(&app.id)
            .filter(|other| other.config == instance.config && other.has_task());
        let placed: Vec<&Node> = same.map(|_| &node).collect();
        let placing = Placing {
            constraints: &app.constraints,
            instances: app.instances,
            nodes: std::slice::from_ref(&node),
            placed: &placed,
        };
        placing.refusal(&node)
    }

    fn has_well(&self, app: &AppId, config: Timestamp) -> bool {
        let mut instances = self
            .world
            .instances_of(app)
            .filter(|instance| instance.config == config);
        instances.any(|instance| self.world.is_well(instance))
    }

    /// As long as an app fails and none of its instances is well, they start one after the other.
    fn wait_from_now(&mut self, app: &AppId, config: Timestamp, now: Timestamp) {
        let backoff = self
            .world
            .apps
            .get(app)
            .map(|app| app.backoff)
            .filter(|_| !self.has_well(app, config));
        self.remember(app, |launches| {
            let Some(backoff) = backoff else { return };
            match &mut launches.pause {
                Some(pause) if pause.config == config && !pause.is_over(backoff, now) => pause.from = now,
                Some(_) => launches.pause = None,
                None => {}
            }
        });
    }

    /// Ports of this machine for one more task; 0 where one is not published.
    fn host_ports(&mut self, instance: &Instance, app: &App) -> Result<Vec<u16>, Waiting> {
        let wanted = app.ports();
        let fixed = wanted.iter().filter_map(|port| match port.host {
            HostPort::Fixed(number) => Some((number, port.protocol)),
            HostPort::Any | HostPort::Unpublished => None,
        });
        let fixed: Vec<_> = fixed.collect();
        if let Some((taken, _)) = fixed
            .iter()
            .find(|(port, protocol)| self.ports.is_taken(*port, *protocol))
        {
            return Err(Waiting::PortTaken(*taken));
        }
        // Before any is given out, which could be one of them.
        for (port, protocol) in fixed {
            self.ports.take(&instance.id, port, protocol);
        }
        let mut ports = Vec::new();
        for port in &wanted {
            ports.push(match port.host {
                HostPort::Fixed(port) => port,
                HostPort::Unpublished => 0,
                HostPort::Any => match self.ports.any(&instance.id, port.protocol) {
                    Some(port) => port,
                    None => {
                        self.ports.free(&instance.id);
                        return Err(Waiting::Refused("all ports for tasks are taken".into()));
                    }
                },
            });
        }
        Ok(ports)
    }
}

/// What a driver is told.
fn launch(app: &App, task: TaskId, instance: &Instance) -> Launch {
    let ports = app.ports();
    let used = ports.iter().zip(&instance.ports).map(|(port, host)| PortUse {
        host: (*host != 0).then_some(*host),
        inside: match app.is_on_host() || port.declared == 0 {
            true => *host,
            false => port.declared,
        },
        protocol: port.protocol,
    });
    let network = app.networks.first().cloned().unwrap_or(Network::Host);
    Launch {
        command: app.command.clone(),
        image: app.image().cloned(),
        network,
        env: environment(app, &task, instance),
        ports: used.collect(),
        volumes: app
            .container
            .iter()
            .flat_map(|container| container.volumes.clone())
            .collect(),
        resources: app.resources.clone(),
        user: app.user.clone(),
        labels: BTreeMap::new(),
        agent: agent(app, &task),
        tty: app.tty,
        fetch: match app.image() {
            Some(_) => Vec::new(),
            None => app.fetch.clone(),
        },
        // Whoever starts it puts in what the keys hold by then.
        secrets: Vec::new(),
        again: false,
        task,
    }
}

/// What a task of an app is to be given, and which keys hold it.
fn secrets(app: &App) -> Vec<Wanted> {
    let wanted = |name: &String, place| {
        let key = keys::secret(app.secrets.get(name)?);
        Some(Wanted { key, place })
    };
    let variables = app.env.iter().filter_map(|(variable, value)| match value {
        EnvValue::Secret(name) => wanted(name, Place::Variable(variable.clone())),
        EnvValue::Text(_) => None,
    });
    let volumes = app.container.iter().flat_map(|container| &container.volumes);
    let files = volumes.filter_map(|volume| match &volume.from {
        VolumeFrom::Secret(name) => wanted(name, Place::File(volume.container_path.clone())),
        VolumeFrom::Host(_) => None,
    });
    variables.chain(files).collect()
}

/// What the agent in it is told: what the app says, and how it reports. `None` if the app wants none.
fn agent(app: &App, task: &TaskId) -> Option<AgentUse> {
    let of_app = Extension::of(&app.labels).map(|extension| extension.agent);
    let mut told = of_app.unwrap_or_else(|_| Some(AgentUse::default()))?;
    if let Some(grace) = app.kill_grace {
        told.flags
            .extend(["--kill-timeout".into(), kvapi::duration::format(grace)]);
    }
    told.flags.extend(["--report".into(), "--name".into(), task.0.clone()]);
    Some(told)
}

fn environment(app: &App, task: &TaskId, instance: &Instance) -> BTreeMap<String, String> {
    let ports = app.ports();
    let ports: Vec<u16> = ports
        .iter()
        .zip(&instance.ports)
        .map(|(port, host)| match host {
            0 => port.declared,
            host => *host,
        })
        .collect();
    app.environment(&Facts {
        task,
        host: &instance.host,
        ports: &ports,
    })
}
