//! The program at a terminal, and with other input.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::scene::{Scene, stats};

#[test]
fn the_program_has_the_agents_input() {
    let mut scene = Scene::new();
    scene.write("a.hbs", "one");
    let input = scene.input(&["run", "-t", "a.hbs:a", "--", "sh", "-c", "cat >got; exit 6"]);
    let mut input = input.unwrap();
    input.write_all(b"some words").unwrap();
    drop(input);
    assert_eq!((scene.exit_code(), scene.read("got").as_str()), (6, "some words"));
}

#[test]
fn the_program_has_no_signal_blocked_or_ignored() {
    let mut scene = Scene::new();
    scene.write("a.hbs", "one");
    let script = [
        "-t",
        "a.hbs:a",
        "--",
        "grep",
        "-E",
        "^Sig(Blk|Ign)",
        "/proc/self/status",
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyway-agent"));
    command.stdout(File::create(scene.path("got")).unwrap());
    scene.spawn_at(command, &[&["run"], &script[..]].concat());
    assert_eq!(scene.exit_code(), 0);
    // Signals 32 and 33 are the C library's; whoever starts the agent may have ignored some itself.
    let named: u64 = Signal::iterator().map(|signal| 1 << (signal as u32 - 1)).sum();
    let of = |text: &str, field: &str| {
        let mask = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap() & named
    };
    let pipe = 1 << (Signal::SIGPIPE as u32 - 1);
    let (own, got) = (fs::read_to_string("/proc/self/status").unwrap(), scene.read("got"));
    assert_eq!(of(&got, "SigBlk:"), 0);
    assert_eq!(of(&got, "SigIgn:") & (!of(&own, "SigIgn:") | pipe), 0);
}

/// An agent that leads a session with a terminal of its own, and the other side of that terminal.
fn at_terminal(scene: &mut Scene, script: &str) -> File {
    scene.write("a.hbs", "one");
    let terminal = nix::pty::openpty(None, None).unwrap();
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait", env!("CARGO_BIN_EXE_keyway-agent")]);
    let slave = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
    command.stdin(slave(&terminal.slave)).stdout(slave(&terminal.slave));
    scene.spawn_at(
        command,
        &[
            "run",
            "-t",
            "a.hbs:a",
            "--restart",
            "on-failure:1",
            "--",
            "sh",
            "-c",
            script,
        ],
    );
    File::from(terminal.master)
}

#[test]
fn the_program_reads_from_the_terminal_gets_its_keys_and_so_does_the_one_after_it() {
    let mut scene = Scene::new();
    // In the background it would be stopped for reading.
    let script = "echo start >>starts; trap 'echo int >>got; exit 3' INT; read line; echo $line >>got; \
        echo yes >>ready; while :; do sleep 0.02; done";
    let mut keys = at_terminal(&mut scene, script);
    for round in 1..=2 {
        scene.eventually("the start", |scene| scene.read("starts").lines().count() == round);
        keys.write_all(b"words\n").unwrap();
        scene.eventually("the line", |scene| scene.read("ready").lines().count() == round);
        // Ctrl-C is the program's alone.
        keys.write_all(b"\x03").unwrap();
        scene.eventually("the key", |scene| scene.read("got").lines().count() == 2 * round);
    }
    assert_eq!(scene.exit_code(), 3);
    assert_eq!(scene.read("got"), "words\nint\nwords\nint\n");
}

#[test]
fn where_nobody_could_continue_it_the_program_goes_on_behind_ctrl_z() {
    let mut scene = Scene::new();
    // The agent leads the session, as the first process of a container does.
    let script = "echo start >>starts; while read line; do echo $line >>got; done; exit 0";
    let mut keys = at_terminal(&mut scene, script);
    scene.eventually("the start", |scene| scene.read("starts") == "start\n");
    for count in 1..=3 {
        keys.write_all(b"\x1awords\n").unwrap();
        scene.eventually("the line", |scene| scene.read("got").lines().count() == count);
    }
    keys.write_all(b"\x04").unwrap();
    assert_eq!(scene.exit_code(), 0);
}

/// The state of a process and its parent, as the kernel has them.
fn process(pid: &str) -> Option<(String, String)> {
    let stats = stats();
    let stat = stats.iter().find(|stat| stat.starts_with(&format!("{pid} (")))?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned);
    Some((fields.next()?, fields.next()?))
}

#[test]
fn ctrl_z_stops_the_agent_with_the_program_and_fg_goes_on_with_both() {
    let mut scene = Scene::new();
    scene.write("a.hbs", "one");
    scene.write(
        "program",
        "trap 'exit 3' INT; echo $$ >pid; while read line; do echo $line >>got; done",
    );
    let terminal = nix::pty::openpty(None, None).unwrap();
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait", "bash", "--norc", "--noprofile", "--noediting", "-i"]);
    command.env("AGENT", env!("CARGO_BIN_EXE_keyway-agent"));
    let slave = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
    command.stdin(slave(&terminal.slave)).stdout(slave(&terminal.slave));
    scene.spawn_at(command, &[]);
    let mut keys = File::from(terminal.master);
    let mut key = |keys_: &str| keys.write_all(keys_.as_bytes()).unwrap();
    key("\"$AGENT\" run -t a.hbs:a -- sh program\n");
    scene.eventually("the start", |scene| scene.read("pid").ends_with('\n'));
    let program = scene.read("pid").trim().to_owned();
    let agent = process(&program).unwrap().1;
    let all = |holds: &dyn Fn(&str) -> bool| {
        let states = [&program, &agent].map(|pid| process(pid).unwrap().0);
        states.iter().all(|state| holds(state))
    };
    key("1\n");
    scene.eventually("the first line", |scene| scene.read("got") == "1\n");

    for round in ["2", "3", "4"] {
        key("\x1a");
        scene.eventually("both are stopped", |_| all(&|state| state == "T"));
        // The shell has the terminal.
        key(&format!("echo {round} >shell\n"));
        scene.eventually("the shell", |scene| scene.read("shell") == format!("{round}\n"));
        key("fg\n");
        scene.eventually("both go on", |_| all(&|state| state != "T"));
        key(&format!("{round}\n"));
        scene.eventually("the next line", |scene| {
            scene.read("got").ends_with(&format!("{round}\n"))
        });
    }
    assert_eq!(scene.read("got"), "1\n2\n3\n4\n");
    // The program's own code, and then the shell's.
    key("\x03");
    scene.eventually("the end", |_| process(&agent).is_none());
    key("echo $? >code\n");
    scene.eventually("the code", |scene| scene.read("code") == "3\n");
    key("exit 5\n");
    assert_eq!(scene.exit_code(), 5);
}
