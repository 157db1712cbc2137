//! A driver with a folder of its own, and everything that it told.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use scheduler::app::{Command, Network, Resources};
use scheduler::driver::{Driver, End, Handle, Launch, Settings, Stop, TaskId, Told};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Nothing in these tests takes this long, unless it does not come at all.
const BOUND: Duration = Duration::from_secs(60);

pub(crate) struct Scene {
    home: tempfile::TempDir,
    pub(crate) driver: Driver,
    told: mpsc::UnboundedReceiver<Told>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (driver, told) = driver(home.path());
        Self { home, driver, told }
    }

    /// Another scheduler's driver upon the same folder, in place of this one's.
    pub(crate) fn again(&mut self) {
        (self.driver, self.told) = driver(self.home.path());
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A task's folder.
    pub(crate) fn folder(&self, task: &str) -> PathBuf {
        self.home.path().canonicalize().unwrap().join("tasks").join(task)
    }

    pub(crate) fn read(&self, task: &str, file: &str) -> String {
        fs::read_to_string(self.folder(task).join(file)).unwrap_or_default()
    }

    /// What the driver tells next, but for what it is at before a start.
    pub(crate) async fn told(&mut self) -> Told {
        loop {
            let told = timeout(BOUND, self.told.recv()).await;
            let told = told.expect("word from the driver").unwrap();
            if !matches!(told, Told::Preparing { .. }) {
                return told;
            }
        }
    }

    /// Starts a line of a shell, and waits until it runs.
    pub(crate) async fn start(&mut self, task: &str, line: &str) -> Handle {
        self.driver.start(shell(task, line));
        self.running(task).await
    }

    pub(crate) async fn running(&mut self, name: &str) -> Handle {
        match self.told().await {
            Told::Running { task, handle, .. } if task.0 == name => handle,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn ended(&mut self, name: &str) -> End {
        match self.told().await {
            Told::Ended { task, end, .. } if task.0 == name => end,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn stop(&self, task: &str, handle: &Handle, stop: Stop) {
        self.driver.stop(&id(task), handle, stop);
    }

    /// Waits until a file of a task has a whole line in it; that line.
    pub(crate) async fn line(&self, task: &str, file: &str) -> String {
        eventually(&format!("{file} of {task}"), || {
            let text = self.read(task, file);
            text.split_once('\n').map(|(line, _)| line.to_owned())
        })
        .await
    }
}

fn driver(home: &Path) -> (Driver, mpsc::UnboundedReceiver<Told>) {
    let (sender, told) = mpsc::unbounded_channel();
    let settings = Settings {
        folder: home.to_owned(),
        program: program(),
        agent: Vec::new(),
        store: None,
        docker: None,
    };
    (Driver::new(settings, sender).unwrap(), told)
}

/// `keyway-agent`, where cargo puts it beside this test.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().with_file_name("keyway-agent");
    assert!(
        path.exists(),
        "{} is missing: cargo build --workspace --bins",
        path.display()
    );
    path
}

pub(crate) fn id(task: &str) -> TaskId {
    TaskId(task.to_owned())
}

pub(crate) fn shell(task: &str, line: &str) -> Launch {
    Launch {
        task: id(task),
        command: Some(Command::Shell(line.to_owned())),
        image: None,
        network: Network::Host,
        env: BTreeMap::new(),
        ports: Vec::new(),
        volumes: Vec::new(),
        resources: Resources {
            cpus: 0.1,
            mem: 64.0,
            disk: 0.0,
            gpus: 0,
        },
        user: None,
        labels: BTreeMap::new(),
        agent: None,
        again: false,
        tty: false,
        fetch: Vec::new(),
        secrets: Vec::new(),
    }
}

pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(BOUND, wait)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come"))
}

/// Whether a process is there that has not ended.
pub(crate) fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub(crate) fn pid(handle: &Handle) -> String {
    match handle {
        Handle::Process { pid, .. } => pid.to_string(),
        Handle::Container { .. } => panic!("a container"),
    }
}
