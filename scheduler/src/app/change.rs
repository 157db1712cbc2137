//! What differs between two definitions of an app, and what time says of it.

use std::time::Duration;

use super::App;
use crate::time::Timestamp;

/// What differs. Marathon knows two kinds, instances and config; here what instances are not made of is a third, and changes
/// without any of them being started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// How many there are to be.
    pub instances: bool,
    /// What is said about them: labels, checks, how they are rolled, placed, and stopped.
    pub manner: bool,
    /// What they are made of.
    pub config: bool,
}

/// Labels of ours that are about an app, as labels of others are. The rest of ours are about what runs in its instances.
const LABELS_ABOUT: &[&str] = &["KEYWAY_DRAIN", "KEYWAY_PROGRESS_DEADLINE", "KEYWAY_ON_FAILURE"];

impl Change {
    #[must_use]
    pub fn between(old: &App, new: &App) -> Self {
        Self {
            instances: old.instances != new.instances,
            manner: !same_manner(old, new),
            config: !same_config(old, new),
        }
    }

    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// As Marathon takes it: whatever is not the number of instances makes new ones.
    #[must_use]
    pub fn strictly(self) -> Self {
        Self {
            config: self.config || self.manner,
            manner: false,
            ..self
        }
    }
}

fn same_config(old: &App, new: &App) -> bool {
    old.command == new.command
        && old.resources == new.resources
        && old.env == new.env
        && old.container == new.container
        && old.networks == new.networks
        && old.port_definitions == new.port_definitions
        && old.require_ports == new.require_ports
        && old.fetch == new.fetch
        && old.user == new.user
        && old.tty == new.tty
        && old.secrets == new.secrets
        && agent_labels(old).eq(agent_labels(new))
}

/// What the agent in an instance is told.
fn agent_labels(app: &App) -> impl Iterator<Item = (&String, &String)> {
    let is_about = |name: &str| LABELS_ABOUT.contains(&name);
    app.labels
        .iter()
        .filter(move |(name, _)| name.starts_with("KEYWAY_") && !is_about(name))
}

fn same_manner(old: &App, new: &App) -> bool {
    old.labels == new.labels
        && old.health_checks == new.health_checks
        && old.readiness_check == new.readiness_check
        && old.upgrade == new.upgrade
        && old.backoff == new.backoff
        && old.kill_selection == new.kill_selection
        && old.kill_grace == new.kill_grace
        && old.constraints == new.constraints
        && old.dependencies == new.dependencies
        && old.echoed == new.echoed
}

impl App {
    /// The same, with the times of a definition that comes `now` after `old`. What changed is `change`; with nothing changed
    /// they are those of `old`.
    #[must_use]
    pub fn stamped(self, old: Option<&Self>, change: Change, now: Timestamp) -> Self {
        let Some(old) = old else {
            return Self {
                version: now,
                last_scaling: now,
                last_config_change: now,
                ..self
            };
        };
        let now = after(old, now);
        let then = |changed: bool, time: Timestamp| if changed { now } else { time };
        Self {
            version: then(!change.is_none(), old.version),
            last_scaling: then(change.config || change.instances, old.last_scaling),
            last_config_change: then(change.config, old.last_config_change),
            ..self
        }
    }

    /// The same, whose instances are to be started anew.
    #[must_use]
    pub fn restarted(self, now: Timestamp) -> Self {
        let now = after(&self, now);
        Self {
            version: now,
            last_config_change: now,
            ..self
        }
    }
}

/// A version is known by its time, so two have never the same.
fn after(old: &App, now: Timestamp) -> Timestamp {
    now.max(old.version + Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::app::tests::{any_app, app};

    fn change(new: &Value) -> Change {
        Change::between(&app(&json!({})), &app(new))
    }

    const NONE: Change = Change {
        instances: false,
        manner: false,
        config: false,
    };
    const INSTANCES: Change = Change {
        instances: true,
        ..NONE
    };
    const MANNER: Change = Change { manner: true, ..NONE };
    const CONFIG: Change = Change { config: true, ..NONE };

    #[test]
    fn what_instances_are_not_made_of_changes_without_them() {
        for new in [
            json!({ "labels": { "HAPROXY_0_VHOST": "www.example.org" } }),
            json!({ "healthChecks": [{ "protocol": "TCP" }] }),
            json!({ "upgradeStrategy": { "minimumHealthCapacity": 0.5 } }),
            json!({ "constraints": [["hostname", "UNIQUE"]] }),
            json!({ "dependencies": ["/db"] }),
            json!({ "taskKillGracePeriodSeconds": 3 }),
            json!({ "labels": { "KEYWAY_DRAIN": "3s" } }),
        ] {
            let found = change(&new);
            assert_eq!(found, MANNER, "{new}");
            assert_eq!(found.strictly(), CONFIG, "{new}");
        }
    }

    #[test]
    fn what_instances_are_made_of_makes_new_ones() {
        for new in [
            json!({ "cmd": "sleep 1" }),
            json!({ "env": { "A": "1" } }),
            json!({ "cpus": 0.5 }),
            json!({ "portDefinitions": [] }),
            json!({ "user": "web" }),
        ] {
            assert_eq!(change(&new), CONFIG, "{new}");
        }
        // The agent is started with what they say.
        let agent = change(&json!({ "labels": { "KEYWAY_TEMPLATE": "a:b" } }));
        assert_eq!((agent.config, agent.manner), (true, true));
        assert_eq!(change(&json!({ "instances": 2 })), INSTANCES);
        assert_eq!(change(&json!({})), NONE);
    }

    /// The three times of an app of times 1, 2 and 3 after a change at 9: version, scaling, config.
    fn times(change: Change) -> [u64; 3] {
        let old = App {
            version: Timestamp(3),
            last_scaling: Timestamp(2),
            last_config_change: Timestamp(1),
            ..app(&json!({}))
        };
        let new = app(&json!({})).stamped(Some(&old), change, Timestamp(9));
        [new.version.0, new.last_scaling.0, new.last_config_change.0]
    }

    #[test]
    fn case_13_a_change_has_its_times() {
        assert_eq!(times(NONE), [3, 2, 1]);
        assert_eq!(times(INSTANCES), [9, 9, 1]);
        assert_eq!(times(MANNER), [9, 2, 1]);
        assert_eq!(times(CONFIG), [9, 9, 9]);

        let new = app(&json!({})).stamped(None, NONE, Timestamp(9));
        assert_eq!(
            [new.version, new.last_scaling, new.last_config_change],
            [Timestamp(9); 3]
        );
        let restarted = new.restarted(Timestamp(12));
        assert_eq!(
            [restarted.version, restarted.last_scaling, restarted.last_config_change].map(|time| time.0),
            [12, 9, 12]
        );
    }

    #[test]
    fn case_12_each_version_has_its_own_time() {
        let first = app(&json!({})).stamped(None, NONE, Timestamp(9));
        let second = first.clone().stamped(Some(&first), CONFIG, Timestamp(9));
        assert_eq!(second.version, Timestamp(10));
        assert_eq!(second.restarted(Timestamp(4)).version, Timestamp(11));
    }

    proptest! {
        #[test]
        fn two_apps_that_differ_differ_in_something(old in any_app(), new in any_app()) {
            let change = Change::between(&old, &new);
            let stamped = new.stamped(Some(&old), change, old.version);

            prop_assert_eq!(change.is_none(), stamped == old);
            prop_assert!(stamped.version >= old.version);
        }
    }
}
