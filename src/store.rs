//! A server of the store inside this process: started, waited for, stopped, and what is said when
//! one of these fails.

use kvapi::Problem;
use kvapi::codes;
use kvapi::problem::exit;
use kvstore::config::{BadConfig, Config};
use kvstore::folder::FolderError;
use kvstore::net::BindError;
use kvstore::server::Server;

use crate::failure::{Failure, Outcome};
use crate::signals::{INTERRUPTED, Stop};

/// Starts a server.
pub(crate) async fn start(config: Config) -> Result<Server, Problem> {
    Server::start(config).await.map_err(|e| problem(&e))
}

/// Starts a server unless a stop is asked for first: a long recovery must not be deaf to it. `None` if
/// it was; what the recovery had begun is as after a kill, and the next start goes on from there.
pub(crate) async fn start_until_stopped(config: Config, stop: &mut Stop) -> Result<Option<Server>, Problem> {
    unless_stopped(start(config), stop).await.transpose()
}

/// What `work` gives, or `None` if a signal comes first.
async fn unless_stopped<T>(work: impl Future<Output = T>, stop: &mut Stop) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = stop.next() => None,
    }
}

/// Waits for a signal and stops in order; a second signal ends at once. A failure that the server
/// cannot go on with is the caller's too.
pub(crate) async fn run_until_stopped(server: Server, mut stop: Stop) -> Outcome {
    tokio::select! {
        biased;
        () = stop.next() => {}
        failure = server.failed() => return Err(cannot_go_on(&failure).into()),
    }
    tokio::select! {
        biased;
        stopped = stop_server(server) => stopped.map(|()| exit::OK).map_err(Failure::from),
        () = stop.next() => Ok(INTERRUPTED),
    }
}

/// A failure that a server cannot go on with.
pub(crate) fn cannot_go_on(failure: &anyhow::Error) -> Problem {
    let problem = Problem::of(&codes::CANNOT_GO_ON, format!("the server cannot go on: {failure:#}"));
    problem.help(
        "what was acknowledged is in the data folder; repair the cause, such as a full or failing disk, and start again",
    )
}

/// Stops a server in order.
pub(crate) async fn stop_server(server: Server) -> Result<(), Problem> {
    server
        .stop()
        .await
        .map_err(|e| Problem::new(exit::LEFT, format!("stop the server: {e:#}")))
}

/// Why a server did not start. Its errors name the remedy; here they get their exit code.
fn problem(error: &anyhow::Error) -> Problem {
    let is_taken = matches!(error.downcast_ref(), Some(BindError::InUse(_)))
        || matches!(error.downcast_ref(), Some(FolderError::InUse(_)));
    let kind = if is_taken {
        &codes::TAKEN
    } else if error.is::<BadConfig>() || error.is::<BindError>() {
        &codes::BAD_SERVER_SETTINGS
    } else {
        &codes::BAD_DATA
    };
    Problem::of(kind, format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, raise};

    #[tokio::test]
    async fn a_start_that_takes_long_hears_the_stop() {
        let mut stop = Stop::listen().unwrap();
        raise(Signal::SIGINT).unwrap();

        let started = unless_stopped(std::future::pending::<()>(), &mut stop).await;

        assert_eq!(started, None);
        assert_eq!(unless_stopped(async { "up" }, &mut stop).await, Some("up"));
    }
}
