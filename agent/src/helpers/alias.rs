//! consul-template's names for pure helpers.
//!
//! A name that only consul-template has takes its arguments in consul-template's order; a name that
//! we have too is in our order, value first: docs/decisions/0080-helpers.md. The names for data
//! stand in [`super::data`] and [`super::folder`].

use base64::engine::general_purpose::URL_SAFE;

use super::{Function, encode, list, map, number, regex, text, yaml};

/// The helpers of this file.
pub(crate) const ALL: &[(&str, Function)] = &[
    ("toLower", |call| Ok(call.text(0)?.to_lowercase().into())),
    ("toUpper", |call| Ok(call.text(0)?.to_uppercase().into())),
    ("toTitle", text::title),
    ("trimSpace", |call| Ok(call.text(0)?.trim().into())),
    // replaceAll from to s
    ("replaceAll", |call| {
        text::replace(&call.text(2)?, &call.text(0)?, &call.text(1)?)
    }),
    // regexReplaceAll re to s
    ("regexReplaceAll", |call| {
        regex::replace(&call.text(2)?, &call.text(0)?, &call.text(1)?)
    }),
    // in list value
    ("in", text::contains),
    ("toJSON", |call| encode::to_json(call, false)),
    ("toJSONPretty", |call| encode::to_json(call, true)),
    ("toUnescapedJSON", |call| encode::to_json(call, false)),
    ("toUnescapedJSONPretty", |call| encode::to_json(call, true)),
    ("toYAML", yaml::to_yaml),
    ("toTOML", super::toml::to_toml),
    ("parseJSON", |call| encode::from_json(&call.text(0)?)),
    ("parseYAML", |call| yaml::from_yaml(&call.text(0)?)),
    ("base64URLEncode", |call| encode::encode(call, &URL_SAFE)),
    ("base64URLDecode", |call| encode::decode(call, &URL_SAFE)),
    ("sha256Hex", encode::sha256),
    ("md5sum", encode::md5),
    // hmacSHA256Hex message key
    ("hmacSHA256Hex", |call| {
        Ok(encode::hmac(call.text(1)?.as_bytes(), call.text(0)?.as_bytes()).into())
    }),
    ("explodeMap", |call| map::explode(call.value(0)?)),
    ("mergeMap", |call| map::merged(call, false, true)),
    ("mergeMapWithOverride", |call| map::merged(call, true, true)),
    ("loop", list::range),
    // subtract b a: as `a | subtract b` in a pipe
    ("subtract", |call| number::subtract(call, 1, 0)),
    ("divide", |call| number::divide(call, 1, 0)),
    ("modulo", |call| number::modulo(call, 1, 0)),
    ("multiply", number::multiply),
    ("minimum", number::minimum),
    ("maximum", number::maximum),
];
