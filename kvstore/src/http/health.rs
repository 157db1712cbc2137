//! Health, for those who start and stop servers.

use http::StatusCode;

use super::answer::Answer;
use super::call::Call;

/// `GET /livez`: 200 while the process answers at all. Restart it if it does not.
pub(super) fn livez() -> Answer {
    Answer::text(StatusCode::OK, "ok\n")
}

/// `GET /readyz`: 200 while requests can be served here; 503 if not, and a line for each
/// condition that fails: `leader`, `disk` (for writes; reads go on), `stopping`. Send them
/// elsewhere then, and leave the process alone.
pub(super) fn readyz(call: &Call) -> Answer {
    let failed = call.node.status().not_ready;
    if failed.is_empty() {
        return Answer::text(StatusCode::OK, "ok\n");
    }
    let lines: String = failed
        .iter()
        .map(|(name, reason)| format!("not ready: {name}: {reason}\n"))
        .collect();
    Answer::text(StatusCode::SERVICE_UNAVAILABLE, lines)
}
