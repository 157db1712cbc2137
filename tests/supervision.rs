//! The agent as the parent of a process, and as process 1.

use nix::sys::signal::Signal;

use crate::harness::{Agent, Exit, Home, Process, Server, holds, test};

/// An agent with nothing to render but one fixed file, over `sh -c SCRIPT`.
async fn over_shell(home: &Home, flags: &[&str], script: &str) -> anyhow::Result<(Server, Agent)> {
    let server = Server::start(home).await?;
    let source = home.write("a.hbs", "{{key \"a\" default=\"\"}}")?;
    let files = format!("{}:{}", source.display(), home.path("a").display());
    let address = server.address.to_string();
    let arguments = [&["-t", &files], flags, &["--", "sh", "-c", script]].concat();
    Ok((server, Agent::run(home, &address, &arguments)?))
}

#[test]
fn the_childs_exit_code_is_the_agents() {
    test(async |home| {
        for code in [0, 3, 77, 255] {
            let (_server, mut agent) = over_shell(home, &[], &format!("exit {code}")).await?;
            assert_eq!(agent.program.exit().await?, Exit::Code(code));
        }
        Ok(())
    });
}

#[test]
fn a_child_killed_by_a_signal_gives_128_and_its_number() {
    test(async |home| {
        for (signal, code) in [("TERM", 143), ("KILL", 137)] {
            let (_server, mut agent) = over_shell(home, &[], &format!("kill -{signal} $$")).await?;
            assert_eq!(agent.program.exit().await?, Exit::Code(code));
        }
        Ok(())
    });
}

#[test]
fn a_program_that_is_not_there_is_127_and_one_that_cannot_run_126() {
    test(async |home| {
        let server = Server::start(home).await?;
        let source = home.write("a.hbs", "fixed")?;
        let not_a_program = home.write("text", "words")?;
        for (program, code) in [
            ("/no/such/program", 127),
            (not_a_program.to_str().unwrap_or_default(), 126),
        ] {
            let files = format!("{}:{}", source.display(), home.path("a").display());
            let mut agent = Agent::run(home, &server.address.to_string(), &["-t", &files, "--", program])?;
            assert_eq!(agent.program.exit().await?, Exit::Code(code), "{}", agent.program.log());
            assert!(agent.program.log().contains(program), "{}", agent.program.log());
        }
        Ok(())
    });
}

#[test]
fn term_lets_the_child_finish() {
    test(async |home| {
        let script = "trap 'echo finishing; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
        let (_server, mut agent) = over_shell(home, &[], script).await?;
        agent
            .program
            .line("the child is ready", 0, |line| line.contains("ready").then_some(()))
            .await?;

        let exit = agent.stop().await?;

        assert!(
            agent.program.output().contains("finishing"),
            "{}",
            agent.program.output()
        );
        assert_eq!(exit, Exit::Code(5), "the child's own code");
        Ok(())
    });
}

#[test]
fn a_child_that_does_not_mind_term_is_killed_at_the_kill_timeout() {
    test(async |home| {
        let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
        let (_server, mut agent) = over_shell(home, &["--kill-timeout", "300ms"], script).await?;
        agent
            .program
            .line("the child is ready", 0, |line| line.contains("ready").then_some(()))
            .await?;
        let child = agent.child().await?;

        let exit = agent.stop().await?;

        assert_eq!(exit, Exit::Code(137));
        assert!(!child.runs());
        Ok(())
    });
}

#[test]
fn signals_are_passed_on_and_hup_never_kills_the_child() {
    test(async |home| {
        let script = "trap 'echo usr1' USR1; trap 'echo winch' WINCH; echo ready; while :; do sleep 0.05; done";
        let (_server, mut agent) = over_shell(home, &[], script).await?;
        agent
            .program
            .line("the child is ready", 0, |line| line.contains("ready").then_some(()))
            .await?;
        let child = agent.child().await?;

        agent.program.signal(Signal::SIGHUP)?;
        agent.program.signal(Signal::SIGUSR1)?;

        agent
            .program
            .line("the signal", 0, |line| line.contains("usr1").then_some(()))
            .await?;
        assert!(child.runs());
        agent.stop().await?;
        Ok(())
    });
}

#[test]
fn orphans_are_reaped_and_nothing_is_left() {
    test(async |home| {
        // Twenty processes whose parent goes away at once: they become the agent's.
        let script = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do (sleep 0.1 & echo $! >>orphans); done; echo ready; while :; do sleep 0.05; done";
        let (_server, mut agent) = over_shell(home, &[], script).await?;
        agent
            .program
            .line("all are started", 0, |line| line.contains("ready").then_some(()))
            .await?;
        let orphans: Vec<i32> = home
            .read("orphans")?
            .lines()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        assert_eq!(orphans.len(), 20);

        holds("no zombies", async || {
            let left = orphans.iter().filter_map(|pid| Process::of(*pid)).count();
            left == 0
        })
        .await?;

        let left = agent.program.children();
        agent.stop().await?;
        holds("nothing is left", async || !left.iter().any(Process::runs)).await?;
        Ok(())
    });
}

#[test]
fn on_change_restart_gives_a_new_process() {
    test(async |home| {
        let script = "echo started $(cat a); while :; do sleep 0.05; done";
        let (server, mut agent) = over_shell(home, &["--on-change", "restart"], script).await?;
        agent
            .program
            .line("the first", 0, |line| line.contains("started").then_some(()))
            .await?;
        let first = agent.child().await?;

        server.put("a", "new").await?;

        agent
            .program
            .line("the second", 0, |line| (line == "started new").then_some(()))
            .await?;
        holds("the first is gone", async || !first.runs()).await?;
        assert_ne!(agent.child().await?, first);
        agent.stop().await?;
        Ok(())
    });
}

#[test]
fn on_change_a_command_is_run_and_the_child_goes_on() {
    test(async |home| {
        let script = "echo started; while :; do sleep 0.05; done";
        let (server, mut agent) = over_shell(home, &["--on-change", "command=cp a told"], script).await?;
        agent
            .program
            .line("the child", 0, |line| line.contains("started").then_some(()))
            .await?;
        let child = agent.child().await?;

        server.put("a", "new").await?;

        holds("the command", async || {
            home.read("told").is_ok_and(|told| told == "new")
        })
        .await?;
        assert!(child.runs());
        agent.stop().await?;
        Ok(())
    });
}
