//! The server's own accept loop with nothing behind it: what any request costs at least.

use std::convert::Infallible;

use bytes::Bytes;
use clap::Args;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use kvapi::problem::exit;
use kvapi::{Address, Problem};
use kvstore::net::{Incoming, Listener, Places, max_connections, serve};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::failure::Outcome;
use crate::signals::Stop;

#[derive(Debug, Args)]
pub(crate) struct Empty {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:0")]
    http_addr: Address,
}

impl Empty {
    pub(super) async fn run(self, context: Context<'_>) -> Outcome {
        let mut stop = Stop::listen()?;
        let listener = Listener::bind(&self.http_addr)
            .await
            .map_err(|e| Problem::new(exit::UNAVAILABLE, e.to_string()))?;
        context
            .out
            .line(format_args!("keyway bench empty ready http={}", listener.address()))?;
        let stopping = CancellationToken::new();
        let served = serve(
            listener,
            |_| service_fn(answer),
            Places::new(max_connections(), None),
            stopping.clone(),
            CancellationToken::new(),
        );
        tokio::select! {
            () = served => {}
            () = stop.next() => {}
        }
        Ok(exit::OK)
    }
}

/// Reads the request whole, as a put must, and says what a put says.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    // A body that breaks off ends the connection anyway.
    let _ = request.into_body().collect().await;
    Ok(Response::new(Full::new(Bytes::from_static(b"true"))))
}
