//! Containers instead of processes, if that is asked for.

use std::path::PathBuf;

use clap::Args;
use kvapi::Problem;
use kvapi::problem::exit;

use crate::scheduler::usual_engine;

/// Flags of what can run its instances as containers.
#[derive(Debug, Args)]
pub(crate) struct Instead {
    /// Run this image, which has this program as /keyway, instead of processes
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// The Docker Engine's socket [default: /var/run/docker.sock]
    #[arg(long, value_name = "PATH", requires = "image")]
    docker_socket: Option<PathBuf>,
}

impl Instead {
    /// What they run, if they are to be containers.
    pub(crate) fn image(&self) -> Option<&str> {
        self.image.as_deref()
    }

    /// The Engine's socket, if they are to be containers.
    pub(crate) fn engine(&self) -> Result<Option<PathBuf>, Problem> {
        if self.image.is_none() {
            return Ok(None);
        }
        let socket = self.docker_socket.clone().or_else(usual_engine);
        match socket.filter(|socket| socket.exists()) {
            Some(socket) => Ok(Some(socket)),
            None => Err(Problem::new(exit::NOT_FOUND, "there is no Docker Engine")
                .help("start one, or name its socket with --docker-socket")),
        }
    }
}
