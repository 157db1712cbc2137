//! Where what the scheduler knows stands in the store, and in which form.
//!
//! | key | what |
//! | --- | --- |
//! | `_keyway/scheduler/leader` | who leads: its lock, and the address at which it answers |
//! | `_keyway/scheduler/place` | where plain processes have their folders |
//! | `_keyway/apps/<app>` | the definition of an app as it is to be |
//! | `_keyway/app-versions/<app>/<version>` | each definition it had |
//! | `_keyway/groups/<group>` | what a group depends on; the root is `_keyway/groups/` |
//! | `_keyway/deployments/<id>` | a change that is under way |
//! | `_keyway/past-deployments/<end>-<id>` | one that has ended, and how |
//! | `_keyway/instances/<app>/<uuid>` | an instance |
//! | `_keyway/launches/<app>` | its last failure, its pause, and which version was healthy |
//! | `_keyway/services/<app>/<uuid>` | an instance that may be sent traffic, for templates |
//! | `_keyway/secrets/<source>` | a secret that apps name; users write it, and the agent socket does not show it |
//!
//! The last segment of an app's version is a time with `T` and `Z`, which no app's name has.

use crate::app::AppId;
use crate::driver::TaskId;
use crate::instance::InstanceId;
use crate::time::Timestamp;

pub const LEADER: &str = "_keyway/scheduler/leader";
pub const PLACE: &str = "_keyway/scheduler/place";
pub const APPS: &str = "_keyway/apps/";
pub const VERSIONS: &str = "_keyway/app-versions/";
pub const GROUPS: &str = "_keyway/groups/";
pub const DEPLOYMENTS: &str = "_keyway/deployments/";
pub const PAST: &str = "_keyway/past-deployments/";
pub const INSTANCES: &str = "_keyway/instances/";
pub const LAUNCHES: &str = "_keyway/launches/";
pub const SERVICES: &str = "_keyway/services/";
pub const SECRETS: &str = "_keyway/secrets/";
/// Where agents report; see the agent's own `report`.
pub const AGENTS: &str = "_keyway/agents/";

#[must_use]
pub fn app(id: &AppId) -> String {
    format!("{APPS}{}", id.as_key())
}

#[must_use]
pub fn version(id: &AppId, version: Timestamp) -> String {
    format!("{VERSIONS}{}/{version}", id.as_key())
}

#[must_use]
pub fn group(id: &AppId) -> String {
    format!("{GROUPS}{}", id.as_key())
}

#[must_use]
pub fn deployment(id: &str) -> String {
    format!("{DEPLOYMENTS}{id}")
}

/// Where the agent of a task reports.
#[must_use]
pub fn agent(task: &TaskId) -> String {
    format!("{AGENTS}{}", task.0)
}

#[must_use]
pub fn past(ended: Timestamp, id: &str) -> String {
    format!("{PAST}{ended}-{id}")
}

#[must_use]
pub fn instance(id: &InstanceId) -> String {
    format!("{INSTANCES}{}/{}", id.app.as_key(), id.uuid)
}

#[must_use]
pub fn launches(id: &AppId) -> String {
    format!("{LAUNCHES}{}", id.as_key())
}

/// The secret that an app knows by this source. A slash at its beginning says nothing.
#[must_use]
pub fn secret(source: &str) -> String {
    format!("{SECRETS}{}", source.trim_start_matches('/'))
}

#[must_use]
pub fn service(id: &InstanceId) -> String {
    format!("{SERVICES}{}/{}", id.app.as_key(), id.uuid)
}
