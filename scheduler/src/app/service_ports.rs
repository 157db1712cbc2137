//! Each service port that is 0 becomes one that no app has.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::{App, AppId};

/// Where service ports come from unless the operator says otherwise.
pub const RANGE: RangeInclusive<u16> = 10_000..=20_000;

/// There is no port left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{app} needs a service port, and all from {first} to {last} are taken: name one, or have the range extended")]
pub struct Exhausted {
    pub app: AppId,
    pub first: u16,
    pub last: u16,
}

/// Gives service ports to `changed`, the apps that are new or are to be others than in `old`. One that had ports before gets
/// those first. All ports of the old and the new apps are taken; whether a named one is another app's too is not asked.
pub fn assign(
    old: &BTreeMap<AppId, App>,
    changed: &mut BTreeMap<AppId, App>,
    range: RangeInclusive<u16>,
) -> Result<(), Exhausted> {
    let all = old.values().chain(changed.values());
    let mut taken: BTreeSet<u16> = all.flat_map(App::service_ports).filter(|port| *port != 0).collect();
    for (id, app) in changed {
        let named: BTreeSet<u16> = app.service_ports().into_iter().collect();
        let former = old.get(id).map(App::service_ports).unwrap_or_default();
        let mut former = former
            .into_iter()
            .filter(|port| range.contains(port) && !named.contains(port));
        for port in service_ports(app).filter(|port| **port == 0) {
            let free = former
                .next()
                .or_else(|| range.clone().find(|port| *port != 0 && !taken.contains(port)));
            *port = free.ok_or_else(|| Exhausted {
                app: id.clone(),
                first: *range.start(),
                last: *range.end(),
            })?;
            taken.insert(*port);
        }
    }
    Ok(())
}

fn service_ports(app: &mut App) -> impl Iterator<Item = &mut u16> {
    let mappings = app
        .container
        .iter_mut()
        .filter_map(|container| container.port_mappings.as_mut());
    let mapped = mappings.flatten().map(|mapping| &mut mapping.service_port);
    app.port_definitions
        .iter_mut()
        .map(|definition| &mut definition.port)
        .chain(mapped)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::app::tests::app;

    type Apps = BTreeMap<AppId, App>;

    /// An app on the host's network, or with a container's ports on a network of its own.
    fn one(id: &str, ports: &[u16], on_host: bool) -> App {
        let host: Vec<Value> = ports.iter().map(|port| json!({ "port": port })).collect();
        let own: Vec<Value> = ports.iter().map(|port| json!({ "servicePort": port })).collect();
        match on_host {
            true => app(&json!({ "id": id, "portDefinitions": host })),
            false => app(&json!({
                "id": id,
                "container": { "docker": { "image": "a" }, "portMappings": own },
                "networks": [{ "mode": "container", "name": "whatever" }],
            })),
        }
    }

    fn apps(of: &[(&str, &[u16])], on_host: bool) -> Apps {
        let one = |(id, ports): &(&str, &[u16])| (AppId::absolute(id).unwrap(), one(id, ports, on_host));
        of.iter().map(one).collect()
    }

    fn assigned(
        old: &Apps,
        new: &[(&str, &[u16])],
        range: RangeInclusive<u16>,
        on_host: bool,
    ) -> Result<Apps, Exhausted> {
        let mut new = apps(new, on_host);
        assign(old, &mut new, range).map(|()| new)
    }

    fn ports(apps: &Apps) -> Vec<u16> {
        apps.values().flat_map(App::service_ports).collect()
    }

    #[test]
    fn case_11_a_service_port_of_0_becomes_one_that_no_app_has() {
        let none = Apps::new();
        for on_host in [true, false] {
            let new = assigned(
                &none,
                &[("/a", &[0, 0, 0]), ("/b", &[1, 2, 3]), ("/c", &[0, 2, 0])],
                10..=20,
                on_host,
            );
            assert_eq!(ports(&new.unwrap()), [10, 11, 12, 1, 2, 3, 13, 2, 14]);

            let new = assigned(&none, &[("/a", &[0, 10])], 10..=20, on_host).unwrap();
            assert_eq!(ports(&new), [11, 10]);

            let full = assigned(&none, &[("/a", &[0]), ("/b", &[0, 0])], 10..=11, on_host).unwrap_err();
            assert_eq!((full.app.as_str(), full.first, full.last), ("/b", 10, 11));
        }
        let two = assigned(&none, &[("/a", &[0]), ("/b", &[0])], RANGE, true).unwrap();
        assert_eq!(ports(&two), [10_000, 10_001]);
        assert_eq!(ports(&assigned(&none, &[("/a", &[0])], 0..=3, true).unwrap()), [1]);
    }

    #[test]
    fn case_11_an_app_that_had_a_port_keeps_it() {
        for on_host in [true, false] {
            let old = apps(&[("/a", &[10, 11]), ("/b", &[12])], on_host);
            for (new, expected) in [
                (&[0, 0][..], &[10, 11][..]),
                (&[0], &[10]),
                (&[10, 0, 11], &[10, 13, 11]),
                (&[0, 0, 0], &[10, 11, 13]),
                (&[11, 0], &[11, 10]),
                (&[], &[]),
            ] {
                let new = assigned(&old, &[("/a", new)], 10..=20, on_host).unwrap();
                assert_eq!(ports(&new), expected);
            }
        }
        // A port outside the range was named once; it is not given by us.
        let old = apps(&[("/a", &[80])], true);
        assert_eq!(ports(&assigned(&old, &[("/a", &[0])], 10..=20, true).unwrap()), [10]);
    }

    #[test]
    fn case_11_with_nothing_left_the_error_says_what_to_do() {
        let error = assigned(&Apps::new(), &[("/a", &[0, 0, 0])], 10..=11, true).unwrap_err();
        let text = "/a needs a service port, and all from 10 to 11 are taken: name one, or have the range extended";
        assert_eq!(error.to_string(), text);
    }

    proptest! {
        #[test]
        fn no_two_are_given_the_same_port(
            old in proptest::collection::vec(proptest::collection::vec(10u16..40, 0..4), 3),
            new in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(0u16), 10u16..40], 0..4), 3),
        ) {
            let ids = ["/a", "/b", "/c"];
            // On a network of its own, where a number may stand twice.
            let old: Apps = std::iter::zip(ids, &old).map(|(id, ports)| (AppId::absolute(id).unwrap(), one(id, ports, false))).collect();
            let before: Apps = std::iter::zip(ids, &new).map(|(id, ports)| (AppId::absolute(id).unwrap(), one(id, ports, false))).collect();
            let mut after = before.clone();
            prop_assert!(assign(&old, &mut after, 10..=60).is_ok());

            let pairs: Vec<(u16, u16)> = std::iter::zip(ports(&before), ports(&after)).collect();
            let given: Vec<u16> = pairs.iter().filter(|(was, _)| *was == 0).map(|(_, is)| *is).collect();
            prop_assert!(given.iter().all(|port| (10..=60).contains(port)));
            prop_assert!(pairs.iter().all(|(was, is)| *was == 0 || was == is));
            // What was given from outside the former ports is nobody else's.
            let former = ports(&old);
            let fresh: Vec<u16> = given.into_iter().filter(|port| !former.contains(port)).collect();
            prop_assert_eq!(fresh.iter().collect::<BTreeSet<_>>().len(), fresh.len());
            prop_assert!(fresh.iter().all(|port| !ports(&before).contains(port)));
        }
    }
}
