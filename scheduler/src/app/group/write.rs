//! Groups as Marathon answers them: a tree.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::app::AppId;

/// What is known of one group.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    pub dependencies: &'a BTreeSet<AppId>,
    /// As the API writes it.
    pub version: &'a str,
}

/// The tree below `root`. `apps` are those in it, as they are to be shown, and `groups` those that are there by themselves;
/// groups that something is in are made as needed, with `version`.
#[must_use]
pub fn tree(
    root: &AppId,
    apps: impl IntoIterator<Item = (AppId, Value)>,
    groups: &BTreeMap<AppId, Shape<'_>>,
    version: &str,
) -> Value {
    let mut nodes: BTreeMap<AppId, Vec<Value>> = BTreeMap::new();
    let mut open = |id: AppId, app: Option<Value>| {
        nodes.entry(id.clone()).or_default().extend(app);
        let above = std::iter::successors(Some(id), |id| (id != root && !id.is_root()).then(|| id.parent()));
        above.for_each(|id| {
            nodes.entry(id).or_default();
        });
    };
    open(root.clone(), None);
    apps.into_iter()
        .filter(|(id, _)| id.is_within(root))
        .for_each(|(id, app)| open(id.parent(), Some(app)));
    groups
        .keys()
        .filter(|id| id.is_within(root))
        .for_each(|id| open(id.clone(), None));

    // The deepest are last: each is whole when it is put into the one above.
    let mut inner: BTreeMap<AppId, Vec<Value>> = BTreeMap::new();
    while let Some((id, apps)) = nodes.pop_last() {
        let shape = groups.get(&id);
        let group = json!({
            "id": id,
            "apps": apps,
            "groups": inner.remove(&id).unwrap_or_default(),
            "pods": [],
            "dependencies": shape.map(|shape| shape.dependencies.iter().collect::<Vec<_>>()).unwrap_or_default(),
            "version": shape.map_or(version, |shape| shape.version),
        });
        if id == *root {
            return group;
        }
        inner.entry(id.parent()).or_default().insert(0, group);
    }
    Value::Null
}
