//! `keyway dev`, or a store and schedulers by themselves, and their API.

use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Method};
use kvapi::client::Reply;
use kvapi::{Address, Client};
use serde_json::Value;

use super::{Home, Keyway, Program, Stream, binary, command};

/// A scheduler, alone or with its store in one process.
pub(crate) struct Dev {
    pub(crate) program: Program,
    /// The store's address; of a scheduler alone, what it was given.
    pub(crate) store: String,
    /// Where the API is.
    pub(crate) api: Api,
}

/// What is asked by `method path`, and answered with JSON.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) address: String,
    client: Client,
}

impl Dev {
    /// Store and scheduler in one process, on free ports.
    pub(crate) async fn start(home: &Home, name: &str, flags: &[&str]) -> anyhow::Result<Self> {
        Self::start_with(home, name, flags, &[]).await
    }

    /// The same, with more variables in its environment.
    pub(crate) async fn start_with(
        home: &Home,
        name: &str,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let arguments = [&["dev", "--http-addr", "127.0.0.1:0"], flags].concat();
        // One that is killed leaves its folder where it was.
        let place = home.path("").display().to_string();
        let keyway = Keyway::new(home).env("TMPDIR", &place);
        let keyway = variables
            .iter()
            .fold(keyway, |keyway, (variable, value)| keyway.env(variable, value));
        let mut program = keyway.start(home, name, &arguments)?;
        let line = |word: &'static str| move |line: &str| word_of(line, word);
        let store = program.line("where its store is", 0, line("http=")).await?;
        let api = program.line("where its scheduler is", 0, line("scheduler=")).await?;
        Ok(Self {
            program,
            store,
            api: Api::new(&api)?,
        })
    }

    /// A scheduler alone, for a store.
    pub(crate) async fn alone(home: &Home, name: &str, store: &str, folder: &str) -> anyhow::Result<Self> {
        Self::alone_with(home, name, store, folder, &[]).await
    }

    /// The same, with more flags.
    pub(crate) async fn alone_with(
        home: &Home,
        name: &str,
        store: &str,
        folder: &str,
        flags: &[&str],
    ) -> anyhow::Result<Self> {
        let folder = home.path(folder).display().to_string();
        let usual = ["scheduler", "--http-addr", "127.0.0.1:0", "--state-dir", &folder];
        let arguments = [&usual, flags].concat();
        let mut program = Keyway::new(home).addr(store).start(home, name, &arguments)?;
        let api = program
            .line("where its API is", 0, |line| word_of(line, "http="))
            .await?;
        Ok(Self {
            program,
            store: store.into(),
            api: Api::new(&api)?,
        })
    }

    /// HAProxy in front of what is deployed, under an agent, with the template that ships.
    pub(crate) fn haproxy(&self, home: &Home) -> anyhow::Result<Program> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/haproxy.cfg.hbs");
        let file = home.path("haproxy.cfg").display().to_string();
        let mut command = command(home, binary("keyway-agent")?);
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("KEYWAY_ADDR", &self.store)
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .args(["run", "-t", &format!("{}:{file}", source.display())])
            .args(["--check", "haproxy -c -q -f {}", "--on-change", "signal=USR2", "--"])
            .args(["haproxy", "-W", "-db", "-f", &file]);
        Program::start(home, "haproxy", &mut command)
    }

    pub(crate) fn keyway(&self, home: &Home) -> Keyway {
        Keyway::new(home)
            .addr(&self.store)
            .env("KEYWAY_SCHEDULER_ADDR", &self.api.address)
    }
}

fn word_of(line: &str, word: &str) -> Option<String> {
    line.split_whitespace()
        .find_map(|part| part.strip_prefix(word))
        .map(str::to_owned)
}

impl Api {
    pub(crate) fn new(address: &str) -> anyhow::Result<Self> {
        let all = Address::parse_list(address).map_err(anyhow::Error::msg)?;
        Ok(Self {
            address: address.into(),
            client: Client::new(all, None, std::time::Duration::from_secs(10)),
        })
    }

    /// The status and the JSON of an answer; nothing is null.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        self.ask_with(HeaderMap::new(), method, path, body).await
    }

    pub(crate) async fn ask_with(
        &self,
        headers: HeaderMap,
        method: &str,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<(u16, Value)> {
        let bytes = match body {
            Value::Null => Bytes::new(),
            body => body.to_string().into(),
        };
        let reply = self.reply(headers, method, path, bytes).await?;
        let json = match reply.body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&reply.body).with_context(|| format!("{path} answers {:?}", reply.body))?,
        };
        Ok((reply.status.as_u16(), json))
    }

    /// An answer as it comes, to a body of any bytes.
    pub(crate) async fn reply(
        &self,
        headers: HeaderMap,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Reply> {
        let method: Method = method.parse()?;
        Ok(self.client.send(method, path, body.into(), headers).await?)
    }

    /// The status of what is refused, and the JSON that says why.
    pub(crate) async fn refused(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let (status, json) = self.ask(method, path, body).await?;
        anyhow::ensure!(status >= 400, "{method} {path} {body}: {status} {json}");
        anyhow::ensure!(json["message"].is_string(), "{method} {path}: {json} has no message");
        Ok((status, json))
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let (status, json) = self.ask("GET", path, &Value::Null).await?;
        anyhow::ensure!(status == 200, "GET {path}: {status} {json}");
        Ok(json)
    }

    pub(crate) async fn text(&self, path: &str) -> anyhow::Result<String> {
        let reply = self
            .client
            .send(Method::GET, path, Bytes::new(), HeaderMap::new())
            .await?;
        anyhow::ensure!(reply.status == 200, "GET {path}: {} {:?}", reply.status, reply.body);
        Ok(String::from_utf8_lossy(&reply.body).into_owned())
    }

    /// A change that is taken. The id of its deployment.
    pub(crate) async fn change(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<String> {
        let (status, json) = self.ask(method, path, body).await?;
        anyhow::ensure!(matches!(status, 200 | 201), "{method} {path}: {status} {json}");
        let id = json["deploymentId"]
            .as_str()
            .or_else(|| json["deployments"][0]["id"].as_str());
        id.map(str::to_owned)
            .with_context(|| format!("{json} names no deployment"))
    }

    /// A change that is taken, and its deployment done.
    pub(crate) async fn changed(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<()> {
        let deployment = self.change(method, path, body).await?;
        self.done(&deployment).await
    }

    /// The tasks of an app, in the order of their names.
    pub(crate) async fn tasks(&self, app: &str) -> anyhow::Result<Vec<Value>> {
        let json = self.get(&format!("/v2/apps{app}/tasks")).await?;
        json["tasks"].as_array().cloned().context("a list of tasks")
    }

    /// Marathon's events from now on.
    pub(crate) async fn events(&self, query: &str) -> anyhow::Result<Stream> {
        let address = Address::parse_list(&self.address).map_err(anyhow::Error::msg)?;
        let address = address.first().context("an address")?;
        Stream::of(
            address,
            &format!("/v2/events?{query}"),
            &[("accept", "text/event-stream")],
        )
        .await
    }

    /// Waits until a deployment has ended. Its state.
    pub(crate) async fn end_of(&self, deployment: &str) -> anyhow::Result<Value> {
        let path = format!("/v1/deployments/{deployment}");
        let bound = std::time::Duration::from_secs(60);
        super::eventually_within(bound, &format!("deployment {deployment} ends"), async || {
            let json = self.get(&path).await.ok()?;
            (json["state"] != "running").then_some(json)
        })
        .await
    }

    /// Waits until a deployment is done.
    pub(crate) async fn done(&self, deployment: &str) -> anyhow::Result<()> {
        let end = self.end_of(deployment).await?;
        anyhow::ensure!(end["state"] == "done", "{end}");
        Ok(())
    }
}
