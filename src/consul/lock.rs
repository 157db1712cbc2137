//! `consul lock`: runs a command while a lock is held, or a place of a semaphore.
//!
//! The keys are those of Consul's command, so that both shut each other out: `PREFIX/.lock`, with the flags
//! that its client libraries know a lock by.

mod child;
mod mutex;
mod semaphore;
mod session;

pub(super) use self::child::command;

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use self::child::Child;
use self::mutex::Mutex;
use self::semaphore::Semaphore;
use self::session::Session;
use super::ask::Server;
use super::go::flags::{Flag, Parsed};
use super::place::Place;
use super::{Done, Stop, about, place, print, shown, stop, words};
use crate::signals;

pub(super) const FLAGS: &[Flag] = &[
    Flag::switch("child-exit-code", "Exit with 2 if the command fails"),
    Flag::int(
        "monitor-retry",
        "How often to try again when the server fails while the lock is watched (default 3)",
    ),
    Flag::int("n", "How many may hold the lock at a time (default 1)"),
    Flag::text("name", "Name of the session"),
    Flag::switch("pass-stdin", "Give the standard input to the command"),
    Flag::switch("shell", "Run the command by a shell (default true)"),
    Flag::duration("timeout", "How long to wait for the lock at most"),
    Flag::duration("try", "The older name of -timeout"),
    Flag::switch("verbose", "Say what is being done"),
];

/// How soon the server is asked again that failed.
const AGAIN: Duration = Duration::from_secs(1);

/// A lock, or a place of a semaphore.
trait Hold {
    /// How its session ends what it holds.
    const BEHAVIOR: &'static str;

    /// Waits until it is had.
    fn wait(&self, server: &mut Server, session: &str) -> impl Future<Output = Result<(), String>>;

    /// Waits for it, until `until` if that is given. Whether it was had.
    async fn take(&self, server: &mut Server, session: &str, until: Option<Instant>) -> Result<bool, String> {
        let waiting = self.wait(server, session);
        match until {
            None => waiting.await.map(|()| true),
            Some(until) => match timeout_at(until, waiting).await {
                Ok(had) => had.map(|()| true),
                Err(_) => Ok(false),
            },
        }
    }

    /// Whether it is still held, once that may have changed since the index; and the index now.
    fn look(&self, server: &mut Server, session: &str, index: u64)
    -> impl Future<Output = Result<(bool, u64), String>>;

    /// Gives it up.
    fn give_up(&self, server: &mut Server, session: &str) -> impl Future<Output = Result<(), String>>;

    /// Removes what is left of it. `false` if others use it.
    fn clean(&self, server: &mut Server) -> impl Future<Output = Result<bool, String>>;
}

pub(super) async fn run(parsed: &Parsed) -> Done {
    let limit = parsed.int("n").unwrap_or(1);
    let retries = parsed.int("monitor-retry").unwrap_or(3);
    if limit <= 0 {
        return stop("Lock holder limit must be positive");
    }
    let [prefix, command @ ..] = parsed.words.as_slice() else {
        return unsaid();
    };
    if command.is_empty() {
        return unsaid();
    }
    let prefix = shown(prefix.strip_prefix(b"/").unwrap_or(prefix));
    let nanos = parsed.int("timeout").or_else(|| parsed.int("try")).unwrap_or_default();
    let Ok(nanos) = u64::try_from(nanos) else {
        return stop("Timeout must be positive");
    };
    let Ok(retries) = u64::try_from(retries) else {
        return stop("Number for 'monitor-retry' must be >= 0");
    };
    let place = place(parsed)?;
    about(&mut Server::new(place.clone())).await?;
    let name = parsed.text("name").map(shown).filter(|name| !name.is_empty());
    let job = Job {
        name: name.unwrap_or_else(|| {
            let words: Vec<String> = command.iter().map(|word| shown(word)).collect();
            format!("Consul lock for '{}' at '{prefix}'", words.join(" "))
        }),
        place,
        timeout: (nanos > 0).then(|| Duration::from_nanos(nanos)),
        retries,
        verbose: parsed.is_on("verbose"),
        passes_code: parsed.is_on("child-exit-code"),
    };
    let start = || Child::start(command, !parsed.is_off("shell"), parsed.is_on("pass-stdin"));
    // The prefix, as a path: slashes at the end and doubled ones are nothing.
    let parts: Vec<&str> = prefix.split('/').filter(|part| !part.is_empty()).collect();
    let prefix = parts.join("/");
    match u64::try_from(limit) {
        Ok(1) | Err(_) => {
            let key = format!("{prefix}/.lock");
            job.say(format_args!("Setting up lock at path: {key}"))?;
            job.run(&Mutex { key }, start).await
        }
        Ok(limit) => {
            job.say(format_args!("Setting up semaphore (limit {limit}) at prefix: {prefix}"))?;
            job.run(&Semaphore { prefix, limit }, start).await
        }
    }
}

fn unsaid<T>() -> Result<T, Stop> {
    stop(format!(
        "Key prefix and child command must be specified\n\n{}",
        words::LOCK
    ))
}

/// How it is to be done.
struct Job {
    place: Place,
    name: String,
    timeout: Option<Duration>,
    retries: u64,
    verbose: bool,
    passes_code: bool,
}

/// Why a child is not waited for any longer.
enum Ended {
    Stopped,
    Lost,
    Itself(bool),
}

impl Job {
    fn say(&self, text: std::fmt::Arguments<'_>) -> Done {
        if self.verbose {
            print(text.to_string().as_bytes())
        } else {
            Ok(())
        }
    }

    async fn run<H: Hold>(&self, hold: &H, start: impl FnOnce() -> Result<Child, String>) -> Done {
        let mut signals = signals::Stop::listen().map_err(|problem| Stop::Said(problem.to_string()))?;
        self.say(format_args!("Attempting lock acquisition"))?;
        let session = Session::create(&self.place, &self.name, H::BEHAVIOR).await;
        let session = session.or_else(|why| stop(format!("Lock acquisition failed: {why}")))?;
        let done = self.with(hold, &session, &mut signals, start).await;
        session.destroy().await;
        done
    }

    async fn with<H: Hold>(
        &self,
        hold: &H,
        session: &Session,
        signals: &mut signals::Stop,
        start: impl FnOnce() -> Result<Child, String>,
    ) -> Done {
        let mut server = Server::new(self.place.clone());
        let mut over = std::pin::pin!(session.over());
        let until = self.timeout.map(|timeout| Instant::now() + timeout);
        let taken = tokio::select! {
            biased;
            () = signals.next() => Ok(false),
            why = &mut over => Err(why),
            taken = hold.take(&mut server, &session.id, until) => taken,
        };
        match taken {
            Ok(true) => {}
            Ok(false) => return stop("Shutdown triggered or timeout during lock acquisition"),
            Err(why) => return stop(format!("Lock acquisition failed: {why}")),
        }
        // A request that was given up may have left an answer behind.
        let mut server = Server::new(self.place.clone());
        let mut failed = false;
        match start() {
            Err(why) => {
                failed = true;
                eprintln!("Error! {why}");
            }
            Ok(mut child) => {
                let ended = tokio::select! {
                    biased;
                    ok = child.end() => Ended::Itself(ok),
                    () = signals.next() => Ended::Stopped,
                    _ = &mut over => Ended::Lost,
                    () = self.lost(hold, &session.id) => Ended::Lost,
                };
                match ended {
                    Ended::Itself(ok) => {
                        failed = !ok;
                        self.say(format_args!("Child terminated, releasing lock"))?;
                    }
                    Ended::Stopped => {
                        self.say(format_args!("Shutdown triggered, killing child"))?;
                        child.stop().await;
                    }
                    Ended::Lost => {
                        self.say(format_args!("Lock lost, killing child"))?;
                        child.stop().await;
                    }
                }
            }
        }
        let given_up = hold.give_up(&mut server, &session.id).await;
        given_up.or_else(|why| stop(format!("Lock release failed: {why}")))?;
        match hold.clean(&mut server).await {
            Ok(true) => self.say(format_args!("Cleanup succeeded"))?,
            Ok(false) => self.say(format_args!("Cleanup aborted, lock in use"))?,
            Err(why) => return stop(format!("Lock cleanup failed: {why}")),
        }
        if failed && self.passes_code {
            return Err(Stop::Code(2));
        }
        Ok(())
    }

    /// Returns once it is not held any more, or when the server cannot be asked too often in a row.
    async fn lost<H: Hold>(&self, hold: &H, session: &str) {
        let mut server = Server::new(self.place.clone());
        let (mut index, mut failures) = (0, 0);
        loop {
            match hold.look(&mut server, session, index).await {
                Ok((true, now)) => {
                    (index, failures) = (now, 0);
                }
                Ok((false, _)) => return,
                Err(_) if failures < self.retries => {
                    (index, failures) = (0, failures + 1);
                    tokio::time::sleep(AGAIN).await;
                }
                Err(_) => return,
            }
        }
    }
}
