//! `/v2/apps`.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::answer::{Answer, Refused, accepted, ok, put_ignored, respond, with_deployment};
use super::server::Asked;
use super::view;
use crate::app::invalid::Invalid;
use crate::app::merge::{Absent, Update};
use crate::app::select::Selector;
use crate::app::{App, AppId, merge, read};
use crate::engine::{Accepted, Edit, Proposal, Wish};
use crate::event::Event;
use crate::extension::Extension;
use crate::limits;
use crate::run::Leading;
use crate::time::Timestamp;
use crate::world::World;

/// All apps that are looked for.
pub(super) fn list(asked: &Asked, leading: &Leading) -> Answer {
    let world = leading.world();
    let label = asked.query.get("label").map(Selector::parse).transpose();
    let label = label.map_err(|e| Refused::unprocessable(e.to_string()))?;
    let (id, cmd) = (asked.query.get("id"), asked.query.get("cmd"));
    let found = world.apps.values().filter(|app| {
        id.is_none_or(|text| app.id_has(text))
            && cmd.is_none_or(|text| app.command_has(text))
            && label.as_ref().is_none_or(|selector| selector.matches(&app.labels))
    });
    let apps: Vec<Value> = found.map(|app| view::app(&world, app, &asked.query, false)).collect();
    ok(&json!({ "apps": apps }))
}

/// One app, with everything.
pub(super) fn show(asked: &Asked, leading: &Leading, id: &AppId) -> Answer {
    let world = leading.world();
    let app = world.apps.get(id).ok_or_else(|| Refused::no_app(id))?;
    ok(&json!({ "app": view::app(&world, app, &asked.query, true) }))
}

/// All apps of a group.
pub(super) fn within(asked: &Asked, leading: &Leading, group: &AppId) -> Answer {
    let world = leading.world();
    let found = world
        .apps
        .values()
        .filter(|app| app.id.is_within(group) && app.id != *group);
    let apps: Vec<Value> = found.map(|app| view::app(&world, app, &asked.query, true)).collect();
    ok(&json!({ "*": apps }))
}

/// A new app.
pub(super) async fn create(asked: &Asked, leading: &Leading) -> Answer {
    let read = read::app(&read::json(&asked.body)?, &AppId::root())?;
    let (app, ignored) = (carried_out(read.app)?, read.ignored);
    let id = app.id.clone();
    let edit: Edit<Refused> = Box::new(move |world, _| match world.apps.contains_key(&app.id) {
        true => Err(Refused::new(
            StatusCode::CONFLICT,
            format!("An app with id [{}] already exists.", app.id),
        )),
        false => Ok(only(Wish::Is(app.clone().into()), &app.id)),
    });
    let done = change(asked, leading, edit, asked.query.is_on("force", false)).await?;
    let json = told(asked, leading, &id, &done);
    let mut response = with_deployment(respond(StatusCode::CREATED, &json), &done);
    put_location(&mut response, &id);
    put_ignored(&mut response, &ignored);
    Ok(response)
}

/// An app that is to be like this, or like this in some of its fields.
pub(super) async fn update(asked: &Asked, leading: &Leading, id: &AppId, may_create: bool) -> Answer {
    let body = read::json(&asked.body)?;
    let partial = asked.query.is_on("partialUpdate", true);
    let (tell, found) = oneshot::channel();
    let id = id.clone();
    let of = id.clone();
    let wanted = asked.query.get("ifVersion").map(str::to_owned);
    let edit: Edit<Refused> = Box::new(move |world, _| {
        if let Some(wanted) = &wanted {
            is_at(world, &of, wanted)?;
        }
        let (wish, ignored) = wish(world, &of, &body, partial, may_create)?;
        // Whoever asked may have gone away.
        let _ = tell.send((!world.apps.contains_key(&of), ignored));
        Ok(only(wish, &of))
    });
    let done = change(asked, leading, edit, asked.query.is_on("force", false)).await?;
    told(asked, leading, &id, &done);
    let mut response = accepted(&done);
    if let Ok((is_new, ignored)) = found.await {
        put_ignored(&mut response, &ignored);
        if is_new {
            *response.status_mut() = StatusCode::CREATED;
            put_location(&mut response, &id);
        }
    }
    Ok(response)
}

/// Refuses to ask for a version where none is looked at.
fn refuse_if_version(asked: &Asked) -> Result<(), Refused> {
    match asked.query.get("ifVersion") {
        Some(_) => Err(Refused::unprocessable("ifVersion is for PUT and PATCH of one app")),
        None => Ok(()),
    }
}

/// Refuses to change an app that is not at this version; `none` is one that is not there.
fn is_at(world: &World, id: &AppId, wanted: &str) -> Result<(), Refused> {
    let version = world.apps.get(id).map(|app| app.version.to_string());
    let version = version.as_deref().unwrap_or("none");
    if version == wanted {
        return Ok(());
    }
    Err(Refused::new(
        StatusCode::PRECONDITION_FAILED,
        format!("App '{id}' is at version {version}, not {wanted}"),
    ))
}

/// Several apps in one deployment.
pub(super) async fn update_all(asked: &Asked, leading: &Leading, may_create: bool) -> Answer {
    refuse_if_version(asked)?;
    let body = read::json(&asked.body)?;
    let Value::Array(all) = body else {
        return Err(Refused::unprocessable("the body has to be a list of apps"));
    };
    let partial = asked.query.is_on("partialUpdate", true);
    let (tell, found) = oneshot::channel();
    let edit: Edit<Refused> = Box::new(move |world, _| {
        let (mut apps, mut all_ignored) = (BTreeMap::new(), Vec::new());
        for (at, body) in all.iter().enumerate() {
            let id = merge::id(body, &AppId::root()).map_err(|invalid| invalid.within(&format!("/{at}")))?;
            let (wish, ignored) = wish(world, &id, body, partial, may_create)?;
            all_ignored.extend(ignored.into_iter().map(|path| format!("/{at}{path}")));
            if apps.insert(id.clone(), wish).is_some() {
                return Err(Refused::unprocessable(format!("{id} is twice in the list")));
            }
        }
        let _ = tell.send(all_ignored);
        Ok(Proposal {
            apps,
            ..Proposal::default()
        })
    });
    let mut response = accepted(&change(asked, leading, edit, asked.query.is_on("force", false)).await?);
    put_ignored(&mut response, &found.await.unwrap_or_default());
    Ok(response)
}

/// An app that is to be gone.
pub(super) async fn delete(asked: &Asked, leading: &Leading, id: &AppId) -> Answer {
    simple(asked, leading, id, Wish::Gone, true).await
}

/// An app whose instances are to be replaced.
pub(super) async fn restart(asked: &Asked, leading: &Leading, id: &AppId) -> Answer {
    simple(asked, leading, id, Wish::Restarted, false).await
}

async fn simple(asked: &Asked, leading: &Leading, id: &AppId, wish: Wish, force: bool) -> Answer {
    refuse_if_version(asked)?;
    let id = id.clone();
    let edit: Edit<Refused> = Box::new(move |world, _| match world.apps.contains_key(&id) {
        true => Ok(only(wish, &id)),
        false => Err(Refused::no_app(&id)),
    });
    Ok(accepted(
        &change(asked, leading, edit, asked.query.is_on("force", force)).await?,
    ))
}

/// The versions of an app, the newest first.
pub(super) fn versions(leading: &Leading, id: &AppId) -> Answer {
    let world = leading.world();
    world.apps.get(id).ok_or_else(|| Refused::no_app(id))?;
    let versions: Vec<String> = world.versions_of(id).map(|(version, _)| version.to_string()).collect();
    ok(&json!({ "versions": versions }))
}

/// An app as it was.
pub(super) fn version(leading: &Leading, id: &AppId, version: &str) -> Answer {
    let world = leading.world();
    ok(&former(&world, id, version)?.to_json())
}

fn former(world: &World, id: &AppId, version: &str) -> Result<Arc<App>, Refused> {
    let missing = || Refused::not_found(format!("App '{id}' does not exist in version '{version}'"));
    let time: Timestamp = version.parse().map_err(|_| missing())?;
    world.versions.get(&(id.clone(), time)).cloned().ok_or_else(missing)
}

/// What a body wants of an app, and the places of its fields that have no effect.
fn wish(
    world: &World,
    id: &AppId,
    body: &Value,
    partial: bool,
    may_create: bool,
) -> Result<(Wish, Vec<String>), Refused> {
    let current = world.apps.get(id).map(AsRef::as_ref);
    if current.is_none() && !may_create {
        return Err(Refused::no_app(id));
    }
    let absent = if partial { Absent::Stays } else { Absent::IsDefault };
    match Update::read(body, id, current, absent)? {
        Update::Back(version) => {
            let former = former(world, id, &version.to_string())?;
            Ok((Wish::Former(former.as_ref().clone().into()), Vec::new()))
        }
        Update::Definition(read) => Ok((Wish::Is(carried_out(read.app)?.into()), read.ignored)),
    }
}

/// Refuses labels of ours that are not understood.
pub(super) fn carried_out(app: App) -> Result<App, Refused> {
    let extension = Extension::of(&app.labels);
    extension.map_err(|bad| Invalid::meaning(&format!("/labels/{}", bad.label), bad.what))?;
    let bytes = app.to_json().to_string().len();
    if bytes > limits::DEFINITION {
        let what = format!(
            "is {bytes} bytes long, and {} is the most: put what is long into a setting or a template",
            limits::DEFINITION
        );
        return Err(Invalid::meaning("/", what).into());
    }
    Ok(app)
}

pub(super) fn only(wish: Wish, id: &AppId) -> Proposal {
    Proposal {
        apps: [(id.clone(), wish)].into(),
        ..Proposal::default()
    }
}

/// Has a change made, and waits until it is written. With `force`, what is in the way is cancelled.
pub(super) async fn change(
    asked: &Asked,
    leading: &Leading,
    edit: Edit<Refused>,
    force: bool,
) -> Result<Accepted, Refused> {
    let message = asked.query.get("message").map(str::to_owned);
    if message.as_ref().is_some_and(|message| message.len() > limits::REASON) {
        return Err(Refused::unprocessable(format!(
            "the message may have {} bytes at most",
            limits::REASON
        )));
    }
    let edit: Edit<Refused> = Box::new(move |world, now| {
        let proposal = edit(world, now)?;
        Ok(Proposal { message, ..proposal })
    });
    let done = leading.call(move |engine, now| engine.change(edit, force, now)).await?;
    Ok(done?)
}

/// Tells of a definition that was taken, and gives it.
pub(super) fn told(asked: &Asked, leading: &Leading, id: &AppId, done: &Accepted) -> Value {
    let world = leading.world();
    let Some(app) = world.apps.get(id) else {
        return Value::Null;
    };
    let mut json = view::app(&world, app, &asked.query, false);
    // It may have ended before anybody is told.
    json["deployments"] = json!([{ "id": done.deployment }]);
    asked.hub.tell(Event::api_post(
        done.version,
        &asked.remote,
        &asked.path,
        &app.to_json(),
    ));
    json
}

fn put_location(response: &mut axum::response::Response, id: &AppId) {
    if let Ok(location) = HeaderValue::from_str(&format!("/v2/apps{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
}
