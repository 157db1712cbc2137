//! What the event stream tells, in Marathon's words. Of these kinds only: its clients end at others.

use serde_json::{Value, json};

use crate::app::{App, AppId, HealthCheck};
use crate::deployment::Deployment;
use crate::instance::Instance;
use crate::plan::deployment::Step;
use crate::time::Timestamp;

/// One event. Everything but its kind and its time is in `fields`.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub kind: &'static str,
    pub at: Timestamp,
    pub fields: Value,
    /// What is left out of `fields` for a subscriber that asked for light plans, and put in for the others.
    pub heavy: Option<Value>,
}

impl Event {
    fn new(kind: &'static str, at: Timestamp, fields: Value) -> Self {
        Self {
            kind,
            at,
            fields,
            heavy: None,
        }
    }

    /// Its JSON, on one line.
    #[must_use]
    pub fn json(&self, light: bool) -> String {
        let mut event = self.fields.clone();
        event["eventType"] = self.kind.into();
        event["timestamp"] = self.at.to_string().into();
        if let (false, Some(Value::Object(heavy))) = (light, &self.heavy) {
            for (name, value) in heavy {
                event["plan"][name] = value.clone();
            }
        }
        event.to_string()
    }

    #[must_use]
    pub fn api_post(at: Timestamp, client: &str, uri: &str, app: &Value) -> Self {
        let fields = json!({ "clientIp": client, "uri": uri, "appDefinition": app });
        Self::new("api_post_event", at, fields)
    }

    /// A task changed its state. `message` says why.
    #[must_use]
    pub fn status(at: Timestamp, instance: &Instance, state: &str, message: &str) -> Self {
        let addresses = addresses(instance);
        let fields = json!({
            "slaveId": instance.host, "taskId": instance.task().0, "taskStatus": state, "message": message,
            "appId": instance.id.app.as_str(), "host": instance.host, "ipAddresses": addresses,
            "ports": instance.ports, "version": instance.version.to_string(),
        });
        Self::new("status_update_event", at, fields)
    }

    #[must_use]
    pub fn instance_changed(at: Timestamp, instance: &Instance, condition: &str) -> Self {
        let fields = json!({
            "instanceId": instance.id.name(), "condition": condition, "runSpecId": instance.id.app.as_str(),
            "agentId": instance.host, "host": instance.host, "runSpecVersion": instance.version.to_string(),
        });
        Self::new("instance_changed_event", at, fields)
    }

    #[must_use]
    pub fn instance_health(at: Timestamp, instance: &Instance) -> Self {
        let fields = json!({
            "instanceId": instance.id.name(), "runSpecId": instance.id.app.as_str(),
            "healthy": instance.health.is_healthy(), "runSpecVersion": instance.version.to_string(),
        });
        Self::new("instance_health_changed_event", at, fields)
    }

    #[must_use]
    pub fn health(at: Timestamp, instance: &Instance, alive: bool) -> Self {
        let fields = json!({
            "appId": instance.id.app.as_str(), "instanceId": instance.id.name(), "taskId": instance.task().0,
            "version": instance.version.to_string(), "alive": alive,
        });
        Self::new("health_status_changed_event", at, fields)
    }

    #[must_use]
    pub fn failed_check(at: Timestamp, instance: &Instance, check: &Value) -> Self {
        let fields = json!({
            "appId": instance.id.app.as_str(), "taskId": instance.id.name(), "healthCheck": check,
        });
        Self::new("failed_health_check_event", at, fields)
    }

    #[must_use]
    pub fn unhealthy_kill(at: Timestamp, instance: &Instance, reason: &str) -> Self {
        let fields = json!({
            "appId": instance.id.app.as_str(), "taskId": instance.task().0, "instanceId": instance.id.name(),
            "version": instance.version.to_string(), "reason": reason, "host": instance.host,
            "slaveId": instance.host,
        });
        Self::new("unhealthy_instance_kill_event", at, fields)
    }

    #[must_use]
    pub fn group_change(at: Timestamp, group: &AppId, version: Timestamp) -> Self {
        let fields = json!({ "groupId": group.as_str(), "version": version.to_string() });
        Self::new("group_change_success", at, fields)
    }

    #[must_use]
    pub fn app_terminated(at: Timestamp, app: &AppId) -> Self {
        Self::new("app_terminated_event", at, json!({ "appId": app.as_str() }))
    }

    /// `deployment_info`, `deployment_step_success` or `deployment_step_failure`.
    #[must_use]
    pub fn step(kind: &'static str, at: Timestamp, deployment: &Deployment, step: &Step) -> Self {
        let actions = step
            .iter()
            .map(|action| json!({ "action": action.kind.name(), "app": action.app.as_str() }));
        let fields = json!({
            "plan": plan(deployment),
            "currentStep": { "actions": actions.collect::<Vec<_>>() },
        });
        let group = |version: Timestamp| {
            json!({
                "id": "/", "apps": [], "groups": [], "pods": [], "dependencies": [],
                "version": version.to_string(),
            })
        };
        let before = deployment.before.values().flatten().max().copied();
        Self {
            heavy: Some(json!({
                "original": group(before.unwrap_or(deployment.version)),
                "target": group(deployment.version),
            })),
            ..Self::new(kind, at, fields)
        }
    }

    /// `deployment_success`, or `deployment_failed` with its reason.
    #[must_use]
    pub fn deployment_ended(at: Timestamp, deployment: &Deployment, reason: Option<&str>) -> Self {
        let mut fields = json!({ "id": deployment.id, "plan": plan(deployment) });
        let kind = match reason {
            None => "deployment_success",
            Some(reason) => {
                fields["reason"] = reason.into();
                "deployment_failed"
            }
        };
        let heavy = Self::step(kind, at, deployment, &Vec::new()).heavy;
        Self {
            heavy,
            ..Self::new(kind, at, fields)
        }
    }

    /// `event_stream_attached` or `event_stream_detached`.
    #[must_use]
    pub fn stream(kind: &'static str, at: Timestamp, remote: &str) -> Self {
        Self::new(kind, at, json!({ "remoteAddress": remote }))
    }
}

fn plan(deployment: &Deployment) -> Value {
    let steps = deployment.steps.iter().map(|step| {
        let actions = step
            .iter()
            .map(|action| json!({ "action": action.kind.name(), "app": action.app.as_str() }));
        json!({ "actions": actions.collect::<Vec<_>>() })
    });
    json!({
        "id": deployment.id, "version": deployment.version.to_string(), "steps": steps.collect::<Vec<_>>(),
    })
}

/// Where an instance is reached.
#[must_use]
pub fn addresses(instance: &Instance) -> Vec<Value> {
    let own = instance.addresses.iter().map(String::as_str);
    let all: Vec<&str> = if instance.addresses.is_empty() {
        vec![instance.host.as_str()]
    } else {
        own.collect()
    };
    all.into_iter()
        .map(|address| {
            let protocol = if address.contains(':') { "IPv6" } else { "IPv4" };
            json!({ "ipAddress": address, "protocol": protocol })
        })
        .collect()
}

/// A check as the app's JSON has it.
#[must_use]
pub fn check_json(app: &App, check: &HealthCheck) -> Value {
    let at = app.health_checks.iter().position(|other| other == check).unwrap_or(0);
    app.to_json()["healthChecks"][at].clone()
}
