//! The scheduler's driver of containers, with a real Docker Engine.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use scheduler::app::{Command as AppCommand, Image, Network, Resources, Volume, VolumeFrom};
use scheduler::driver::{AgentUse, DockerSettings, Driver, End, Handle, Launch, Refusal, Settings, Stop, TaskId, Told};
use scheduler::instance;
use tokio::sync::mpsc;

use crate::containers::copy_static;
use crate::harness::{Docker, Home, alone, holds};

const BOUND: Duration = Duration::from_secs(180);

/// A driver, and what it told.
struct Scene {
    driver: Driver,
    told: mpsc::UnboundedReceiver<Told>,
}

impl Scene {
    fn new(home: &Home) -> anyhow::Result<Self> {
        let (sender, told) = mpsc::unbounded_channel();
        let settings = Settings {
            folder: home.path("scheduler"),
            program: home.path("image/keyway-agent"),
            agent: Vec::new(),
            store: None,
            docker: Some(DockerSettings {
                socket: home.path("docker.sock").display().to_string(),
                cluster: "ours".to_owned(),
                publish_on: IpAddr::V4(Ipv4Addr::LOCALHOST),
                privileged: false,
            }),
        };
        let driver = Driver::new(settings, sender)?;
        Ok(Self { driver, told })
    }

    /// What the driver tells next, but for what it is at before a start.
    async fn told(&mut self) -> anyhow::Result<Told> {
        loop {
            let told = tokio::time::timeout(BOUND, self.told.recv()).await;
            let told = told.context("the driver says nothing")?.context("the driver is gone")?;
            if !matches!(told, Told::Preparing { .. }) {
                return Ok(told);
            }
        }
    }

    async fn start(&mut self, launch: Launch) -> anyhow::Result<Handle> {
        let name = launch.task.clone();
        self.driver.start(launch);
        match self.told().await? {
            Told::Running { task, handle, .. } if task == name => Ok(handle),
            other => anyhow::bail!("{other:?}"),
        }
    }

    async fn refused(&mut self, launch: Launch) -> anyhow::Result<Refusal> {
        self.driver.start(launch);
        match self.told().await? {
            Told::Refused { refusal, .. } => Ok(refusal),
            other => anyhow::bail!("{other:?}"),
        }
    }

    async fn ended(&mut self, name: &str) -> anyhow::Result<End> {
        match self.told().await? {
            Told::Ended { task, end, .. } if task.0 == name => Ok(end),
            other => anyhow::bail!("{other:?}"),
        }
    }

    async fn logs(&self, task: &str, handle: &Handle) -> anyhow::Result<String> {
        let mut pieces = self.driver.logs(&TaskId(task.into()), Some(handle), 100, false).await?;
        let mut text = Vec::new();
        while let Some(piece) = pieces.recv().await {
            text.extend_from_slice(&piece);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    async fn says(&self, task: &str, handle: &Handle, words: &str) -> anyhow::Result<()> {
        holds(&format!("{task} says `{words}`"), async || {
            self.logs(task, handle).await.is_ok_and(|logs| logs.contains(words))
        })
        .await
    }
}

fn launch(task: &str, line: &str) -> Launch {
    Launch {
        task: TaskId(task.into()),
        command: Some(AppCommand::Shell(line.into())),
        image: Some(Image {
            name: "small".into(),
            force_pull: false,
            privileged: false,
            parameters: Vec::new(),
        }),
        network: Network::Host,
        env: BTreeMap::from([("COLOUR".to_owned(), "blue".to_owned())]),
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

/// Starts, checks, stops, forgets; refuses; leaves alone what is not ours.
#[test]
fn containers_start_are_followed_and_leave_nothing_but_their_output() {
    alone(BOUND, async |home| {
        let Some(docker) = Docker::start(home).await? else {
            return Ok(());
        };
        import_small(home, &docker).await?;
        let mut scene = Scene::new(home)?;
        docker
            .run(
                home,
                &[
                    "run",
                    "-d",
                    "--network",
                    "host",
                    "--name",
                    "stranger",
                    "small",
                    "sleep",
                    "1000",
                ],
            )
            .await?;
        let stranger = docker.first(home, "stranger").await?;

        let name = "web.instance-1._app.1";
        home.write("shared/of-the-host", "from the host\n")?;
        let shared = home.path("shared").display().to_string();
        let mut web = launch(
            name,
            "cat /shared/of-the-host; echo from inside >/shared/of-the-container; echo x >/fixed/x || echo refused; \
             echo ready; echo bad >&2; sleep 1000",
        );
        let volumes = [("/shared", false), ("/fixed", true)].map(|(path, read_only)| Volume {
            container_path: path.into(),
            from: VolumeFrom::Host(shared.clone()),
            read_only,
        });
        web.volumes = volumes.into();
        let handle = scene.start(web.clone()).await?;
        scene.says(name, &handle, "ready").await?;
        let said = scene.logs(name, &handle).await?;
        assert!(said.contains("from the host\n") && said.contains("refused\n"), "{said}");
        assert_eq!(home.read("shared/of-the-container")?, "from inside\n");
        assert!(!home.path("shared/x").exists());
        let labels = docker
            .run(home, &["inspect", "-f", "{{json .Config.Labels}}", name])
            .await?;
        assert!(labels.contains(r#""keyway.cluster":"ours""#), "{labels}");
        let limits = "{{.HostConfig.Memory}} {{.HostConfig.CpuShares}}";
        let limits = docker.run(home, &["inspect", "-f", limits, name]).await?;
        assert_eq!(limits, "67108864 102", "64 MiB, and a tenth of 1024 shares");
        let task = TaskId(name.into());
        let limit = Duration::from_secs(60);
        let answer = scene
            .driver
            .run_check(&task, &handle, "echo $COLOUR; exit 3", limit)
            .await?;
        assert_eq!((answer.code, answer.output.as_str()), (3, "blue\n"));
        assert_eq!(
            scene.start(web).await?,
            handle,
            "what is there already is not started again"
        );

        scene.driver.stop(&task, &handle, Stop::Force);
        assert_eq!(scene.ended(name).await?, End::Signalled(9));
        scene.driver.forget(&task, &handle);
        holds("its container is gone", async || {
            docker.run(home, &["inspect", name]).await.is_err()
        })
        .await?;
        let kept = scene.logs(name, &handle).await?;
        assert!(kept.contains("ready\n") && kept.contains("bad\n"), "{kept}");

        let handle = scene.start(launch("well", "exit 0")).await?;
        let end = scene.ended("well").await?;
        assert_eq!(end, End::Exited(0));
        assert_eq!(instance::ended(&end, None, None).0, "TASK_FINISHED");
        scene.driver.forget(&TaskId("well".into()), &handle);
        holds("its container is gone", async || {
            docker.run(home, &["inspect", "well"]).await.is_err()
        })
        .await?;

        let handle = scene.start(launch("short", "exit 7")).await?;
        let end = scene.ended("short").await?;
        assert_eq!(end, End::Exited(7));
        assert_eq!(instance::ended(&end, None, None).0, "TASK_FAILED");
        let refusal = scene.refused(launch("short", "exit 7")).await?.to_string();
        assert_eq!(refusal, "it has been started before");
        let found = scene.driver.find().await?;
        let [short] = &found[..] else {
            anyhow::bail!("{found:?}")
        };
        assert_eq!((&short.handle, &short.ended), (&handle, &Some(End::Exited(7))));

        let refusal = scene.refused(launch("stranger", "true")).await?.to_string();
        assert!(refusal.contains("another container has the name stranger"), "{refusal}");
        let mut missing = launch("missing", "true");
        missing.image.as_mut().context("an image")?.name = "127.0.0.1:1/nothing:1".into();
        let refusal = scene.refused(missing).await?;
        assert!(matches!(refusal, Refusal::Image { .. }), "{refusal}");
        assert!(stranger.runs(), "what is not ours is left alone");
        docker.end(home).await
    });
}

/// The agent is the first process of an image that knows nothing of it; another scheduler goes on with what one began.
#[test]
fn the_agent_is_put_into_any_image_and_the_next_scheduler_follows_it() {
    alone(BOUND, async |home| {
        let Some(docker) = Docker::start(home).await? else {
            return Ok(());
        };
        import_small(home, &docker).await?;
        let template = home.write("app.hbs", "rendered\n")?.display().to_string();
        let mut web = launch(
            "web",
            "trap 'echo asked; exit 5' TERM; cat /app.conf; while :; do sleep 0.1; done",
        );
        web.agent = Some(AgentUse {
            flags: vec!["--template".into(), format!("{template}:/app.conf")],
            files: vec![template],
            needed: true,
        });
        let mut first = Scene::new(home)?;
        let handle = first.start(web).await?;
        first.says("web", &handle, "rendered").await?;
        let agent = docker.first(home, "web").await?;
        let words = std::fs::read_to_string(format!("/proc/{}/cmdline", agent.pid))?;
        assert!(words.starts_with("/.keyway/agent\0run\0"), "{words}");
        drop(first);

        let mut second = Scene::new(home)?;
        let found = second.driver.find().await?;
        let [web] = &found[..] else { anyhow::bail!("{found:?}") };
        assert_eq!((&web.handle, &web.ended), (&handle, &None));
        second.driver.adopt(web.task.clone(), &web.handle);
        second.driver.stop(&web.task, &web.handle, Stop::Ask);
        assert_eq!(second.ended("web").await?, End::Exited(5));
        assert!(second.logs("web", &handle).await?.contains("asked"));
        docker.end(home).await
    });
}

/// An image called `small` of this machine's own Debian: a shell, two programs, and what they need. And our agent beside it.
pub(crate) async fn import_small(home: &Home, docker: &Docker) -> anyhow::Result<()> {
    copy_static(home, "keyway-agent", "image")?;
    let script = "for name in /bin/sh /usr/bin/sh sleep cat; do\n\
        file=$(command -v $name)\n\
        echo $file\n\
        ldd $file | grep -o '/[^ ]*'\n\
        done | sort -u >files\n\
        tar -ch -f small.tar -T files 2>>tar.log\n\
        tar -rf small.tar --no-recursion /tmp 2>>tar.log";
    let made = Command::new("sh")
        .args(["-ec", script])
        .current_dir(home.dir())
        .status()?;
    anyhow::ensure!(made.success(), "no image: {}", home.read("tar.log").unwrap_or_default());
    let tar = home.path("small.tar").display().to_string();
    docker.run(home, &["import", &tar, "small"]).await?;
    Ok(())
}
