//! What a server takes at once, as it says of itself.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;

use crate::client::{Client, Error};
use crate::types::MAX_VALUE_BYTES;

/// What a server takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest value, in bytes (Consul's `kv_max_value_size`).
    pub value_bytes: usize,
    /// The most operations of a transaction.
    pub txn_ops: usize,
    /// The longest body of a transaction, in bytes (Consul's `txn_max_req_len`). If a value may be
    /// longer than this, a transaction may be as long.
    pub txn_bytes: usize,
}

impl Limits {
    /// The longest body of a transaction that is read.
    #[must_use]
    pub fn txn_body(&self) -> usize {
        self.txn_bytes.max(self.value_bytes)
    }
}

/// Consul's, which a server has unless it was started with others.
impl Default for Limits {
    fn default() -> Self {
        Self {
            value_bytes: MAX_VALUE_BYTES,
            txn_ops: 128,
            txn_bytes: MAX_VALUE_BYTES,
        }
    }
}

impl Client {
    /// The limits of the server that answers. One that does not say, or not to this caller, is
    /// taken to have Consul's.
    pub async fn limits(&self) -> Result<Limits, Error> {
        let about = self.send(Method::GET, "/v1/agent/self", Bytes::new(), HeaderMap::new());
        let reply = about.await?;
        Ok(match reply.status {
            StatusCode::OK => said(&reply.body),
            _ => Limits::default(),
        })
    }
}

/// The limits in the body of `/v1/agent/self`. Consul names no `TxnMaxOps`: there it is fixed.
fn said(body: &[u8]) -> Limits {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct About {
        debug_config: Option<DebugConfig>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct DebugConfig {
        #[serde(rename = "KVMaxValueSize")]
        value_bytes: usize,
        #[serde(rename = "TxnMaxOps")]
        txn_ops: usize,
        #[serde(rename = "TxnMaxReqLen")]
        txn_bytes: usize,
    }
    let about: About = serde_json::from_slice(body).unwrap_or_default();
    let said = about.debug_config.unwrap_or_default();
    let or = |said: usize, usual: usize| if said > 0 { said } else { usual };
    let usual = Limits::default();
    let value_bytes = or(said.value_bytes, usual.value_bytes);
    Limits {
        value_bytes,
        txn_ops: or(said.txn_ops, usual.txn_ops),
        // A body as large as a value is taken whatever the limit of bodies.
        txn_bytes: or(said.txn_bytes, usual.txn_bytes).max(value_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_says_less_or_nothing_has_consuls_limits() {
        let raised =
            br#"{"Config":{},"DebugConfig":{"KVMaxValueSize":1000000,"TxnMaxOps":500,"TxnMaxReqLen":2000000}}"#;
        let consul = br#"{"DebugConfig":{"KVMaxValueSize":1000000,"TxnMaxReqLen":524288,"UIDir":""}}"#;

        let limits = |value_bytes, txn_ops, txn_bytes| Limits {
            value_bytes,
            txn_ops,
            txn_bytes,
        };
        assert_eq!(said(raised), limits(1_000_000, 500, 2_000_000));
        assert_eq!(said(consul), limits(1_000_000, 128, 1_000_000));
        for other in ["{}", "no JSON", "[]", r#"{"DebugConfig":null}"#, r#"{"DebugConfig":7}"#] {
            assert_eq!(said(other.as_bytes()), Limits::default(), "{other}");
        }
    }
}
