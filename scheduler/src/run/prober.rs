//! Health and readiness checks: asks each instance at its time, and tells the engine what it found.

mod ask;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use ask::{Bound, Question};

use super::now;
use crate::app::{AppId, CheckProtocol, HealthCheck, ReadinessCheck};
use crate::driver::{Driver, TaskId};
use crate::engine::Probing;
use crate::health::{Moment, Probe, next_probe};
use crate::instance::{InstanceId, Readiness};

/// How many are asked at once.
const AT_ONCE: usize = 256;

/// And of one app, of those that were well once and of those that never were: where nobody answers, each question takes its
/// whole time, and others are to be asked meanwhile.
const OF_ONE_APP: usize = 64;

/// What was found.
pub(super) enum Heard {
    Health {
        instance: InstanceId,
        task: TaskId,
        check: usize,
        probe: Probe,
    },
    Readiness {
        instance: InstanceId,
        task: TaskId,
        readiness: Readiness,
    },
}

/// See the module.
pub(super) struct Prober {
    driver: Arc<Driver>,
    heard: mpsc::UnboundedSender<Heard>,
    at_once: Arc<Semaphore>,
    of_app: HashMap<(AppId, bool), Arc<Semaphore>>,
    /// What is asked of each; dropped, it is asked no more.
    asked: HashMap<InstanceId, JoinSet<()>>,
}

impl Prober {
    pub(super) fn new(driver: Arc<Driver>, heard: mpsc::UnboundedSender<Heard>) -> Self {
        Self {
            driver,
            heard,
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            of_app: HashMap::new(),
            asked: HashMap::new(),
        }
    }

    /// Asks from now on, in place of what was asked before.
    pub(super) fn ask(&mut self, probing: Probing) {
        let id = probing.instance.id.clone();
        let kind = (id.app.clone(), probing.instance.proved);
        let of_app = match self.of_app.get(&kind) {
            Some(of_app) => Arc::clone(of_app),
            None => {
                // Of apps that nobody asks any more nothing is kept.
                self.of_app.retain(|_, of_app| Arc::strong_count(of_app) > 1);
                let new = Arc::new(Semaphore::new(OF_ONE_APP));
                self.of_app.insert(kind, Arc::clone(&new));
                new
            }
        };
        let one = One {
            probing: Arc::new(probing),
            driver: Arc::clone(&self.driver),
            heard: self.heard.clone(),
            at_once: Arc::clone(&self.at_once),
            of_app,
        };
        let mut asks = JoinSet::new();
        for (index, check) in one.probing.app.health_checks.iter().cloned().enumerate() {
            asks.spawn(one.clone().health(index, check));
        }
        let readiness = one.probing.app.readiness_check.clone();
        if let Some(check) = readiness.filter(|_| one.probing.readiness) {
            asks.spawn(one.readiness(check));
        }
        self.asked.insert(id, asks);
    }

    /// Asks no more.
    pub(super) fn leave(&mut self, id: &InstanceId) {
        self.asked.remove(id);
    }
}

/// One instance that is asked.
#[derive(Clone)]
struct One {
    probing: Arc<Probing>,
    driver: Arc<Driver>,
    heard: mpsc::UnboundedSender<Heard>,
    at_once: Arc<Semaphore>,
    of_app: Arc<Semaphore>,
}

impl One {
    fn task(&self) -> TaskId {
        self.probing.instance.task()
    }

    async fn health(self, index: usize, check: HealthCheck) {
        let instance = &self.probing.instance;
        let Some(running_since) = instance.running_since() else {
            return;
        };
        // Whoever was well before is asked at its place in the interval, but for a first time at once.
        let mut proved = instance.proved;
        let mut asked = 0;
        loop {
            let moment = Moment {
                now: now(),
                running_since,
                proved,
            };
            sleep(next_probe(&check, moment, asked, self.probing.place)).await;
            let probe = self.probe(&check).await;
            asked += 1;
            proved |= probe == Probe::Good;
            let heard = Heard::Health {
                instance: instance.id.clone(),
                task: self.task(),
                check: index,
                probe,
            };
            if self.heard.send(heard).is_err() {
                return;
            }
        }
    }

    /// Asks once, within the time that the check gives.
    async fn probe(&self, check: &HealthCheck) -> Probe {
        let (Ok(_one_of_app), Ok(_one_of_many)) = (self.of_app.acquire().await, self.at_once.acquire().await) else {
            return Probe::Ignored;
        };
        let bound = Bound::from_now(check.timeout);
        let asked = match &check.protocol {
            CheckProtocol::Http { path } => self.http(check, path, false, bound).await,
            CheckProtocol::Https { path } => self.http(check, path, true, bound).await,
            CheckProtocol::Tcp => match self.address(check) {
                Ok(address) => ask::tcp(&address, bound).await,
                Err(cause) => Err(cause),
            },
            CheckProtocol::Command(line) => bound.step(|| "its command".to_owned(), self.command(line, check)).await,
        };
        asked.unwrap_or_else(Probe::Bad)
    }

    async fn http(&self, check: &HealthCheck, path: &str, secure: bool, bound: Bound) -> Result<Probe, String> {
        let address = self.address(check)?;
        let question = Question {
            address: &address,
            path,
            secure,
        };
        ask::http(question, check.ignore_1xx, bound).await
    }

    async fn command(&self, line: &str, check: &HealthCheck) -> Result<Probe, String> {
        let handle = self.probing.instance.handle().ok_or("it does not run")?;
        let ran = self.driver.run_check(&self.task(), handle, line, check.timeout).await;
        let answer = ran.map_err(|e| format!("{e:#}"))?;
        match answer.code {
            0 => Ok(Probe::Good),
            code => Err(match ask::first_line(&answer.output).as_str() {
                "" => format!("code {code}"),
                line => format!("code {code}: {line}"),
            }),
        }
    }

    /// Where a check is asked.
    fn address(&self, check: &HealthCheck) -> Result<String, String> {
        let port = check.port.ok_or("the check names no port")?;
        ask::address(&self.probing.instance, &self.probing.app, port).ok_or_else(|| "it has no such port".into())
    }

    /// Asks until it is ready.
    async fn readiness(self, check: ReadinessCheck) {
        loop {
            let next = Instant::now() + check.interval;
            let readiness = ask::readiness(&self.probing, &check).await;
            let is_ready = readiness.ready;
            let heard = Heard::Readiness {
                instance: self.probing.instance.id.clone(),
                task: self.task(),
                readiness,
            };
            if self.heard.send(heard).is_err() || is_ready {
                return;
            }
            sleep_until(next).await;
        }
    }
}
