//! The containers of instances, by the Engine's own list: what a scheduler says of them is not asked.

use std::path::Path;

use bytes::Bytes;
use http::{Method, StatusCode};
use kvapi::problem::exit;
use kvapi::{Address, Problem};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::connection::{Answer, Connection};

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

    /// Creates one, as the Engine's API defines them, and starts it. Its id.
    pub(crate) async fn run(&self, name: &str, definition: &Value) -> Result<String, Problem> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Created {
            id: String,
        }
        let mut definition = definition.clone();
        definition["Labels"] = json!({ "keyway.cluster": self.cluster, "keyway.task": name });
        let mut connection = self.connection().await?;
        connection.always_send("content-type", "application/json")?;
        let created = done(
            &mut connection,
            Method::POST,
            "/containers/create",
            definition.to_string(),
        )
        .await?;
        let Created { id } = serde_json::from_slice(&created.body)
            .map_err(|e| Problem::new(exit::BUG, format!("what the Docker Engine says of a container: {e}")))?;
        done(
            &mut connection,
            Method::POST,
            &format!("/containers/{id}/start"),
            String::new(),
        )
        .await?;
        Ok(id)
    }

    /// TERM to one; when it has ended it is removed.
    pub(crate) async fn end(&self, id: &str) -> Result<(), Problem> {
        let mut connection = self.connection().await?;
        done(
            &mut connection,
            Method::POST,
            &format!("/containers/{id}/stop?t=10"),
            String::new(),
        )
        .await?;
        done(
            &mut connection,
            Method::DELETE,
            &format!("/containers/{id}?force=true&v=true"),
            String::new(),
        )
        .await?;
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

/// The answer to what must be done, or be so already.
async fn done(connection: &mut Connection, method: Method, path: &str, body: String) -> Result<Answer, Problem> {
    let answer = connection.ask(method, path, body.into()).await?;
    match answer.status.is_success() || answer.status == StatusCode::NOT_MODIFIED {
        true => Ok(answer),
        false => Err(answer.refused()),
    }
}
