//! Health, for those who start and stop servers.

use http::StatusCode;

use super::answer::Answer;
use super::call::Call;

/// `GET /livez`: 200 while the process answers at all. Restart it if it does not.
pub(super) fn livez() -> Answer {
    Answer::text(StatusCode::OK, "ok\n")
}

/// `GET /readyz`: 200 while requests can be served here; 503 and the reason if not. Send them
/// elsewhere then, and leave the process alone.
pub(super) fn readyz(call: &Call) -> Answer {
    match call.node.status().not_ready {
        None => Answer::text(StatusCode::OK, "ok\n"),
        Some(reason) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
    }
}
