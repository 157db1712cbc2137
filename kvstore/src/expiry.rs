//! Ends the sessions whose time is over, while this server leads.
//!
//! The end goes through the log like any write, one entry for all that are over at one moment. It is
//! proposed here and not by [`batch`](crate::batch), which would hold it through an election: who comes
//! to lead next decides anew. When those were is [`timers`](crate::timers)' to say.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::batch::MAX_COMMANDS;
use crate::clock;
use crate::command::{Action, Command, FORMAT, Proposal};
use crate::leadership::Leadership;
use crate::room::{Admitted, Room};
use crate::state::State;
use crate::timers::Timers;
use crate::view::Views;
use crate::watch::hub::Hub;

/// A look that comes so late means that this process stood still, and that nobody could renew a session
/// meanwhile: all have their full time again.
const LATE_MS: u64 = 5_000;

/// How soon it is tried again to end what could not be ended.
const AGAIN_MS: u64 = 1_000;

/// The deadlines, shared between the task that keeps them and the renewals.
#[derive(Clone)]
pub(crate) struct Expiry {
    timers: Arc<Mutex<Timers>>,
    /// Deadlines count from here.
    start: clock::Instant,
}

impl Expiry {
    pub(crate) fn new() -> Self {
        Self {
            timers: Arc::default(),
            start: clock::now(),
        }
    }

    /// The client of a session is there. `false` if the session is being ended.
    pub(crate) fn renew(&self, id: &str) -> bool {
        self.timers().renew(id, self.now())
    }

    fn timers(&self) -> MutexGuard<'_, Timers> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Ends sessions until the server stops.
    pub(crate) async fn run(
        self,
        leadership: Leadership,
        views: Views,
        hub: Arc<Hub>,
        room: Room,
        stopping: CancellationToken,
    ) {
        let work = async {
            while leadership.begins().await {
                let leads = self.lead(&leadership, &views, &hub, &room);
                tokio::select! {
                    () = leads => {}
                    () = leadership.ends() => {}
                }
                self.timers().stop();
            }
        };
        stopping.run_until_cancelled(work).await;
    }

    /// While this server leads.
    async fn lead(&self, leadership: &Leadership, views: &Views, hub: &Hub, room: &Room) {
        // First, so that nothing is missed between the look and the wait.
        let mut news = hub.sessions();
        self.timers().begin(views.current().sessions(), self.now());
        loop {
            let next = self.timers().next();
            let due = async {
                match next {
                    Some(at) => clock::sleep_until(self.start + Duration::from_millis(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = news.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    news.borrow_and_update();
                    self.timers().follow(views.current().sessions(), self.now());
                }
                () = due => self.end_due(leadership, views, room).await,
            }
        }
    }

    async fn end_due(&self, leadership: &Leadership, views: &Views, room: &Room) {
        let late = |at: u64| self.now() > at + LATE_MS;
        if self.timers().next().is_some_and(late) {
            tracing::warn!("the server stood still; all sessions have their full time again");
            self.timers().begin(views.current().sessions(), self.now());
            return;
        }
        let due = self.timers().take_due(self.now(), MAX_COMMANDS);
        if due.is_empty() {
            return; // the next one was renewed meanwhile
        }
        let commands = ends(&due, &views.current());
        let Some(_charged) = admit(room, &commands) else {
            self.timers().put_off(&due, self.now() + AGAIN_MS);
            return;
        };
        let proposal = Proposal {
            format: FORMAT,
            at: clock::wall_ms(),
            commands,
        };
        match leadership.raft().client_write(proposal).await {
            Ok(_) => tracing::info!(sessions = due.len(), "sessions ended that were not renewed"),
            Err(error) => {
                tracing::warn!(%error, sessions = due.len(), "sessions are over and could not be ended; tried again");
                self.timers().put_off(&due, self.now() + AGAIN_MS);
            }
        }
    }
}

/// One command a session, so that the history says of each key which one it was.
fn ends(ids: &[Arc<str>], state: &State) -> Vec<Command> {
    let end = |id: &Arc<str>| Command {
        request: None,
        author: None,
        message: state
            .sessions()
            .get(id)
            .map(|(id, session)| format!("{} expired", session.label(id)).into()),
        action: Action::EndSession { id: Arc::clone(id) },
    };
    ids.iter().map(end).collect()
}

/// What they take of the disk; `None` if there is no room.
fn admit(room: &Room, commands: &[Command]) -> Option<Vec<Admitted>> {
    let admitted = commands
        .iter()
        .map(|command| room.admit(&command.action, command.weight()));
    admitted.collect::<Result<_, _>>().ok()
}
