//! A folder with templates, and an agent that works in it.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// A folder with templates, and an agent that works in it.
pub(crate) struct Scene {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) agent: Option<Child>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            agent: None,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replaces a file as editors do.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let mut file = tempfile::NamedTempFile::new_in(self.dir.path()).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.persist(self.path(name)).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn start(&mut self, arguments: &[&str]) {
        self.start_with(arguments, &[]);
    }

    pub(crate) fn start_with(&mut self, arguments: &[&str], env: &[(&str, &str)]) {
        self.spawn(Command::new(env!("CARGO_BIN_EXE_keyway-agent")), arguments, env);
    }

    /// Starts it as process 1 of a PID namespace of its own.
    pub(crate) fn start_as_init(&mut self, arguments: &[&str]) {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
        command.arg(env!("CARGO_BIN_EXE_keyway-agent"));
        self.spawn(command, arguments, &[]);
    }

    /// Starts it with a pipe for its input, and returns that.
    pub(crate) fn input(&mut self, arguments: &[&str]) -> Option<std::process::ChildStdin> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyway-agent"));
        command.stdin(Stdio::piped());
        self.spawn_at(command, arguments);
        self.agent.as_mut()?.stdin.take()
    }

    /// Starts it with the input that the command has.
    pub(crate) fn spawn_at(&mut self, mut command: Command, arguments: &[&str]) {
        let log = fs::File::options().create(true).append(true).open(self.path("log"));
        command
            .current_dir(self.dir.path())
            .args(arguments)
            .stderr(log.unwrap());
        command.env("KEYWAY_ADDR", "unix:///nowhere");
        self.agent = Some(command.spawn().unwrap());
    }

    fn spawn(&mut self, mut command: Command, arguments: &[&str], env: &[(&str, &str)]) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        command
            .current_dir(self.dir.path())
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(log);
        // Nobody listens there: no template reads the store.
        command.env("KEYWAY_ADDR", "unix:///nowhere").envs(env.iter().copied());
        self.agent = Some(command.spawn().unwrap());
    }

    /// Every hidden file beside the outputs and every file of the state folder, but those that stay.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let names = |dir: PathBuf| fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
        let hidden = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with('.');
        let state = |path: &PathBuf| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with(".keyway-agent-")
        };
        let (states, others): (Vec<_>, Vec<_>) = names(self.path(".")).filter(hidden).partition(state);
        let all = others.into_iter().chain(states.into_iter().flat_map(names));
        let told = all.map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
        told.filter(|name| !["files", "journal-0", "journal-1", "lock"].contains(&name.as_str()))
            .collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.agent.as_ref().unwrap().id().cast_signed();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Ends what a killed agent had started, by the file that has its process group.
    pub(crate) fn end_group(&self, name: &str) {
        let group = Pid::from_raw(self.read(name).trim().parse().unwrap());
        killpg(group, Signal::SIGKILL).unwrap();
    }

    pub(crate) fn exit_code(&mut self) -> i32 {
        self.exit().code().unwrap_or(-1)
    }

    /// The signal that ended it.
    pub(crate) fn ended_by(&mut self) -> Option<i32> {
        self.exit().signal()
    }

    fn exit(&mut self) -> ExitStatus {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let agent = self.agent.as_mut().unwrap();
            if let Some(status) = agent.try_wait().unwrap() {
                self.agent = None;
                return status;
            }
            assert!(Instant::now() < until, "the agent does not end:\n{}", self.read("log"));
            pause();
        }
    }

    pub(crate) fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let until = Instant::now() + Duration::from_secs(60);
        while !holds(self) {
            assert!(Instant::now() < until, "{what} did not come:\n{}", self.read("log"));
            pause();
        }
    }
}

/// Between two looks at a condition: a loop without it takes the processor from what it waits for.
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(1));
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            // A test failed, or left the agent to us: whatever it is at, it ends.
            let _ = kill(Pid::from_raw(agent.id().cast_signed()), Signal::SIGTERM);
            let until = Instant::now() + Duration::from_secs(5);
            while agent.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < until {
                pause();
            }
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

/// Tells whoever runs the tests what was not tested here.
pub(crate) fn note_left_out(what: &str) {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("left-out");
    eprintln!("LEFT OUT: {what}");
    if let Ok(mut file) = fs::File::options().create(true).append(true).open(path) {
        let _ = writeln!(file, "{what}");
    }
}

/// The processes of a group that have not ended.
pub(crate) fn group(id: &str) -> Vec<String> {
    let member = |stat: &String| {
        // After the name: state, parent, group.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
        fields.get(3) == Some(&id) && fields.get(1) != Some(&"Z")
    };
    stats().into_iter().filter(member).collect()
}

/// What /proc says of every process.
pub(crate) fn stats() -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
        .collect()
}

/// Says what it read at start and after each HUP.
pub(crate) const READER: &str = "trap 'cat out >> seen' HUP; cat out >> seen; while :; do sleep 0.01; done";
