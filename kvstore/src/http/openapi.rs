//! `GET /v1/openapi.json`: everything that is served, as OpenAPI 3.1, for tools and generators.
//!
//! The file stands beside the routes; a test holds both to each other.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::answer::Answer;

const DESCRIPTION: &str = include_str!("openapi.json");

/// The file as it is.
pub(super) fn get() -> Answer {
    Answer::text(StatusCode::OK, Bytes::from_static(DESCRIPTION.as_bytes()))
        .with(CONTENT_TYPE, HeaderValue::from_static("application/json"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::route::Route;
    use super::super::{acl, catalog, operator, registration, traffic};
    use super::*;

    /// What a path names, as it is described.
    const PARTS: [&str; 4] = ["{key}", "{rest}", "{session}", "{node}"];

    /// Paths and methods that are described; a path's parameter is `{}`.
    fn described() -> BTreeSet<(String, String)> {
        let description: serde_json::Value = serde_json::from_str(DESCRIPTION).unwrap();
        let mut found = BTreeSet::new();
        for (path, item) in description["paths"].as_object().unwrap() {
            let path = PARTS.iter().fold(path.clone(), |path, part| path.replace(part, "{}"));
            let methods = item.as_object().unwrap().keys().filter(|name| *name != "parameters");
            found.extend(methods.map(|method| (path.clone(), method.to_uppercase())));
        }
        found
    }

    /// Paths that are served: those that are counted, those written in the routes, and Consul's
    /// of tokens.
    fn served() -> BTreeSet<(String, String)> {
        let (code, _) = include_str!("route.rs").split_once("#[cfg(test)]").unwrap();
        let written = code.split("b\"").skip(1).filter_map(|rest| rest.split_once('"'));
        let mut paths: BTreeSet<String> = written.map(|(path, _)| path.to_owned()).collect();
        let bare = |name: &&str| {
            PARTS
                .iter()
                .fold((*name).to_owned(), |name, part| name.replace(part, ""))
        };
        paths.extend(traffic::ROUTES.iter().map(bare));
        // What is no path of its own: the beginning of all, of a family, and what is none.
        for family in [
            acl::PATHS,
            operator::PATHS,
            catalog::CATALOG,
            catalog::HEALTH,
            registration::PATHS,
        ] {
            paths.extend(family.paths.iter().map(|(name, _)| format!("{}{name}", family.begin)));
        }
        let families = [
            "/v1/acl",
            "/v1/operator",
            "/v1/catalog",
            "/v1/health",
            "/v1/agent/service",
        ];
        for other in families.into_iter().chain(["/v1/", "none"]) {
            assert!(paths.remove(other), "{other}");
        }
        let mut found = BTreeSet::new();
        for mut path in paths {
            if path.len() > 1 && path.ends_with('/') {
                path.push_str("{}");
            }
            let route = Route::of(path.as_bytes()).unwrap();
            let methods = route.allow().split(',').filter(|method| *method != "OPTIONS");
            found.extend(methods.map(|method| (path.clone(), method.to_owned())));
        }
        found
    }

    #[test]
    fn every_route_and_method_is_described_and_nothing_else_is() {
        let (described, served) = (described(), served());
        let missing: Vec<_> = served.difference(&described).collect();
        let invented: Vec<_> = described.difference(&served).collect();
        assert!(
            missing.is_empty() && invented.is_empty(),
            "missing {missing:?}, invented {invented:?}"
        );
        assert!(described.len() > 50);
    }
}
