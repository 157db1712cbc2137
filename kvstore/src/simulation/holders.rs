//! Clients that want the same locks, and write down what they were given; and whose sessions must not end early.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use kvapi::client::WriteOptions;
use kvapi::lock::{Lock, SessionTerms};
use kvapi::{Address, Client};

use super::clients::{PATIENCE, Shared, Told, nanoseconds};
use super::net::client;
use super::oracle::locks::Grant;
use crate::chance::seeded::below;
use crate::clock::{self, Instant};

/// How many there are, and how many locks.
pub(super) const HOLDERS: usize = 3;
const LOCKS: u64 = 2;

/// Where the locks are.
pub(super) const PREFIX: &str = "lock/";

/// How long a session lives at least that is not renewed: the least that there is.
const TTL: Duration = Duration::from_secs(10);

/// How long a lock is held, or not had, at most; in milliseconds.
const HELD_MS: u64 = 300;

/// One of them.
pub(super) struct Holder {
    all: Client,
    began: Instant,
    told: Rc<RefCell<Told>>,
    shared: Rc<Shared>,
}

impl Holder {
    pub(super) fn new(servers: &[Address], began: Instant, told: &Rc<RefCell<Told>>, shared: &Rc<Shared>) -> Self {
        Self {
            all: client(servers.to_vec(), PATIENCE),
            began,
            told: Rc::clone(told),
            shared: Rc::clone(shared),
        }
    }

    pub(super) async fn run(self) {
        while !self.shared.ending.get() {
            let terms = SessionTerms {
                name: "holder".into(),
                ttl: TTL,
                lock_delay: clock::ms(below(100)),
            };
            let renewed = clock::now();
            match self.all.create_session(&terms, &WriteOptions::default()).await {
                Ok(session) => self.take_turns(&session, renewed).await,
                Err(_) => pause().await,
            }
        }
    }

    /// Takes locks and gives them up, until it ends the session, leaves it to end, or does not know what it holds.
    async fn take_turns(&self, session: &str, mut renewed: Instant) {
        let options = WriteOptions::default();
        let mut held = BTreeSet::new();
        while !self.shared.ending.get() {
            let key = format!("{PREFIX}{}", below(LOCKS));
            let called = nanoseconds(self.began);
            let acquired = self.all.store_locked(&key, "held", Lock::Acquire(session), &options);
            let Ok(acquired) = acquired.await else { return };
            // Who takes what it holds already gets no new fencing number.
            if acquired.done && held.insert(key.clone()) {
                self.told.borrow_mut().grants.push(Grant {
                    key: key.clone(),
                    session: session.to_owned(),
                    fence: acquired.revision.map_or(0, |revision| revision.0),
                    called,
                    told: nanoseconds(self.began),
                });
            }
            pause().await;
            match below(12) {
                0 => return,
                1 => {
                    let _ = self.all.destroy_session(session, &options).await;
                    return;
                }
                2..4 => {
                    let called = clock::now();
                    match self.all.renew_session(session).await {
                        Ok(true) => renewed = called,
                        Ok(false) => return self.ended(session, renewed),
                        Err(_) => {}
                    }
                }
                _ if held.remove(&key) => {
                    let released = self.all.store_locked(&key, "free", Lock::Release(session), &options);
                    if !released.await.is_ok_and(|released| released.done) {
                        return;
                    }
                }
                _ => {}
            }
        }
    }

    /// It has ended, though nobody has asked for that.
    fn ended(&self, session: &str, renewed: Instant) {
        if renewed.elapsed() < TTL {
            let early = format!("session {session} ended {:?} after it was renewed", renewed.elapsed());
            self.told.borrow_mut().wrong.push(early);
        }
    }
}

async fn pause() {
    clock::sleep(clock::ms(below(HELD_MS))).await;
}
