//! `keyway bench get`.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::Method;
use serde_json::json;

use super::Common;
use super::load::Load;
use super::report::{Line, Report};
use super::target::{FOLDER, Target};
use super::yardsticks;
use crate::connection::Connection;
use crate::context::Context;
use crate::failure::Outcome;

/// Keys that are read.
const KEYS: usize = 1000;

/// The modes: what they are called, and how they are asked for.
const MODES: [(&str, &str); 2] = [("get", ""), ("get, stale", "?stale")];

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Clients at once, one line for each number
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "1,16,256")]
    clients: Vec<usize>,
    /// How long each line is measured
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = kvapi::duration::parse)]
    duration: Duration,
    #[command(flatten)]
    common: Common,
}

impl Get {
    pub(super) async fn run(self, mut context: Context<'_>) -> Outcome {
        let Common { value_size, .. } = self.common;
        let duration = self.duration;
        let target = Target::open(&mut context, &self.common).await?;
        let value = Bytes::from(vec![b'x'; value_size]);
        let mut connection = Connection::open(&target.address).await?;
        for key in 0..KEYS {
            connection.expect_ok(Method::PUT, &path(key, 0), value.clone()).await?;
        }
        let mut report = Report::default();
        for (what, query) in MODES {
            for &clients in &self.clients {
                let load = Load {
                    addresses: target.asked.clone(),
                    method: Method::GET,
                    path,
                    query,
                    body: Bytes::new(),
                    clients,
                    duration,
                };
                report.add(Line::new(what).measured(clients, &load.run().await?));
            }
        }
        let address = target.name();
        target.close().await?;
        for &clients in &self.clients {
            yardsticks::empty_handler(&mut report, clients, duration, Bytes::new()).await?;
        }
        report.print(
            context.out,
            &json!({"address": address, "value_bytes": value_size, "seconds": duration.as_secs_f64()}),
        )
    }
}

/// The key of a request: clients start at different places.
fn path(client: usize, request: usize) -> String {
    format!("/v1/kv/{FOLDER}{}", (client + request) % KEYS)
}
