//! `keyway kv lock`: runs a command while a lock is held.
//!
//! The lock is the key NAME/.lock with Consul's flags, so `consul lock NAME` and Consul's client libraries
//! stand in the same line. What the command must know to be safe is the revision at which the lock was
//! had: it only rises from holder to holder, which Consul's LockIndex does not.

use std::process::ExitStatus;
use std::time::Duration;

use clap::Args;
use kvapi::client::{Error, WriteOptions};
use kvapi::lock::{LOCK_FLAGS, Lock as Locking, SessionTerms};
use kvapi::problem::exit;
use kvapi::types::TxnOp;
use kvapi::{Client, Consistency, Key, Problem, Revision, codes, duration};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout_at};

use super::put::author;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::Out;
use crate::signals::{INTERRUPTED, Stop};
use crate::spawned::{PATIENCE, code, not_run, terminate_group};

/// How soon it is tried again to lock what is free and cannot be had yet, or to reach the store.
const AGAIN: Duration = Duration::from_millis(500);

/// How long one look at who holds the lock waits.
const LOOK: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway kv lock jobs/nightly -- ./nightly.sh           wait until nobody else runs it, then run it
  keyway kv lock --try jobs/nightly -- ./nightly.sh     or not at all
  keyway kv lock --wait 10m app/leader -- ./lead        or give up after ten minutes

CMD finds in its environment KEYWAY_LOCK_REVISION, which is higher for each holder after another:
what CMD writes to can refuse whoever comes with a lower one. KEYWAY_LOCK_KEY and
KEYWAY_LOCK_SESSION are there too. If the lock is lost CMD is told to end, with all that it has
started, and killed after 30 seconds. If keyway itself is killed, CMD runs on without the lock:
that is what the revision is for.

The key is NAME/.lock, as with `consul lock`. Exits with the code of CMD; with 5 if --try does not
get the lock, 124 if --wait passes, 8 if it is lost.")]
pub(crate) struct Lock {
    /// Name of the lock, such as jobs/nightly
    name: String,
    /// Do not wait for the lock
    #[arg(long = "try", conflicts_with = "wait")]
    only_try: bool,
    /// Give up when it could not be had for so long
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    wait: Option<Duration>,
    /// Lose the lock when the store could not be reached for so long; 10s to 24h
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "15s")]
    ttl: Duration,
    /// After a loss, keep everybody else out for so long; at most 60s
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "15s")]
    lock_delay: Duration,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Program to run, and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Lock {
    pub(super) async fn run(self, context: Context<'_>) -> Outcome {
        let key = super::key_in_path(&format!("{}/.lock", self.name.trim_end_matches('/')))?;
        let mut stop = Stop::listen()?;
        let author = author();
        let options = WriteOptions {
            flags: LOCK_FLAGS,
            author: Some(author.clone()),
            message: self.message.clone(),
            ..WriteOptions::default()
        };
        let terms = SessionTerms {
            name: format!("keyway kv lock {}, {author}", self.name),
            ttl: self.ttl,
            lock_delay: self.lock_delay,
        };
        let begun = Instant::now();
        let session = tokio::select! {
            biased;
            () = stop.next() => return Ok(INTERRUPTED),
            created = context.client.create_session(&terms, &options) => created?,
        };
        let hold = Hold {
            client: &context.client,
            key,
            session,
            options,
        };
        let ended = self.while_held(&hold, begun, &mut stop, context.out).await;
        // Whatever is left of it is gone with the session, at the latest when its TTL has passed.
        if let Err(error) = context.client.destroy_session(&hold.session, &hold.options).await {
            tracing::warn!(%error, session = hold.session, "the session could not be ended; its time runs out by itself");
        }
        ended
    }

    /// From the wait for the lock to its end.
    async fn while_held(&self, hold: &Hold<'_>, begun: Instant, stop: &mut Stop, out: &mut Out) -> Outcome {
        let mut lost = std::pin::pin!(hold.over(self.ttl, begun));
        let limit = self.wait.map(|wait| begun + wait);
        let revision = tokio::select! {
            biased;
            () = stop.next() => return Ok(INTERRUPTED),
            why = &mut lost => return Err(loss(&hold.key, why).into()),
            had = hold.take(self.only_try, limit) => had?,
        };
        out.say(format_args!("locked {} at revision {revision}", hold.key));
        let mut child = self.start(hold, revision)?;
        let (program, waits) = (
            &self.command[0],
            "waiting for the command to end; a second Ctrl-C kills it",
        );
        let why = tokio::select! {
            biased;
            ended = child.wait() => {
                let status = ended.map_err(|e| not_run(program, &e))?;
                hold.give_up().await;
                return Ok(code(status));
            }
            () = stop.next() => {
                terminate_group(&mut child, stop, || out.say(format_args!("{waits}"))).await;
                hold.give_up().await;
                return Ok(ended(&mut child).map_or(INTERRUPTED, code));
            }
            why = &mut lost => why,
            why = hold.taken_away(revision) => why,
        };
        let most = duration::format(PATIENCE);
        out.say(format_args!("{} is lost: {why}; the command is told to end", hold.key));
        let says = || out.say(format_args!("waiting for the command to end, at most {most}"));
        terminate_group(&mut child, stop, says).await;
        Err(loss(&hold.key, why).into())
    }

    fn start(&self, hold: &Hold<'_>, revision: Revision) -> Result<Child, Problem> {
        let (program, arguments) = (&self.command[0], &self.command[1..]);
        let child = Command::new(program)
            .args(arguments)
            .env("KEYWAY_LOCK_REVISION", revision.to_string())
            .env("KEYWAY_LOCK_KEY", hold.key.as_str())
            .env("KEYWAY_LOCK_SESSION", &hold.session)
            // What it starts goes with it when the lock is lost.
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        child.map_err(|e| not_run(program, &e))
    }
}

/// A child that was waited for.
fn ended(child: &mut Child) -> Option<ExitStatus> {
    child.try_wait().ok().flatten()
}

fn loss(key: &Key, why: &str) -> Problem {
    Problem::of(&codes::LOCK_LOST, format!("the lock `{key}` was lost: {why}"))
        .help("find out what the command had done by then, and start it again")
}

/// A session, and the key that it holds or is to hold.
struct Hold<'a> {
    client: &'a Client,
    key: Key,
    session: String,
    options: WriteOptions,
}

impl Hold<'_> {
    /// Returns when the session is over, or may be: and why. Renews it until then.
    async fn over(&self, ttl: Duration, begun: Instant) -> &'static str {
        // When the last renewal was asked that came through. The store gives it twice the TTL.
        let mut renewed = begun;
        loop {
            sleep(ttl / 3).await;
            let renewal = async {
                loop {
                    let asked = Instant::now();
                    match self.client.renew_session(&self.session).await {
                        Ok(there) => return there.then_some(asked),
                        Err(error) => {
                            tracing::info!(%error, "the session could not be renewed; trying again");
                            sleep(AGAIN).await;
                        }
                    }
                }
            };
            match timeout_at(renewed + ttl, renewal).await {
                Ok(Some(asked)) => renewed = asked,
                Ok(None) => return "its session has ended",
                Err(_) => return "the store could not be reached for as long as the session's TTL",
            }
        }
    }

    /// Returns when somebody else has taken the key away.
    async fn taken_away(&self, mut seen: Revision) -> &'static str {
        loop {
            match self.client.get_blocking(self.key.as_str(), seen, LOOK).await {
                Ok(now) => {
                    let holder = now.value.and_then(|entry| entry.session);
                    if holder.as_deref() != Some(&self.session) {
                        return "somebody has deleted or unlocked its key";
                    }
                    seen = now.revision;
                }
                // How long that may last, the session knows.
                Err(error) => {
                    tracing::info!(%error, "the lock's key cannot be looked at; trying again");
                    sleep(AGAIN).await;
                }
            }
        }
    }

    /// Waits for the lock. The revision at which it was had.
    async fn take(&self, only_try: bool, limit: Option<Instant>) -> Result<Revision, Failure> {
        let trying = async {
            loop {
                match self.attempt(only_try).await {
                    Ok(Some(revision)) => return Ok(revision),
                    Ok(None) => {}
                    Err(Attempt::Stop(problem)) => return Err(problem.into()),
                    Err(Attempt::Later(error)) if only_try => return Err(error.into()),
                    Err(Attempt::Later(error)) => {
                        tracing::info!(%error, "waiting for the lock");
                        sleep(AGAIN).await;
                    }
                }
            }
        };
        match limit {
            None => trying.await,
            Some(limit) => timeout_at(limit, trying).await.unwrap_or_else(|_| {
                let what = format!("the lock `{}` could not be had in time", self.key);
                Err(Problem::new(exit::TIMEOUT, what).help(self.who()).into())
            }),
        }
    }

    /// Takes the lock if it is free, or waits a while for it to change.
    async fn attempt(&self, only_try: bool) -> Result<Option<Revision>, Attempt> {
        let key = self.key.as_str();
        let now = self.client.get(key, Consistency::Consistent).await?;
        let mut holder = None;
        if let Some(entry) = now.value {
            if entry.flags != LOCK_FLAGS {
                let what = format!("`{key}` is there and is no lock: its flags are {}", entry.flags);
                let problem = Problem::new(exit::INVALID, what).help("choose another name");
                return Err(Attempt::Stop(problem));
            }
            holder = entry.session.filter(|holder| *holder != self.session);
        }
        if holder.is_none() {
            let value = self.options.author.clone().unwrap_or_default();
            let acquire = Locking::Acquire(&self.session);
            let stored = self.client.store_locked(key, value, acquire, &self.options).await?;
            if stored.done {
                // Of a write that was repeated it is here, and here alone, at which revision it was.
                let now = self.client.get(key, Consistency::Consistent).await?;
                let ours = |entry: &kvapi::Entry| entry.session.as_deref() == Some(&self.session);
                return Ok(now.value.filter(ours).map(|entry| entry.modify_index));
            }
        }
        if only_try {
            let what = match &holder {
                Some(session) => format!("the lock `{key}` is held by session {session}"),
                None => format!("the lock `{key}` is free, and its lock-delay is not over"),
            };
            return Err(Attempt::Stop(Problem::of(&codes::LOCKED, what).help(self.who())));
        }
        match holder {
            Some(_) => drop(self.client.get_blocking(key, now.revision, LOOK).await?),
            None => sleep(AGAIN).await,
        }
        Ok(None)
    }

    fn who(&self) -> String {
        format!("who holds it:   keyway kv get {}", self.key)
    }

    /// Gives the lock up by deleting its key, if it is still ours: nobody has to wait for a lock-delay.
    async fn give_up(&self) {
        let op = |verb| TxnOp {
            session: self.session.clone(),
            ..TxnOp::new(verb, self.key.as_str())
        };
        let ops = [op("check-session"), TxnOp::new("delete", self.key.as_str())];
        let options = WriteOptions {
            flags: 0,
            ..self.options.clone()
        };
        match self.client.txn(&ops, &options).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => tracing::warn!(
                key = self.key.as_str(),
                "the lock was not ours any more when it was given up"
            ),
            Err(error) => tracing::warn!(%error, "the lock could not be given up; it ends with its session"),
        }
    }
}

/// Why an attempt did not come to an end.
enum Attempt {
    /// The store may answer later.
    Later(Error),
    /// There is no use in waiting.
    Stop(Problem),
}

impl From<Error> for Attempt {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable { .. } | Error::Timeout { .. } | Error::Unknown(_) => Self::Later(error),
            error => Self::Stop(error.into()),
        }
    }
}
