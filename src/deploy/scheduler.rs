//! The scheduler, asked over HTTP.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use kvapi::client::{Reply, encode_key, encode_query};
use kvapi::problem::exit;
use kvapi::{Address, Client, Problem, codes};
use scheduler::app::AppId;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::timeout;

use super::deployment::Deployment;
use super::follow::Following;
use super::refused::refused;
use crate::connection::Connection;
use crate::settings::Settings;

/// Where it listens by default.
pub(super) const DEFAULT: &str = "http://127.0.0.1:8080";

/// See the module. Clones share connections.
#[derive(Debug, Clone)]
pub(crate) struct Scheduler {
    client: Client,
    timeout: Duration,
    /// How to name it again on a command line; nothing if it is the usual one.
    pub(super) flag: String,
}

/// What a change began.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Begun {
    pub(crate) version: String,
    #[serde(rename = "deploymentId")]
    pub(crate) deployment: String,
}

/// An app as the scheduler counts it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counted {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default)]
    pub(super) instances: u32,
    #[serde(default)]
    pub(super) tasks_running: u32,
    #[serde(default)]
    pub(crate) tasks_healthy: u32,
    #[serde(default)]
    pub(super) tasks_staged: u32,
    #[serde(default)]
    pub(super) deployments: Vec<Value>,
    #[serde(default)]
    pub(super) health_checks: Vec<Value>,
    pub(super) cmd: Option<String>,
    pub(super) args: Option<Vec<String>>,
    pub(super) container: Option<Value>,
    /// Also those that are on their way out; of an app by itself, not in a list of apps.
    #[serde(default)]
    pub(crate) tasks: Vec<IgnoredAny>,
}

/// One copy of an app, as the scheduler and its agent tell of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) task: String,
    pub(super) host: String,
    #[serde(default)]
    pub(super) ports: Vec<u16>,
    pub(crate) state: String,
    pub(crate) version: String,
    /// Of the store, of what its files were rendered from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) settings_revision: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) healthy: Option<bool>,
    /// What its health check finds wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) health_failure: Option<String>,
    /// Why it does not start, or has not started yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) waiting: Option<String>,
    pub(super) since: String,
}

/// A change that is asked for.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    method: Method,
    path: String,
    body: Option<Value>,
    /// Where the body comes from, for complaints.
    place: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// One on the terms that every command takes.
    pub(crate) fn new(method: Method, path: &str, terms: &Following) -> Self {
        // Said each time: without a word Marathon deletes over what is in the way.
        let request = Self {
            method,
            path: format!("{path}?force={}", terms.force),
            body: None,
            place: None,
        };
        match &terms.message {
            Some(message) => request.with("message", message),
            None => request,
        }
    }

    pub(super) fn with(mut self, parameter: &str, value: &str) -> Self {
        self.path += &format!("&{parameter}={}", encode_query(value));
        self
    }

    pub(crate) fn body(self, body: Value) -> Self {
        let body = Some(body);
        Self { body, ..self }
    }

    pub(super) fn from(self, place: Option<&'a str>) -> Self {
        Self { place, ..self }
    }
}

impl Scheduler {
    /// One or several addresses, separated by commas.
    pub(crate) fn new(addresses: &str, settings: &Settings) -> Result<Self, Problem> {
        let with_port = addresses.split(',').map(str::trim).map(|address| {
            let host = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
            match has_port || host.is_empty() || address.starts_with("unix:") {
                true => address.to_owned(),
                false => format!("{host}:8080"),
            }
        });
        let list = with_port.collect::<Vec<_>>().join(",");
        let parsed = Address::parse_list(&list);
        let parsed = parsed.map_err(|e| Problem::new(exit::USAGE, format!("--scheduler-addr: {e}")))?;
        let flag = match addresses {
            DEFAULT => String::new(),
            other => format!(" --scheduler-addr {other}"),
        };
        Ok(Self {
            // The token is the store's, and nobody else's.
            client: Client::new(parsed, None, settings.timeout),
            timeout: settings.timeout,
            flag,
        })
    }

    /// An answer; `None` if there is no such thing.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Problem> {
        let reply = self.send(Method::GET, path, Bytes::new()).await?;
        match reply.status {
            StatusCode::OK => decoded(&reply).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(refused(status.as_u16(), &reply.body, None)),
        }
    }

    /// A change.
    pub(crate) async fn change(&self, request: Request<'_>) -> Result<Begun, Problem> {
        let body = request.body.map(|body| Bytes::from(body.to_string()));
        let reply = self
            .send(request.method, &request.path, body.unwrap_or_default())
            .await?;
        if reply.status.is_success() {
            return decoded(&reply);
        }
        Err(refused(reply.status.as_u16(), &reply.body, request.place))
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Reply, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ACCEPT, HeaderValue::from_static("application/json"));
        if !body.is_empty() {
            headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        self.client.send(method, path, body, headers).await.map_err(trouble)
    }

    /// A stream that is open, from the first address that takes a connection.
    pub(super) async fn open(&self, path: &str, accept: &str) -> Result<Response<Incoming>, Problem> {
        let mut last = Problem::new(exit::USAGE, "no address to ask");
        for address in self.client.addresses() {
            let opened = timeout(self.timeout, async {
                let mut connection = Connection::open(address).await?;
                connection.always_send("accept", accept)?;
                connection.begin(Method::GET, path, Bytes::new()).await
            });
            match opened.await {
                Ok(Ok(response)) if response.status() == StatusCode::OK => return Ok(response),
                Ok(Ok(response)) => {
                    let status = response.status().as_u16();
                    let body = timeout(self.timeout, response.into_body().collect()).await;
                    let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes());
                    return Err(refused(status, &body.unwrap_or_default(), None));
                }
                Ok(Err(problem)) => last = problem,
                Err(_) => last = Problem::of(&codes::TIMED_OUT, format!("no answer from {address} in time")),
            }
        }
        Err(last.help(NAME_IT))
    }

    /// An app, and how many run of it.
    pub(crate) async fn app(&self, app: &AppId) -> Result<Option<Counted>, Problem> {
        #[derive(Deserialize)]
        struct Answer {
            app: Counted,
        }
        let answer: Option<Answer> = self.get(&format!("/v2/apps{app}")).await?;
        Ok(answer.map(|answer| answer.app))
    }

    /// An app's definition as it is.
    pub(super) async fn definition(&self, app: &AppId) -> Result<Option<Value>, Problem> {
        let answer: Option<Value> = self.get(&format!("/v2/apps{app}")).await?;
        Ok(answer.and_then(|answer| answer.get("app").cloned()))
    }

    /// The deployments that there are and were, of one app or of all, newest first.
    pub(super) async fn deployments(&self, app: Option<&AppId>) -> Result<Vec<Deployment>, Problem> {
        #[derive(Deserialize)]
        struct Answer {
            deployments: Vec<Deployment>,
        }
        let of = app.map(|app| format!("?app={}", encode_query(app.as_str())));
        let path = format!("/v1/deployments{}", of.unwrap_or_default());
        let answer: Option<Answer> = self.get(&path).await?;
        Ok(answer.map(|answer| answer.deployments).unwrap_or_default())
    }

    pub(super) async fn deployment(&self, id: &str) -> Result<Option<Deployment>, Problem> {
        self.get(&format!("/v1/deployments/{}", encode_key(id))).await
    }

    /// The instances of an app.
    pub(crate) async fn instances(&self, app: &AppId) -> Result<Vec<Instance>, Problem> {
        #[derive(Deserialize)]
        struct Answer {
            instances: Vec<Instance>,
        }
        let answer: Option<Answer> = self.get(&format!("/v1/apps{app}/instances")).await?;
        Ok(answer.map(|answer| answer.instances).unwrap_or_default())
    }

    /// The last lines that a task has printed, if they are kept.
    pub(super) async fn last_lines(&self, task: &str, count: usize) -> Option<Vec<String>> {
        let path = format!("/v1/tasks/{}/logs?tail={count}", encode_key(task));
        let reply = self.send(Method::GET, &path, Bytes::new()).await.ok()?;
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        (reply.status == StatusCode::OK).then(|| text.lines().map(str::to_owned).collect())
    }
}

const NAME_IT: &str =
    "is the scheduler running? Start one with `keyway dev`, or name it with --scheduler-addr or KEYWAY_SCHEDULER_ADDR";

/// Why there is no answer.
fn trouble(error: kvapi::Error) -> Problem {
    let what = error.to_string();
    match error {
        kvapi::Error::Unavailable { .. } => Problem::of(&codes::UNAVAILABLE, what).help(NAME_IT),
        kvapi::Error::Unknown(reason) => {
            Problem::new(exit::LEFT, format!("the change may or may not have begun: {reason}"))
                .help("look with   keyway deploy status")
        }
        other => other.into(),
    }
}

fn decoded<T: DeserializeOwned>(reply: &Reply) -> Result<T, Problem> {
    serde_json::from_slice(&reply.body).map_err(|e| {
        let what = format!("{} gave an answer that does not fit: {e}", reply.address);
        Problem::of(&codes::BAD_ANSWER, what).help("is a scheduler listening at this address?")
    })
}

/// An app as it was typed.
pub(crate) fn app_id(text: &str) -> Result<AppId, Problem> {
    let id = AppId::absolute(text).map_err(|e| Problem::new(exit::INVALID, e.to_string()))?;
    match id.is_root() {
        true => Err(Problem::new(exit::INVALID, format!("`{text}` names no app")).help("name one such as /web")),
        false => Ok(id),
    }
}

/// There is no such app.
pub(super) fn no_app(app: &AppId) -> Problem {
    Problem::new(exit::NO, format!("there is no app {app}")).help("what there is:   keyway deploy ls")
}
