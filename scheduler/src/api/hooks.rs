//! `/v1/hooks`: what others tell, so that something is deployed.

use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use super::answer::{Answer, Refused, ok};
use super::apps::{only, told};
use super::server::Asked;
use crate::app::{App, AppId, read};
use crate::engine::{Accepted, Edit, Engine, Wish};
use crate::pushed::{Effect, Pushed, Tag};
use crate::run::Leading;
use crate::secret::Secret;
use crate::world::World;

/// A registry tells of images: each app whose image has a tag that was pushed is deployed with it, by itself.
///
/// An app that cannot be changed just now makes the whole a failure: a registry sends it again then, and those that were
/// changed have the image already.
pub(super) async fn registry(asked: &Asked, headers: &HeaderMap, leading: &Leading, secret: Option<&Secret>) -> Answer {
    let secret = secret.ok_or_else(|| {
        Refused::not_found(
            "the hook for registries is off: start the scheduler with --registry-secret-file to have it on",
        )
    })?;
    if !headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .is_some_and(|given| secret.is(given))
    {
        return Err(Refused::new(
            StatusCode::UNAUTHORIZED,
            "send the secret of this hook as   Authorization: Bearer SECRET",
        ));
    }
    let pushed = Pushed::read(&read::json(&asked.body)?)?;
    let world = leading.world();
    let (mut begun, mut same, mut repeated, mut unused) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut refused = None;
    for (tag, digest) in &pushed.tags {
        let of_tag = world.apps.values().map(|app| (&app.id, effect(app, tag, digest)));
        let concerned: Vec<_> = of_tag.filter(|(_, effect)| *effect != Effect::None).collect();
        if concerned.is_empty() {
            unused.push(format!("{}/{}:{}", tag.registry, tag.repository, tag.tag));
        }
        for (app, effect) in concerned {
            let Effect::Becomes(image) = effect else {
                same.push(app.as_str());
                continue;
            };
            // Whatever became of it then: a version that failed would fail again, and who went back wanted to.
            let launches = world.launches.get(app);
            if launches.and_then(|launches| launches.pushed.as_ref()) == Some(&image) {
                repeated.push(app.as_str());
                continue;
            }
            match deploy(leading, app, tag, digest, &image).await {
                Ok(done) => {
                    told(asked, leading, app, &done);
                    begun.push(json!({
                        "app": app.as_str(), "image": image, "deploymentId": done.deployment,
                        "version": done.version.to_string(),
                    }));
                }
                Err(error) => refused = Some(error),
            }
        }
    }
    if let Some(refused) = refused {
        return Err(refused);
    }
    let ignored = pushed.ignored.iter();
    let ignored = ignored.map(|(at, reason)| json!({ "event": at, "reason": reason }));
    ok(&json!({
        "deployments": begun, "unchanged": same, "repeated": repeated, "without_app": unused, "ignored": ignored.collect::<Vec<_>>(),
    }))
}

fn effect(app: &App, tag: &Tag, digest: &str) -> Effect {
    app.image()
        .map_or(Effect::None, |image| tag.effect(digest, &image.name))
}

async fn deploy(leading: &Leading, app: &AppId, tag: &Tag, digest: &str, image: &str) -> Result<Accepted, Refused> {
    let (id, tag, digest) = (app.clone(), tag.clone(), digest.to_owned());
    let edit: Edit<Refused> = Box::new(move |world: &World, _| {
        let app = world.apps.get(&id).ok_or_else(|| Refused::no_app(&id))?;
        let mut app = app.as_ref().clone();
        // It may have got another image meanwhile.
        if let Effect::Becomes(name) = effect(&app, &tag, &digest)
            && let Some(image) = app.container.as_mut().and_then(|container| container.image.as_mut())
        {
            image.name = name;
        }
        Ok(only(Wish::Is(app.into()), &id))
    });
    let (app, image) = (app.clone(), image.to_owned());
    let call = move |engine: &mut Engine, now| engine.change_for_push(&app, image, edit, now);
    Ok(leading.call(call).await??)
}
