//! `keyway bench put`.

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
use crate::context::Context;
use crate::failure::Outcome;

/// Keys of one client; two clients never write the same key.
const KEYS: usize = 100;

#[derive(Debug, Args)]
pub(crate) struct Put {
    /// Clients at once, one line for each number
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "1,16,256")]
    clients: Vec<usize>,
    /// How long each line is measured
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = kvapi::duration::parse)]
    duration: Duration,
    #[command(flatten)]
    common: Common,
}

impl Put {
    pub(super) async fn run(self, mut context: Context<'_>) -> Outcome {
        let Common {
            ref dir, value_size, ..
        } = self.common;
        let duration = self.duration;
        let target = Target::open(&mut context, &self.common).await?;
        let body = Bytes::from(vec![b'x'; value_size.max(1)]);
        let mut report = Report::default();
        for &clients in &self.clients {
            let load = Load {
                addresses: target.asked.clone(),
                method: Method::PUT,
                path: |client, request| format!("/v1/kv/{FOLDER}{client}/{}", request % KEYS),
                query: "",
                body: body.clone(),
                clients,
                duration,
            };
            report.add(Line::new("put").measured(clients, &load.run().await?));
        }
        let address = target.name();
        target.close().await?;
        yardsticks::disk(&mut report, dir).await?;
        for &clients in &self.clients {
            yardsticks::empty_handler(&mut report, clients, duration, body.clone()).await?;
        }
        report.print(
            context.out,
            &json!({"address": address, "value_bytes": body.len(), "seconds": duration.as_secs_f64()}),
        )
    }
}
