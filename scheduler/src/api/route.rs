//! Which question a path is.
//!
//! Ids have slashes in them, clients write some more, and what is asked of an app stands behind its id: `restart`, `tasks`
//! and `versions` are looked for at the end, and only with the methods that they have.

use http::Method;

use crate::app::AppId;
use crate::app::id::NoId;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// All apps: GET, POST, PUT, PATCH.
    Apps,
    /// One app: GET, PUT, PATCH, DELETE.
    App(AppId),
    /// All apps of a group.
    AppsWithin(AppId),
    Restart(AppId),
    /// Its tasks: GET, DELETE.
    AppTasks(AppId),
    TasksWithin(AppId),
    AppTask(AppId, String),
    Versions(AppId),
    Version(AppId, String),
    /// GET, POST, PUT, DELETE.
    Group(AppId),
    GroupApps(AppId),
    GroupVersions(AppId),
    GroupVersion(AppId, String),
    Tasks,
    TasksDelete,
    Deployments,
    Deployment(String),
    Queue,
    QueueDelay(AppId),
    Info,
    Leader,
    Events,
    Ping,
    Metrics,
    MetricsPrometheus,
    Root,
    /// Of ours.
    OurDeployments,
    OurDeployment(String),
    OurDeploymentEvents(String),
    OurInstances(AppId),
    OurLogs(String),
    /// POST: what a registry tells.
    OurRegistryHook,
    Nowhere,
}

impl Route {
    pub(super) fn of(method: &Method, path: &str) -> Result<Self, NoId> {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let id = |segments: &[&str]| AppId::absolute(&segments.join("/"));
        Ok(match segments.as_slice() {
            [] => Self::Root,
            ["ping"] => Self::Ping,
            ["metrics"] => Self::Metrics,
            ["metrics", "prometheus"] => Self::MetricsPrometheus,
            ["v2", "apps"] => Self::Apps,
            ["v2", "apps", rest @ ..] => Self::of_app(method, rest)?,
            ["v2", "groups", rest @ ..] => Self::of_group(method, rest)?,
            ["v2", "tasks"] => Self::Tasks,
            ["v2", "tasks", "delete"] => Self::TasksDelete,
            ["v2", "deployments"] => Self::Deployments,
            ["v2", "deployments", deployment] => Self::Deployment((*deployment).into()),
            ["v2", "queue"] => Self::Queue,
            ["v2", "queue", rest @ .., "delay"] if !rest.is_empty() => Self::QueueDelay(id(rest)?),
            ["v2", "info"] => Self::Info,
            ["v2", "leader"] => Self::Leader,
            ["v2", "events"] => Self::Events,
            ["v1", "deployments"] => Self::OurDeployments,
            ["v1", "deployments", deployment] => Self::OurDeployment((*deployment).into()),
            ["v1", "deployments", deployment, "events"] => Self::OurDeploymentEvents((*deployment).into()),
            ["v1", "apps", rest @ .., "instances"] if !rest.is_empty() => Self::OurInstances(id(rest)?),
            ["v1", "tasks", task, "logs"] => Self::OurLogs((*task).into()),
            ["v1", "hooks", "registry"] => Self::OurRegistryHook,
            _ => Self::Nowhere,
        })
    }

    fn of_app(method: &Method, segments: &[&str]) -> Result<Self, NoId> {
        let id = |segments: &[&str]| AppId::absolute(&segments.join("/"));
        let reads = *method == Method::GET || *method == Method::HEAD;
        let reads_or_deletes = reads || *method == Method::DELETE;
        Ok(match segments {
            [rest @ .., "*"] if reads => Self::AppsWithin(id(rest)?),
            [rest @ .., "*", "tasks"] if reads => Self::TasksWithin(id(rest)?),
            [rest @ .., "restart"] if *method == Method::POST && !rest.is_empty() => Self::Restart(id(rest)?),
            [rest @ .., "tasks"] if reads_or_deletes && !rest.is_empty() => Self::AppTasks(id(rest)?),
            [rest @ .., "tasks", task] if *method == Method::DELETE && !rest.is_empty() => {
                Self::AppTask(id(rest)?, (*task).into())
            }
            [rest @ .., "versions"] if reads && !rest.is_empty() => Self::Versions(id(rest)?),
            [rest @ .., "versions", version] if reads && !rest.is_empty() => {
                Self::Version(id(rest)?, (*version).into())
            }
            all => Self::App(id(all)?),
        })
    }

    fn of_group(method: &Method, segments: &[&str]) -> Result<Self, NoId> {
        let id = |segments: &[&str]| AppId::absolute(&segments.join("/"));
        let reads = *method == Method::GET || *method == Method::HEAD;
        Ok(match segments {
            [rest @ .., "apps"] if reads => Self::GroupApps(id(rest)?),
            [rest @ .., "versions"] if reads => Self::GroupVersions(id(rest)?),
            [rest @ .., "versions", version] if reads || *method == Method::PUT => {
                Self::GroupVersion(id(rest)?, (*version).into())
            }
            all => Self::Group(id(all)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: &str, path: &str) -> Route {
        Route::of(&method.parse().unwrap(), path).unwrap()
    }

    fn id(text: &str) -> AppId {
        AppId::absolute(text).unwrap()
    }

    #[test]
    fn case_8_ids_have_slashes_and_some_more_and_words_stand_behind_them() {
        for (method, path, expected) in [
            ("GET", "/v2/apps//foo", Route::App(id("/foo"))),
            ("GET", "/v2/apps/foo", Route::App(id("/foo"))),
            ("GET", "/v2/apps//foo/tasks", Route::AppTasks(id("/foo"))),
            ("GET", "/v2/apps/grp/foo/tasks", Route::AppTasks(id("/grp/foo"))),
            ("DELETE", "/v2/apps/grp/restart", Route::App(id("/grp/restart"))),
            ("POST", "/v2/apps/grp/foo/restart", Route::Restart(id("/grp/foo"))),
            ("GET", "/v2/apps/grp/*", Route::AppsWithin(id("/grp"))),
            ("GET", "/v2/apps/grp/*/tasks", Route::TasksWithin(id("/grp"))),
            ("GET", "/v2/apps/foo/versions/x", Route::Version(id("/foo"), "x".into())),
            ("DELETE", "/v2/apps/foo/tasks/t", Route::AppTask(id("/foo"), "t".into())),
            ("PUT", "/v2/apps/foo/tasks", Route::App(id("/foo/tasks"))),
            ("GET", "/v2/groups", Route::Group(AppId::root())),
            ("GET", "/v2/groups//a/b/versions", Route::GroupVersions(id("/a/b"))),
            ("DELETE", "/v2/queue//a/b/delay", Route::QueueDelay(id("/a/b"))),
            ("GET", "/v1/apps/a/b/instances", Route::OurInstances(id("/a/b"))),
            ("GET", "/v2/pods", Route::Nowhere),
        ] {
            assert_eq!(route(method, path), expected, "{method} {path}");
        }
        assert!(Route::of(&Method::GET, "/v2/apps/Foo").is_err());
    }
}
