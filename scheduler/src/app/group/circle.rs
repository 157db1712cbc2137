//! What apps wait for, and whether one waits for itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::app::{App, AppId};

/// What each app needs to be there before it: by itself, and by the groups that it is in. A group stands for all apps in it.
pub fn needs<'a>(
    apps: impl Iterator<Item = &'a App>,
    of_group: impl Fn(&AppId) -> Option<&'a BTreeSet<AppId>>,
) -> BTreeMap<AppId, BTreeSet<AppId>> {
    let apps: BTreeMap<&AppId, &App> = apps.map(|app| (&app.id, app)).collect();
    let needs = |app: &App| -> BTreeSet<AppId> {
        let groups = std::iter::successors(Some(app.id.parent()), |id| (!id.is_root()).then(|| id.parent()));
        let by_groups = groups.filter_map(|group| of_group(&group)).flatten();
        let named = app.dependencies.iter().chain(by_groups);
        let all = named.flat_map(|named| apps.keys().filter(|other| other.is_within(named)));
        // In a group that the app's own depends on; that it names its own group says nothing.
        all.filter(|other| **other != &app.id)
            .map(|other| (*other).clone())
            .collect()
    };
    apps.values().map(|app| (app.id.clone(), needs(app))).collect()
}

/// A way from an app over what it needs back to it, if there is one.
#[must_use]
pub fn circle(needs: &BTreeMap<AppId, BTreeSet<AppId>>) -> Option<Vec<AppId>> {
    let mut done = BTreeSet::new();
    needs.keys().find_map(|start| follow(start, needs, &mut done))
}

/// Follows from one app, with a way of its own: a long chain of apps is not a deep stack.
fn follow<'a>(
    start: &'a AppId,
    needs: &'a BTreeMap<AppId, BTreeSet<AppId>>,
    done: &mut BTreeSet<&'a AppId>,
) -> Option<Vec<AppId>> {
    let next = |id: &'a AppId| needs.get(id).into_iter().flatten();
    let mut way = vec![(start, next(start))];
    while let Some((here, left)) = way.last_mut() {
        let here = *here;
        match left.next() {
            Some(id) if done.contains(id) => {}
            Some(id) => {
                if let Some(from) = way.iter().position(|(passed, _)| *passed == id) {
                    let circle = way[from..].iter().map(|(passed, _)| *passed).chain([id]);
                    return Some(circle.cloned().collect());
                }
                way.push((id, next(id)));
            }
            None => {
                done.insert(here);
                way.pop();
            }
        }
    }
    None
}
