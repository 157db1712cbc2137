//! What the Engine is asked to create for a task.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, HostConfig, ImageConfig, Mount, MountBindOptions, MountTmpfsOptions, MountType, PortBinding,
    PortMap,
};

use super::super::{DockerSettings, Launch, Refusal, Settings};
use super::inside::Inside;
use super::{CLUSTER, TASK, parameters};
use crate::app::{Command, Image, Network, Protocol, Volume, VolumeFrom};

/// Where a container finds what is ours.
const AGENT: &str = "/.keyway/agent";
const STORE: &str = "/.keyway/store";
const STATE: &str = "/.keyway/state";

/// A task as a container of this image, whose configuration says what it starts by itself. `files` of this machine hold
/// what is to be found at the paths beside them.
pub(super) fn body(
    launch: &Launch,
    image: &Image,
    config: &ImageConfig,
    settings: &Settings,
    docker: &DockerSettings,
    inside: &Inside,
    files: &[(PathBuf, String)],
) -> Result<ContainerCreateBody, Refusal> {
    if image.privileged && !docker.privileged {
        return Err(Refusal::Other(
            "privileged containers are not allowed here: the scheduler's flag --allow-privileged allows them"
                .to_owned(),
        ));
    }
    let (exposed, bindings) = ports(launch, docker);
    let mut host = HostConfig {
        cpu_shares: Some(shares(launch.resources.cpus)),
        memory: memory(launch.resources.mem),
        network_mode: Some(match &launch.network {
            Network::Host => "host".to_owned(),
            Network::Bridge => "bridge".to_owned(),
            Network::Container { name, .. } => name.clone(),
        }),
        port_bindings: Some(bindings),
        privileged: Some(image.privileged),
        ..HostConfig::default()
    };
    let mut body = ContainerCreateBody {
        image: Some(image.name.clone()),
        user: launch.user.clone(),
        tty: Some(launch.tty),
        exposed_ports: Some(exposed),
        labels: Some(launch.labels.clone().into_iter().collect()),
        ..ContainerCreateBody::default()
    };
    parameters::apply(&image.parameters, &mut body, &mut host)?;
    let entry = body.entrypoint.take();
    let words = words(launch, entry.as_deref(), config);
    let mut mounts: Vec<Mount> = launch.volumes.iter().filter_map(volume).collect();
    mounts.extend(files.iter().map(|(file, path)| ours(&file.to_string_lossy(), path)));
    let mut env: HashMap<String, String> = HashMap::new();
    if let Some(store) = &settings.store {
        let (address, mount) = store_inside(store);
        env.insert("KEYWAY_ADDR".to_owned(), address);
        mounts.extend(mount);
    }
    env.extend(launch.env.clone());
    env.extend(
        launch
            .secret_variables()
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    env.insert("KEYWAY_TASK".to_owned(), launch.task.0.clone());
    body.env = Some(env.into_iter().map(|(name, value)| format!("{name}={value}")).collect());
    // With nothing to start there is nothing to be done by an agent either; the Engine says so.
    let agent = launch
        .agent
        .as_ref()
        .filter(|agent| !words.is_empty() && inside.suits(agent));
    if let Some(agent) = agent {
        mounts.push(ours(&inside.program.to_string_lossy(), AGENT));
        mounts.extend(agent.files.iter().map(|file| ours(file, file)));
        let mut all = inside.words.clone();
        all.push("run".to_owned());
        if let Some(signal) = config.stop_signal.as_deref().filter(|signal| !signal.is_empty()) {
            // It is the agent that is asked now, and it asks the program as the image wants it.
            all.extend(["--kill-signal".to_owned(), signal.to_owned()]);
        }
        if !agent.needed {
            // It writes nothing else, and whoever it runs as may be allowed to write nowhere.
            mounts.push(scratch(STATE));
            all.extend(["--state-dir".to_owned(), STATE.to_owned()]);
        }
        all.extend_from_slice(&agent.flags);
        all.push("--".to_owned());
        all.extend(words);
        body.entrypoint = Some(vec![AGENT.to_owned()]);
        body.cmd = Some(all);
        body.stop_signal = Some("SIGTERM".to_owned());
    } else {
        // The Engine puts the two together, and an entry point of no words is none.
        body.entrypoint = Some(Vec::new());
        body.cmd = Some(words);
    }
    let labels = body.labels.get_or_insert_default();
    labels.insert(CLUSTER.to_owned(), docker.cluster.clone());
    labels.insert(TASK.to_owned(), launch.task.0.clone());
    host.mounts = Some(mounts);
    body.host_config = Some(host);
    Ok(body)
}

/// The words that the container would start without an agent.
fn words(launch: &Launch, entry: Option<&[String]>, config: &ImageConfig) -> Vec<String> {
    let own = config.entrypoint.as_deref().unwrap_or_default();
    let entry = entry.unwrap_or(own);
    match &launch.command {
        Some(Command::Shell(line)) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
        Some(Command::Args(arguments)) => entry.iter().chain(arguments).cloned().collect(),
        None => entry.iter().chain(config.cmd.iter().flatten()).cloned().collect(),
    }
}

/// The store's address as a container sees it. Of a socket its folder is mounted, if it is alone in it: a server that
/// starts again makes a new socket, which the mount of the old one would not show.
fn store_inside(store: &str) -> (String, Option<Mount>) {
    let Some(path) = store.strip_prefix("unix://") else {
        return (store.to_owned(), None);
    };
    let folder = Path::new(path).parent().unwrap_or(Path::new("/"));
    let name = Path::new(path)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let alone = std::fs::read_dir(folder).is_ok_and(|entries| entries.count() == 1);
    if alone {
        (
            format!("unix://{STORE}/{name}"),
            Some(ours(&folder.to_string_lossy(), STORE)),
        )
    } else {
        (format!("unix://{STORE}"), Some(ours(path, STORE)))
    }
}

/// Something of ours or of the machine that a container may read.
fn ours(from: &str, to: &str) -> Mount {
    Mount {
        source: Some(from.to_owned()),
        target: Some(to.to_owned()),
        typ: Some(MountType::BIND),
        read_only: Some(true),
        ..Mount::default()
    }
}

/// A folder in memory that everybody may write to.
fn scratch(at: &str) -> Mount {
    Mount {
        target: Some(at.to_owned()),
        typ: Some(MountType::TMPFS),
        tmpfs_options: Some(MountTmpfsOptions {
            size_bytes: Some(1 << 20),
            mode: Some(0o1777),
            ..MountTmpfsOptions::default()
        }),
        ..Mount::default()
    }
}

fn volume(volume: &Volume) -> Option<Mount> {
    match &volume.from {
        VolumeFrom::Host(path) => Some(Mount {
            read_only: Some(volume.read_only),
            bind_options: Some(MountBindOptions {
                create_mountpoint: Some(true),
                ..MountBindOptions::default()
            }),
            ..ours(path, &volume.container_path)
        }),
        // Its file is among the secrets.
        VolumeFrom::Secret(_) => None,
    }
}

fn ports(launch: &Launch, docker: &DockerSettings) -> (Vec<String>, PortMap) {
    let (mut exposed, mut bindings) = (Vec::new(), PortMap::new());
    if launch.network == Network::Host {
        return (exposed, bindings);
    }
    for port in &launch.ports {
        let protocols: &[&str] = match port.protocol {
            Protocol::Tcp => &["tcp"],
            Protocol::Udp => &["udp"],
            Protocol::UdpTcp => &["udp", "tcp"],
        };
        for protocol in protocols {
            let inside = format!("{}/{protocol}", port.inside);
            if let Some(host) = port.host {
                let binding = PortBinding {
                    host_ip: Some(docker.publish_on.to_string()),
                    host_port: Some(host.to_string()),
                };
                bindings.insert(inside.clone(), Some(vec![binding]));
            }
            exposed.push(inside);
        }
    }
    (exposed, bindings)
}

/// A processor is 1,024 shares; the kernel takes no less than two.
#[expect(clippy::cast_possible_truncation, reason = "a number of processors is small")]
fn shares(cpus: f64) -> i64 {
    ((cpus * 1024.0) as i64).max(2)
}

/// From MiB; none is no limit.
#[expect(clippy::cast_possible_truncation, reason = "no machine has so much")]
fn memory(mebibytes: f64) -> Option<i64> {
    (mebibytes > 0.0).then_some((mebibytes * 1024.0 * 1024.0) as i64)
}

#[cfg(test)]
mod tests;
