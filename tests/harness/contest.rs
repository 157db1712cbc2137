//! Clients that want the same locks, and write down what they were given.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kvapi::client::WriteOptions;
use kvapi::lock::{Lock, SessionTerms};
use kvapi::{Address, Client};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::load::{Doors, nanoseconds};
use crate::oracle::locks::Grant;

/// How many locks there are.
const LOCKS: usize = 2;

/// How long one is held, or not had, at most.
const HELD: Duration = Duration::from_millis(60);

/// See the module.
pub(crate) struct Contest {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<Grant>>>,
}

impl Contest {
    /// So many clients, of locks below `prefix`, who count time from `began` on.
    pub(crate) fn start(servers: &[Address], prefix: &str, clients: usize, began: Instant) -> Self {
        let stop = Arc::new(AtomicBool::default());
        let clients = (0..clients)
            .map(|_| {
                let one = One {
                    doors: Doors::new(servers),
                    prefix: prefix.to_owned(),
                    began,
                    stop: Arc::clone(&stop),
                    grants: Vec::new(),
                };
                tokio::spawn(one.run())
            })
            .collect();
        Self { stop, clients }
    }

    /// Every lock that was given.
    pub(crate) async fn end(self) -> anyhow::Result<Vec<Grant>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut grants = Vec::new();
        for client in self.clients {
            grants.extend(client.await?);
        }
        Ok(grants)
    }
}

struct One {
    doors: Doors,
    prefix: String,
    began: Instant,
    stop: Arc<AtomicBool>,
    grants: Vec<Grant>,
}

impl One {
    fn client(&self) -> &Client {
        self.doors.any().0
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    async fn run(mut self) -> Vec<Grant> {
        while !self.stopped() {
            let terms = SessionTerms {
                name: "contest".into(),
                ttl: Duration::from_secs(60),
                lock_delay: Duration::from_millis(rand::random_range(0..50)),
            };
            match self.client().create_session(&terms, &WriteOptions::default()).await {
                Ok(session) => self.take_turns(&session).await,
                Err(_) => tokio::time::sleep(HELD).await,
            }
        }
        self.grants
    }

    /// Takes locks and gives them up, until an answer is lost; or now and then just ends the session.
    async fn take_turns(&mut self, session: &str) {
        let options = WriteOptions::default();
        while !self.stopped() {
            let key = format!("{}{}", self.prefix, rand::random_range(0..LOCKS));
            let called = nanoseconds(self.began);
            let acquired = self
                .client()
                .store_locked(&key, "held", Lock::Acquire(session), &options);
            match acquired.await {
                Ok(stored) if stored.done => {
                    self.grants.push(Grant {
                        key: key.clone(),
                        session: session.to_owned(),
                        fence: stored.revision.map_or(0, |revision| revision.0),
                        called,
                        told: nanoseconds(self.began),
                    });
                    tokio::time::sleep(rand::random_range(Duration::ZERO..HELD)).await;
                    let released = self
                        .client()
                        .store_locked(&key, "free", Lock::Release(session), &options);
                    if rand::random_ratio(1, 4) || !released.await.is_ok_and(|stored| stored.done) {
                        break;
                    }
                }
                Ok(_) => tokio::time::sleep(rand::random_range(Duration::ZERO..HELD)).await,
                Err(_) => break,
            }
        }
        // Whatever it holds is free then; without an answer it is asked again, or its time ends it.
        while self.client().destroy_session(session, &options).await.is_err() && !self.stopped() {
            tokio::time::sleep(HELD).await;
        }
    }
}
