//! `/v2/deployments`.

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Refused, accepted, ok, respond};
use super::server::Asked;
use super::view;
use crate::deployment::Deployment;
use crate::engine::{Edit, Proposal, Wish};
use crate::instance::Instance;
use crate::plan::deployment::Step;
use crate::run::Leading;
use crate::world::World;

/// Those under way.
pub(super) fn list(leading: &Leading) -> Answer {
    let world = leading.world();
    ok(&world.deployments.values().map(|one| deployment(&world, one)).collect())
}

fn deployment(world: &World, deployment: &Deployment) -> Value {
    let current = deployment.steps.get(deployment.current).cloned().unwrap_or_default();
    let actions = current.iter().map(|action| {
        let instances: Vec<&Instance> = world.instances_of(&action.app).map(AsRef::as_ref).collect();
        json!({
            "action": action.kind.name(), "app": action.app.as_str(),
            "readinessCheckResults": view::readiness(&instances),
        })
    });
    json!({
        "id": deployment.id, "version": deployment.version.to_string(),
        "affectedApps": deployment.apps().map(|app| app.as_str()).collect::<Vec<_>>(),
        "affectedPods": [],
        "steps": steps(&deployment.steps),
        "currentActions": actions.collect::<Vec<_>>(),
        "currentStep": deployment.current + 1,
        "totalSteps": deployment.steps.len(),
    })
}

/// Steps as the API writes them.
pub(super) fn steps(steps: &[Step]) -> Value {
    let step = |step: &Step| {
        let actions = step
            .iter()
            .map(|action| json!({ "action": action.kind.name(), "app": action.app.as_str() }));
        json!({ "actions": actions.collect::<Vec<_>>() })
    };
    steps.iter().map(step).collect()
}

/// Ends one: by going back to what was before, or with `force` by leaving everything as it is.
pub(super) async fn delete(asked: &Asked, leading: &Leading, id: &str) -> Answer {
    let known = leading.world().deployments.get(id).cloned();
    let deployment = known.ok_or_else(|| Refused::no_deployment(id))?;
    if asked.query.is_on("force", false) {
        let id = id.to_owned();
        leading.call(move |engine, now| engine.cancel(&id, now)).await?;
        return Ok(respond(StatusCode::ACCEPTED, &Value::Null));
    }
    let edit: Edit<Refused> = Box::new(move |world, _| {
        // It may have ended since it was looked for, and what is done is not undone by who wanted to stop it.
        match world.deployments.contains_key(&deployment.id) {
            true => Ok(reverse(world, &deployment)),
            false => Err(Refused::no_deployment(&deployment.id)),
        }
    });
    Ok(accepted(&super::apps::change(asked, leading, edit, true).await?))
}

/// What undoes a deployment: of its own changes only.
fn reverse(world: &World, deployment: &Deployment) -> Proposal {
    let wishes = deployment.before.iter().filter_map(|(app, before)| {
        let wish = match before {
            None => Wish::Gone,
            Some(version) => Wish::Former(world.versions.get(&(app.clone(), *version))?.as_ref().clone().into()),
        };
        Some((app.clone(), wish))
    });
    Proposal {
        apps: wishes.collect(),
        undoes: Some(deployment.id.clone()),
        ..Proposal::default()
    }
}
