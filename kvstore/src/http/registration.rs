//! `/v1/agent/service/` and `/v1/agent/check/`: what Consul's clients register. There is no catalog, so
//! nothing is taken: a client that believes it is registered, and that nobody finds, would be worse off.

use http::StatusCode;

use super::answer::Answer;
use super::error::Error;
use super::family::{Asked, Family};
use super::golang::quote;

const WRITE: &str = "OPTIONS,PUT";

/// All of them, and the methods of each.
pub(super) const PATHS: Family = Family {
    begin: "/v1/agent/",
    paths: &[
        ("service/register", WRITE),
        ("service/deregister/", WRITE),
        ("service/maintenance/", WRITE),
        ("service/", "OPTIONS,GET"),
        ("check/register", WRITE),
        ("check/deregister/", WRITE),
        ("check/pass/", WRITE),
        ("check/warn/", WRITE),
        ("check/fail/", WRITE),
        ("check/update/", WRITE),
    ],
};

pub(super) fn handle(asked: Asked<'_>) -> Result<Answer, Error> {
    let id = quote(asked.rest());
    let (status, text) = match asked.name {
        "service/register" | "check/register" => (
            StatusCode::NOT_IMPLEMENTED,
            "there is no catalog of services here, so none are registered; switch registration off in the client, \
             or give it a Consul agent of its own for that"
                .to_owned(),
        ),
        "service/" => (StatusCode::NOT_FOUND, format!("unknown service ID: {}", asked.rest())),
        name if name.starts_with("service/") => (
            StatusCode::NOT_FOUND,
            format!("Unknown service ID {id}. Ensure that the service ID is passed, not the service name."),
        ),
        _ => (
            StatusCode::NOT_FOUND,
            format!("Unknown check ID {id}. Ensure that the check ID is passed, not the check name."),
        ),
    };
    Err(Error::new(status, text))
}
