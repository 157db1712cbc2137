//! The environment of a task: what Marathon tells every program of itself, and over it what the app says.

use std::collections::BTreeMap;

use super::{App, EnvValue};
use crate::driver::TaskId;

/// What an environment is made of besides the app.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub task: &'a TaskId,
    /// The host's name.
    pub host: &'a str,
    /// The number of each port of the app: the host's, or the container's if it is not published.
    pub ports: &'a [u16],
}

/// A name with its value has less than this many characters.
const LONGEST_VALUE: usize = 512;
const LABEL: &str = "MARATHON_APP_LABEL_";

impl App {
    /// The variables of one of its tasks. Those that are secrets are not among them.
    #[must_use]
    pub fn environment(&self, facts: &Facts<'_>) -> BTreeMap<String, String> {
        let mut env = self.itself(facts);
        self.label_variables(&mut env);
        self.port_variables(facts.ports, &mut env);
        for (name, value) in &self.env {
            match value {
                EnvValue::Text(text) => env.insert(name.clone(), text.clone()),
                EnvValue::Secret(_) => env.remove(name),
            };
        }
        env
    }

    fn itself(&self, facts: &Facts<'_>) -> BTreeMap<String, String> {
        // With a decimal point always, as Java writes it.
        let decimal = |number: f64| format!("{number:?}");
        let variables = [
            ("HOST", Some(facts.host.to_owned())),
            (
                "MARATHON_APP_DOCKER_IMAGE",
                self.image().map(|image| image.name.clone()),
            ),
            ("MARATHON_APP_ID", Some(self.id.to_string())),
            ("MARATHON_APP_RESOURCE_CPUS", Some(decimal(self.resources.cpus))),
            ("MARATHON_APP_RESOURCE_DISK", Some(decimal(self.resources.disk))),
            ("MARATHON_APP_RESOURCE_GPUS", Some(self.resources.gpus.to_string())),
            ("MARATHON_APP_RESOURCE_MEM", Some(decimal(self.resources.mem))),
            ("MARATHON_APP_VERSION", Some(self.version.to_string())),
            ("MESOS_TASK_ID", Some(facts.task.0.clone())),
        ];
        variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }

    fn label_variables(&self, env: &mut BTreeMap<String, String>) {
        let fits = |(name, value): &(&String, &String)| {
            name.len() < LONGEST_VALUE - LABEL.len() && value.len() < LONGEST_VALUE
        };
        let labels = self.labels.iter().filter(fits);
        let labels: BTreeMap<String, &String> = labels.map(|(name, value)| (variable(name), value)).collect();
        let names: Vec<&str> = labels.keys().map(String::as_str).collect();
        env.insert("MARATHON_APP_LABELS".into(), names.join(" "));
        env.extend(
            labels
                .into_iter()
                .map(|(name, value)| (format!("{LABEL}{name}"), value.clone())),
        );
    }

    /// A port without a number of its own is known by the one that it got.
    fn port_variables(&self, numbers: &[u16], env: &mut BTreeMap<String, String>) {
        let Some(first) = numbers.first() else { return };
        let texts: Vec<String> = numbers.iter().map(u16::to_string).collect();
        env.insert("PORT".into(), first.to_string());
        env.insert("PORTS".into(), texts.join(","));
        for (index, (port, number)) in std::iter::zip(self.ports(), &texts).enumerate() {
            let mut set = |name: String| env.insert(format!("PORT{name}"), number.clone());
            match port.declared {
                0 => set(format!("_{number}")),
                declared => set(format!("_{declared}")),
            };
            if let Some(name) = port.name {
                // The first is Marathon's; a shell knows the second.
                set(format!("_{}", name.to_ascii_uppercase()));
                set(format!("_{}", variable(name)));
            }
            set(index.to_string());
        }
    }
}

/// In capitals, with `_` for each run of other characters than letters, digits and `_`.
fn variable(name: &str) -> String {
    let mut variable = String::with_capacity(name.len());
    let mut outside = false;
    for c in name.chars() {
        let inside = c.is_ascii_alphanumeric() || c == '_';
        match (inside, outside) {
            (true, _) => variable.push(c.to_ascii_uppercase()),
            (false, false) => variable.push('_'),
            (false, true) => {}
        }
        outside = !inside;
    }
    variable
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::app::tests::app;

    fn environment(fields: &Value, ports: &[u16]) -> BTreeMap<String, String> {
        app(fields).environment(&Facts {
            task: &TaskId("web.instance-1._app.1".into()),
            host: "node1",
            ports,
        })
    }

    fn named(env: &BTreeMap<String, String>, prefix: &str) -> Vec<(String, String)> {
        let own = env.iter().filter(|(name, _)| name.starts_with(prefix));
        own.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn case_58_ports_are_told_by_index_number_and_name() {
        let env = environment(
            &json!({ "portDefinitions": [{ "port": 80 }, { "port": 8080 }] }),
            &[1001, 1002],
        );
        let expected = [
            ("PORT", "1001"),
            ("PORT0", "1001"),
            ("PORT1", "1002"),
            ("PORTS", "1001,1002"),
            ("PORT_80", "1001"),
            ("PORT_8080", "1002"),
        ];
        assert_eq!(named(&env, "PORT"), pairs(&expected));

        let ports = json!([{ "port": 80, "name": "http" }, { "port": 8080 }, { "port": 443, "name": "https" }]);
        let env = environment(&json!({ "portDefinitions": ports }), &[1001, 1002, 1003]);
        assert_eq!(
            (env["PORT_HTTP"].as_str(), env["PORT_HTTPS"].as_str()),
            ("1001", "1003")
        );

        let env = environment(&json!({ "portDefinitions": [{ "name": "http-api" }] }), &[1001]);
        assert_eq!(
            [&env["PORT_1001"], &env["PORT_HTTP-API"], &env["PORT_HTTP_API"]],
            ["1001"; 3]
        );
    }

    #[test]
    fn case_58_without_ports_there_are_no_variables_of_ports() {
        let env = environment(&json!({ "portDefinitions": [] }), &[]);
        assert_eq!(named(&env, "PORT"), pairs(&[]));
        assert_eq!(env["HOST"], "node1");
    }

    #[test]
    fn case_58_what_the_app_says_wins() {
        let env = environment(&json!({ "env": { "PORT0": "x", "HOST": "y", "A": "b" } }), &[1001]);
        assert_eq!(
            [&env["PORT0"], &env["HOST"], &env["A"], &env["PORT"]],
            ["x", "y", "b", "1001"]
        );
    }

    #[test]
    fn case_58_labels_become_variables_unless_they_are_long() {
        let long = "x".repeat(512);
        let labels = json!({ "a.b-c": "1", "a--b": "2", "long": long, "fits": long[1..], (&long[..493]): "3" });
        let env = environment(&json!({ "labels": labels }), &[]);

        assert_eq!(env["MARATHON_APP_LABELS"], "A_B A_B_C FITS");
        let expected = [
            ("MARATHON_APP_LABEL_A_B", "2"),
            ("MARATHON_APP_LABEL_A_B_C", "1"),
            ("MARATHON_APP_LABEL_FITS", &long[1..]),
        ];
        assert_eq!(named(&env, LABEL), pairs(&expected));
        assert_eq!(environment(&json!({}), &[])["MARATHON_APP_LABELS"], "");
    }

    #[test]
    fn an_instance_is_told_what_it_is() {
        let env = environment(
            &json!({ "container": { "docker": { "image": "nginx:1" } }, "cpus": 0.1, "mem": 16 }),
            &[],
        );
        for (name, value) in [
            ("MESOS_TASK_ID", "web.instance-1._app.1"),
            ("MARATHON_APP_ID", "/web"),
            ("MARATHON_APP_VERSION", "1970-01-01T00:00:00.000Z"),
            ("MARATHON_APP_DOCKER_IMAGE", "nginx:1"),
            ("MARATHON_APP_RESOURCE_CPUS", "0.1"),
            ("MARATHON_APP_RESOURCE_MEM", "16.0"),
            ("MARATHON_APP_RESOURCE_DISK", "0.0"),
            ("MARATHON_APP_RESOURCE_GPUS", "0"),
        ] {
            assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!environment(&json!({}), &[]).contains_key("MARATHON_APP_DOCKER_IMAGE"));
    }

    #[test]
    fn what_is_secret_is_not_among_the_variables() {
        let env = json!({ "A": { "secret": "key" }, "HOST": { "secret": "key" }, "B": "1" });
        let env = environment(
            &json!({ "env": env, "secrets": { "key": { "source": "web/key" } } }),
            &[],
        );
        assert_eq!(
            (env.get("A"), env.get("HOST"), env.get("B").map(String::as_str)),
            (None, None, Some("1"))
        );
    }
}
