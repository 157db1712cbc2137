use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::app::Resources;
use crate::driver::{AgentUse, PortUse, Secret, TaskId};

fn launch() -> Launch {
    Launch {
        task: TaskId("web.instance-1._app.1".into()),
        command: None,
        image: None,
        network: Network::Bridge,
        env: BTreeMap::from([("A".to_owned(), "b=c".to_owned())]),
        ports: Vec::new(),
        volumes: Vec::new(),
        resources: Resources {
            cpus: 0.5,
            mem: 64.0,
            disk: 0.0,
            gpus: 0,
        },
        user: None,
        labels: BTreeMap::from([
            (TASK.to_owned(), "a lie".to_owned()),
            ("team".to_owned(), "x".to_owned()),
        ]),
        agent: None,
        again: false,
        tty: false,
        fetch: Vec::new(),
        secrets: Vec::new(),
    }
}

fn image() -> Image {
    Image {
        name: "registry/web:1".into(),
        force_pull: false,
        privileged: false,
        parameters: Vec::new(),
    }
}

fn config() -> ImageConfig {
    ImageConfig {
        entrypoint: Some(vec!["/entry".into(), "-x".into()]),
        cmd: Some(vec!["serve".into()]),
        stop_signal: Some("SIGQUIT".into()),
        ..ImageConfig::default()
    }
}

fn asked(launch: &Launch, image: &Image) -> Result<(ContainerCreateBody, HostConfig), Refusal> {
    asked_of(launch, image, true)
}

/// The same, of a scheduler whose program is static or not.
fn asked_of(launch: &Launch, image: &Image, is_static: bool) -> Result<(ContainerCreateBody, HostConfig), Refusal> {
    let settings = Settings {
        folder: "/var/lib/keyway".into(),
        program: "/usr/bin/keyway".into(),
        agent: vec!["agent".into()],
        store: Some("unix:///no/such/folder/agent.sock".into()),
        docker: None,
    };
    let docker = DockerSettings {
        socket: "/run/docker.sock".into(),
        cluster: "c1".into(),
        publish_on: IpAddr::V4(Ipv4Addr::LOCALHOST),
        privileged: false,
    };
    let inside = Inside::of(&settings, is_static);
    let files = launch
        .secret_files()
        .map(|(path, _)| ("/files/0".into(), path.to_owned()));
    let mut body = body(
        launch,
        image,
        &config(),
        &settings,
        &docker,
        &inside,
        &files.collect::<Vec<_>>(),
    )?;
    let host = body.host_config.take().unwrap();
    Ok((body, host))
}

#[test]
fn without_an_agent_the_image_starts_what_it_starts_unless_the_app_says_otherwise() {
    for (command, words) in [
        (None, &["/entry", "-x", "serve"][..]),
        (
            Some(Command::Args(vec!["a".into(), "b".into()])),
            &["/entry", "-x", "a", "b"],
        ),
        (Some(Command::Shell("exec web".into())), &["/bin/sh", "-c", "exec web"]),
    ] {
        let mut launch = launch();
        launch.command = command;
        let (body, _) = asked(&launch, &image()).unwrap();
        assert_eq!(body.entrypoint, Some(Vec::new()));
        assert_eq!(body.cmd.unwrap(), words);
        assert_eq!(body.stop_signal, None);
    }
    let mut image = image();
    image.parameters.push(("entrypoint".into(), "/other".into()));
    assert_eq!(asked(&launch(), &image).unwrap().0.cmd.unwrap(), ["/other", "serve"]);
}

#[test]
fn a_program_that_does_not_start_everywhere_is_put_in_only_where_something_is_to_be_rendered() {
    let mut launch = launch();
    let entry = |launch: &Launch, is_static| asked_of(launch, &image(), is_static).unwrap().0.entrypoint.unwrap();

    launch.agent = Some(AgentUse::default());
    let words = asked(&launch, &image()).unwrap().0.cmd.unwrap().join(" ");
    let wanted = "agent run --kill-signal SIGQUIT --state-dir /.keyway/state -- /entry -x serve";
    assert_eq!(words, wanted);
    assert_eq!(
        (entry(&launch, true), entry(&launch, false)),
        (vec![AGENT.to_owned()], Vec::new())
    );
    launch.agent = Some(AgentUse {
        needed: true,
        ..AgentUse::default()
    });
    assert_eq!(entry(&launch, false), [AGENT]);
}

#[test]
fn the_agent_is_the_entry_point_and_has_what_it_needs() {
    let mut launch = launch();
    launch.agent = Some(AgentUse {
        flags: vec!["--template".into(), "/t/a.hbs:/a".into()],
        files: vec!["/t/a.hbs".into()],
        needed: true,
    });
    let (body, host) = asked(&launch, &image()).unwrap();
    assert_eq!(body.entrypoint.unwrap(), [AGENT]);
    let words = "agent run --kill-signal SIGQUIT --template /t/a.hbs:/a -- /entry -x serve";
    assert_eq!(body.cmd.unwrap(), words.split(' ').collect::<Vec<_>>());
    assert_eq!(body.stop_signal.as_deref(), Some("SIGTERM"));
    assert!(body.env.unwrap().contains(&format!("KEYWAY_ADDR=unix://{STORE}")));
    let mounts: Vec<_> = host
        .mounts
        .iter()
        .flatten()
        .map(|mount| (mount.source.as_deref(), mount.target.as_deref(), mount.read_only))
        .collect();
    let wanted = [
        (Some("/no/such/folder/agent.sock"), Some(STORE), Some(true)),
        (Some("/usr/bin/keyway"), Some(AGENT), Some(true)),
        (Some("/t/a.hbs"), Some("/t/a.hbs"), Some(true)),
    ];
    assert_eq!(mounts, wanted);
}

#[test]
fn labels_say_whose_it_is_and_nobody_says_otherwise() {
    let (body, _) = asked(&launch(), &image()).unwrap();
    let labels = body.labels.unwrap();
    assert_eq!(labels.get(CLUSTER).unwrap(), "c1");
    assert_eq!(labels.get(TASK).unwrap(), "web.instance-1._app.1");
    assert_eq!(labels.get("team").unwrap(), "x");
}

#[test]
fn ports_are_published_on_one_address_and_resources_are_limits() {
    let mut launch = launch();
    launch.ports = vec![
        PortUse {
            host: Some(31000),
            inside: 80,
            protocol: Protocol::UdpTcp,
        },
        PortUse {
            host: None,
            inside: 81,
            protocol: Protocol::Tcp,
        },
    ];
    let (body, host) = asked(&launch, &image()).unwrap();
    assert_eq!(body.exposed_ports.unwrap(), ["80/udp", "80/tcp", "81/tcp"]);
    let bindings = host.port_bindings.unwrap();
    let published = bindings.get("80/tcp").unwrap().as_ref().unwrap();
    let binding = PortBinding {
        host_ip: Some("127.0.0.1".into()),
        host_port: Some("31000".into()),
    };
    assert_eq!((published.as_slice(), bindings.len()), (&[binding][..], 2));
    assert_eq!((host.cpu_shares, host.memory), (Some(512), Some(64 << 20)));

    launch.network = Network::Host;
    let (body, host) = asked(&launch, &image()).unwrap();
    assert_eq!(host.network_mode.as_deref(), Some("host"));
    assert!(body.exposed_ports.unwrap().is_empty() && host.port_bindings.unwrap().is_empty());
}

#[test]
fn secrets_are_variables_and_files_that_are_mounted_and_nothing_else() {
    let mut launch = launch();
    launch.volumes.push(Volume {
        container_path: "/etc/key".into(),
        from: VolumeFrom::Secret("key".into()),
        read_only: true,
    });
    launch.secrets = vec![
        Secret::Variable {
            name: "A".into(),
            value: "marked".into(),
        },
        Secret::File {
            path: "/etc/key".into(),
            value: "marked".into(),
        },
    ];

    let (mut body, host) = asked(&launch, &image()).unwrap();

    let variables = body.env.take().unwrap();
    assert!(variables.contains(&"A=marked".to_owned()), "{variables:?}");
    let files: Vec<_> = host
        .mounts
        .iter()
        .flatten()
        .filter(|mount| mount.target.as_deref() == Some("/etc/key"))
        .collect();
    let [file] = files.as_slice() else { panic!("{host:?}") };
    assert_eq!((file.source.as_deref(), file.read_only), (Some("/files/0"), Some(true)));
    assert!(!format!("{body:?} {host:?} {launch:?}").contains("marked"));
}

#[test]
fn what_is_not_allowed_is_refused() {
    let mut image = image();
    image.privileged = true;
    assert!(asked(&launch(), &image).is_err());
}
