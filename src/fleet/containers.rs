//! The containers of instances, by the Engine's own list: what a scheduler says of them is not asked.

use std::path::Path;

use bytes::Bytes;
use http::{Method, StatusCode};
use kvapi::problem::exit;
use kvapi::{Address, Problem};
use serde::Deserialize;

use crate::connection::Connection;

/// See the module: those of one store's cluster.
#[derive(Debug, Clone)]
pub(crate) struct Containers {
    engine: Address,
    cluster: String,
}

/// One of them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    labels: Labels,
}

#[derive(Debug, Deserialize)]
struct Labels {
    #[serde(rename = "keyway.task")]
    task: String,
}

impl Containers {
    pub(crate) fn new(socket: &Path, cluster: &str) -> Self {
        Self {
            engine: Address::Unix(socket.into()),
            cluster: cluster.into(),
        }
    }

    /// The tasks of those that run.
    pub(crate) async fn running(&self) -> Result<Vec<String>, Problem> {
        let all = self.list(false).await?.into_iter();
        Ok(all.map(|one| one.labels.task).collect())
    }

    /// Ends and removes all.
    pub(crate) async fn remove(&self) -> Result<(), Problem> {
        for one in self.list(true).await? {
            let path = format!("/containers/{}?force=true&v=true", one.id);
            let answer = self
                .connection()
                .await?
                .ask(Method::DELETE, &path, Bytes::new())
                .await?;
            // It may be gone, or about to be.
            if !answer.status.is_success() && !matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::CONFLICT) {
                return Err(answer.refused());
            }
        }
        Ok(())
    }

    async fn list(&self, also_ended: bool) -> Result<Vec<Listed>, Problem> {
        // {"label":["keyway.cluster=ID"]}
        let filters = format!("%7B%22label%22%3A%5B%22keyway.cluster%3D{}%22%5D%7D", self.cluster);
        let path = format!("/containers/json?all={also_ended}&filters={filters}");
        let answer = self
            .connection()
            .await?
            .expect_ok(Method::GET, &path, Bytes::new())
            .await?;
        serde_json::from_slice(&answer.body)
            .map_err(|e| Problem::new(exit::BUG, format!("the Docker Engine's list of containers: {e}")))
    }

    async fn connection(&self) -> Result<Connection, Problem> {
        Connection::open(&self.engine).await
    }
}
