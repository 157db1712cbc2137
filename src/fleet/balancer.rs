//! HAProxy in front of the fleet, under an agent that renders the template that ships with this program.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use kvapi::problem::exit;
use kvapi::{Address, Problem};
use tokio::process::Child;
use tokio::time::{Instant, sleep};

use super::Fleet;
use crate::connection::Connection;
use crate::spawned::{keyway, terminate};

const TEMPLATE: &str = include_str!("../../templates/haproxy.cfg.hbs");

/// Where HAProxy is looked for beside PATH: Debian's place for it is not on everybody's.
const BESIDE: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// How long it may take until requests come through.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
pub(crate) struct Balancer {
    agent: Child,
    /// Where it takes requests.
    pub(crate) address: Address,
}

impl Balancer {
    /// Starts it; nothing may be deployed yet.
    pub(crate) async fn start(fleet: &Fleet) -> Result<Self, Problem> {
        let path = format!("{}:{BESIDE}", std::env::var("PATH").unwrap_or_default());
        let is_there = std::env::split_paths(&path).any(|folder| folder.join("haproxy").is_file());
        if !is_there {
            return Err(Problem::new(exit::NOT_FOUND, "haproxy is not installed")
                .help("install it, such as by   apt-get install haproxy"));
        }
        // Nobody else is given ports of this address while HAProxy does not have it yet.
        let free = TcpListener::bind("127.0.0.79:0").and_then(|port| port.local_addr());
        let address = free.map_err(|e| Problem::new(exit::UNAVAILABLE, format!("take a free port: {e}")))?;
        fleet.put("haproxy/bind", address.to_string()).await?;
        let source = fleet.folder().join("haproxy.cfg.hbs");
        let target = fleet.folder().join("haproxy.cfg").display().to_string();
        crate::scratch::write(&source, TEMPLATE)?;
        let agent = keyway()?
            .env("PATH", path)
            .args(["--addr", &fleet.address().to_string(), "agent", "run"])
            .args(["-t", &format!("{}:{target}", source.display())])
            .args(["--check", "haproxy -c -q -f {}", "--on-change", "signal=USR2", "--"])
            .args(["haproxy", "-W", "-db", "-f", &target])
            .stdout(Stdio::null())
            .stderr(log(fleet.folder())?)
            .spawn()
            .map_err(|e| Problem::new(exit::UNAVAILABLE, format!("start the agent: {e}")))?;
        Ok(Self {
            agent,
            address: Address::Tcp(address.to_string()),
        })
    }

    /// Waits until a request comes through.
    pub(crate) async fn leads(&self) -> Result<(), Problem> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(mut connection) = Connection::open(&self.address).await
                && let Ok(answer) = connection.ask(Method::GET, "/", Bytes::new()).await
                && answer.status == StatusCode::OK
            {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err(Problem::new(exit::UNAVAILABLE, "haproxy leads to no instance"))
    }

    /// Stops it. May be cut off; dropped, its agent is killed.
    pub(crate) async fn stop(&mut self) {
        terminate(&mut self.agent).await;
    }
}

/// What agent and HAProxy say, for whoever looks.
fn log(folder: &Path) -> Result<std::fs::File, Problem> {
    let path = folder.join("haproxy.log");
    std::fs::File::create(&path).map_err(|e| Problem::new(exit::UNAVAILABLE, format!("write {}: {e}", path.display())))
}
