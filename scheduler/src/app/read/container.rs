//! A container as it is written: the image, its options, its volumes.

use super::network;
use super::node::{Node, Object};
use crate::app::{Container, ContainerKind, Image, Volume, VolumeFrom};

/// A container around a plain process.
pub(super) fn imageless() -> Container {
    Container {
        kind: ContainerKind::Mesos,
        image: None,
        volumes: Vec::new(),
        port_mappings: None,
    }
}

pub(super) fn container(node: &Node<'_>) -> Option<Container> {
    let kinds = [("DOCKER", ContainerKind::Docker), ("MESOS", ContainerKind::Mesos)];
    let mut container = node.object()?;
    let kind = container.take("type").and_then(|node| node.choice(&kinds));
    let kind = kind.unwrap_or(ContainerKind::Docker);
    container.refuse("linuxInfo", "say it in docker.parameters, as security-opt or shm-size");
    container.refuse("appc", "take a Docker image");
    let image = container.take("docker").and_then(|node| image(&node));
    if kind == ContainerKind::Docker && image.is_none() {
        container.wrong("of type DOCKER needs docker with an image; without an image it is of type MESOS");
    }
    Some(Container {
        kind,
        image,
        volumes: container.list("volumes", |node| volume(&node)).unwrap_or_default(),
        port_mappings: network::mappings(&mut container),
    })
}

fn image(node: &Node<'_>) -> Option<Image> {
    let mut docker = node.object()?;
    docker.refuse("credential", "log the container engine in to the registry");
    docker.refuse("pullConfig", "log the container engine in to the registry");
    let name = docker.need("image")?;
    let name = name.text().filter(|text| !text.is_empty()).or_else(|| {
        name.wrong("is empty");
        None
    })?;
    Some(Image {
        name: name.into(),
        force_pull: docker.boolean("forcePullImage"),
        privileged: docker.boolean("privileged"),
        parameters: docker.list("parameters", |node| parameter(&node)).unwrap_or_default(),
    })
}

fn parameter(node: &Node<'_>) -> Option<(String, String)> {
    let mut parameter = node.object()?;
    let key = parameter.need("key")?.text()?;
    let value = parameter.need("value")?.text()?;
    Some((key.into(), value.into()))
}

fn volume(node: &Node<'_>) -> Option<Volume> {
    let mut volume = node.object()?;
    volume.refuse("persistent", "mount a folder of the host with hostPath");
    volume.refuse("external", "mount a folder of the host with hostPath");
    let read_only = volume
        .take("mode")
        .and_then(|node| node.choice(&[("RO", true), ("RW", false)]));
    let container_path = volume.need("containerPath")?.text()?;
    let from = source(&mut volume)?;
    if container_path.is_empty() {
        volume.wrong("needs a containerPath");
    }
    if matches!(from, VolumeFrom::Secret(_)) && read_only == Some(false) {
        volume.wrong("from a secret is read-only: leave mode out");
    }
    Some(Volume {
        container_path: container_path.into(),
        read_only: read_only.unwrap_or(matches!(from, VolumeFrom::Secret(_))),
        from,
    })
}

fn source(volume: &mut Object<'_>) -> Option<VolumeFrom> {
    match (volume.words("hostPath"), volume.words("secret")) {
        (Some(path), None) => Some(VolumeFrom::Host(path)),
        (None, Some(secret)) => Some(VolumeFrom::Secret(secret)),
        _ => {
            volume.wrong("needs either a hostPath or a secret");
            None
        }
    }
}
