//! Backups: the whole state of a cluster, as it comes, however much it is.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::address::Address;
use crate::client::{Client, Consistency, consistency_query, with_query};
use crate::error::Error;
use crate::types::{Revision, header};

/// The longest refusal that is shown, in bytes.
const REFUSAL: usize = 64 << 10;

/// A backup that is on its way.
#[derive(Debug)]
pub struct Backup {
    body: Incoming,
    address: Address,
    /// How long the next piece may keep us waiting.
    limit: Duration,
    /// What it is of.
    pub revision: Revision,
}

impl Backup {
    /// The next piece; `None` behind the last.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let broke_off = |what: &dyn std::fmt::Display| Error::Unavailable {
            addresses: vec![self.address.clone()],
            reason: format!("{}: the snapshot broke off: {what}", self.address),
        };
        loop {
            let frame = timeout(self.limit, self.body.frame())
                .await
                .map_err(|_| Error::Timeout {
                    addresses: vec![self.address.clone()],
                    after: self.limit,
                    last: None,
                })?;
            match frame {
                None => return Ok(None),
                Some(Err(e)) => return Err(broke_off(&e)),
                // Trailers say nothing to us.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

impl Client {
    /// Begins to take a backup, from the first address that has one to give.
    pub async fn backup(&self, consistency: Consistency) -> Result<Backup, Error> {
        let transport = self.transport();
        let path = with_query("/v1/snapshot".to_owned(), &[consistency_query(consistency)]);
        let limit = transport.timeout;
        let (nothing, headers) = (Bytes::new(), HeaderMap::new());
        let mut last = None;
        for address in self.addresses() {
            let opened = transport.open(address, &Method::GET, &path, &nothing, &headers);
            let response = match timeout(limit, opened).await {
                Ok(Ok(response)) => response,
                Ok(Err(failure)) => {
                    last = Some(format!("{address}: {}", failure.reason));
                    continue;
                }
                Err(_) => {
                    last = Some(format!(
                        "{address}: no answer within {}",
                        crate::duration::format(limit)
                    ));
                    continue;
                }
            };
            let status = response.status();
            let revision = response.headers().get(header::INDEX);
            let revision = revision.and_then(|text| text.to_str().ok()?.parse().ok()).map(Revision);
            match (status, revision) {
                (StatusCode::OK, Some(revision)) => {
                    return Ok(Backup {
                        body: response.into_body(),
                        address: address.clone(),
                        limit,
                        revision,
                    });
                }
                (StatusCode::OK, None) => {
                    return Err(Error::BadAnswer {
                        address: address.clone(),
                        reason: "it has no X-Consul-Index".into(),
                    });
                }
                _ => {}
            }
            let text = said(limit, response.into_body()).await;
            if status != StatusCode::INTERNAL_SERVER_ERROR {
                return Err(Error::Refused { status, text });
            }
            // Another server may know of a leader.
            last = Some(format!("{address}: the server answered {status}: {text}"));
        }
        Err(Error::Unavailable {
            addresses: self.addresses().to_vec(),
            reason: last.unwrap_or_default(),
        })
    }
}

/// The text of a refusal, as far as it comes.
async fn said(limit: Duration, body: Incoming) -> String {
    match timeout(limit, Limited::new(body, REFUSAL).collect()).await {
        Ok(Ok(body)) => String::from_utf8_lossy(&body.to_bytes()).trim().to_owned(),
        _ => String::new(),
    }
}
