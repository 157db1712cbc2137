//! The body of `/v1/session/create`: what a session is to be, by the rules of Consul's decoder and of
//! its leader. Pure.
//!
//! Names of fields match in any case and the last of two wins; what is unknown is left aside. Source:
//! Consul 1.22, as recorded in tests/golden.

use std::sync::Arc;

use kvapi::duration::parse_go;
use kvapi::golang::json::{self, Json};

use super::error::Error;
use crate::state::sessions::{Behavior, Terms};

/// The check that every server has.
const SERF: &str = "serfHealth";

const SECOND: i64 = 1_000_000_000;

/// The shortest and the longest TTL, in nanoseconds.
const TTLS: std::ops::RangeInclusive<i64> = 10 * SECOND..=86_400 * SECOND;

/// As it was sent, over what holds without being said.
pub(super) struct Asked {
    name: String,
    node: String,
    lock_delay: i64,
    behavior: String,
    ttl: String,
    /// Both names are for the same; `None` was not sent.
    checks: Option<Vec<String>>,
    node_checks: Option<Vec<String>>,
    service_checks: Vec<String>,
}

/// Reads a body. `node` is the server that is asked.
pub(super) fn decode(body: &[u8], node: &str) -> Result<Asked, Error> {
    let refused = |what: String| Error::bad(format!("Request decode failed: {what}"));
    let mut asked = Asked {
        name: String::new(),
        node: node.to_owned(),
        lock_delay: 15 * SECOND,
        behavior: String::new(),
        ttl: String::new(),
        checks: None,
        node_checks: None,
        service_checks: Vec::new(),
    };
    if body.iter().any(|byte| !byte.is_ascii_whitespace()) {
        match json::first(body).map_err(refused)? {
            Json::Null => {}
            Json::Object(members) => asked.read(members).map_err(refused)?,
            other => {
                let kind = other.kind();
                let what = "struct { LockDelay interface {}; *structs.Alias }";
                return Err(refused(format!(
                    "json: cannot unmarshal {kind} into Go value of type {what}"
                )));
            }
        }
    }
    Ok(asked)
}

impl Asked {
    /// Of several mistakes the first is told; a lock-delay is looked at last.
    fn read(&mut self, members: Vec<(String, Json)>) -> Result<(), String> {
        let mut lock_delay = Json::Null;
        for (name, value) in members {
            let named = |field: &str| name.eq_ignore_ascii_case(field);
            if named("LockDelay") {
                lock_delay = value;
            } else if named("Name") {
                text("Name", value, "string", &mut self.name)?;
            } else if named("Node") {
                text("Node", value, "string", &mut self.node)?;
            } else if named("Behavior") {
                text("Behavior", value, "structs.SessionBehavior", &mut self.behavior)?;
            } else if named("TTL") {
                text("TTL", value, "string", &mut self.ttl)?;
            } else if named("ID") {
                text("ID", value, "string", &mut String::new())?;
            } else if named("Checks") {
                self.checks = Some(texts("Checks", value, "types.CheckID")?);
            } else if named("NodeChecks") {
                self.node_checks = Some(texts("NodeChecks", value, "string")?);
            } else if named("ServiceChecks") {
                self.service_checks = service_checks(value)?;
            }
        }
        match lock_delay {
            Json::Null => {}
            Json::Text(text) => self.lock_delay = in_seconds_if_small(parse_go(&text)?),
            Json::Number(text) => self.lock_delay = in_seconds_if_small(whole(&text)),
            // Consul takes anything, and nothing for it.
            _ => self.lock_delay = 0,
        }
        Ok(())
    }

    /// What Consul's leader checks, in its order. `nodes` are all servers there are.
    pub(super) fn check(self, nodes: &[String]) -> Result<Terms, Error> {
        if self.node.is_empty() {
            return Err(Error::internal("Must provide Node"));
        }
        let behavior = match &*self.behavior {
            "" | "release" => Behavior::Release,
            "delete" => Behavior::Delete,
            other => return Err(Error::internal(format!("Invalid Behavior setting '{other}'"))),
        };
        let ttl = match &*self.ttl {
            "" => 0,
            text => parse_go(text).map_err(|what| Error::internal(format!("Session TTL '{text}' invalid: {what}")))?,
        };
        if ttl != 0 && !TTLS.contains(&ttl) {
            let text = format!("Invalid Session TTL '{ttl}', must be between [10s=24h0m0s]");
            return Err(Error::internal(text));
        }
        if !nodes.contains(&self.node) {
            return Err(Error::internal("Missing node registration"));
        }
        let none = |checks: &Option<Vec<String>>| checks.as_ref().is_some_and(Vec::is_empty);
        let all = [&self.node_checks, &self.checks].into_iter().flatten().flatten();
        if let Some(unknown) = all.chain(&self.service_checks).find(|check| *check != SERF) {
            let text = format!("Missing check '{unknown}' registration");
            return Err(Error::internal(text));
        }
        let checks = if none(&self.checks) || none(&self.node_checks) {
            Vec::new()
        } else {
            let sent = self.node_checks.or(self.checks);
            sent.unwrap_or_else(|| vec![SERF.to_owned()])
        };
        Ok(Terms {
            name: self.name.into(),
            node: self.node.into(),
            lock_delay: self.lock_delay,
            behavior,
            ttl: self.ttl.into(),
            ttl_ms: u64::try_from(ttl).unwrap_or(0).div_ceil(1_000_000),
            node_checks: checks.into_iter().map(Arc::from).collect(),
        })
    }
}

/// A small number is one of seconds, also if it was written as `"500ns"`.
const fn in_seconds_if_small(nanos: i64) -> i64 {
    if nanos < 1000 {
        nanos.wrapping_mul(SECOND)
    } else {
        nanos
    }
}

/// A number without its fraction. Go's, on the machines that Consul runs on: what does not fit is the
/// lowest number there is.
fn whole(text: &str) -> i64 {
    let number: f64 = text.parse().unwrap_or(0.0);
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&number) {
        number as i64
    } else {
        i64::MIN
    }
}

/// Null changes nothing.
fn text(field: &str, value: Json, go_type: &str, into: &mut String) -> Result<(), String> {
    match value {
        Json::Null => {}
        Json::Text(text) => *into = text,
        other => return Err(mismatch(&other, field, go_type)),
    }
    Ok(())
}

fn texts(field: &str, value: Json, go_type: &str) -> Result<Vec<String>, String> {
    let elements = match value {
        Json::Null => Vec::new(),
        Json::Array(elements) => elements,
        other => return Err(mismatch(&other, field, &format!("[]{go_type}"))),
    };
    let mut texts = Vec::with_capacity(elements.len());
    for element in elements {
        let mut one = String::new();
        text(field, element, go_type, &mut one)?;
        texts.push(one);
    }
    Ok(texts)
}

/// The ids of checks of services; there are no services.
fn service_checks(value: Json) -> Result<Vec<String>, String> {
    const FIELD: &str = "ServiceChecks";
    let elements = match value {
        Json::Null => Vec::new(),
        Json::Array(elements) => elements,
        other => return Err(mismatch(&other, FIELD, "[]structs.ServiceCheck")),
    };
    let mut ids = Vec::with_capacity(elements.len());
    for element in elements {
        let mut id = String::new();
        match element {
            Json::Null => {}
            Json::Object(members) => {
                for (name, value) in members {
                    if name.eq_ignore_ascii_case("ID") {
                        text("ServiceChecks.ID", value, "string", &mut id)?;
                    }
                }
            }
            other => return Err(mismatch(&other, FIELD, "structs.ServiceCheck")),
        }
        ids.push(id);
    }
    Ok(ids)
}

fn mismatch(value: &Json, field: &str, go_type: &str) -> String {
    let kind = value.kind();
    format!("json: cannot unmarshal {kind} into Go struct field .Alias.{field} of type {go_type}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Terms, String> {
        let nodes = ["keyway-1".to_owned(), "keyway-2".to_owned()];
        let asked = decode(body.as_bytes(), "keyway-1");
        asked
            .and_then(|asked| asked.check(&nodes))
            .map_err(|e| format!("{} {}", e.status.as_u16(), e.text))
    }

    fn checks(body: &str) -> Vec<String> {
        let terms = read(body).unwrap();
        terms.node_checks.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_not_said_is_as_in_consul() {
        for body in [
            "",
            " \n",
            "null",
            "{}",
            "{} trailing",
            r#"{"Unknown":1,"CreateIndex":5}"#,
        ] {
            let terms = read(body).unwrap();
            assert_eq!(
                (&*terms.name, &*terms.node, &*terms.ttl),
                ("", "keyway-1", ""),
                "{body}"
            );
            assert_eq!((terms.lock_delay, terms.ttl_ms), (15_000_000_000, 0));
            assert_eq!(terms.behavior, Behavior::Release);
            assert_eq!(checks(body), [SERF]);
        }
    }

    #[test]
    fn a_lock_delay_is_a_duration_or_a_number_and_small_ones_are_seconds() {
        for (text, nanos) in [
            ("5", 5_000_000_000),
            (r#""5s""#, 5_000_000_000),
            ("5000000000", 5_000_000_000),
            ("0", 0),
            (r#""0""#, 0),
            (r#""500ns""#, 500_000_000_000),
            ("1000", 1000),
            ("999.9", 999_000_000_000),
            ("-1", -1_000_000_000),
            (r#""0.001s""#, 1_000_000),
            ("true", 0),
            ("[]", 0),
            ("null", 15_000_000_000),
            ("1e30", 0),
        ] {
            let terms = read(&format!(r#"{{"lockdelay":{text}}}"#)).unwrap();
            assert_eq!(terms.lock_delay, nanos, "{text}");
        }
        let refused = read(r#"{"LockDelay":"5"}"#).unwrap_err();
        assert_eq!(
            refused,
            r#"400 Request decode failed: time: missing unit in duration "5""#
        );
    }

    #[test]
    fn a_ttl_stays_as_it_was_written() {
        for (text, ms) in [
            ("15.0s", 15_000),
            ("15.000000s", 15_000),
            ("+10s", 10_000),
            ("24h", 86_400_000),
            ("0", 0),
        ] {
            let terms = read(&format!(r#"{{"ttl":"{text}"}}"#)).unwrap();
            assert_eq!((&*terms.ttl, terms.ttl_ms), (text, ms));
        }
        for (text, nanos) in [
            ("5s", "5000000000"),
            ("86401s", "86401000000000"),
            ("-1s", "-1000000000"),
            ("1ns", "1"),
        ] {
            let refused = read(&format!(r#"{{"TTL":"{text}"}}"#)).unwrap_err();
            assert_eq!(
                refused,
                format!("500 Invalid Session TTL '{nanos}', must be between [10s=24h0m0s]")
            );
        }
    }

    #[test]
    fn checks_are_named_in_two_ways_and_none_means_none() {
        for body in [
            r#"{"Checks":[]}"#,
            r#"{"checks":null}"#,
            r#"{"NodeChecks":[]}"#,
            r#"{"NodeChecks":null,"Checks":["serfHealth"]}"#,
        ] {
            assert_eq!(checks(body), [""; 0], "{body}");
        }
        for body in [
            r#"{"Checks":["serfHealth"]}"#,
            r#"{"NodeChecks":["serfHealth"],"ServiceChecks":[]}"#,
        ] {
            assert_eq!(checks(body), [SERF], "{body}");
        }
        for body in [
            r#"{"Checks":["nope"]}"#,
            r#"{"NodeChecks":["serfHealth","nope"]}"#,
            r#"{"ServiceChecks":[{"ID":"nope"}]}"#,
        ] {
            assert_eq!(
                read(body).unwrap_err(),
                "500 Missing check 'nope' registration",
                "{body}"
            );
        }
    }

    #[test]
    fn mistakes_are_told_in_consuls_words_and_order() {
        let decode = "400 Request decode failed: ";
        let number = format!("{decode}json: cannot unmarshal number into Go struct field .Alias.");
        for (body, says) in [
            ("{", format!("{decode}unexpected EOF")),
            (r#"{"TTL":15}"#, format!("{number}TTL of type string")),
            (r#"{"Name":5,"TTL":6}"#, format!("{number}Name of type string")),
            (
                r#"{"Behavior":5,"LockDelay":"x"}"#,
                format!("{number}Behavior of type structs.SessionBehavior"),
            ),
            (r#"{"Checks":[5]}"#, format!("{number}Checks of type types.CheckID")),
            (r#"{"NodeChecks":5}"#, format!("{number}NodeChecks of type []string")),
            (
                "[]",
                format!(
                    "{decode}json: cannot unmarshal array into Go value of type struct {{ LockDelay interface {{}}; *structs.Alias }}"
                ),
            ),
            (r#"{"Node":"","Behavior":"x"}"#, "500 Must provide Node".into()),
            (
                r#"{"Behavior":"x","TTL":"1s"}"#,
                "500 Invalid Behavior setting 'x'".into(),
            ),
            (
                r#"{"TTL":"abc","Node":"nope"}"#,
                r#"500 Session TTL 'abc' invalid: time: invalid duration "abc""#.into(),
            ),
            (
                r#"{"Node":"nope","Checks":["x"]}"#,
                "500 Missing node registration".into(),
            ),
        ] {
            assert_eq!(read(body), Err(says), "{body}");
        }
        assert!(read(r#"{"Node":"keyway-2"}"#).is_ok());
        assert_eq!(&*read(r#"{"Name":"a","NAME":"b","name":null}"#).unwrap().name, "b");
    }
}
