//! Statuses, and errors as Marathon's clients read them: always JSON, with a `message`.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

use crate::app::AppId;
use crate::app::invalid::Invalid;
use crate::engine::{Accepted, Denied};
use crate::run::Unknown;

/// Fields of a body that have no effect.
const IGNORED: HeaderName = HeaderName::from_static("x-keyway-ignored");

/// What would not be one item of a list in a header.
const NOT_IN_LISTS: &AsciiSet = &CONTROLS.add(b' ').add(b',').add(b'%');

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refused {
    status: StatusCode,
    body: Value,
}

/// What a question is answered with.
pub(super) type Answer = Result<Response, Refused>;

impl Refused {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            body: json!({ "message": message.into() }),
        }
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// An argument outside the body that cannot be meant.
    pub(super) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    pub(super) fn no_app(id: &AppId) -> Self {
        Self::not_found(format!("App '{id}' does not exist"))
    }

    pub(super) fn no_task(id: &str) -> Self {
        Self::not_found(format!("Task '{id}' does not exist"))
    }

    pub(super) fn no_deployment(id: &str) -> Self {
        Self::not_found(format!("Deployment '{id}' does not exist"))
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn respond(self) -> Response {
        respond(self.status, &self.body)
    }
}

impl From<Invalid> for Refused {
    fn from(invalid: Invalid) -> Self {
        let message = invalid.message();
        match &invalid {
            Invalid::Syntax(error) => Self {
                status: StatusCode::BAD_REQUEST,
                body: json!({ "message": message, "details": error }),
            },
            Invalid::Shape(_) | Invalid::Meaning(_) => {
                let fields = invalid.fields().iter();
                let details = fields.map(|field| json!({ "path": field.path, "errors": field.errors }));
                Self {
                    status: StatusCode::UNPROCESSABLE_ENTITY,
                    body: json!({ "message": message, "details": details.collect::<Vec<_>>() }),
                }
            }
        }
    }
}

impl From<Unknown> for Refused {
    fn from(_: Unknown) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "this scheduler stopped to lead: whether it was done is not known; look at what there is, and ask again",
        )
    }
}

impl From<Denied<Self>> for Refused {
    fn from(denied: Denied<Self>) -> Self {
        match denied {
            Denied::Refused(refused) => refused,
            Denied::NoPort(exhausted) => Self::unprocessable(exhausted.to_string()),
            Denied::TooMany => Self::new(
                StatusCode::FORBIDDEN,
                "as many deployments as there may be are under way",
            ),
            Denied::TooLarge { apps, bytes, most } => Self::new(
                StatusCode::FORBIDDEN,
                format!(
                    "this change is about {apps} apps, and what is kept of it would be {bytes} bytes long: {most} is the \
                     most, so make it in parts"
                ),
            ),
            Denied::Locked { apps, deployments } => {
                let apps = apps.iter().map(AppId::as_str).collect::<Vec<_>>().join(", ");
                let message = format!(
                    "App is locked by one or more deployments ({apps}). Override with the option '?force=true'. \
                     View details at '/v2/deployments/<DEPLOYMENT_ID>'."
                );
                let deployments = deployments.iter().map(|id| json!({ "id": id }));
                Self {
                    status: StatusCode::CONFLICT,
                    body: json!({ "message": message, "deployments": deployments.collect::<Vec<_>>() }),
                }
            }
        }
    }
}

/// JSON, which nobody keeps.
pub(super) fn respond(status: StatusCode, body: &Value) -> Response {
    let mut response = text(status, "application/json", body.to_string());
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    response
}

pub(super) fn text(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(super) fn ok(body: &Value) -> Answer {
    Ok(respond(StatusCode::OK, body))
}

/// A change was taken, and its deployment goes on from here.
pub(super) fn accepted(accepted: &Accepted) -> Response {
    let body = json!({ "version": accepted.version.to_string(), "deploymentId": accepted.deployment });
    with_deployment(respond(StatusCode::OK, &body), accepted)
}

/// Names the fields that have no effect, by their places in the body. Marathon's clients end at fields of an answer that they
/// do not know, and bear headers.
pub(super) fn put_ignored(response: &mut Response, places: &[String]) {
    /// What a header may have, in bytes.
    const MOST: usize = 4096;
    let mut value = String::new();
    for place in places {
        let place = utf8_percent_encode(place, NOT_IN_LISTS).to_string();
        if value.len() + place.len() > MOST {
            break;
        }
        value += if value.is_empty() { "" } else { ", " };
        value += &place;
    }
    if let Ok(value) = HeaderValue::from_str(&value)
        && !value.is_empty()
    {
        response.headers_mut().insert(IGNORED, value);
    }
}

/// Names the deployment in a header too.
pub(super) fn with_deployment(mut response: Response, accepted: &Accepted) -> Response {
    if let Ok(id) = HeaderValue::from_str(&accepted.deployment) {
        response.headers_mut().insert("marathon-deployment-id", id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_effect_is_a_list_in_one_header() {
        let header = |places: &[&str]| {
            let mut response = respond(StatusCode::OK, &Value::Null);
            put_ignored(
                &mut response,
                &places.iter().map(ToString::to_string).collect::<Vec<_>>(),
            );
            let value = response.headers().get(IGNORED)?;
            Some(value.to_str().unwrap().to_owned())
        };

        assert_eq!(header(&[]), None);
        assert_eq!(
            header(&["/instancez", "/labels/a, b"]).unwrap(),
            "/instancez, /labels/a%2C%20b"
        );
        assert_eq!(header(&["/größe"]).unwrap(), "/gr%C3%B6%C3%9Fe");
        let many = vec!["/0123456789"; 1000];
        assert!((4000..=4200).contains(&header(&many).unwrap().len()));
    }
}
