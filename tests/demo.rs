//! `keyway demo`: the main job, by itself, beside whatever listens on 8500.

use anyhow::Context as _;
use nix::sys::signal::Signal;

use crate::harness::{Exit, Home, Keyway, by_environment, holds, test};

/// Marks every process that a demo starts, so that one left behind is found.
fn marked(home: &Home) -> (&'static str, String) {
    ("KEYWAY_TEST_MARK", home.dir().display().to_string())
}

/// A demo whose temporary files are in the test's folder.
fn demo(home: &Home) -> anyhow::Result<Keyway> {
    let temporary = home.path("tmp");
    std::fs::create_dir_all(&temporary)?;
    let (name, value) = marked(home);
    Ok(Keyway::new(home)
        .env("TMPDIR", &temporary.display().to_string())
        .env(name, &value))
}

async fn nothing_is_left(home: &Home) -> anyhow::Result<()> {
    let (name, value) = marked(home);
    holds("no process is left", async || by_environment(name, &value).is_empty()).await?;
    let left: Vec<_> = std::fs::read_dir(home.path("tmp"))?.collect();
    anyhow::ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

#[test]
fn the_demo_shows_the_main_job_beside_whatever_listens_on_8500_and_leaves_nothing() {
    test(async |home| {
        // If nothing listens there, this test does.
        let _occupied = std::net::TcpListener::bind("127.0.0.1:8500");

        let said = demo(home)?.run(&["demo", "--once"]).await?.expect(0)?;

        let story = said.text();
        for word in ["keyway kv put", "reload", "restart", "check", "KEYWAY_ADDR"] {
            assert!(story.contains(word), "the story does not say `{word}`:\n{story}");
        }
        nothing_is_left(home).await
    });
}

#[test]
fn the_demo_stays_up_until_it_is_told_to_stop_and_its_commands_work_meanwhile() {
    test(async |home| {
        let mut program = demo(home)?.start(home, "demo", &["demo"])?;
        let address = program
            .line("its address", 0, |line| {
                let (_, rest) = line.split_once("KEYWAY_ADDR=")?;
                Some(
                    rest.split(|c: char| c.is_whitespace() || c == '`' || c == '\'')
                        .next()?
                        .to_owned(),
                )
            })
            .await?;
        holds("it says that it stays up", async || program.log().contains("Ctrl-C")).await?;

        let keys = Keyway::new(home)
            .addr(&address)
            .run(&["kv", "ls", "-r"])
            .await?
            .expect(0)?;
        assert!(!keys.out.is_empty());
        assert_eq!(program.ended(), None);

        program.signal(Signal::SIGINT)?;
        let exit = program.exit().await?;
        assert!(matches!(exit, Exit::Code(0 | 130)), "{exit:?}");
        nothing_is_left(home).await
    });
}

#[test]
fn a_demo_killed_in_the_middle_is_no_obstacle_to_the_next() {
    test(async |home| {
        let mut program = demo(home)?.start(home, "killed", &["demo"])?;
        program
            .line("its address", 0, |line| line.contains("KEYWAY_ADDR=").then_some(()))
            .await?;
        program.signal(Signal::SIGTERM)?;
        program.exit().await.context("TERM ends it")?;
        nothing_is_left(home).await?;

        demo(home)?.run(&["demo", "--once"]).await?.expect(0)?;

        nothing_is_left(home).await
    });
}
