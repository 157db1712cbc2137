//! Helpers for JSON, base64, addresses and digests.

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use md5::Md5;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Call, Function};
use crate::budget::fits;

/// The helpers of this file.
pub(crate) const ALL: &[(&str, Function)] = &[
    ("toJson", |call| to_json(call, call.flag("pretty"))),
    ("parseJson", |call| from_json(&call.text(0)?)),
    ("base64Encode", |call| encode(call, alphabet(call))),
    ("base64Decode", |call| decode(call, alphabet(call))),
    ("urlEncode", url_encode),
    ("sha256", sha256),
    ("md5", md5),
    ("hmacSha256", |call| {
        let key = call.text_option("key")?.ok_or("key= is missing")?;
        Ok(hmac(key.as_bytes(), call.text(0)?.as_bytes()).into())
    }),
];

/// `(toJson x pretty=true)`
pub(crate) fn to_json(call: &Call<'_>, pretty: bool) -> Result<Value, String> {
    let value = call.value(0)?;
    let text = if pretty {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    };
    let text = text.map_err(|_| "cannot be written as JSON".to_owned())?;
    fits(text.len())?;
    Ok(text.into())
}

/// `(parseJson (key "a"))`: an empty text is an error, not an empty value.
pub(crate) fn from_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))
}

/// Bytes as base64.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// `(base64Encode s url=true)`: of a text, or of what `ls`, `tree` and `kv` give, binary or not.
pub(crate) fn encode(call: &Call<'_>, alphabet: &GeneralPurpose) -> Result<Value, String> {
    let item = call.value(0)?;
    let text = match (item.get("base64"), item.get("value")) {
        (Some(Value::String(bytes)), _) => {
            let bytes = STANDARD
                .decode(bytes)
                .map_err(|_| "its `base64` is not base64".to_owned())?;
            return Ok(alphabet.encode(bytes).into());
        }
        (_, Some(Value::String(text))) => text.clone(),
        _ => call.text(0)?,
    };
    fits(text.len().saturating_mul(2))?;
    Ok(alphabet.encode(text).into())
}

/// `(base64Decode s url=true)`
pub(crate) fn decode(call: &Call<'_>, alphabet: &GeneralPurpose) -> Result<Value, String> {
    let bytes = alphabet.decode(call.text(0)?.trim());
    let bytes = bytes.map_err(|_| "this is not base64".to_owned())?;
    String::from_utf8(bytes)
        .map(Value::String)
        .map_err(|_| "what is encoded is not UTF-8 text".to_owned())
}

fn alphabet(call: &Call<'_>) -> &'static GeneralPurpose {
    if call.flag("url") { &URL_SAFE } else { &STANDARD }
}

/// `(urlEncode s)`: everything but letters, digits and `-._~` by its bytes, as `%2F`.
fn url_encode(call: &Call<'_>) -> Result<Value, String> {
    let text = call.text(0)?;
    fits(text.len().saturating_mul(3))?;
    let encoded: String = text
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect();
    Ok(encoded.into())
}

/// `(sha256 s)`, in hexadecimal digits.
pub(crate) fn sha256(call: &Call<'_>) -> Result<Value, String> {
    Ok(hex(&Sha256::digest(call.text(0)?.as_bytes())).into())
}

/// `(md5 s)`, in hexadecimal digits.
pub(crate) fn md5(call: &Call<'_>) -> Result<Value, String> {
    Ok(hex(&Md5::digest(call.text(0)?.as_bytes())).into())
}

/// RFC 2104 with SHA-256, in hexadecimal digits.
pub(crate) fn hmac(key: &[u8], message: &[u8]) -> String {
    let mut block = [0u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let padded = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new()
        .chain_update(padded(0x36))
        .chain_update(message)
        .finalize();
    hex(&Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize())
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases 1, 2 and 6 of RFC 4231.
    #[test]
    fn hmac_is_the_one_of_the_rfc() {
        for (key, message, end) in [
            (vec![0x0b; 20], &b"Hi There"[..], "2e32cff7"),
            (b"Jefe".to_vec(), b"what do ya want for nothing?", "64ec3843"),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "0ee37f54",
            ),
        ] {
            let digest = hmac(&key, message);
            assert!(digest.ends_with(end), "{digest}");
        }
    }
}
