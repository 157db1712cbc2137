//! The session of a lock: as long as its client renews it.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout_at};

use super::AGAIN;
use crate::consul::ask::{Server, expect};
use crate::consul::place::Place;

/// How long it lives without being renewed, at least: as with Consul's command.
const TTL: Duration = Duration::from_secs(15);

/// See the module.
pub(super) struct Session {
    place: Place,
    pub(super) id: String,
    begun: Instant,
}

impl Session {
    pub(super) async fn create(place: &Place, name: &str, behavior: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Created {
            #[serde(rename = "ID")]
            id: String,
        }
        let begun = Instant::now();
        let body = serde_json::json!({"Name": name, "TTL": format!("{}s", TTL.as_secs()), "Behavior": behavior});
        let mut server = Server::new(place.clone());
        let answer = server
            .call(&Method::PUT, "/v1/session/create", &[], body.to_string())
            .await?;
        let answer = expect(answer, &[StatusCode::OK])?;
        let created: Created = serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?;
        Ok(Self {
            place: place.clone(),
            id: created.id,
            begun,
        })
    }

    /// Renews it until it is over, or may be; returns why.
    pub(super) async fn over(&self) -> String {
        let path = format!("/v1/session/renew/{}", self.id);
        let mut renewed = self.begun;
        let mut server = Server::new(self.place.clone());
        loop {
            sleep(TTL / 2).await;
            let renewal = async {
                loop {
                    let asked = Instant::now();
                    let answer = server.call(&Method::PUT, &path, &[], Bytes::new()).await;
                    match answer.map(|answer| answer.status) {
                        Ok(StatusCode::OK) => return Some(asked),
                        Ok(StatusCode::NOT_FOUND) => return None,
                        Ok(_) | Err(_) => sleep(AGAIN).await,
                    }
                }
            };
            match timeout_at(renewed + TTL, renewal).await {
                Ok(Some(asked)) => renewed = asked,
                Ok(None) => return "session expired".to_owned(),
                Err(_) => return "the session could not be renewed in time".to_owned(),
            }
        }
    }

    /// Ends it. Where that fails its time runs out by itself.
    pub(super) async fn destroy(self) {
        let path = format!("/v1/session/destroy/{}", self.id);
        let _ = Server::new(self.place)
            .call(&Method::PUT, &path, &[], Bytes::new())
            .await;
    }
}
