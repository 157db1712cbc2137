//! Helpers for JSON and base64.

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Call, Function};

/// The helpers of this file.
pub(crate) const ALL: &[(&str, Function)] = &[
    ("toJson", to_json),
    ("parseJson", parse_json),
    ("base64Encode", |call| Ok(alphabet(call).encode(call.text(0)?).into())),
    ("base64Decode", base64_decode),
    ("sha256", |call| {
        Ok(hex(&Sha256::digest(call.text(0)?.as_bytes())).into())
    }),
];

/// `(toJson x pretty=true)`
fn to_json(call: &Call<'_>) -> Result<Value, String> {
    let value = call.value(0)?;
    let text = if call.flag("pretty") {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    };
    text.map(Value::String).map_err(|e| e.to_string())
}

/// `(parseJson (key "a"))`: an empty text is an error, not an empty value.
fn parse_json(call: &Call<'_>) -> Result<Value, String> {
    serde_json::from_str(&call.text(0)?).map_err(|e| format!("not JSON: {e}"))
}

/// `(base64Decode s url=true)`
fn base64_decode(call: &Call<'_>) -> Result<Value, String> {
    let bytes = alphabet(call)
        .decode(call.text(0)?.trim())
        .map_err(|e| format!("not base64: {e}"))?;
    String::from_utf8(bytes)
        .map(Value::String)
        .map_err(|_| "what is encoded is not UTF-8 text".to_owned())
}

fn alphabet(call: &Call<'_>) -> &'static GeneralPurpose {
    if call.flag("url") { &URL_SAFE } else { &STANDARD }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
