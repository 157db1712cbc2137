//! The apps that files say are to be: read, changed as the flags say, checked. Pure but for the reading.

use std::io::Read as _;

use kvapi::Problem;
use kvapi::problem::exit;
use scheduler::app::invalid::Invalid;
use scheduler::app::{App, AppId, read};
use serde_json::{Map, Value, json};

use super::refused::invalid;

/// An app of a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    /// The file.
    pub(super) place: String,
    /// As it is sent.
    pub(super) json: Value,
    pub(super) app: App,
    /// Fields that have no effect.
    pub(super) ignored: Vec<String>,
}

/// What flags change of what files say.
#[derive(Debug, Default)]
pub(super) struct Amendments {
    /// `IMAGE`, or `APP=IMAGE`.
    pub(super) images: Vec<String>,
    pub(super) instances: Option<u32>,
    /// `NAME=VALUE` of the environment.
    pub(super) env: Vec<String>,
    /// `rollback` or `wait`, of every app.
    pub(super) on_failure: Option<&'static str>,
}

/// What a file holds; `-` is standard input.
pub(super) fn bytes(file: &str) -> Result<Vec<u8>, Problem> {
    let read = match file {
        "-" => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
        }
        path => std::fs::read(path),
    };
    read.map_err(|e| Problem::new(exit::INVALID, format!("read {}: {e}", shown(file))))
}

fn shown(file: &str) -> &str {
    match file {
        "-" => "standard input",
        file => file,
    }
}

/// The apps of all files, each as it is to be.
pub(super) fn wanted(files: &[(String, Vec<u8>)], amendments: &Amendments) -> Result<Vec<Wanted>, Problem> {
    let mut found: Vec<(String, Map<String, Value>, Option<usize>)> = Vec::new();
    for (file, text) in files {
        let place = shown(file).to_owned();
        let bad = |e: &dyn std::fmt::Display| Problem::new(exit::INVALID, format!("{place}: is no JSON: {e}"));
        match serde_json::from_slice(text).map_err(|e| bad(&e))? {
            Value::Object(app) => found.push((place, app, None)),
            Value::Array(apps) => {
                for (at, app) in apps.into_iter().enumerate() {
                    let Value::Object(app) = app else {
                        return Err(Problem::new(
                            exit::INVALID,
                            format!("{place}: /{at} has to be an object"),
                        ));
                    };
                    found.push((place.clone(), app, Some(at)));
                }
            }
            _ => {
                return Err(
                    Problem::new(exit::INVALID, format!("{place}: is neither an app nor a list of apps"))
                        .help(r#"an app is an object such as {"id": "/web", "cmd": "...", "instances": 2}"#),
                );
            }
        }
    }
    if found.is_empty() {
        return Err(Problem::new(exit::INVALID, "the files name no app"));
    }
    amend(&mut found, amendments)?;
    let mut wanted: Vec<Wanted> = Vec::new();
    for (place, mut fields, at) in found {
        // What was answered once and is sent again.
        fields.remove("version");
        fields.remove("versionInfo");
        let json = Value::Object(fields);
        let read = read::app(&json, &AppId::root()).map_err(|e| bad(&place, at, e))?;
        if let Some(twin) = wanted.iter().find(|other| other.app.id == read.app.id) {
            let what = format!("{} is in {} and again in {place}", read.app.id, twin.place);
            return Err(Problem::new(exit::INVALID, what));
        }
        wanted.push(Wanted {
            place,
            json,
            app: read.app,
            ignored: read.ignored,
        });
    }
    Ok(wanted)
}

fn bad(place: &str, at: Option<usize>, error: Invalid) -> Problem {
    let error = match at {
        Some(at) => error.within(&format!("/{at}")),
        None => error,
    };
    let fields: Vec<_> = error
        .fields()
        .iter()
        .map(|field| (field.path.clone(), field.errors.clone()))
        .collect();
    invalid(Some(place), &error.to_string(), &fields)
}

type Found = (String, Map<String, Value>, Option<usize>);

fn amend(found: &mut [Found], amendments: &Amendments) -> Result<(), Problem> {
    for image in &amendments.images {
        // An image's name has no equals sign.
        let (app, image) = match image.split_once('=') {
            Some((app, image)) => (Some(app), image),
            None => (None, image.as_str()),
        };
        let (place, fields, _) = one(found, app, "--image")?;
        let docker = fields
            .get_mut("container")
            .and_then(|container| container.get_mut("docker"));
        let docker = docker.and_then(Value::as_object_mut).ok_or_else(|| {
            Problem::new(
                exit::INVALID,
                format!("{place}: has no /container/docker that --image could change"),
            )
            .help(r#"write it there first: "container": {"type": "DOCKER", "docker": {"image": "..."}}"#)
        })?;
        docker.insert("image".into(), json!(image));
    }
    if let Some(instances) = amendments.instances {
        one(found, None, "--instances")?
            .1
            .insert("instances".into(), json!(instances));
    }
    for pair in &amendments.env {
        let (name, value) = pair
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| {
                Problem::new(exit::USAGE, "--set wants NAME=VALUE").help("it sets a variable of the environment")
            })?;
        let (place, fields, _) = one(found, None, "--set")?;
        let env = fields.entry("env").or_insert_with(|| json!({}));
        let env = env.as_object_mut();
        let env = env.ok_or_else(|| Problem::new(exit::INVALID, format!("{place}: /env has to be an object")))?;
        env.insert(name.into(), json!(value));
    }
    for (place, fields, _) in found.iter_mut().filter(|_| amendments.on_failure.is_some()) {
        let labels = fields.entry("labels").or_insert_with(|| json!({}));
        let labels = labels.as_object_mut();
        let labels =
            labels.ok_or_else(|| Problem::new(exit::INVALID, format!("{place}: /labels has to be an object")))?;
        labels.insert("KEYWAY_ON_FAILURE".into(), json!(amendments.on_failure));
    }
    Ok(())
}

/// The app that is meant: the one named, or the only one.
fn one<'a>(found: &'a mut [Found], app: Option<&str>, flag: &str) -> Result<&'a mut Found, Problem> {
    let Some(app) = app else {
        return match found {
            [one] => Ok(one),
            several => Err(Problem::new(
                exit::USAGE,
                format!("{flag} is for one app, and the files have {}", several.len()),
            )
            .help(match flag {
                "--image" => "say which:   --image /web=IMAGE",
                _ => "write it into the files",
            })),
        };
    };
    let id = |text: &str| AppId::absolute(text).ok();
    let wanted = id(app);
    let is_it = |(_, fields, _): &&mut Found| {
        let named = fields.get("id").and_then(Value::as_str).and_then(id);
        named.is_some() && named == wanted
    };
    let found = found.iter_mut().find(is_it);
    found.ok_or_else(|| Problem::new(exit::USAGE, format!("{flag}: no file has an app `{app}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[&str], amendments: &Amendments) -> Result<Vec<Wanted>, Problem> {
        let files = files.iter().enumerate();
        let files = files.map(|(at, text)| (format!("{at}.json"), text.as_bytes().to_vec()));
        wanted(&files.collect::<Vec<_>>(), amendments)
    }

    const WEB: &str = r#"{"id": "web", "container": {"type": "DOCKER", "docker": {"image": "web:1"}}}"#;

    #[test]
    fn files_have_apps_or_lists_of_apps() {
        let db = r#"[{"id": "/shop/db", "cmd": "a"}, {"id": "/shop/cache", "cmd": "b", "version": "x"}]"#;

        let wanted = read(&[WEB, db], &Amendments::default()).unwrap();

        let ids: Vec<&str> = wanted.iter().map(|wanted| wanted.app.id.as_str()).collect();
        assert_eq!(ids, ["/web", "/shop/db", "/shop/cache"]);
        assert_eq!(wanted[2].json.get("version"), None);
    }

    #[test]
    fn flags_change_what_the_file_says() {
        let amendments = Amendments {
            images: vec!["web=registry:5000/web:2".into()],
            instances: Some(7),
            env: vec!["A=b=c".into()],
            on_failure: Some("wait"),
        };

        let wanted = read(&[WEB], &amendments).unwrap().remove(0);

        assert_eq!(wanted.app.image().unwrap().name, "registry:5000/web:2");
        assert_eq!(wanted.json["instances"], 7);
        assert_eq!(wanted.json["env"]["A"], "b=c");
        assert_eq!(wanted.json["labels"]["KEYWAY_ON_FAILURE"], "wait");
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let none = Amendments::default();
        let instances = Amendments {
            instances: Some(1),
            ..Amendments::default()
        };
        let image = Amendments {
            images: vec!["x:1".into()],
            ..Amendments::default()
        };
        for (files, amendments, code, said) in [
            (vec!["{"], &none, exit::INVALID, "0.json: is no JSON"),
            (vec!["7"], &none, exit::INVALID, "neither an app nor"),
            (vec!["[]"], &none, exit::INVALID, "name no app"),
            (vec!["[7]"], &none, exit::INVALID, "0.json: /0 has to be"),
            (vec![r#"{"id": "/a", "cmd": 7}"#], &none, exit::INVALID, "0.json: /cmd "),
            (
                vec![r#"[{"id": "/a", "cmd": 7}]"#],
                &none,
                exit::INVALID,
                "0.json: /0/cmd ",
            ),
            (
                vec![WEB, WEB],
                &none,
                exit::INVALID,
                "/web is in 0.json and again in 1.json",
            ),
            (
                vec![WEB, r#"{"id": "/a", "cmd": "a"}"#],
                &instances,
                exit::USAGE,
                "the files have 2",
            ),
            (
                vec![r#"{"id": "/a", "cmd": "a"}"#],
                &image,
                exit::INVALID,
                "/container/docker",
            ),
        ] {
            let problem = read(&files, amendments).unwrap_err();
            assert_eq!(problem.code, code, "{problem}");
            assert!(problem.what.contains(said), "{problem}");
        }
    }
}
