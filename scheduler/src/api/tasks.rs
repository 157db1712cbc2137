//! `/v2/tasks` and the tasks of an app.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::answer::{Answer, Refused, accepted, ok};
use super::server::Asked;
use super::view;
use crate::app::{App, AppId};
use crate::engine::{Edit, Proposal, Wish};
use crate::instance::{Instance, InstanceId, parts};
use crate::run::Leading;
use crate::world::World;

/// All tasks, or those in some states.
pub(super) fn list(asked: &Asked, leading: &Leading) -> Answer {
    let world = leading.world();
    let wanted: Vec<&str> = asked.query.all("status").collect();
    let is_wanted = |instance: &Instance| {
        wanted.is_empty()
            || wanted.iter().any(|status| match *status {
                "running" => instance.is_running(),
                "staging" => instance.state() == "TASK_STAGING",
                _ => false,
            })
    };
    let found = world
        .instances
        .values()
        .filter(|instance| instance.has_task() && is_wanted(instance));
    ok(&json!({ "tasks": found.map(|instance| view::task(&world, instance)).collect::<Vec<_>>() }))
}

/// The tasks of an app.
pub(super) fn of_app(leading: &Leading, id: &AppId) -> Answer {
    let world = leading.world();
    world.apps.get(id).ok_or_else(|| Refused::no_app(id))?;
    let tasks = world.instances_of(id).filter(|instance| instance.has_task());
    ok(&json!({ "tasks": tasks.map(|instance| view::task(&world, instance)).collect::<Vec<_>>() }))
}

/// The tasks of all apps of a group.
pub(super) fn within(leading: &Leading, group: &AppId) -> Answer {
    let world = leading.world();
    let tasks = world
        .instances
        .values()
        .filter(|one| one.has_task() && one.id.app.is_within(group));
    ok(&json!({ "tasks": tasks.map(|instance| view::task(&world, instance)).collect::<Vec<_>>() }))
}

/// Ends all tasks of an app, or those on one host.
pub(super) async fn delete_of_app(asked: &Asked, leading: &Leading, id: &AppId) -> Answer {
    let host = asked.query.get("host").unwrap_or("*").to_owned();
    let found = {
        let world = leading.world();
        world.apps.get(id).ok_or_else(|| Refused::no_app(id))?;
        let found = world
            .instances_of(id)
            .filter(|one| one.has_task() && (host == "*" || one.host == host));
        found.map(|one| one.id.clone()).collect::<Vec<_>>()
    };
    delete(asked, leading, &found, "tasks").await
}

/// Ends one task of an app.
pub(super) async fn delete_one(asked: &Asked, leading: &Leading, app: &AppId, task: &str) -> Answer {
    let found = {
        let world = leading.world();
        world.apps.get(app).ok_or_else(|| Refused::no_app(app))?;
        let found = world
            .instances_of(app)
            .find(|one| one.has_task() && one.task().0 == task);
        found.map(|one| one.id.clone()).ok_or_else(|| Refused::no_task(task))?
    };
    delete(asked, leading, &[found], "task").await
}

/// Ends tasks by their names. Those that are not there are left out.
pub(super) async fn delete_named(asked: &Asked, leading: &Leading) -> Answer {
    let body = crate::app::read::json(&asked.body)?;
    let ids = body.get("ids").and_then(Value::as_array);
    let ids = ids.ok_or_else(|| Refused::unprocessable("the body has to be {\"ids\": [...]}"))?;
    let mut named = BTreeSet::new();
    for id in ids {
        let id = id.as_str().unwrap_or_default();
        parts(id).ok_or_else(|| Refused::bad(format!("{id:?} is not the name of a task")))?;
        named.insert(id.to_owned());
    }
    let found: Vec<InstanceId> = {
        let world = leading.world();
        let found = world
            .instances
            .values()
            .filter(|one| one.has_task() && named.contains(&one.task().0));
        found.map(|one| one.id.clone()).collect()
    };
    delete(asked, leading, &found, "tasks").await
}

/// Ends tasks. They come back, unless their app is scaled down by them, or they are wiped.
async fn delete(asked: &Asked, leading: &Leading, ids: &[InstanceId], word: &str) -> Answer {
    let (scale, wipe) = (asked.query.is_on("scale", false), asked.query.is_on("wipe", false));
    if scale && wipe {
        return Err(Refused::bad("You cannot use scale and wipe at the same time."));
    }
    if scale {
        let edit = scale_down(ids.to_vec());
        return Ok(accepted(
            &super::apps::change(asked, leading, edit, asked.query.is_on("force", false)).await?,
        ));
    }
    let tasks = {
        let world = leading.world();
        let there = ids.iter().filter_map(|id| world.instances.get(id));
        there.map(|instance| view::task(&world, instance)).collect::<Vec<_>>()
    };
    let ids = ids.to_vec();
    leading.call(move |engine, now| engine.kill(&ids, wipe, now)).await?;
    match (word, tasks.as_slice()) {
        ("task", [task]) => ok(&json!({ "task": task })),
        _ => ok(&json!({ "tasks": tasks })),
    }
}

/// Each app loses as many instances as are named, and those first.
fn scale_down(ids: Vec<InstanceId>) -> Edit<Refused> {
    Box::new(move |world: &World, _| {
        let mut apps: BTreeMap<AppId, u32> = BTreeMap::new();
        for id in &ids {
            *apps.entry(id.app.clone()).or_default() += 1;
        }
        let wishes = apps.into_iter().filter_map(|(id, count)| {
            let app = world.apps.get(&id)?;
            let app = App {
                instances: app.instances.saturating_sub(count),
                ..app.as_ref().clone()
            };
            Some((id, Wish::Is(app.into())))
        });
        Ok(Proposal {
            apps: wishes.collect(),
            sentenced: ids.iter().cloned().collect(),
            ..Proposal::default()
        })
    })
}
