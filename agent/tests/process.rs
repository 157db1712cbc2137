//! The agent as a program, over real processes. What changes is a template's file, so no store is
//! needed; the end-to-end tests have the rest.

#![allow(
    clippy::unwrap_used,
    reason = "clippy takes only functions marked as tests for tests"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// A folder with templates, and an agent that works in it.
struct Scene {
    dir: tempfile::TempDir,
    agent: Option<Child>,
}

impl Scene {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            agent: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replaces a file as editors do.
    fn write(&self, name: &str, text: &str) {
        let mut file = tempfile::NamedTempFile::new_in(self.dir.path()).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.persist(self.path(name)).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn start(&mut self, arguments: &[&str]) {
        self.start_with(arguments, &[]);
    }

    fn start_with(&mut self, arguments: &[&str], env: &[(&str, &str)]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyway-agent"));
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
    fn leftovers(&self) -> Vec<String> {
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
        told.filter(|name| !["journal.json", "lock"].contains(&name.as_str()))
            .collect()
    }

    fn signal(&self, signal: Signal) {
        let pid = self.agent.as_ref().unwrap().id().cast_signed();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Ends what a killed agent had started, by the file that has its process group.
    fn end_group(&self, name: &str) {
        let group = Pid::from_raw(self.read(name).trim().parse().unwrap());
        killpg(group, Signal::SIGKILL).unwrap();
    }

    fn exit_code(&mut self) -> i32 {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let agent = self.agent.as_mut().unwrap();
            if let Some(status) = agent.try_wait().unwrap() {
                self.agent = None;
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < until, "the agent does not end:\n{}", self.read("log"));
            std::thread::yield_now();
        }
    }

    fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !holds(self) {
            assert!(Instant::now() < until, "{what} did not come:\n{}", self.read("log"));
            std::thread::yield_now();
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            // A test failed, or left the agent to us: whatever it is at, it ends.
            let _ = kill(Pid::from_raw(agent.id().cast_signed()), Signal::SIGTERM);
            let until = Instant::now() + Duration::from_secs(5);
            while agent.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < until {
                std::thread::yield_now();
            }
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

/// The processes of a group that have not ended.
fn group(id: &str) -> Vec<String> {
    let stats = fs::read_dir("/proc").unwrap().flatten();
    let stats = stats.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let member = |stat: &String| {
        // After the name: state, parent, group.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
        fields.get(3) == Some(&id) && fields.get(1) != Some(&"Z")
    };
    stats.filter(member).collect()
}

/// Says what it read at start and after each HUP.
const READER: &str = "trap 'cat out >> seen' HUP; cat out >> seen; while :; do sleep 0.01; done";

#[test]
fn an_edited_template_reaches_the_child_and_a_bad_one_does_not() {
    let mut scene = Scene::new();
    scene.write("t", "one ");
    scene.start(&[
        "run",
        "-t",
        "t:out",
        "--on-change",
        "signal=HUP",
        "--",
        "sh",
        "-c",
        READER,
    ]);
    scene.eventually("the start", |scene| scene.read("seen") == "one ");

    scene.write("t", "two ");
    scene.eventually("the reload", |scene| scene.read("seen") == "one two ");
    scene.write("t", "{{#if}}");
    scene.eventually("the refusal", |scene| scene.read("log").contains("stays in use"));
    scene.signal(Signal::SIGHUP);
    scene.eventually("the refusal of HUP", |scene| {
        scene.read("log").matches("stays in use").count() >= 2
    });

    assert_eq!(scene.read("seen"), "one two ");
    scene.signal(Signal::SIGTERM);
    assert_eq!(scene.exit_code(), 143);
}

#[test]
fn a_program_without_a_handler_is_not_killed_by_a_reload() {
    let mut scene = Scene::new();
    scene.write("t", "one ");
    // The handler comes only after a while: until then HUP would be deadly.
    let late = format!("while [ ! -e go ]; do sleep 0.01; done; {READER}");
    scene.start(&[
        "run",
        "-t",
        "t:out",
        "--on-change",
        "signal=HUP",
        "--",
        "sh",
        "-c",
        &late,
    ]);
    scene.eventually("the start", |scene| scene.read("out") == "one ");
    scene.write("t", "two ");
    scene.eventually("the new file", |scene| scene.read("out") == "two ");

    scene.write("go", "");

    scene.eventually("the reload", |scene| scene.read("seen").ends_with("two two "));
}

#[test]
fn a_command_that_fails_brings_the_old_file_back() {
    let mut scene = Scene::new();
    scene.write("t", "one");
    let command = "command=! grep -q bad out && cat out >> seen";
    scene.start(&["run", "-t", "t:out", "--settle", "1ms", "--on-change", command]);
    scene.eventually("the first", |scene| scene.read("seen") == "one");

    scene.write("t", "bad");
    scene.eventually("the way back", |scene| scene.read("seen") == "oneone");

    assert_eq!(scene.read("out"), "one");
    scene.write("t", "two");
    scene.eventually("the next", |scene| scene.read("seen") == "oneonetwo");
}

#[test]
fn a_check_sees_the_staged_set_and_leaves_nothing_behind() {
    let mut scene = Scene::new();
    scene.write("a", "1");
    scene.write("b", "2");
    let check = "cat $KEYWAY_STAGED_DIR/x $KEYWAY_STAGED_DIR/y > checked; ! grep -q bad checked";
    scene.start(&["once", "-t", "a:x", "-t", "b:y", "--check", check]);
    assert_eq!((scene.exit_code(), scene.read("checked").as_str()), (0, "12"));

    scene.write("b", "bad");
    scene.start(&["once", "-t", "a:x", "-t", "b:y", "--check", check]);
    assert_eq!((scene.exit_code(), scene.read("y").as_str()), (3, "2"));
    scene.start(&["once", "-t", "a:x", "-t", "b:y", "--check", "grep -q bad {}"]);
    assert_eq!((scene.exit_code(), scene.read("y").as_str()), (0, "bad"));

    let hidden = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
    assert_eq!(
        fs::read_dir(scene.dir.path())
            .unwrap()
            .flatten()
            .map(hidden)
            .filter(|h| *h)
            .count(),
        1
    );
}

#[test]
fn a_list_is_run_without_a_shell_and_the_child_is_not_told_the_token() {
    let mut scene = Scene::new();
    scene.write("a.hbs", "one");
    scene.write(
        "agent.toml",
        "check = [\"test\", \"-s\", \"{}\"]\non_change = { command = [\"cp\", \"a b\", \"told\"] }\n\
         [[template]]\nsource = \"a.hbs\"\ndestination = \"a b\"\n\
         [exec]\ncommand = [\"sh\", \"-c\", \"env >env.new; mv env.new env; exec sleep 60\"]\n",
    );
    scene.start_with(
        &["run", "-c", "agent.toml"],
        &[
            ("KEYWAY_TOKEN", "secret"),
            ("KEYWAY_AGENT_SETTLE", "1ms"),
            ("HELLO", "world"),
        ],
    );
    scene.eventually("the child runs", |scene| !scene.read("env").is_empty());
    let env = scene.read("env");
    assert!(env.contains("HELLO=world") && env.contains("KEYWAY_ADDR="), "{env}");
    assert!(!env.contains("KEYWAY_TOKEN") && !env.contains("KEYWAY_AGENT_"), "{env}");

    scene.write("a.hbs", "two");
    scene.eventually("the list was run", |scene| scene.read("told") == "two");
    scene.write("a.hbs", "");

    scene.eventually("the check said no", |scene| {
        scene.read("log").contains("check `test -s {}`")
    });
    assert_eq!(scene.read("a b"), "two");
}

#[test]
fn a_program_that_fails_is_started_again_until_the_limit_and_its_code_is_ours() {
    let mut scene = Scene::new();
    scene.write("a.hbs", "one");
    let program = "echo start >>starts; exit 3";
    let flags = ["run", "-t", "a.hbs:a", "--settle", "1ms", "--restart", "on-failure:2"];

    scene.start(&[&flags[..], &["--", "sh", "-c", program]].concat());

    assert_eq!(scene.exit_code(), 3);
    assert_eq!(scene.read("starts").lines().count(), 3);
    assert!(
        scene.read("log").contains("started again in 200ms"),
        "{}",
        scene.read("log")
    );
}

#[test]
fn readiness_is_told_once_all_is_in_place_and_taken_back_at_the_end() {
    let mut scene = Scene::new();
    scene.write("a.hbs", "one");
    scene.write("ready", "of an earlier run");
    let socket = std::os::unix::net::UnixDatagram::bind(scene.path("service")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let word = || {
        let mut text = [0; 64];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    let flags = ["run", "-t", "a.hbs:a", "--pid-file", "pid", "--ready-file", "ready"];
    let child = ["--", "sh", "-c", "env >env.new; mv env.new env; exec sleep 60"];
    let service = scene.path("service").display().to_string();

    scene.start_with(&[&flags[..], &child].concat(), &[("NOTIFY_SOCKET", &service)]);

    assert_eq!(word(), "READY=1");
    let pid = format!("{}\n", scene.agent.as_ref().unwrap().id());
    scene.eventually("the files say so too", |scene| {
        scene.read("pid") == pid && scene.read("ready") == pid && scene.read("a") == "one"
    });
    scene.eventually("the program runs", |scene| !scene.read("env").is_empty());
    assert!(!scene.read("env").contains("NOTIFY_SOCKET"));
    let second = Command::new(env!("CARGO_BIN_EXE_keyway-agent"))
        .current_dir(scene.dir.path())
        .args(flags)
        .args(child)
        .output()
        .unwrap();
    assert!(!second.status.success());
    assert_eq!(scene.read("pid"), pid, "one that is turned away takes nothing");
    scene.signal(Signal::SIGTERM);

    assert_eq!(word(), "STOPPING=1");
    assert_eq!(scene.exit_code(), 143);
    assert!(!scene.path("pid").exists() && !scene.path("ready").exists());
}

#[test]
fn every_signal_that_is_not_ours_reaches_the_program() {
    let passed = [
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
        Signal::SIGWINCH,
        Signal::SIGCONT,
        Signal::SIGVTALRM,
        Signal::SIGPROF,
        Signal::SIGIO,
        Signal::SIGPWR,
        Signal::SIGXCPU,
        Signal::SIGXFSZ,
        Signal::SIGSTKFLT,
        Signal::SIGSYS,
    ];
    let mut scene = Scene::new();
    scene.write("a.hbs", "one");
    let traps: String = passed
        .iter()
        .map(|signal| format!("trap 'echo {0} >>got' {0}; ", *signal as i32))
        .collect();
    let program = format!("{traps} echo yes >ready; while :; do sleep 0.05; done");
    scene.start(&["run", "-t", "a.hbs:a", "--", "sh", "-c", &program]);
    scene.eventually("the program runs", |scene| scene.read("ready") == "yes\n");

    for signal in passed {
        scene.signal(signal);
        let line = (signal as i32).to_string();
        scene.eventually("the signal has come", |scene| {
            scene.read("got").lines().any(|got| got == line)
        });
    }

    assert_eq!(scene.read("got").lines().count(), passed.len(), "each once");
    scene.signal(Signal::SIGTERM);
    assert_eq!(scene.exit_code(), 143);
}

#[test]
fn a_stop_during_a_check_ends_the_check_and_leaves_nothing_behind() {
    let mut scene = Scene::new();
    scene.write("t", "one");
    scene.start(&["once", "-t", "t:out", "--check", "echo $$ > pid; sleep 60 & wait"]);
    scene.eventually("the check", |scene| scene.read("pid").ends_with('\n'));
    let check = scene.read("pid").trim().to_owned();

    scene.signal(Signal::SIGTERM);

    assert_eq!(scene.exit_code(), 143);
    scene.eventually("the end of the check", |_| group(&check).is_empty());
    assert_eq!(scene.leftovers(), Vec::<String>::new());
}

#[test]
fn a_kill_between_promotion_and_apply_loses_no_reload() {
    let mut scene = Scene::new();
    scene.write("t", "one");
    let command = "command=if [ -e hold ]; then echo $$ > held; sleep 60; fi; cat out >> seen";
    scene.start(&["run", "-t", "t:out", "--settle", "1ms", "--on-change", command]);
    scene.eventually("the first", |scene| scene.read("seen") == "one");
    scene.write("hold", "");
    scene.write("t", "two");
    scene.eventually("the command", |scene| scene.read("held").ends_with('\n'));
    scene.signal(Signal::SIGKILL);
    scene.exit_code();
    scene.end_group("held");
    fs::remove_file(scene.path("hold")).unwrap();
    assert_eq!(
        (scene.read("out").as_str(), scene.read("seen").as_str()),
        ("two", "one")
    );

    scene.start(&["run", "-t", "t:out", "--settle", "1ms", "--on-change", command]);

    scene.eventually("the lost reload", |scene| scene.read("seen") == "onetwo");
}

#[test]
fn what_a_kill_during_a_check_leaves_is_cleared_at_the_next_start() {
    let mut scene = Scene::new();
    scene.write("t", "one");
    scene.start(&["once", "-t", "t:out", "--check", "echo $$ > pid; sleep 60 & wait"]);
    scene.eventually("the check", |scene| scene.read("pid").ends_with('\n'));
    scene.signal(Signal::SIGKILL);
    scene.exit_code();
    assert_eq!(scene.leftovers().len(), 2, "the new file and the copies");
    scene.end_group("pid");

    scene.start(&["once", "-t", "t:out"]);

    assert_eq!((scene.exit_code(), scene.read("out").as_str()), (0, "one"));
    assert_eq!(scene.leftovers(), Vec::<String>::new());
}

#[test]
fn a_second_agent_for_the_same_files_is_turned_away() {
    let mut scene = Scene::new();
    scene.write("t", "one");
    scene.start(&["run", "-t", "t:out"]);
    scene.eventually("the file", |scene| scene.read("out") == "one");

    let mut second = Command::new(env!("CARGO_BIN_EXE_keyway-agent"));
    let second = second.current_dir(scene.dir.path()).args(["once", "-t", "t:out"]);
    let told = second.output().unwrap();

    assert_eq!(told.status.code(), Some(125));
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(told.contains("another agent runs with the state folder"), "{told}");
}

#[test]
fn a_store_that_refuses_the_watch_ends_once() {
    let store = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", store.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in store.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 8\r\n\r\nnot here");
            // Closed with something unread in it, the connection would lose the answer.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    let mut scene = Scene::new();
    scene.write("t", "{{key \"a\"}}");

    scene.start(&["once", "-t", "t:out", "--addr", &address]);

    assert_eq!(scene.exit_code(), 4, "{}", scene.read("log"));
    assert!(scene.read("log").contains("403 Forbidden: not here"));
}

#[test]
fn a_set_in_a_folder_is_swapped_as_a_whole() {
    let mut scene = Scene::new();
    scene.write("a", "1");
    scene.write(
        "agent.toml",
        "[[set]]\ndir = \"live\"\n[[set.template]]\nsource = \"a\"\ndestination = \"x\"\n\
         [[set.template]]\ncontents = \"fixed\"\ndestination = \"sub/y\"\n",
    );
    scene.start(&["run", "-c", "agent.toml"]);
    scene.eventually("the set", |scene| scene.read("live/x") == "1");
    let before = fs::read_link(scene.path("live")).unwrap();

    scene.write("a", "2");
    scene.eventually("the new set", |scene| scene.read("live/x") == "2");

    assert_eq!(scene.read("live/sub/y"), "fixed");
    assert_ne!(fs::read_link(scene.path("live")).unwrap(), before);
    assert_eq!(
        fs::read_to_string(scene.path(before.to_str().unwrap()).join("x")).unwrap(),
        "1"
    );
}

#[test]
fn values_from_a_file_are_rendered_without_a_store() {
    let scene = Scene::new();
    scene.write("t", "{{key \"app/port\"}} {{#each (ls \"app\")}}{{key}} {{/each}}");
    scene.write("values", r#"{"app": {"port": 80}, "app/host": "h"}"#);
    let render = |values: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyway-agent"));
        command
            .current_dir(scene.dir.path())
            .args(["render", "-t", "t", "--values", values])
            .output()
            .unwrap()
    };
    assert_eq!(String::from_utf8(render("values").stdout).unwrap(), "80 host port ");

    scene.write("few", "{}");
    let told = render("few");
    assert_eq!(told.status.code(), Some(3));
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(
        told.contains("no such key: `app/port`") && told.contains("t:1"),
        "{told}"
    );
}

#[test]
fn a_value_stands_in_no_log_line_however_much_is_logged() {
    let scene = Scene::new();
    scene.write(
        "t",
        "{{upper (key \"a\")}}{{#each (ls \"b\")}}{{this.value}}{{/each}}{{#if (eq (key \"a\") \"x\")}}{{/if}}{{> p x=(key \"a\")}}",
    );
    fs::create_dir(scene.path("partials")).unwrap();
    scene.write("partials/p.hbs", "{{x}}{{#with (key \"a\") as |y|}}{{y}}{{/with}}");
    scene.write("values", r#"{"a": "marked-value", "b/c": "marked-value"}"#);
    for format in ["text", "json"] {
        let output = Command::new(env!("CARGO_BIN_EXE_keyway-agent"))
            .current_dir(scene.dir.path())
            .args(["--log", "trace", "--log-format", format])
            .args(["render", "-t", "t", "--partials", "partials", "--values", "values"])
            .output()
            .unwrap();

        let (text, log) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        );
        assert_eq!(text, "MARKED-VALUEmarked-valuemarked-valuemarked-value", "{log}");
        assert!(!log.to_lowercase().contains("marked"), "{log}");
    }
}

#[test]
fn codes_tell_what_went_wrong() {
    for (arguments, code, part) in [
        (vec!["run"], 2, "there is no template"),
        (vec!["run", "-t", "t"], 2, "names no template and file"),
        (vec!["run", "-t", "t:out", "--on-change", "reload"], 2, "no reaction"),
        (vec!["run", "-t", "no:out"], 3, "cannot read the template"),
        (vec!["run", "-t", "t:/proc/no/out", "--", "true"], 125, "cannot write"),
        (vec!["run", "-t", "t:out", "--", "/no/program"], 127, "/no/program"),
        (vec!["run", "-t", "t:out", "--", "sh", "-c", "exit 9"], 9, ""),
        (vec!["run", "-t", "t:out", "--", "sh", "-c", "kill -KILL $$"], 137, ""),
    ] {
        let mut scene = Scene::new();
        scene.write("t", "text");
        scene.start(&arguments);
        assert_eq!(scene.exit_code(), code, "{arguments:?}: {}", scene.read("log"));
        assert!(scene.read("log").contains(part), "{}", scene.read("log"));
    }
}
