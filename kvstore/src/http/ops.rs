//! The body of a transaction: JSON to operations, by the rules of Consul's strict decoder.
//!
//! Names of fields match in any case and the last of two wins; an unknown field is refused; of
//! several mistakes the first is told. Source: Consul 1.22, as recorded in tests/golden.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use kvapi::Key;
use kvapi::key::{BadKey, MAX_KEY_BYTES};

use super::error::Error;
use super::golang::quote;
use crate::command::Op;
use kvapi::golang::json::{self, Json};
use kvapi::limits::Limits;

/// Go takes any bits after the last whole byte.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// One operation as it was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RawOp {
    pub(super) verb: String,
    pub(super) key: String,
    value: Bytes,
    flags: u64,
    index: u64,
    session: String,
}

/// Reads a body. Operations without content are counted, and left out.
pub(super) fn decode(body: &[u8], limits: Limits) -> Result<Vec<RawOp>, Error> {
    let refused = |what: String| Error::bad(format!("Failed to parse body: {what}"));
    let elements = match json::first(body).map_err(refused)? {
        Json::Null => Vec::new(),
        Json::Array(elements) => elements,
        other => return Err(refused(mismatch(&other, "Go value", "api.TxnOps"))),
    };
    let mut ops: Vec<RawOp> = Vec::new();
    let count = elements.len();
    for element in elements {
        ops.extend(txn_op(element).map_err(refused)?);
    }
    let too_large = |text| Err(Error::new(http::StatusCode::PAYLOAD_TOO_LARGE, text));
    let most = limits.txn_ops;
    if count > most {
        return too_large(format!("Transaction contains too many operations ({count} > {most})"));
    }
    let most = limits.value_bytes;
    if let Some(op) = ops.iter().find(|op| op.value.len() > most) {
        let (key, length) = (&op.key, op.value.len());
        return too_large(format!(
            "Value for key \"{key}\" is too large ({length} > {most} bytes)"
        ));
    }
    Ok(ops)
}

fn txn_op(element: Json) -> Result<Option<RawOp>, String> {
    let members = match element {
        Json::Object(members) => members,
        Json::Null => return Err("an operation is null".into()),
        other => return Err(mismatch(&other, "Go value", "api.TxnOp")),
    };
    let mut op: Option<RawOp> = None;
    let mut other = None;
    for (name, value) in members {
        match field(&name, &["KV", "Node", "Service", "Check"]) {
            Some("KV") => match value {
                Json::Null => op = None,
                // A second one goes over the first.
                Json::Object(members) => kv_op(op.get_or_insert_default(), members)?,
                value => return Err(mismatch(&value, "Go struct field TxnOp.KV", "api.KVTxnOp")),
            },
            Some(kind) => other = other.or((value != Json::Null).then_some(kind)),
            None => return Err(unknown(&name)),
        }
    }
    match (op, other) {
        (None, Some(kind)) => Err(format!("{kind} operations are not supported; only KV operations are")),
        (op, _) => Ok(op),
    }
}

fn kv_op(op: &mut RawOp, members: Vec<(String, Json)>) -> Result<(), String> {
    const FIELDS: [&str; 8] = [
        "Verb",
        "Key",
        "Value",
        "Flags",
        "Index",
        "Session",
        "Namespace",
        "Partition",
    ];
    for (name, value) in members {
        let name = field(&name, &FIELDS).ok_or_else(|| unknown(&name))?;
        if value == Json::Null {
            if name == "Value" {
                op.value = Bytes::new();
            }
            continue;
        }
        match name {
            "Verb" => op.verb = text(name, value, "api.KVOp")?,
            "Key" => op.key = text(name, value, "string")?,
            "Session" => op.session = text(name, value, "string")?,
            "Value" => op.value = base64(&text(name, value, "[]uint8")?)?,
            "Flags" => op.flags = number(name, value)?,
            "Index" => op.index = number(name, value)?,
            // Namespaces and partitions are taken and left aside, as in Consul without them.
            _ => drop(text(name, value, "string")?),
        }
    }
    Ok(())
}

/// The field that a name means: exactly, or else in any case.
fn field(name: &str, fields: &[&'static str]) -> Option<&'static str> {
    fields.iter().copied().find(|field| field.eq_ignore_ascii_case(name))
}

fn unknown(name: &str) -> String {
    format!("json: unknown field {}", quote(name))
}

fn text(name: &str, value: Json, go_type: &str) -> Result<String, String> {
    match value {
        Json::Text(text) => Ok(text),
        value => Err(mismatch(&value, &format!("Go struct field KVTxnOp.KV.{name}"), go_type)),
    }
}

fn number(name: &str, value: Json) -> Result<u64, String> {
    let place = format!("Go struct field KVTxnOp.KV.{name}");
    match value {
        Json::Number(text) => text
            .parse()
            .map_err(|_| format!("json: cannot unmarshal number {text} into {place} of type uint64")),
        value => Err(mismatch(&value, &place, "uint64")),
    }
}

fn mismatch(value: &Json, place: &str, go_type: &str) -> String {
    let kind = value.kind();
    format!("json: cannot unmarshal {kind} into {place} of type {go_type}")
}

/// Padded standard base64 with line breaks anywhere.
fn base64(text: &str) -> Result<Bytes, String> {
    use base64::DecodeError;

    let packed: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    BASE64.decode(&packed).map(Bytes::from).map_err(|e| {
        let at = match e {
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol { offset: at, .. } => at,
            // Go names the end if padding is cut short, and else where the last group begins.
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding if packed.ends_with(b"=") => packed.len(),
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => packed.len() / 4 * 4,
        };
        let breaks = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| matches!(byte, b'\r' | b'\n'));
        let at = breaks.fold(at, |at, (place, _)| if place <= at { at + 1 } else { at });
        format!("illegal base64 data at input byte {at}")
    })
}

/// What is wrong with an operation before any state is looked at: Consul's words.
pub(super) type Refused = (usize, String);

/// Checks all operations; if any is refused, only those that are refused are told.
pub(super) fn check(raw: Vec<RawOp>) -> Result<Result<Vec<Op>, Vec<Refused>>, Error> {
    let mut ops = Vec::with_capacity(raw.len());
    let mut refused = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        if raw.key.len() > MAX_KEY_BYTES {
            return Err(BadKey::TooLong(raw.key.len()).into());
        }
        match op(raw) {
            Ok(op) => ops.push(op),
            Err(what) => refused.push((index, what)),
        }
    }
    Ok(if refused.is_empty() { Ok(ops) } else { Err(refused) })
}

fn op(raw: RawOp) -> Result<Op, String> {
    let RawOp {
        verb,
        key,
        value,
        flags,
        index,
        session,
    } = raw;
    if verb == "delete-tree" {
        return Ok(Op::DeleteTree { prefix: key });
    }
    let key = Key::new(key).map_err(|_| "Must provide key")?;
    Ok(match verb.as_str() {
        "set" => Op::Set { key, value, flags },
        "cas" => Op::Cas {
            key,
            value,
            flags,
            index,
        },
        "get" => Op::Get { key },
        "get-or-empty" => {
            let session = (!session.is_empty()).then(|| session.into());
            Op::GetOrEmpty {
                key,
                flags,
                index,
                session,
            }
        }
        "get-tree" => Op::GetTree { prefix: key.into() },
        "delete" => Op::Delete { key },
        "delete-cas" => Op::DeleteCas { key, index },
        "check-index" => Op::CheckIndex { key, index },
        "check-not-exists" => Op::CheckNotExists { key },
        "check-session" => Op::CheckSession {
            key,
            session: session.into(),
        },
        "lock" => Op::Lock {
            key,
            value,
            flags,
            session: session.into(),
        },
        "unlock" => Op::Unlock {
            key,
            value,
            flags,
            session: session.into(),
        },
        _ => return Err(format!("unknown KV operation: {verb}")),
    })
}

/// Whether a transaction with this verb goes through the log, whatever else is wrong with it.
pub(super) fn is_write(verb: &str) -> bool {
    matches!(
        verb,
        "set" | "cas" | "delete" | "delete-cas" | "delete-tree" | "lock" | "unlock"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(body: &str) -> Result<Vec<RawOp>, String> {
        decode(body.as_bytes(), Limits::default()).map_err(|e| e.text.into_owned())
    }

    #[track_caller]
    fn refused(body: &str, what: &str) {
        assert_eq!(decoded(body), Err(format!("Failed to parse body: {what}")));
    }

    #[test]
    fn names_match_in_any_case_and_the_last_wins() {
        let ops = decoded(r#"[{"kv":{"verb":"get","VERB":"set","kEy":"a","value":"MQ==","Namespace":"x"}}]"#).unwrap();
        assert_eq!(
            (ops[0].verb.as_str(), ops[0].key.as_str(), &*ops[0].value),
            ("set", "a", &b"1"[..])
        );
    }

    #[test]
    fn what_is_empty_is_left_out() {
        for body in ["[]", "null", "[{}]", r#"[{"KV":null}]"#, r#"[{"Node":null}] x"#] {
            assert_eq!(decoded(body), Ok(vec![]), "{body}");
        }
        assert_eq!(decoded(r#"[{"KV":{}}]"#), Ok(vec![RawOp::default()]));
    }

    #[test]
    fn mistakes_are_told_in_gos_words() {
        refused("{}", "json: cannot unmarshal object into Go value of type api.TxnOps");
        refused("[1]", "json: cannot unmarshal number into Go value of type api.TxnOp");
        refused(r#"[{"X":1}]"#, "json: unknown field \"X\"");
        refused(r#"[{"KV":{"CreateIndex":1}}]"#, "json: unknown field \"CreateIndex\"");
        let place = "into Go struct field KVTxnOp.KV";
        refused(
            r#"[{"KV":{"Value":5}}]"#,
            &format!("json: cannot unmarshal number {place}.Value of type []uint8"),
        );
        refused(
            r#"[{"KV":{"Flags":-1}}]"#,
            &format!("json: cannot unmarshal number -1 {place}.Flags of type uint64"),
        );
        refused(
            r#"[{"KV":{"Index":1.5}}]"#,
            &format!("json: cannot unmarshal number 1.5 {place}.Index of type uint64"),
        );
        refused(r#"[{"KV":{"Value":"!!"}}]"#, "illegal base64 data at input byte 0");
        refused(r#"[{"KV":{"Value":"MQ="}}]"#, "illegal base64 data at input byte 3");
        refused(r#"[{"KV":{"Value":"MQ"}}]"#, "illegal base64 data at input byte 0");
        assert!(decoded("[null]").is_err());
        assert!(
            decoded(r#"[{"Node":{"Verb":"get"}}]"#)
                .unwrap_err()
                .contains("Node operations")
        );
    }

    #[test]
    fn line_breaks_in_base64_are_skipped() {
        assert_eq!(base64("M\r\nQ=\n="), Ok(Bytes::from_static(b"1")));
        assert_eq!(base64("M\nQ!="), Err("illegal base64 data at input byte 3".into()));
    }

    #[test]
    fn the_number_of_operations_is_bounded() {
        let body = |count| format!("[{}]", vec!["{}"; count].join(","));
        assert!(decoded(&body(128)).is_ok());
        assert_eq!(
            decoded(&body(129)),
            Err("Transaction contains too many operations (129 > 128)".into())
        );
        let few = Limits {
            txn_ops: 1,
            value_bytes: 2,
            ..Limits::default()
        };
        let refused = |body: &str| decode(body.as_bytes(), few).unwrap_err().text.into_owned();
        assert_eq!(refused("[{},{}]"), "Transaction contains too many operations (2 > 1)");
        assert_eq!(
            refused(r#"[{"KV":{"Verb":"set","Key":"k","Value":"YWJj"}}]"#),
            "Value for key \"k\" is too large (3 > 2 bytes)"
        );
        assert!(decode(br#"[{"KV":{"Verb":"set","Key":"k","Value":"YWI="}}]"#, few).is_ok());
    }

    #[test]
    fn checks_before_the_state_name_every_operation_refused() {
        let raw = decode(
            br#"[{"KV":{"Verb":"get"}},{"KV":{"Verb":"GET","Key":"a"}},{"KV":{"Verb":"get","Key":"a"}}]"#,
            Limits::default(),
        );
        let refused = check(raw.unwrap()).unwrap().unwrap_err();
        assert_eq!(
            refused,
            [
                (0, "Must provide key".to_owned()),
                (1, "unknown KV operation: GET".to_owned())
            ]
        );
    }
}
