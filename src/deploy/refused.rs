//! What the scheduler says when it will not, as a person is told it. Pure.

use kvapi::problem::exit;
use kvapi::{Problem, codes};
use serde::Deserialize;
use serde_json::Value;

/// An answer that says no.
#[derive(Debug, Deserialize)]
struct Said {
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Value,
    #[serde(default)]
    deployments: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    id: String,
}

#[derive(Debug, Deserialize)]
struct Field {
    path: String,
    errors: Vec<String>,
}

/// An answer as the failure that it is. `place` is where what was sent comes from, such as a file.
pub(super) fn refused(status: u16, body: &[u8], place: Option<&str>) -> Problem {
    let said = serde_json::from_slice::<Said>(body).unwrap_or_else(|_| Said {
        message: String::from_utf8_lossy(body).trim().to_owned(),
        details: Value::Null,
        deployments: Vec::new(),
    });
    let what = match (said.message.trim(), status) {
        ("", _) => format!("the scheduler answered {status}"),
        (message, 400 | 401 | 403 | 404 | 409 | 412 | 422) => message.to_owned(),
        (message, _) => format!("the scheduler answered {status}: {message}"),
    };
    match status {
        409 if !said.deployments.is_empty() => {
            let ids: Vec<&str> = said.deployments.iter().map(|named| named.id.as_str()).collect();
            let first = ids.first().copied().unwrap_or_default();
            Problem::new(
                exit::CONFLICT,
                format!("another deployment changes it just now: {}", ids.join(", ")),
            )
            .help(format!("wait for it with   keyway deploy status -w {first}"))
            .help("go over it, which cancels it, with   --force")
        }
        409 | 412 => Problem::new(exit::CONFLICT, what),
        400 | 422 => invalid(place, &what, &fields(&said.details)),
        401 | 403 => Problem::of(&codes::DENIED, what),
        404 => Problem::new(exit::NO, what).help("what there is:   keyway deploy ls"),
        429 | 500.. => Problem::of(&codes::UNAVAILABLE, what)
            .help("try again; if it stays like this, look whether the store is up:   keyway cluster status"),
        _ => Problem::of(&codes::REFUSED, what),
    }
}

/// A definition that cannot be taken, with the place of each mistake.
pub(super) fn invalid(place: Option<&str>, what: &str, fields: &[(String, Vec<String>)]) -> Problem {
    let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
    let named = |(path, errors): &(String, Vec<String>)| format!("{path} {}", errors.join("; "));
    let text = match fields {
        [] => format!("{place}{what}"),
        [one] => format!("{place}{}", named(one)),
        several => {
            let lines = several.iter().map(|field| format!("\n  {}", named(field)));
            format!("{place}{} mistakes{}", several.len(), lines.collect::<String>())
        }
    };
    Problem::new(exit::INVALID, text)
}

/// The mistakes with their places; of a text that is no JSON, what is said of it.
fn fields(details: &Value) -> Vec<(String, Vec<String>)> {
    if let Value::String(text) = details {
        return vec![("is no JSON:".into(), vec![text.clone()])];
    }
    let fields: Vec<Field> = serde_json::from_value(details.clone()).unwrap_or_default();
    fields.into_iter().map(|field| (field.path, field.errors)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_names_the_deployment_and_the_way_over_it() {
        let body = br#"{"message": "App is locked by one or more deployments.", "deployments": [{"id": "d1"}]}"#;

        let problem = refused(409, body, None);

        assert_eq!(problem.code, exit::CONFLICT);
        assert!(
            problem.what.ends_with("just now: d1") && problem.help[1].ends_with("--force"),
            "{problem}"
        );
    }

    #[test]
    fn a_mistake_is_told_with_its_file_and_field() {
        let body = br#"{"message": "Object is not valid", "details": [{"path": "/cpus", "errors": ["is negative"]}]}"#;
        assert_eq!(refused(422, body, Some("web.json")).what, "web.json: /cpus is negative");

        let several = br#"{"message": "Invalid JSON", "details": [
            {"path": "/cpus", "errors": ["a"]}, {"path": "/mem", "errors": ["b", "c"]}]}"#;
        let problem = refused(422, several, Some("web.json"));
        assert_eq!(problem.what, "web.json: 2 mistakes\n  /cpus a\n  /mem b; c");

        let syntax = br#"{"message": "Invalid JSON", "details": "expected value at line 1"}"#;
        let problem = refused(400, syntax, None);
        assert_eq!(
            (problem.code, problem.what.as_str()),
            (exit::INVALID, "is no JSON: expected value at line 1")
        );
    }

    #[test]
    fn each_answer_has_its_exit_code() {
        for (status, body, code) in [
            (404, r#"{"message":"App '/web' does not exist"}"#, exit::NO),
            (403, "no", exit::DENIED),
            (503, "", exit::UNAVAILABLE),
            (
                409,
                r#"{"message":"An app with id [/web] already exists."}"#,
                exit::CONFLICT,
            ),
            (
                412,
                r#"{"message":"App '/web' is at version 1, not 2"}"#,
                exit::CONFLICT,
            ),
            (418, "", exit::INVALID),
        ] {
            assert_eq!(refused(status, body.as_bytes(), None).code, code, "{status}");
        }
        assert_eq!(refused(418, b"", None).what, "the scheduler answered 418");
    }
}
