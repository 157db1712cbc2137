//! What would be different: an app as it is, and as a file says that it is to be. Pure.

use std::collections::BTreeSet;

use scheduler::app::App;
use scheduler::app::change::Change as Difference;
use serde::Serialize;
use serde_json::Value;

/// What a file would do to an app.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Change {
    pub(super) app: String,
    pub(super) change: Kind,
    /// Whether every instance is replaced.
    pub(super) restarts: bool,
    /// How many instances there are to be now; none of a new app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) instances_before: Option<u32>,
    pub(super) instances: u32,
    pub(super) fields: Vec<Field>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Create,
    Update,
    None,
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Field {
    pub(super) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<Value>,
}

/// What `after` changes.
pub(super) fn change(before: Option<&App>, after: &App) -> Change {
    let app = after.id.to_string();
    let Some(before) = before else {
        return Change {
            app,
            change: Kind::Create,
            restarts: false,
            instances_before: None,
            instances: after.instances,
            fields: Vec::new(),
        };
    };
    let fields = fields(before, after);
    let differs = Difference::between(before, &assigned(before, after)).config;
    let restarts = before.instances > 0 && after.instances > 0 && differs;
    Change {
        app,
        change: if fields.is_empty() { Kind::None } else { Kind::Update },
        restarts,
        instances_before: Some(before.instances),
        instances: after.instances,
        fields,
    }
}

/// The fields of a definition that differ.
pub(super) fn fields(before: &App, after: &App) -> Vec<Field> {
    let mut found = Vec::new();
    compare(
        "",
        Some(&json(before)),
        Some(&json(&assigned(before, after))),
        &mut found,
    );
    found
}

/// Ports that nobody chose stay what they are.
fn assigned(before: &App, after: &App) -> App {
    let mut after = after.clone();
    for (new, old) in after.port_definitions.iter_mut().zip(&before.port_definitions) {
        if new.port == 0 {
            new.port = old.port;
        }
    }
    let mappings = |app: &App| {
        app.container
            .as_ref()
            .and_then(|container| container.port_mappings.clone())
    };
    let old = mappings(before).unwrap_or_default();
    if let Some(new) = after.container.as_mut().and_then(|new| new.port_mappings.as_mut()) {
        for (new, old) in new.iter_mut().zip(&old) {
            if new.service_port == 0 {
                new.service_port = old.service_port;
            }
        }
    }
    after
}

/// Without what is not the definition.
fn json(app: &App) -> Value {
    let mut json = app.to_json();
    if let Value::Object(fields) = &mut json {
        fields.remove("version");
        fields.remove("versionInfo");
    }
    json
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Field>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for name in names {
                compare(&format!("{path}/{name}"), before.get(name), after.get(name), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after)))
            if before.iter().chain(after).any(|one| one.is_object()) =>
        {
            for at in 0..before.len().max(after.len()) {
                compare(&format!("{path}/{at}"), before.get(at), after.get(at), found);
            }
        }
        (before, after) => found.push(Field {
            path: path.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

impl Change {
    /// What becomes of the app, in one line.
    pub(super) fn headline(&self) -> String {
        let (app, count) = (&self.app, instances(self.instances));
        let scale = match self.instances_before {
            Some(before) if before != self.instances => format!(", from {before} to {count}"),
            _ => String::new(),
        };
        match (self.change, self.restarts) {
            (Kind::Create, _) => format!("{app}: is new, {count}"),
            (Kind::None, _) => format!("{app}: nothing changes"),
            (Kind::Update, true) => format!("{app}: changes{scale}, and every instance is replaced"),
            (Kind::Update, false) => format!("{app}: changes{scale}, and no instance that runs is restarted"),
        }
    }
}

impl Field {
    /// The line of a difference.
    pub(super) fn line(&self) -> String {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => format!("  ~ {}: {before} -> {after}", self.path),
            (None, Some(after)) => format!("  + {}: {after}", self.path),
            (Some(before), None) => format!("  - {}: {before}", self.path),
            (None, None) => format!("  {}", self.path),
        }
    }
}

fn instances(count: u32) -> String {
    match count {
        1 => "1 instance".into(),
        count => format!("{count} instances"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduler::app::{AppId, read};
    use serde_json::json;

    fn app(more: &Value) -> App {
        let mut app = json!({"id": "/web", "cmd": "serve", "instances": 2, "portDefinitions": [{"port": 0}]});
        for (name, value) in more.as_object().unwrap() {
            app[name] = value.clone();
        }
        read::app(&app, &AppId::root()).unwrap().app
    }

    fn told(before: &Value, after: &Value) -> (bool, Vec<String>) {
        let change = change(Some(&app(before)), &app(after));
        (change.restarts, change.fields.iter().map(Field::line).collect())
    }

    #[test]
    fn what_is_the_same_in_other_words_does_not_differ() {
        let before = app(&json!({"portDefinitions": [{"port": 10_001}]}));

        let change = change(Some(&before), &app(&json!({"env": {}, "cpus": 1})));

        assert_eq!((change.change, change.fields), (Kind::None, Vec::new()));
        assert_eq!(super::change(None, &before).headline(), "/web: is new, 2 instances");
    }

    #[test]
    fn fields_that_differ_are_named_and_say_whether_instances_are_replaced() {
        assert_eq!(
            told(
                &json!({"env": {"A": "1", "B": "2"}}),
                &json!({"env": {"A": "3", "C": "4"}})
            ),
            (
                true,
                vec![
                    r#"  ~ /env/A: "1" -> "3""#.to_owned(),
                    r#"  - /env/B: "2""#.to_owned(),
                    r#"  + /env/C: "4""#.to_owned()
                ]
            )
        );
        for (after, restarts) in [
            (json!({"instances": 5}), false),
            (json!({"labels": {"HAPROXY_0_VHOST": "a"}}), false),
            (json!({"labels": {"KEYWAY_ON_CHANGE": "restart"}}), true),
            (json!({"healthChecks": [{"protocol": "TCP"}]}), false),
            (json!({"cmd": "other"}), true),
            (json!({"cmd": "other", "instances": 0}), false),
        ] {
            let (found, fields) = told(&json!({}), &after);
            assert_eq!(found, restarts, "{after}");
            assert!(!fields.is_empty(), "{after}");
        }
    }
}
