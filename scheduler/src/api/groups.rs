//! `/v2/groups`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::answer::{Answer, Refused, accepted, ok, put_ignored, respond, with_deployment};
use super::server::Asked;
use super::{apps, deployments, view};
use crate::app::group::{Groups, Shape, Update, tree};
use crate::app::{App, AppId, read};
use crate::engine::{Edit, Proposal, VERSIONS, Wish, preview};
use crate::run::Leading;
use crate::time::Timestamp;
use crate::world::{Group, World};

/// Apps and groups, as they are to be.
fn groups(world: &World) -> Groups {
    let apps = world.apps.iter().map(|(id, app)| (id.clone(), app.as_ref().clone()));
    let groups = world
        .groups
        .iter()
        .map(|(id, group)| (id.clone(), group.dependencies.clone()));
    Groups {
        apps: apps.collect(),
        groups: groups.collect(),
    }
}

fn no_group(id: &AppId) -> Refused {
    Refused::not_found(format!("Group '{id}' does not exist"))
}

/// When something in a group was changed last.
fn version(world: &World, group: &AppId) -> Timestamp {
    let apps = world
        .apps
        .values()
        .filter(|app| app.id.is_within(group))
        .map(|app| app.version);
    let groups = world
        .groups
        .iter()
        .filter(|(id, _)| id.is_within(group))
        .map(|(_, group)| group.version);
    apps.chain(groups).max().unwrap_or_default()
}

/// A group with everything in it.
pub(super) fn show(asked: &Asked, leading: &Leading, id: &AppId) -> Answer {
    let world = leading.world();
    if !groups(&world).has(id) {
        return Err(no_group(id));
    }
    let within = world.apps.values().filter(|app| app.id.is_within(id));
    let shown = within.map(|app| (app.id.clone(), view::app(&world, app, &asked.query, false)));
    let within = world.groups.keys().filter(|group| group.is_within(id));
    let versions: BTreeMap<&AppId, String> = within
        .map(|group| (group, version(&world, group).to_string()))
        .collect();
    let shapes = world
        .groups
        .iter()
        .filter(|(group, _)| group.is_within(id))
        .map(|(id, group)| {
            let shape = Shape {
                dependencies: &group.dependencies,
                version: &versions[id],
            };
            (id.clone(), shape)
        });
    ok(&tree(id, shown, &shapes.collect(), &version(&world, id).to_string()))
}

/// The apps in a group.
pub(super) fn apps_of(asked: &Asked, leading: &Leading, id: &AppId) -> Answer {
    let world = leading.world();
    if !groups(&world).has(id) {
        return Err(no_group(id));
    }
    let within = world.apps.values().filter(|app| app.id.is_within(id));
    ok(&json!({ "apps": within.map(|app| view::app(&world, app, &asked.query, false)).collect::<Vec<_>>() }))
}

/// When something in a group was changed, the newest first.
pub(super) fn versions(leading: &Leading, id: &AppId) -> Answer {
    let world = leading.world();
    if !groups(&world).has(id) {
        return Err(no_group(id));
    }
    let apps = world
        .versions
        .keys()
        .filter(|(app, _)| app.is_within(id))
        .map(|(_, version)| *version);
    let all: BTreeSet<Timestamp> = apps.chain([version(&world, id)]).collect();
    ok(&all.iter().rev().map(ToString::to_string).collect())
}

/// A group as it was: what of it is still known.
pub(super) fn version_of(asked: &Asked, leading: &Leading, id: &AppId, version: &str) -> Answer {
    let world = leading.world();
    let missing = || Refused::not_found(format!("Group '{id}' does not exist in version '{version}'"));
    let time: Timestamp = version.parse().map_err(|_| missing())?;
    let then = back(&world, id, time).ok_or_else(missing)?;
    let shown = then
        .into_iter()
        .map(|(id, app)| (id, view::app(&world, &app, &asked.query, false)));
    ok(&tree(id, shown, &BTreeMap::new(), version))
}

/// The apps of a group as they were; `None` if nothing of it is known.
fn back(world: &World, group: &AppId, time: Timestamp) -> Option<BTreeMap<AppId, Arc<App>>> {
    let mut then = BTreeMap::new();
    for ((id, version), app) in &world.versions {
        if id.is_within(group) && *version <= time && world.apps.contains_key(id) {
            then.insert(id.clone(), app.clone());
        }
    }
    (!then.is_empty()).then_some(then)
}

/// What becomes of a group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// It is new.
    Create,
    Update,
}

pub(super) async fn change(asked: &Asked, leading: &Leading, id: &AppId, manner: Manner) -> Answer {
    let body = read::json(&asked.body)?;
    let known = (manner == Manner::Update || !id.is_root()).then_some(id);
    let update = Update::read(&body, &AppId::root(), known)?;
    let (created, ignored) = match &update {
        Update::Definition(definition) => (definition.id.clone(), definition.ignored.clone()),
        Update::Back(_) | Update::Scale(_) => (id.clone(), Vec::new()),
    };
    let of = id.clone();
    let edit = move |world: &World| proposal(world, &of, update, manner);
    if asked.query.is_on("dryRun", false) {
        let world = leading.world();
        let steps = preview(&world, edit(&world)?, asked.now);
        return ok(&json!({ "steps": deployments::steps(&steps) }));
    }
    let edit: Edit<Refused> = Box::new(move |world, _| edit(world));
    let done = apps::change(asked, leading, edit, asked.query.is_on("force", false)).await?;
    let mut response = accepted(&done);
    put_ignored(&mut response, &ignored);
    if manner == Manner::Create {
        *response.status_mut() = StatusCode::CREATED;
        if let Ok(location) = HeaderValue::from_str(&format!("/v2/groups{created}")) {
            response.headers_mut().insert(header::LOCATION, location);
        }
    }
    Ok(response)
}

/// Back to how a group was.
pub(super) async fn roll_back(asked: &Asked, leading: &Leading, id: &AppId, version: &str) -> Answer {
    let time: Timestamp = version
        .parse()
        .map_err(|e: crate::time::NoTime| Refused::unprocessable(e.to_string()))?;
    let of = id.clone();
    let edit: Edit<Refused> = Box::new(move |world, _| proposal(world, &of, Update::Back(time), Manner::Update));
    Ok(accepted(
        &apps::change(asked, leading, edit, asked.query.is_on("force", false)).await?,
    ))
}

/// A group that is to be gone, with everything in it.
pub(super) async fn delete(asked: &Asked, leading: &Leading, id: &AppId) -> Answer {
    let of = id.clone();
    let edit: Edit<Refused> = Box::new(move |world, _| {
        let old = groups(world);
        if !old.has(&of) {
            return Err(no_group(&of));
        }
        let gone = old.within(&of);
        Ok(Proposal {
            apps: gone.apps.into_keys().map(|id| (id, Wish::Gone)).collect(),
            groups: gone.groups.into_keys().map(|id| (id, None)).collect(),
            ..Proposal::default()
        })
    });
    let done = apps::change(asked, leading, edit, asked.query.is_on("force", false)).await?;
    let body = json!({ "version": done.version.to_string(), "deploymentId": done.deployment });
    Ok(with_deployment(respond(StatusCode::OK, &body), &done))
}

fn proposal(world: &World, id: &AppId, update: Update, manner: Manner) -> Result<Proposal, Refused> {
    let old = groups(world);
    let new = match update {
        Update::Definition(definition) => {
            if manner == Manner::Create && old.has(&definition.id) && !definition.id.is_root() {
                let message = format!(
                    "Group {} is already created. Use PUT to change this group.",
                    definition.id
                );
                return Err(Refused::new(StatusCode::CONFLICT, message));
            }
            old.updated(&definition)?
        }
        Update::Scale(factor) => {
            if !old.has(id) {
                return Err(no_group(id));
            }
            old.scaled(id, factor)
        }
        Update::Back(time) => {
            let message = format!("Group '{id}' does not exist in version '{time}'");
            let then = back(world, id, time).ok_or_else(|| Refused::unprocessable(message))?;
            let there = old.within(id).apps.into_keys();
            let there: Vec<AppId> = there.collect();
            // Of one that is older than what is kept of it nobody knows how it was then, and it is not deleted for that.
            let is_unknown = |app: &&AppId| !then.contains_key(*app) && world.versions_of(app).count() >= VERSIONS;
            if let Some(app) = there.iter().find(is_unknown) {
                return Err(Refused::unprocessable(format!(
                    "how {app} was in version '{time}' is no longer kept: put it back by itself, and its group without it"
                )));
            }
            let wishes = there.into_iter().map(|app| {
                let wish = then
                    .get(&app)
                    .map_or(Wish::Gone, |former| Wish::Former(former.as_ref().clone().into()));
                (app, wish)
            });
            return Ok(Proposal {
                apps: wishes.collect(),
                ..Proposal::default()
            });
        }
    };
    difference(&old, new)
}

/// What has to be changed to come from one to the other.
fn difference(old: &Groups, new: Groups) -> Result<Proposal, Refused> {
    let mut proposal = Proposal::default();
    for id in old.apps.keys().filter(|id| !new.apps.contains_key(*id)) {
        proposal.apps.insert(id.clone(), Wish::Gone);
    }
    for id in old.groups.keys().filter(|id| !new.groups.contains_key(*id)) {
        proposal.groups.insert(id.clone(), None);
    }
    for (id, dependencies) in new.groups {
        if old.groups.get(&id) != Some(&dependencies) {
            let group = Group {
                dependencies,
                version: Timestamp::default(),
            };
            proposal.groups.insert(id, Some(group));
        }
    }
    for (id, app) in new.apps {
        if old.apps.get(&id) != Some(&app) {
            proposal.apps.insert(id, Wish::Is(apps::carried_out(app)?.into()));
        }
    }
    Ok(proposal)
}
