//! What a registry tells of images, and which apps that concerns.
//!
//! A registry that keeps to Docker's notifications sends an envelope of events for each request that it served. A push of an
//! image is several: one for each layer, which has no tag, and one for the manifest, which has one.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::app::invalid::Invalid;

/// A tag of a repository, and where that is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// With its port, as those who push call it.
    pub registry: String,
    pub repository: String,
    pub tag: String,
}

/// What an envelope says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pushed {
    /// The last digest that each tag was given.
    pub tags: BTreeMap<Tag, String>,
    /// Events, by their place, that concern no app, and why.
    pub ignored: Vec<(usize, &'static str)>,
}

impl Pushed {
    /// Reads an envelope.
    pub fn read(body: &Value) -> Result<Self, Invalid> {
        let events = body.get("events").and_then(Value::as_array);
        let events = events.ok_or_else(|| Invalid::meaning("/events", "has to be a list of a registry's events"))?;
        let mut pushed = Self::default();
        for (at, event) in events.iter().enumerate() {
            match reason_to_ignore(event) {
                Some(reason) => pushed.ignored.push((at, reason)),
                None => {
                    let (tag, digest) = read(event).map_err(|invalid| invalid.within(&format!("/events/{at}")))?;
                    pushed.tags.insert(tag, digest);
                }
            }
        }
        Ok(pushed)
    }
}

fn reason_to_ignore(event: &Value) -> Option<&'static str> {
    match event["action"].as_str() {
        Some("push") if event["target"]["tag"].as_str().is_none_or(str::is_empty) => Some("it has no tag"),
        Some("push") => None,
        _ => Some("it is no push"),
    }
}

fn read(event: &Value) -> Result<(Tag, String), Invalid> {
    let text = |path: &str, is_good: fn(&str) -> bool, wanted: &str| {
        let text = event.pointer(path).and_then(Value::as_str).filter(|text| is_good(text));
        text.map(str::to_owned)
            .ok_or_else(|| Invalid::meaning(path, format!("has to be {wanted}")))
    };
    let tag = Tag {
        registry: text("/request/host", is_host, "the name of the registry, with its port")?,
        repository: text("/target/repository", is_repository, "the name of a repository")?,
        tag: text("/target/tag", is_tag, "a tag")?,
    };
    let digest = text("/target/digest", is_digest, "sha256: and 64 hexadecimal digits")?;
    Ok((tag, digest))
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
}

fn is_repository(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    text.split('/').all(|part| !part.is_empty() && part.bytes().all(good))
}

fn is_tag(text: &str) -> bool {
    text.len() <= 128 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn is_digest(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or_default();
    digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// What a push makes of an app with some image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// It is of another tag, or of none.
    None,
    /// It has just this image.
    Same,
    /// It is to have this one: tag and digest.
    Becomes(String),
}

impl Tag {
    /// What it means for an app with `image` that this tag was given `digest`.
    #[must_use]
    pub fn effect(&self, digest: &str, image: &str) -> Effect {
        let (name, pinned) = match image.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (image, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            // Before a slash it is a registry's port.
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        // Somebody who writes a digest and no tag wants just that one.
        let tag = tag.or(if pinned.is_none() { Some("latest") } else { None });
        let of = name.strip_prefix(self.registry.as_str());
        let of = of.and_then(|rest| rest.strip_prefix('/'));
        if of != Some(self.repository.as_str()) || tag != Some(self.tag.as_str()) {
            return Effect::None;
        }
        if pinned == Some(digest) {
            return Effect::Same;
        }
        Effect::Becomes(format!("{name}:{}@{digest}", self.tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ONE: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
    const TWO: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

    fn event(tag: &str, digest: &str) -> Value {
        json!({
            "action": "push", "request": { "host": "registry:5000" },
            "target": { "repository": "shop/web", "tag": tag, "digest": digest },
        })
    }

    fn tag() -> Tag {
        Tag {
            registry: "registry:5000".into(),
            repository: "shop/web".into(),
            tag: "1".into(),
        }
    }

    #[test]
    fn of_an_envelope_the_last_push_of_each_tag_counts_and_the_rest_is_ignored() {
        let pull = json!({ "action": "pull", "target": { "tag": "1" } });
        let layer = json!({ "action": "push", "target": { "digest": ONE } });
        let body = json!({ "events": [event("1", ONE), pull, layer, event("1", TWO)] });

        let pushed = Pushed::read(&body).unwrap();

        assert_eq!(pushed.tags, [(tag(), TWO.to_owned())].into());
        assert_eq!(pushed.ignored, [(1, "it is no push"), (2, "it has no tag")]);
    }

    #[test]
    fn what_is_no_event_is_refused_with_its_place() {
        for (path, value, place) in [
            ("/request/host", json!(""), "/events/0/request/host"),
            ("/target/repository", json!("../x y"), "/events/0/target/repository"),
            ("/target/tag", json!("a b"), "/events/0/target/tag"),
            ("/target/digest", json!("sha256:12"), "/events/0/target/digest"),
        ] {
            let mut bad = event("1", ONE);
            *bad.pointer_mut(path).unwrap() = value;

            let invalid = Pushed::read(&json!({ "events": [bad] })).unwrap_err();

            assert_eq!(invalid.fields()[0].path, place);
        }
        for body in [json!([]), json!({}), json!({ "events": 7 })] {
            assert_eq!(Pushed::read(&body).unwrap_err().fields()[0].path, "/events");
        }
    }

    #[test]
    fn an_app_follows_its_tag_and_is_pinned_by_digest() {
        let pinned = format!("registry:5000/shop/web:1@{ONE}");
        let new = format!("registry:5000/shop/web:1@{TWO}");
        for (image, effect) in [
            ("registry:5000/shop/web:1", Effect::Becomes(new.clone())),
            (&pinned, Effect::Becomes(new.clone())),
            (&new, Effect::Same),
            ("registry:5000/shop/web", Effect::None),
            ("registry:5000/shop/web:2", Effect::None),
            ("registry:5000/shop/web2:1", Effect::None),
            ("other:5000/shop/web:1", Effect::None),
            ("shop/web:1", Effect::None),
            (&format!("registry:5000/shop/web@{ONE}"), Effect::None),
        ] {
            assert_eq!(tag().effect(TWO, image), effect, "{image}");
        }
        let latest = Tag {
            tag: "latest".into(),
            ..tag()
        };
        let new = format!("registry:5000/shop/web:latest@{TWO}");
        assert_eq!(latest.effect(TWO, "registry:5000/shop/web"), Effect::Becomes(new));
    }
}
