//! Connections, who may ask, and the way to whoever leads.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use kvapi::Client;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::answer::{Answer, Refused, text};
use super::forward::{FORWARDED, forward};
use super::groups::Manner;
use super::query::Query;
use super::route::Route;
use super::{about, apps, deployments, groups, hooks, ours, queue, stream, tasks};
use crate::engine::Settings;
use crate::hub::Hub;
use crate::limits;
use crate::run::{Leading, Role, Scheduler};
use crate::secret::Secret;
use crate::time::Timestamp;

/// Where it listens.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
}

impl Door {
    /// Opens one. Port 0 is any that is free.
    pub async fn open(address: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// What all questions share.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) role: watch::Receiver<Role>,
    pub(super) hub: Hub,
    pub(super) abdicate: mpsc::Sender<()>,
    pub(super) settings: Settings,
    pub(super) address: String,
    pub(super) port: u16,
    store: Client,
    local: IpAddr,
    allowed_hosts: Vec<String>,
    /// What a registry that tells of pushes knows.
    registry_secret: Option<Secret>,
}

/// One question.
pub(super) struct Asked {
    pub(super) query: Query,
    pub(super) body: Bytes,
    pub(super) path: String,
    pub(super) remote: String,
    pub(super) now: Timestamp,
    pub(super) hub: Hub,
}

/// An API that is served.
#[derive(Debug)]
pub struct Server {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves a scheduler at a door. `address` is what others call it by, and `allowed_hosts` are names that a browser may
    /// call it by beside addresses and `localhost`. Without `registry_secret` nobody tells it of pushed images.
    #[must_use]
    pub fn start(
        door: Door,
        scheduler: &Scheduler,
        store: Client,
        settings: Settings,
        address: String,
        allowed_hosts: Vec<String>,
        registry_secret: Option<Secret>,
    ) -> Self {
        let api = Arc::new(Api {
            role: scheduler.role(),
            hub: scheduler.hub().clone(),
            abdicate: scheduler.abdicator(),
            settings,
            address,
            port: door.address.port(),
            store,
            local: door.address.ip(),
            allowed_hosts,
            registry_secret,
        });
        let (stop, mut stopped) = watch::channel(false);
        let router = Router::new().fallback(handle).with_state(api);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move {
            // Streams go on for ever: when it stops, nobody waits for them.
            tokio::select! {
                served = async { axum::serve(door.listener, service).await } => {
                    if let Err(error) = served {
                        tracing::error!("the API is served no more: {error}");
                    }
                }
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        });
        Self { stop, task }
    }

    pub async fn stop(self) {
        self.stop.send_replace(true);
        // A task that panicked has said so.
        let _ = self.task.await;
    }
}

async fn handle(
    State(api): State<Arc<Api>>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let answered = async {
        api.refuse_pages(&parts.headers)?;
        let body = read(body).await?;
        api.answer(&parts.method, &parts.uri, &parts.headers, body, remote)
            .await
    };
    answered.await.unwrap_or_else(Refused::respond)
}

async fn read(body: Body) -> Result<Bytes, Refused> {
    let body = Limited::new(body, limits::BODY).collect().await;
    let body = body.map_err(|e| {
        Refused::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body cannot be read, or is longer than {} bytes: {e}", limits::BODY),
        )
    })?;
    Ok(body.to_bytes())
}

impl Api {
    async fn answer(
        &self,
        method: &Method,
        uri: &http::Uri,
        headers: &HeaderMap,
        body: Bytes,
        remote: SocketAddr,
    ) -> Answer {
        let path = percent_encoding::percent_decode_str(uri.path())
            .decode_utf8_lossy()
            .into_owned();
        let route = Route::of(method, &path).map_err(|e| Refused::unprocessable(e.to_string()))?;
        let get = *method == Method::GET || *method == Method::HEAD;
        // Each scheduler answers for itself.
        match &route {
            Route::Ping if get => return about::ping(headers),
            Route::Info if get => return about::info(self),
            Route::Leader if get => return about::who_leads(self),
            Route::Root if get => return Ok(root()),
            _ => {}
        }
        let leading = match &*self.role.borrow() {
            Role::Leads(leading) => Ok(leading.clone()),
            Role::Follows(address) if !headers.contains_key(FORWARDED) => Err(Some(address.clone())),
            Role::Follows(_) | Role::Unknown => Err(None),
        };
        let leading = match leading {
            Ok(leading) => leading,
            Err(Some(leader)) => {
                let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
                return forward(&leader, method, path, headers, body).await;
            }
            Err(None) => {
                return Err(Refused::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "no scheduler leads just now; ask again in a moment",
                ));
            }
        };
        let asked = Asked {
            query: Query::parse(uri.query().unwrap_or_default()),
            body,
            path,
            remote: remote.ip().to_string(),
            now: crate::run::now(),
            hub: self.hub.clone(),
        };
        self.answer_leading(method, route, headers, &asked, &leading).await
    }

    async fn answer_leading(
        &self,
        method: &Method,
        route: Route,
        headers: &HeaderMap,
        asked: &Asked,
        leading: &Leading,
    ) -> Answer {
        match (method.as_str(), route) {
            ("GET" | "HEAD", Route::Apps) => apps::list(asked, leading),
            ("POST", Route::Apps) => apps::create(asked, leading).await,
            ("PUT", Route::Apps) => apps::update_all(asked, leading, true).await,
            ("PATCH", Route::Apps) => apps::update_all(asked, leading, false).await,
            ("GET" | "HEAD", Route::App(id)) => apps::show(asked, leading, &id),
            ("PUT", Route::App(id)) => apps::update(asked, leading, &id, true).await,
            ("PATCH", Route::App(id)) => apps::update(asked, leading, &id, false).await,
            ("DELETE", Route::App(id)) => apps::delete(asked, leading, &id).await,
            ("GET" | "HEAD", Route::AppsWithin(group)) => apps::within(asked, leading, &group),
            (_, Route::Restart(id)) => apps::restart(asked, leading, &id).await,
            ("DELETE", Route::AppTasks(id)) => tasks::delete_of_app(asked, leading, &id).await,
            (_, Route::AppTasks(id)) => tasks::of_app(leading, &id),
            (_, Route::TasksWithin(group)) => tasks::within(leading, &group),
            (_, Route::AppTask(id, task)) => tasks::delete_one(asked, leading, &id, &task).await,
            (_, Route::Versions(id)) => apps::versions(leading, &id),
            (_, Route::Version(id, version)) => apps::version(leading, &id, &version),
            ("GET" | "HEAD", Route::Group(id)) => groups::show(asked, leading, &id),
            ("POST", Route::Group(id)) => groups::change(asked, leading, &id, Manner::Create).await,
            ("PUT", Route::Group(id)) => groups::change(asked, leading, &id, Manner::Update).await,
            ("DELETE", Route::Group(id)) => groups::delete(asked, leading, &id).await,
            (_, Route::GroupApps(id)) => groups::apps_of(asked, leading, &id),
            (_, Route::GroupVersions(id)) => groups::versions(leading, &id),
            ("PUT", Route::GroupVersion(id, version)) => groups::roll_back(asked, leading, &id, &version).await,
            (_, Route::GroupVersion(id, version)) => groups::version_of(asked, leading, &id, &version),
            ("GET" | "HEAD", Route::Tasks) => tasks::list(asked, leading),
            ("POST", Route::TasksDelete) => tasks::delete_named(asked, leading).await,
            ("GET" | "HEAD", Route::Deployments) => deployments::list(leading),
            ("DELETE", Route::Deployment(id)) => deployments::delete(asked, leading, &id).await,
            ("GET" | "HEAD", Route::Queue) => queue::list(asked, leading),
            ("DELETE", Route::QueueDelay(id)) => queue::reset(leading, &id).await,
            ("DELETE", Route::Leader) => about::abdicate(self),
            ("GET", Route::Events) => stream::events(asked, headers),
            ("GET" | "HEAD", Route::Metrics) => about::metrics(leading),
            ("GET" | "HEAD", Route::MetricsPrometheus) => about::prometheus(leading),
            ("GET" | "HEAD", Route::OurDeployments) => ours::deployments(asked, leading),
            ("GET" | "HEAD", Route::OurDeployment(id)) => ours::deployment(asked, leading, &id),
            ("GET", Route::OurDeploymentEvents(id)) => ours::deployment_events(asked, leading, &id),
            ("GET" | "HEAD", Route::OurInstances(id)) => ours::instances(asked, &self.store, leading, &id).await,
            ("GET" | "HEAD", Route::OurLogs(task)) => ours::logs(asked, leading, &task).await,
            ("POST", Route::OurRegistryHook) => {
                hooks::registry(asked, headers, leading, self.registry_secret.as_ref()).await
            }
            (_, Route::Nowhere) => Err(Refused::not_found(format!(
                "{} is nothing that is served here",
                asked.path
            ))),
            (method, _) => Err(Refused::new(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("{method} is nothing that {} takes", asked.path),
            )),
        }
    }

    /// Refuses what a web page in a browser may have sent.
    fn refuse_pages(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let host = text(header::HOST);
        let forbidden = |message: String| Refused::new(StatusCode::FORBIDDEN, message);
        if let Some(origin) = text(header::ORIGIN) {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            if authority.is_none() || authority != host.as_deref() {
                return Err(forbidden(format!("requests from the web page {origin:?} are refused")));
            }
        }
        match host.filter(|_| self.local.to_canonical().is_loopback()) {
            Some(host) if !self.is_known(&host) => Err(forbidden(format!(
                "the host {host:?} is not known here; ask for localhost or an address, or start with --allowed-host"
            ))),
            _ => Ok(()),
        }
    }

    fn is_known(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        name.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self
                .allowed_hosts
                .iter()
                .any(|allowed| allowed.eq_ignore_ascii_case(name))
    }
}

fn root() -> Response {
    text(
        StatusCode::OK,
        "text/plain; charset=utf-8",
        "keyway's scheduler: Marathon's API under /v2, ours under /v1; see `keyway deploy --help`\n",
    )
}
