//! An update laid over what is there.
//!
//! A partial one keeps what it does not name and replaces what it names whole, maps and lists too. Both are laid over each
//! other as canonical JSON and read again, so an update cannot make an app that a definition could not.

use serde_json::{Map, Value, json};

use super::App;
use super::id::AppId;
use super::invalid::Invalid;
use super::read::node::{Findings, Node};
use super::read::{self, Read, legacy};
use crate::time::Timestamp;

/// What an update asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// This definition.
    Definition(Box<Read>),
    /// The one that there was at that time.
    Back(Timestamp),
}

/// What an update does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// It stays: `PATCH`, and `PUT` unless it says `partialUpdate=false`.
    Stays,
    /// It becomes its default.
    IsDefault,
}

impl Update {
    /// Reads an update of the app `id`, which `current` is if there is one.
    pub fn read(update: &Value, id: &AppId, current: Option<&App>, absent: Absent) -> Result<Self, Invalid> {
        let fields = update.as_object().ok_or_else(Invalid::no_object)?;
        let findings = Findings::default();
        names(update, id, &findings);
        if let Some(version) = version(update, &findings) {
            findings.conclude()?;
            return Ok(Self::Back(version));
        }
        let update = legacy::translate(fields.clone(), &findings);
        findings.conclude()?;
        let base = match absent {
            Absent::Stays => current.map(App::to_json),
            Absent::IsDefault => None,
        };
        let mut app = laid_over(base, update);
        app.insert("id".into(), json!(id));
        let read = read::app(&Value::Object(app), &AppId::root())?;
        Ok(Self::Definition(Box::new(read)))
    }
}

/// The id that an update in a list says it is for.
pub fn id(update: &Value, group: &AppId) -> Result<AppId, Invalid> {
    let findings = Findings::default();
    let root = Node::root(update, &findings);
    let id = root.object().and_then(|mut object| {
        let id = object.need("id").and_then(|node| read::reference(&node, group));
        object.leave_rest();
        id
    });
    findings.conclude()?;
    id.ok_or_else(Invalid::no_object)
}

/// An id in the update has to be that of the app, absolute or as its group knows it.
fn names(update: &Value, id: &AppId, findings: &Findings) {
    match update.get("id") {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => {
            let is_it = |base: &AppId| AppId::below(base, text).as_ref() == Ok(id);
            if !is_it(&AppId::root()) && !is_it(&id.parent()) {
                findings.wrong("/id", format!("is not {id}, which is to be updated: leave it out"));
            }
        }
        Some(_) => findings.misshapen("/id", "has to be a text"),
    }
}

/// The version to go back to. Beside `versionInfo` it is only what an answer said, sent back with it.
fn version(update: &Value, findings: &Findings) -> Option<Timestamp> {
    let is_there = |name: &str| update.get(name).filter(|value| !value.is_null());
    let version = is_there("version").filter(|_| is_there("versionInfo").is_none())?;
    let given = |(name, value): (&String, &Value)| !value.is_null() && name != "version" && name != "id";
    if update.as_object()?.iter().any(given) {
        findings.wrong(
            "/version",
            "goes back to that version and stands alone, or beside id: leave it out",
        );
    }
    let Some(text) = version.as_str() else {
        findings.misshapen("/version", "has to be a text");
        return None;
    };
    text.parse()
        .map_err(|error: crate::time::NoTime| findings.wrong("/version", error.to_string()))
        .ok()
}

fn laid_over(base: Option<Value>, update: Map<String, Value>) -> Map<String, Value> {
    let Some(Value::Object(mut app)) = base else {
        return update;
    };
    // What the update says in another way than its base goes.
    for (named, goes) in [("cmd", "args"), ("args", "cmd"), ("networks", "portDefinitions")] {
        if update.contains_key(named) {
            app.remove(goes);
        }
    }
    let is_host = |network: &Value| network["mode"] == "host";
    // None is the host's too.
    let networks = update.get("networks").and_then(Value::as_array);
    let to_host = networks.is_some_and(|networks| networks.iter().all(is_host));
    if let Some(container) = app
        .get_mut("container")
        .and_then(Value::as_object_mut)
        .filter(|_| to_host)
    {
        container.remove("portMappings");
    }
    app.extend(update);
    app
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::app::Command;
    use crate::app::tests::{any_app, app};

    fn updated(current: &App, update: &Value, absent: Absent) -> Result<App, Invalid> {
        match Update::read(update, &current.id, Some(current), absent)? {
            Update::Definition(read) => Ok(read.app),
            Update::Back(version) => panic!("back to {version}"),
        }
    }

    fn partly(current: &App, update: &Value) -> App {
        updated(current, update, Absent::Stays).unwrap_or_else(|error| panic!("{update}: {error}"))
    }

    fn place(update: &Value) -> String {
        let current = app(&json!({}));
        let error = Update::read(update, &current.id, Some(&current), Absent::Stays).unwrap_err();
        error.fields()[0].path.clone()
    }

    #[test]
    fn case_3_what_an_update_does_not_name_stays_or_becomes_its_default() {
        let current = app(&json!({ "env": { "B": "1" }, "labels": { "a": "b" }, "instances": 1 }));

        let scaled = partly(&current, &json!({ "instances": 3 }));
        assert_eq!(
            (scaled.instances, &scaled.env, &scaled.labels),
            (3, &current.env, &current.labels)
        );

        let replaced = updated(&current, &json!({ "cmd": "sleep 1" }), Absent::IsDefault).unwrap();
        assert!(replaced.env.is_empty() && replaced.labels.is_empty());
        assert!(updated(&current, &json!({ "instances": 3 }), Absent::IsDefault).is_err());
    }

    #[test]
    fn case_4_a_map_is_replaced_whole() {
        let current = app(&json!({ "env": { "B": "1" } }));
        let env = partly(&current, &json!({ "env": { "A": "1" } })).env;
        assert_eq!(env.keys().collect::<Vec<_>>(), ["A"]);
    }

    #[test]
    fn case_12_a_version_stands_alone_and_goes_back() {
        let current = app(&json!({}));
        let back = |update: Value| Update::read(&update, &current.id, Some(&current), Absent::Stays);
        let version = "2026-01-02T03:04:05.678Z";

        let there = Ok(Update::Back(version.parse().unwrap()));
        assert_eq!(back(json!({ "version": version })), there);
        assert_eq!(back(json!({ "version": version, "id": "/web", "cmd": null })), there);
        assert_eq!(place(&json!({ "version": version, "cmd": "a" })), "/version");
        assert_eq!(place(&json!({ "version": "yesterday" })), "/version");
        assert_eq!(place(&json!({ "version": 1 })), "/version");
    }

    #[test]
    fn another_way_to_say_something_takes_the_place_of_the_first() {
        let current = app(&json!({ "cmd": "a" }));
        let args = partly(&current, &json!({ "args": ["b"] }));
        assert_eq!(args.command, Some(Command::Args(vec!["b".into()])));
        assert_eq!(
            partly(&args, &json!({ "cmd": "c" })).command,
            Some(Command::Shell("c".into()))
        );
        assert_eq!(place(&json!({ "cmd": "c", "args": ["b"] })), "/args");

        let docker = json!({ "image": "nginx", "network": "BRIDGE", "portMappings": [{ "containerPort": 80 }] });
        let bridge = partly(&current, &json!({ "container": { "docker": docker } }));
        assert_eq!((bridge.ports().len(), bridge.ports()[0].declared), (1, 80));
        let host = partly(&bridge, &json!({ "networks": [{ "mode": "host" }] }));
        assert!(host.is_on_host() && host.ports().len() == 1);
        assert_eq!(partly(&bridge, &json!({ "networks": [] })), host);
        assert_eq!(partly(&current, &json!({ "ports": [8080] })).service_ports(), [8080]);

        let image = app(&json!({ "container": { "docker": { "image": "a" } }, "uris": ["file:///a.dockercfg"] }));
        assert_eq!(partly(&image, &json!({ "uris": [] })).fetch, []);
    }

    #[test]
    fn an_id_has_to_be_that_of_the_app() {
        let id = AppId::absolute("/shop/web").unwrap();
        for text in ["/shop/web", "web", "shop/web"] {
            let update = Update::read(&json!({ "id": text, "cmd": "a" }), &id, None, Absent::Stays);
            assert!(
                matches!(update, Ok(Update::Definition(read)) if read.app.id == id),
                "{text}"
            );
        }
        assert_eq!(place(&json!({ "id": "/other" })), "/id");
        assert_eq!(place(&json!({ "id": 1 })), "/id");

        assert_eq!(super::id(&json!({ "id": "web", "cmd": 1 }), &id.parent()), Ok(id));
        assert!(super::id(&json!({ "cmd": "a" }), &AppId::root()).is_err());
    }

    #[test]
    fn what_stays_is_checked_with_what_is_new() {
        let current = app(&json!({ "portDefinitions": [{}, {}], "healthChecks": [{ "portIndex": 1 }] }));
        let error = updated(&current, &json!({ "portDefinitions": [{}] }), Absent::Stays).unwrap_err();
        assert_eq!(error.fields()[0].path, "/healthChecks/0/portIndex");
    }

    proptest! {
        #[test]
        fn an_update_of_nothing_and_one_of_everything_change_nothing(app in any_app()) {
            let none = Timestamp::default();
            let same = App { version: none, last_scaling: none, last_config_change: none, ..app.clone() };
            for (update, absent) in [
                (json!({}), Absent::Stays),
                (app.to_json(), Absent::Stays),
                (app.to_json(), Absent::IsDefault),
            ] {
                let ignored = Vec::new();
                let read = Box::new(Read { app: same.clone(), ignored });
                prop_assert_eq!(Update::read(&update, &app.id, Some(&app), absent), Ok(Update::Definition(read)));
            }
        }
    }
}
