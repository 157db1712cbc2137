//! Many small servers on this machine, to show and to measure deploys on: a store and a scheduler in a process of their
//! own, and an app of theirs whose every instance has an agent and a rendered setting.
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`balancer`] | HAProxy in front of them, under an agent |
//! | [`crowd`] | clients that ask all the time |
//! | [`census`] | the processes of instances, by the kernel's table |
//! | [`containers`] | the containers of instances, by the Engine's list |
//! | [`image`] | the flags by which they are containers |
//! | [`lookout`] | how many there are and how many are healthy, again and again |
//! | [`used`] | CPU and memory of it all |

pub(crate) mod balancer;
pub(crate) mod census;
pub(crate) mod containers;
pub(crate) mod crowd;
pub(crate) mod image;
pub(crate) mod lookout;
pub(crate) mod used;

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use kvapi::client::{Consistency, WriteOptions};
use kvapi::problem::exit;
use kvapi::{Address, Client, Problem};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::census::Whose;
use self::containers::Containers;
use crate::deploy::{Begun, Deployment, Following, Instance, Request, Scheduler, State, app_id, news};
use crate::failure::Failure;
use crate::settings::Settings;
use crate::spawned::{self, Spawned, allow_many_files};

/// The app.
pub(crate) const APP: &str = "/microbots";

/// The setting that the instances render.
pub(crate) const SETTING: &str = "microbots/greeting";

const TEMPLATE: &str = "greeting = {{key \"microbots/greeting\"}}\nlimit = 5\n";

/// What a container of an instance runs, with the file and the port that it has inside.
pub(crate) const IN_A_CONTAINER: [&str; 6] = [
    "/keyway",
    "demo-app",
    "--config",
    "/app.conf",
    "--listen",
    "0.0.0.0:8000",
];
pub(crate) const PORT: u16 = 8000;

/// The most memory of an instance, in MiB.
pub(crate) const MEMORY: u32 = 32;

/// How long a single request may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
pub(crate) struct Fleet {
    folder: TempDir,
    dev: Spawned,
    pub(crate) scheduler: Scheduler,
    /// Where its API is.
    pub(crate) scheduler_address: Address,
    store: Client,
    /// If there is a Docker Engine for it.
    containers: Option<Containers>,
}

/// What the instances run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Runs<'a> {
    /// This program, as processes.
    Processes,
    /// The same; whoever listens at the socket is told of every setting that was read.
    Telling(&'a Path),
    /// An image that has this program as `/keyway`.
    Image(&'a str),
}

/// How many, and of which version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) instances: u32,
    pub(crate) version: u32,
    /// `minimumHealthCapacity` and `maximumOverCapacity`.
    pub(crate) strategy: (f64, f64),
    /// Whether there is a balancer in front, which is given time before one stops.
    pub(crate) balanced: bool,
    pub(crate) runs: Runs<'a>,
}

impl Fleet {
    /// An empty store and its scheduler, on free ports, with all files below `dir`; with the Docker Engine at a socket if it is
    /// for images.
    pub(crate) async fn start(dir: &Path, engine: Option<&Path>, settings: &Settings) -> Result<Self, Problem> {
        allow_many_files();
        let failed = |e| Problem::new(exit::USAGE, format!("make a folder in {}: {e}", dir.display()));
        let folder = tempfile::Builder::new()
            .prefix("keyway-fleet-")
            .tempdir_in(dir)
            .map_err(failed)?;
        let data = folder.path().join("data");
        let dev = ["--quiet", "dev", "--http-addr", "127.0.0.1:0", "--data-dir"].map(Into::into);
        let socket = engine.map(|socket| ["--docker-socket".into(), socket.into()]);
        let words = dev.into_iter().chain([data.into()]).chain(socket.into_iter().flatten());
        let dev = Spawned::start(words.collect()).await?;
        let address = dev
            .said("scheduler=")
            .ok_or_else(|| Problem::new(exit::BUG, "keyway dev does not say where its scheduler is"))?;
        crate::scratch::write(&folder.path().join("app.conf.hbs"), TEMPLATE)?;
        let store = Client::new(vec![dev.address.clone()], None, PATIENCE);
        let containers = match engine {
            Some(socket) => Some(Containers::new(socket, &store.cluster_status().await?.cluster_id)),
            None => None,
        };
        Ok(Self {
            scheduler: Scheduler::new(address, settings)?,
            scheduler_address: address
                .parse()
                .map_err(|e| Problem::new(exit::BUG, format!("{address}: {e}")))?,
            store,
            containers,
            folder,
            dev,
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the store is.
    pub(crate) fn address(&self) -> &Address {
        &self.dev.address
    }

    /// The process of store and scheduler.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.dev.pid()
    }

    /// Its containers, if it is for images.
    pub(crate) fn containers(&self) -> Option<&Containers> {
        self.containers.as_ref()
    }

    /// How processes of its instances are told from others.
    pub(crate) async fn whose(&self) -> Result<Whose, Problem> {
        Ok(match &self.containers {
            None => Whose::Below(self.folder().into()),
            Some(containers) => Whose::Tasks(containers.running().await?.into_iter().collect()),
        })
    }

    /// Stores a setting.
    pub(crate) async fn put(&self, key: &str, value: String) -> Result<(), Problem> {
        self.store.put(key, value, &WriteOptions::default()).await?;
        Ok(())
    }

    /// The revision at which a setting was stored last.
    pub(crate) async fn revision(&self, key: &str) -> Result<u64, Problem> {
        let read = self.store.get(key, Consistency::Consistent).await?;
        let entry = read
            .value
            .ok_or_else(|| Problem::new(exit::BUG, format!("{key} is not there")))?;
        Ok(entry.modify_index.0)
    }

    /// The app's definition, as a file.
    pub(crate) fn define(&self, wanted: &Wanted<'_>) -> Result<(PathBuf, Value), Problem> {
        let app = self.app(wanted)?;
        let file = self.folder().join("microbots.json");
        crate::scratch::write(&file, &format!("{app:#}\n"))?;
        Ok((file, app))
    }

    fn app(&self, wanted: &Wanted<'_>) -> Result<Value, Problem> {
        let template = self.folder().join("app.conf.hbs");
        let mut app = json!({
            "id": APP,
            "instances": wanted.instances,
            "cpus": 0.01,
            "mem": MEMORY,
            "env": { "VERSION": wanted.version.to_string() },
            "labels": {
                "KEYWAY_TEMPLATE": format!("{}:app.conf", template.display()),
                "KEYWAY_ON_CHANGE": "signal=HUP",
            },
            "healthChecks": [{ "protocol": "HTTP", "path": "/", "gracePeriodSeconds": 120, "intervalSeconds": 10 }],
            "upgradeStrategy": {
                "minimumHealthCapacity": wanted.strategy.0,
                "maximumOverCapacity": wanted.strategy.1,
            },
        });
        if wanted.balanced {
            app["labels"]["HAPROXY_0_PATH"] = "/".into();
        }
        match wanted.runs {
            Runs::Processes | Runs::Telling(_) => {
                let program = std::env::current_exe()
                    .map_err(|e| Problem::new(exit::BUG, format!("find the path of keyway itself: {e}")))?;
                let line = format!(
                    "exec '{}' demo-app --config app.conf --listen 127.0.0.1:$PORT0",
                    program.display()
                );
                app["cmd"] = match wanted.runs {
                    Runs::Telling(place) => format!("{line} --tell '{}'", place.display()).into(),
                    _ => line.into(),
                };
            }
            Runs::Image(image) => {
                app["labels"]["KEYWAY_TEMPLATE"] = format!("{}:/app.conf", template.display()).into();
                app["args"] = json!(IN_A_CONTAINER);
                app["networks"] = json!([{ "mode": "container/bridge" }]);
                app["container"] = json!({
                    "type": "DOCKER",
                    "docker": { "image": image },
                    "portMappings": [{ "containerPort": PORT, "hostPort": 0 }],
                });
            }
        }
        Ok(app)
    }

    /// Begins to deploy what is wanted.
    pub(crate) async fn deploy(&self, app: &Value) -> Result<Begun, Problem> {
        let path = format!("/v2/apps{APP}");
        let request = Request::new(Method::PUT, &path, &Following::default());
        self.scheduler.change(request.body(app.clone())).await
    }

    /// Waits until a deployment is done, and shows how it goes.
    pub(crate) async fn until_done(
        &self,
        begun: &Begun,
        mut show: impl FnMut(&Deployment) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut coming = news(&self.scheduler, &begun.deployment);
        let mut how = "is not known any more".to_owned();
        while let Some(told) = coming.recv().await {
            let deployment = told?;
            show(&deployment)?;
            if deployment.state == State::Done {
                return Ok(());
            }
            how = deployment.word();
        }
        Err(Problem::new(exit::LEFT, format!("the deployment {how}")).into())
    }

    pub(crate) async fn instances(&self) -> Result<Vec<Instance>, Problem> {
        self.scheduler.instances(&app_id(APP)?).await
    }

    /// Stops all that runs. May be cut off and followed by [`Fleet::kill`].
    pub(crate) async fn stop(&mut self) {
        // An Engine takes its time for each container; what is stuck is seen to by the next signal.
        let patience = match &self.containers {
            None => spawned::PATIENCE,
            Some(_) => Duration::from_secs(600),
        };
        self.dev.terminate(patience).await;
    }

    /// The hard end: nobody is asked.
    pub(crate) async fn kill(&mut self) {
        self.dev.kill().await;
        census::kill(self.folder());
        if let Some(containers) = &self.containers
            && let Err(problem) = containers.remove().await
        {
            tracing::warn!("containers may be left: {}", problem.what);
        }
    }
}
