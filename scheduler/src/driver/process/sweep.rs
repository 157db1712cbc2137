//! Signals to all of a task's processes, however many it has made.
//!
//! They are found in the table of processes, by the session that their leader founded. Everything that is asked for while
//! one look at the table goes on is done with the next one: a thousand tasks that end together cost a few looks.

use std::collections::HashMap;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot};

use super::grip::Grip;
use super::table::{self, Entry};
use super::{Leader, TASK};

/// How long killed processes have to be gone before the next look.
const PAUSE: Duration = Duration::from_millis(5);

/// How often is looked whether killed processes are gone. One that waits for a broken disk does not go.
const LOOKS: u32 = 200;

/// Which of a task's processes are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those of its leader's own process group. What an agent has started is not among them.
    Group,
    /// Those of its session: all but such as left it.
    Session,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Sweeper {
    asks: mpsc::UnboundedSender<Ask>,
}

#[derive(Debug)]
struct Ask {
    leader: Leader,
    reach: Reach,
    signal: Signal,
    looks: u32,
    done: oneshot::Sender<()>,
}

impl Sweeper {
    pub(super) fn start() -> Self {
        let (asks, mut asked) = mpsc::unbounded_channel();
        let again = asks.downgrade();
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while asked.recv_many(&mut batch, usize::MAX).await > 0 {
                let asks = std::mem::take(&mut batch);
                let Ok(left) = tokio::task::spawn_blocking(|| look(asks)).await else {
                    return;
                };
                if left.is_empty() {
                    continue;
                }
                tokio::time::sleep(PAUSE).await;
                for ask in left {
                    let _ = again.upgrade().map(|asks| asks.send(ask));
                }
            }
        });
        Self { asks }
    }

    /// Returns when the signal has been sent; of KILL, when all that it reaches are gone.
    pub(super) async fn send(&self, leader: Leader, reach: Reach, signal: Signal) {
        let (done, waits) = oneshot::channel();
        let _ = self.asks.send(Ask {
            leader,
            reach,
            signal,
            looks: LOOKS,
            done,
        });
        let _ = waits.await;
    }
}

/// Looks once. What has to be looked after again is returned.
fn look(asks: Vec<Ask>) -> Vec<Ask> {
    let mut sessions: HashMap<i32, Vec<Entry>> = HashMap::new();
    for entry in table::all() {
        sessions.entry(entry.session).or_default().push(entry);
    }
    let mut left = Vec::new();
    for mut ask in asks {
        let session = sessions.get(&ask.leader.pid).map_or(&[][..], Vec::as_slice);
        let any = is_of(session, &ask.leader) && signal(session, &ask);
        ask.looks -= 1;
        if any && ask.signal == Signal::KILL && ask.looks > 0 {
            left.push(ask);
        } else {
            let _ = ask.done.send(());
        }
    }
    left
}

/// Whether a session is the one that this leader founded. Its number is nobody else's while anybody is in it: so it is if
/// the leader is there, or, after the leader's end, if somebody in it is known to be of the task.
fn is_of(session: &[Entry], leader: &Leader) -> bool {
    match session.iter().find(|entry| entry.pid == leader.pid) {
        Some(entry) if entry.started == leader.started => true,
        Some(entry) if !entry.dead => false,
        Some(_) | None => session.iter().any(|entry| {
            let environment = table::environment(entry.pid);
            table::variable(&environment, TASK) == Some(&leader.task.0)
        }),
    }
}

/// Signals whom it reaches; whether anybody is alive.
fn signal(session: &[Entry], ask: &Ask) -> bool {
    let reached = |entry: &&Entry| !entry.dead && (ask.reach == Reach::Session || entry.group == ask.leader.pid);
    let mut any = false;
    for entry in session.iter().filter(reached) {
        let sent = Grip::of(entry.pid, entry.started).and_then(|grip| grip.map_or(Ok(false), |g| g.signal(ask.signal)));
        match sent {
            Ok(alive) => any |= alive,
            Err(error) => tracing::warn!(task = %ask.leader.task.0, pid = entry.pid, "cannot be signalled: {error}"),
        }
    }
    any
}
