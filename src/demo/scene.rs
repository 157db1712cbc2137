//! What the story plays with: a store in this process, agents with their servers as processes, one
//! folder for all files. [`Scene::close`] leaves nothing of it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use kvapi::client::WriteOptions;
use kvapi::problem::exit;
use kvapi::{Address, Client, Problem};
use kvstore::server::Server;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::net::TcpSocket;
use tokio::process::Child;
use tokio::time::{Instant, sleep};

use crate::connection::Connection;
use crate::dev::{local, temporary};
use crate::spawned::{keyway, terminate};
use crate::store;

/// How long a step may take to come true.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// See the module.
pub(super) struct Scene {
    folder: TempDir,
    server: Option<Server>,
    client: Client,
    address: Address,
    actors: Vec<Actor>,
    /// Processes of servers that answered: the agents' children, for the hard end.
    seen_processes: Vec<u32>,
}

/// An agent and the server that it runs.
struct Actor {
    agent: Child,
    said: Said,
    server: SocketAddr,
    /// Keeps the port ours while the server is restarted.
    _port: TcpSocket,
}

/// What an agent and its child have said on stderr.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<String>>);

/// An agent to start.
pub(super) struct Cast {
    /// Names its files.
    pub(super) name: &'static str,
    pub(super) template: &'static str,
    pub(super) on_change: &'static str,
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) text: String,
    pub(super) process: u32,
}

impl Scene {
    /// An empty store on a free port.
    pub(super) async fn open() -> Result<Self, Problem> {
        let folder = temporary("keyway-demo-")?;
        let server = store::start(local(&folder.path().join("data"), Address::Tcp("127.0.0.1:0".into()))).await?;
        let address = server.http_addrs().first().cloned();
        let address = address.ok_or_else(|| Problem::new(exit::BUG, "the store listens nowhere"))?;
        Ok(Self {
            client: Client::new(vec![address.clone()], None, PATIENCE),
            folder,
            server: Some(server),
            address,
            actors: Vec::new(),
            seen_processes: Vec::new(),
        })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Stores a setting.
    pub(super) async fn put(&self, key: &str, value: &str) -> Result<Instant, Problem> {
        let options = WriteOptions {
            author: Some("keyway demo".into()),
            ..WriteOptions::default()
        };
        self.client
            .put(key, Bytes::copy_from_slice(value.as_bytes()), &options)
            .await?;
        Ok(Instant::now())
    }

    /// The file that an agent renders.
    pub(super) fn rendered(&self, cast: &Cast) -> PathBuf {
        self.folder.path().join(format!("{}.conf", cast.name))
    }

    /// Starts an agent, which starts its server once the file is there; the arguments as they would
    /// be typed.
    pub(super) async fn start(&mut self, cast: &Cast) -> Result<String, Problem> {
        let source = self.folder.path().join(format!("{}.conf.hbs", cast.name));
        crate::scratch::write(&source, cast.template)?;
        let (port, server) = free_port()?;
        let target = self.rendered(cast);
        let program = self.program_path()?;
        let check = format!("{} demo-app --check --config {{}}", quoted(&program));
        let arguments: Vec<String> = [
            "agent",
            "run",
            "-t",
            &format!("{}:{}", source.display(), target.display()),
            "--on-change",
            cast.on_change,
            "--check",
            &check,
            "--",
            &program,
            "demo-app",
            "--config",
            &target.display().to_string(),
            "--listen",
            &server.to_string(),
        ]
        .map(str::to_owned)
        .to_vec();
        let mut agent = keyway()?
            .args(["--addr", &self.address.to_string()])
            .args(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| Problem::new(exit::UNAVAILABLE, format!("start the agent: {e}")))?;
        let said = Said::default();
        if let Some(stderr) = agent.stderr.take() {
            tokio::spawn(said.clone().listen(stderr));
        }
        self.actors.push(Actor {
            agent,
            said,
            server,
            _port: port,
        });
        Ok(typed(&arguments))
    }

    fn program_path(&self) -> Result<String, Problem> {
        let program = std::env::current_exe()
            .map_err(|e| Problem::new(exit::BUG, format!("find the path of keyway itself: {e}")))?;
        Ok(program.display().to_string())
    }

    /// Where the newest server listens.
    pub(super) fn server(&self) -> Result<SocketAddr, Problem> {
        Ok(self.actor()?.server)
    }

    fn actor(&self) -> Result<&Actor, Problem> {
        self.actors
            .last()
            .ok_or_else(|| Problem::new(exit::BUG, "no agent was started"))
    }

    /// The newest server's answer, once it is as it should be; `wanted` is told if it never is.
    pub(super) async fn answer(&mut self, wanted: &str, fits: impl Fn(&Reply) -> bool) -> Result<Reply, Problem> {
        let deadline = Instant::now() + PATIENCE;
        let server = self.server()?;
        let mut last = None;
        while Instant::now() < deadline {
            last = ask(server).await.or(last);
            if let Some(reply) = last.as_ref() {
                if !self.seen_processes.contains(&reply.process) {
                    self.seen_processes.push(reply.process);
                }
                if fits(reply) {
                    return Ok(reply.clone());
                }
            }
            sleep(LOOK).await;
        }
        let answered = last.map_or_else(|| "nothing".into(), |reply| format!("`{}`", reply.text));
        Err(self.broken(&format!("{wanted}: the server answered {answered}")))
    }

    /// Waits until the newest agent has said this; the line.
    pub(super) async fn agent_says(&self, words: &str) -> Result<String, Problem> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let said = self.actor()?.said.text();
            if let Some(line) = said.lines().find(|line| line.contains(words)) {
                return Ok(line.trim().to_owned());
            }
            sleep(LOOK).await;
        }
        Err(self.broken(&format!("the agent did not say `{words}`")))
    }

    /// A step that did not come true, with what the agent said last.
    pub(super) fn broken(&self, what: &str) -> Problem {
        let mut text = format!("the demo does not hold: {what}");
        if let Ok(actor) = self.actor() {
            let said = actor.said.text();
            let lines: Vec<&str> = said.lines().collect();
            for line in &lines[lines.len().saturating_sub(10)..] {
                let _ = write!(text, "\n    agent: {line}");
            }
        }
        Problem::new(exit::LEFT, text).help("this is a bug; please report it with the lines above")
    }

    /// Stops the agents (which stop their servers) and the store, and removes the folder. May be
    /// cut off and followed by [`Scene::kill`].
    pub(super) async fn close(&mut self) {
        for actor in &mut self.actors {
            terminate(&mut actor.agent).await;
        }
        if let Some(server) = self.server.take()
            && let Err(problem) = store::stop_server(server).await
        {
            tracing::warn!("{problem}");
        }
    }

    /// The hard end: nobody is asked.
    pub(super) fn kill(&mut self) {
        for actor in &mut self.actors {
            let _ = actor.agent.start_kill();
        }
        for process in self.seen_processes.iter().filter(|process| is_demo_app(**process)) {
            if let Ok(process) = i32::try_from(*process) {
                let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
            }
        }
    }
}

impl Said {
    async fn listen(self, stream: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            tracing::debug!("agent: {line}");
            let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            text.push_str(&line);
            text.push('\n');
        }
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How a person calls this program from where they are.
pub(super) fn program() -> String {
    let Ok(program) = std::env::current_exe() else {
        return "keyway".into();
    };
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .any(|folder| folder.join("keyway").canonicalize().is_ok_and(|found| found == program));
    if on_path {
        return "keyway".into();
    }
    let here = std::env::current_dir().ok();
    let relative = here.and_then(|here| program.strip_prefix(here).ok().map(Path::to_owned));
    relative.map_or_else(|| program.display().to_string(), |path| format!("./{}", path.display()))
}

/// A free port, held: bound by us but not listened on, so that nobody else gets it, while a server
/// that shares it does.
fn free_port() -> Result<(TcpSocket, SocketAddr), Problem> {
    let take = || {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(true)?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = socket.local_addr()?;
        Ok::<_, std::io::Error>((socket, address))
    };
    take().map_err(|e| Problem::new(exit::UNAVAILABLE, format!("take a free port: {e}")))
}

/// One request on a connection of its own; `None` while nobody answers.
async fn ask(server: SocketAddr) -> Option<Reply> {
    let mut connection = Connection::open(&Address::Tcp(server.to_string())).await.ok()?;
    let answer = connection.ask(Method::GET, "/", Bytes::new()).await.ok()?;
    let text = std::str::from_utf8(&answer.body).ok()?.trim().to_owned();
    let process = text.rsplit_once("process ")?.1.trim_end_matches(')').parse().ok()?;
    Some(Reply { text, process })
}

/// Whether a process id still is one of our servers, and not somebody who got the number later.
fn is_demo_app(process: u32) -> bool {
    std::fs::read(format!("/proc/{process}/cmdline"))
        .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == b"demo-app"))
}

/// Arguments as they are typed into a shell, a line for each flag of the agent's.
fn typed(arguments: &[String]) -> String {
    let mut text = String::new();
    let mut is_ours = true;
    for argument in arguments {
        if is_ours && argument.starts_with('-') {
            text.push_str("\\\n       ");
        }
        is_ours &= argument != "--";
        text.push_str(&quoted(argument));
        text.push(' ');
    }
    text.trim_end().to_owned()
}

/// One word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_a_shell_takes_it() {
        let words = ["agent", "--check", "a b {}", "--", "it's", "-v", ""].map(str::to_owned);

        assert_eq!(
            typed(&words),
            "agent \\\n       --check 'a b {}' \\\n       -- 'it'\\''s' -v ''"
        );
        assert_eq!(shlex::split(&typed(&words).replace("\\\n", "")).unwrap(), words);
    }
}
