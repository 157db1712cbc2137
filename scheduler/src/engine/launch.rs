//! Instances that are wanted, started as soon as nothing is in the way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Act, Engine};
use crate::app::environment::Facts;
use crate::app::ports::HostPort;
use crate::app::{App, AppId, Network};
use crate::constraints::{Node, Placing};
use crate::driver::{AgentUse, Launch, PortUse, TaskId};
use crate::event::Event;
use crate::extension::Extension;
use crate::instance::{Instance, Stage, Waiting};
use crate::time::Timestamp;

/// When a port that is taken by somebody else is tried again: nobody tells when it is free.
const PORT_AGAIN: Duration = Duration::from_secs(1);

impl Engine {
    /// Starts what waits, of an app.
    pub(super) fn launch(&mut self, app: &AppId, now: Timestamp) {
        let waiting = self
            .world
            .instances_of(app)
            .filter(|instance| instance.stage == Stage::Scheduled);
        let waiting: Vec<_> = waiting.cloned().collect();
        for instance in waiting {
            let Some(spec) = self.world.spec(&instance).cloned() else {
                // Its definition is gone, so it can never start again.
                self.remove(&instance.id);
                continue;
            };
            self.launch_one(instance.as_ref().clone(), &spec, now);
        }
    }

    fn launch_one(&mut self, mut instance: Instance, app: &App, now: Timestamp) {
        let obstacle = match self.obstacle(&instance, app, now) {
            Some(obstacle) => Err(obstacle),
            None => self.host_ports(app),
        };
        match obstacle {
            Err(waiting) => {
                match &waiting {
                    Waiting::Backoff { until } => self.alarm(*until, &app.id),
                    Waiting::PortTaken(_) => self.alarm_by(now + PORT_AGAIN, &app.id),
                    Waiting::Constraint(_) | Waiting::Refused(_) => {}
                }
                if instance.waiting.as_ref() != Some(&waiting) {
                    instance.waiting = Some(waiting);
                    self.world.instances.insert(instance.id.clone(), instance.into());
                }
            }
            Ok(ports) => {
                instance.ports = ports;
                instance.waiting = None;
                instance.stage = Stage::Staging { at: now };
                let task = instance.task();
                self.tasks.insert(task.clone(), instance.id.clone());
                self.wait_from_now(&app.id, instance.config, now);
                self.tell(Event::status(now, &instance, "TASK_STAGING", ""));
                self.tell(Event::instance_changed(now, &instance, "Staging"));
                let launch = launch(app, task, &instance);
                self.put(instance);
                self.act(Act::Start(Box::new(launch)));
            }
        }
    }

    /// What is in the way of an instance.
    fn obstacle(&self, instance: &Instance, app: &App, now: Timestamp) -> Option<Waiting> {
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
    fn host_ports(&mut self, app: &App) -> Result<Vec<u16>, Waiting> {
        let wanted: Vec<HostPort> = app.ports().iter().map(|port| port.host).collect();
        let fixed = wanted.iter().filter_map(|port| match port {
            HostPort::Fixed(port) => Some(*port),
            HostPort::Any | HostPort::Unpublished => None,
        });
        if let Some(taken) = fixed.clone().find(|port| self.ports.is_taken(*port)) {
            return Err(Waiting::PortTaken(taken));
        }
        let fixed: Vec<u16> = fixed.collect();
        self.ports.take(&fixed);
        let mut ports = Vec::new();
        for port in wanted {
            ports.push(match port {
                HostPort::Fixed(port) => port,
                HostPort::Unpublished => 0,
                HostPort::Any => match self.ports.any() {
                    Some(port) => port,
                    None => {
                        self.ports.free(&fixed);
                        self.ports.free(&ports);
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
        task,
    }
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
        // Secrets come with tokens; an app that names some is refused.
        secrets: &BTreeMap::new(),
    })
}
