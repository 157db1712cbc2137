//! `keyway scheduler`: deploys apps and keeps them well.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use kvapi::problem::exit;
use kvapi::{Address, Client, Problem, codes};
use scheduler::api::{Door, Server};
use scheduler::run::{self, Config};
use scheduler::secret::Secret;
use scheduler::{driver, engine};

use crate::context::Context;
use crate::failure::Outcome;
use crate::signals::Stop;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway scheduler --state-dir /var/lib/keyway-scheduler
  keyway scheduler --state-dir d --http-addr 127.0.0.1:0      a free port; the first line names it
  keyway scheduler --state-dir d --addr http://10.0.0.1:8500  for this store

It serves Marathon's API. Several may run on one machine, with one --state-dir by which they find what
another has started; one leads, the others ask it. TERM or Ctrl-C stops it:
what it has started runs on, and the next one goes on from there.
Exits with 6 if the port is taken.")]
pub(crate) struct Scheduler {
    /// Folder for what it starts: work folders and logs
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// Where its API listens
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    http_addr: String,
    /// Where the other schedulers reach it, if it is not where it listens
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    #[command(flatten)]
    tasks: Tasks,
    /// Listen beyond this machine although nobody is asked for a token yet
    #[arg(long)]
    insecure_listen: bool,
    /// File with the secret by which a registry may tell of pushes; without it none may
    #[arg(long, value_name = "FILE")]
    registry_secret_file: Option<PathBuf>,
    /// Host name, beside localhost, under which clients on this machine may ask; may be repeated
    #[arg(long, value_name = "NAME")]
    allowed_host: Vec<String>,
}

/// Flags about tasks.
#[derive(Debug, Args)]
struct Tasks {
    /// The name of this machine, as tasks and constraints have it; clients must be able to reach it
    #[arg(long, value_name = "NAME", default_value = "127.0.0.1")]
    host: String,
    /// What constraints look at beside the name; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = attribute)]
    attribute: Vec<(String, String)>,
    /// Ports of this machine for tasks
    #[arg(long, value_name = "FROM-TO", default_value = "21000-31999", value_parser = ports)]
    ports: RangeInclusive<u16>,
    /// Service ports for apps that ask for none
    #[arg(long, value_name = "FROM-TO", default_value = "10000-20000", value_parser = ports)]
    service_ports: RangeInclusive<u16>,
    /// The Docker Engine's socket [default: /var/run/docker.sock if it is there]
    #[arg(long, value_name = "PATH")]
    docker_socket: Option<PathBuf>,
    /// Run none: an app with an image is refused
    #[arg(long, conflicts_with = "docker_socket")]
    no_docker: bool,
    /// The address of this machine on which ports of containers are published
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    publish_on: IpAddr,
    /// Let apps ask for containers that may do everything
    #[arg(long)]
    allow_privileged: bool,
    /// The store, as the agents in tasks reach it [default: as this scheduler does]
    #[arg(long, value_name = "ADDR")]
    agent_addr: Option<Address>,
}

fn attribute(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give NAME=VALUE")?;
    Ok((name.into(), value.into()))
}

fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let range = text
        .split_once('-')
        .and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    match range {
        Some((from @ 1.., to)) if from <= to => Ok(from..=to),
        _ => Err("give two ports, such as 21000-31999".into()),
    }
}

impl Scheduler {
    pub(crate) async fn run(self, context: Context<'_>) -> Outcome {
        let mut stop = Stop::listen()?;
        let docker = docker(self.tasks.docker_socket, self.tasks.no_docker);
        let store = store_of_tasks(self.tasks.agent_addr.as_ref(), &context.client, docker.is_some())?;
        let plan = Plan {
            settings: engine::Settings {
                host: self.tasks.host,
                ports: self.tasks.ports,
                service_ports: self.tasks.service_ports,
                attributes: self.tasks.attribute.into_iter().collect::<BTreeMap<_, _>>(),
            },
            folder: self.state_dir,
            docker: docker.map(|docker| driver::DockerSettings {
                publish_on: self.tasks.publish_on,
                privileged: self.tasks.allow_privileged,
                ..docker
            }),
            store,
            listen: self.http_addr,
            advertise: self.advertise,
            insecure_listen: self.insecure_listen,
            allowed_hosts: self.allowed_host,
            registry_secret: self.registry_secret_file.as_deref().map(secret).transpose()?,
        };
        let running = Running::start(context.client, plan).await?;
        let address = running.address;
        if context.out.is_json() {
            context.out.json_line(&serde_json::json!({
                "ready": "scheduler", "http_addrs": [format!("http://{address}")],
            }))?;
        } else {
            context
                .out
                .line(format_args!("keyway scheduler ready http=http://{address}"))?;
        }
        stop.next().await;
        tokio::select! {
            () = running.stop() => Ok(exit::OK),
            () = stop.next() => Ok(crate::signals::INTERRUPTED),
        }
    }
}

/// Where the agents in tasks reach the store. A container is never given the socket at which everything may be written.
fn store_of_tasks(agent_addr: Option<&Address>, store: &Client, in_containers: bool) -> Result<String, Problem> {
    if let Some(address) = agent_addr {
        return Ok(address.to_string());
    }
    let whole = store.addresses().iter();
    if in_containers
        && let Some(Address::Unix(path)) = whole.clone().find(|address| matches!(address, Address::Unix(_)))
    {
        let what = format!(
            "{}: whoever reaches it may write everything, and containers would",
            path.display()
        );
        return Err(Problem::of(&codes::BAD_SERVER_SETTINGS, what).help(
            "give the store a socket for agents with   keyway server --agent-socket PATH   and name it here with   --agent-addr \
             unix://PATH; or start no containers: --no-docker",
        ));
    }
    Ok(whole.map(ToString::to_string).collect::<Vec<_>>().join(","))
}

/// How long it may take until it is known who leads.
const READY: Duration = Duration::from_secs(5);

/// What a scheduler in this process is to be.
pub(crate) struct Plan {
    pub(crate) settings: engine::Settings,
    pub(crate) folder: PathBuf,
    /// `None` if there is no Docker Engine.
    pub(crate) docker: Option<driver::DockerSettings>,
    /// The store, as tasks reach it.
    pub(crate) store: String,
    pub(crate) listen: String,
    pub(crate) advertise: Option<String>,
    pub(crate) insecure_listen: bool,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) registry_secret: Option<Secret>,
}

impl Plan {
    /// One for this machine only.
    pub(crate) fn local(folder: &Path, store: String, listen: String, docker_socket: Option<PathBuf>) -> Self {
        Self {
            settings: engine::Settings {
                host: "127.0.0.1".into(),
                ..engine::Settings::default()
            },
            folder: folder.into(),
            docker: docker(docker_socket, false),
            store,
            listen,
            advertise: None,
            insecure_listen: false,
            allowed_hosts: Vec::new(),
            registry_secret: None,
        }
    }
}

/// The Docker Engine of this machine, if there is one. Whose containers are ours is known once the store answers.
fn docker(socket: Option<PathBuf>, none: bool) -> Option<driver::DockerSettings> {
    let socket = socket.or_else(usual_engine).filter(|_| !none)?;
    Some(driver::DockerSettings {
        socket: socket.display().to_string(),
        cluster: String::new(),
        publish_on: IpAddr::from([127, 0, 0, 1]),
        privileged: false,
    })
}

/// The socket at which a Docker Engine usually is, if there is one.
pub(crate) fn usual_engine() -> Option<PathBuf> {
    const USUAL: &str = "/var/run/docker.sock";
    Path::new(USUAL).exists().then(|| USUAL.into())
}

/// What a file holds, without the end of its line.
pub(crate) fn secret(file: &Path) -> Result<Secret, Problem> {
    let bad = |what: String| {
        Problem::of(
            &codes::BAD_SERVER_SETTINGS,
            format!("--registry-secret-file {}: {what}", file.display()),
        )
    };
    let text = std::fs::read_to_string(file).map_err(|e| bad(e.to_string()))?;
    Secret::new(text.trim()).ok_or_else(|| bad("holds nothing".into()).help("write a long random text into it"))
}

/// The folder for what is started, made if it is not there, by the one name that every scheduler calls it.
fn made(folder: &Path) -> Result<PathBuf, Problem> {
    let made = std::fs::create_dir_all(folder).and_then(|()| folder.canonicalize());
    made.map_err(|e| {
        let what = format!("make the folder {}: {e}", folder.display());
        Problem::of(&codes::BAD_SERVER_SETTINGS, what).help("name another one with   --state-dir")
    })
}

/// A scheduler in this process.
pub(crate) struct Running {
    /// Where its API is.
    pub(crate) address: SocketAddr,
    scheduler: run::Scheduler,
    server: Server,
    driver: driver::Settings,
    client: Client,
}

impl Running {
    /// Starts one.
    pub(crate) async fn start(client: Client, plan: Plan) -> Result<Self, Problem> {
        let program = std::env::current_exe()
            .map_err(|e| Problem::new(exit::BUG, format!("find the program of this process: {e}")))?;
        refuse_foreign(&plan)?;
        let door = Door::open(&plan.listen).await.map_err(|e| match e.kind() {
            std::io::ErrorKind::AddrInUse => Problem::of(&codes::TAKEN, format!("listen at {}: {e}", plan.listen))
                .help("name another one with   --http-addr HOST:PORT"),
            _ => Problem::of(&codes::BAD_SERVER_SETTINGS, format!("listen at {}: {e}", plan.listen)),
        })?;
        let folder = made(&plan.folder)?;
        let address = door.address();
        let advertised = plan.advertise.unwrap_or_else(|| address.to_string());
        let driver = driver::Settings {
            folder,
            program,
            agent: vec!["agent".into()],
            docker: plan.docker,
            store: Some(plan.store),
        };
        let config = Config {
            engine: plan.settings.clone(),
            driver: driver.clone(),
            address: advertised.clone(),
        };
        let scheduler = run::Scheduler::start(client.clone(), config);
        // Whoever is told that it is ready finds somebody who leads, if the store has anybody lead.
        let mut role = scheduler.role();
        let known = role.wait_for(|role| !matches!(role, run::Role::Unknown));
        let _ = tokio::time::timeout(READY, known).await;
        let server = Server::start(
            door,
            &scheduler,
            client.clone(),
            plan.settings,
            advertised,
            plan.allowed_hosts,
            plan.registry_secret,
        );
        Ok(Self {
            address,
            scheduler,
            server,
            driver,
            client,
        })
    }

    /// Stops in order; what it has started runs on.
    pub(crate) async fn stop(self) {
        self.server.stop().await;
        self.scheduler.stop().await;
    }

    /// Stops, and ends all that it has started.
    pub(crate) async fn stop_all(self) {
        let (client, driver) = (self.client.clone(), self.driver.clone());
        self.stop().await;
        if let Err(error) = run::end_all(&client, driver).await {
            tracing::warn!("what was started may still run: {error:#}");
        }
    }
}

/// Nobody is asked for a token yet, so nobody beyond this machine may ask.
fn refuse_foreign(plan: &Plan) -> Result<(), Problem> {
    let bad = |what: String| Problem::of(&codes::BAD_SERVER_SETTINGS, what);
    let mut found = plan
        .listen
        .to_socket_addrs()
        .map_err(|e| bad(format!("{} is no HOST:PORT: {e}", plan.listen)))?;
    let is_local = |ip: IpAddr| ip.to_canonical().is_loopback();
    match found.find(|address| !is_local(address.ip())) {
        Some(address) if !plan.insecure_listen => Err(bad(format!(
            "{address} is beyond this machine, and nobody is asked for a token"
        ))
        .help("listen at 127.0.0.1, or add --insecure-listen")),
        _ => Ok(()),
    }
}
