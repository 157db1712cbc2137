//! A group's definition from JSON.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Definition, Update};
use crate::app::AppId;
use crate::app::invalid::Invalid;
use crate::app::read::node::{Findings, Node, Object};
use crate::app::read::{self, Read};

impl Update {
    /// Reads an update of the group `id`; without one, the definition says it, relative to `parent`.
    pub fn read(update: &Value, parent: &AppId, id: Option<&AppId>) -> Result<Self, Invalid> {
        let findings = Findings::default();
        let root = Node::root(update, &findings);
        let read = root
            .object()
            .and_then(|mut object| self::update(&mut object, parent, id));
        let ignored = findings.conclude()?;
        match read.ok_or_else(Invalid::no_object)? {
            Self::Definition(definition) => Ok(Self::Definition(Definition { ignored, ..definition })),
            other => Ok(other),
        }
    }
}

fn update(object: &mut Object<'_>, parent: &AppId, id: Option<&AppId>) -> Option<Update> {
    let version = object.take("version");
    let scale = object.take("scaleBy");
    let definition = definition(object, parent, id)?;
    let names_nothing = definition.apps.is_none() && definition.groups.is_none() && definition.dependencies.is_none();
    match (version, scale) {
        (None, Some(node)) => {
            if !names_nothing {
                node.wrong("stands alone: leave it or the rest out");
            }
            node.number(0.0).map(Update::Scale)
        }
        // A definition with a version is an answer that was sent back.
        (Some(node), None) if names_nothing => {
            let time = node.text()?.parse();
            time.map_err(|error: crate::time::NoTime| node.wrong(error.to_string()))
                .ok()
                .map(Update::Back)
        }
        (_, None) => Some(Update::Definition(definition)),
        (Some(node), Some(_)) => {
            node.wrong("stands beside scaleBy: leave one of them out");
            None
        }
    }
}

fn definition(object: &mut Object<'_>, parent: &AppId, known: Option<&AppId>) -> Option<Definition> {
    let given = match known {
        Some(_) => object.take("id"),
        None => object.need("id"),
    };
    let id = match (given, known) {
        (Some(node), None) => inside(&node, parent)?,
        (Some(node), Some(known)) => {
            let is_it = |base: &AppId| AppId::below(base, node.text().unwrap_or_default()).as_ref() == Ok(known);
            if !is_it(&AppId::root()) && !is_it(&known.parent()) {
                node.wrong(format!("is not {known}, which is to be updated: leave it out"));
            }
            known.clone()
        }
        (None, known) => known?.clone(),
    };
    // Marathon answers them; they say nothing here.
    object.leave(&["enforceRole"]);
    if let Some(pods) = object.take("pods")
        && pods.items().is_some_and(|pods| !pods.is_empty())
    {
        pods.wrong("cannot be done here: make an app of each container");
    }
    Some(Definition {
        apps: object.list("apps", |node| app(&node, &id)),
        groups: object.list("groups", |node| group(&node, &id)),
        dependencies: dependencies(object, &id),
        ignored: Vec::new(),
        id,
    })
}

fn group(node: &Node<'_>, parent: &AppId) -> Option<Definition> {
    let mut object = node.object()?;
    object.leave(&["version"]);
    definition(&mut object, parent, None)
}

/// The id of a group in another one.
fn inside(node: &Node<'_>, parent: &AppId) -> Option<AppId> {
    let id = read::reference(node, parent)?;
    if id == *parent && !parent.is_root() || !id.is_within(parent) {
        node.wrong(format!("is not within its group {parent}"));
    }
    Some(id)
}

fn app(node: &Node<'_>, group: &AppId) -> Option<crate::app::App> {
    match read::app(node.value, group) {
        Ok(Read { app, ignored }) => {
            ignored
                .iter()
                .for_each(|path| node.findings.ignore(format!("{}{path}", node.path)));
            if app.id.parent() != *group {
                node.wrong(format!("is in {}, not in {group}: write it there", app.id.parent()));
            }
            Some(app)
        }
        Err(invalid) => {
            node.findings.absorb(&invalid.within(&node.path));
            None
        }
    }
}

fn dependencies(object: &mut Object<'_>, id: &AppId) -> Option<BTreeSet<AppId>> {
    let paths = object.list("dependencies", |node| read::reference(&node, id))?;
    Some(paths.into_iter().collect())
}
