//! What is rendered: the keys, and an agent's configuration.

use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Method;
use kvapi::{Address, Problem};
use serde_json::json;

use super::By;
use crate::bench::target::FOLDER;
use crate::connection::Connection;

/// Operations of one transaction, as many as Consul takes.
const OPERATIONS: usize = 64;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) templates: usize,
    /// How many of them read the key that changes: the first ones.
    pub(super) readers: usize,
    /// Keys in all; each template reads an equal share.
    pub(super) keys: usize,
    pub(super) by: By,
    pub(super) value_size: usize,
}

impl Shape {
    /// The keys of one template's share.
    fn share(&self, template: usize) -> impl Iterator<Item = String> {
        let count = self.keys / self.templates + usize::from(template < self.keys % self.templates);
        (0..count).map(move |number| format!("{}{number}", folder(template)))
    }

    /// Sets all keys.
    pub(super) async fn set(&self, address: &Address) -> Result<(), Problem> {
        let mut connection = Connection::open(address).await?;
        let value = BASE64_STANDARD.encode("0-".to_owned() + &"x".repeat(self.value_size));
        let mut keys: Vec<String> = (0..self.templates).flat_map(|template| self.share(template)).collect();
        keys.push(hot());
        for keys in keys.chunks(OPERATIONS) {
            let operations: Vec<_> = keys
                .iter()
                .map(|key| json!({"KV": {"Verb": "set", "Key": key, "Value": value}}))
                .collect();
            let body = serde_json::Value::from(operations).to_string().into();
            connection.expect_ok(Method::PUT, "/v1/txn", body).await?;
        }
        Ok(())
    }

    /// The put of a round.
    pub(super) fn change(&self, round: usize) -> (String, Bytes) {
        let value = format!("{round}-{}", "x".repeat(self.value_size));
        (format!("/v1/kv/{}", hot()), value.into())
    }

    /// An agent's configuration; its program tells `socket` of each HUP.
    pub(super) fn configuration(&self, dir: &Path, command: &[String]) -> String {
        let mut text = format!(
            "on_change = \"signal=HUP\"\nwait = \"0s\"\nsettle = \"0s\"\nstate_dir = \"{}\"\n\n[exec]\ncommand = {}\n",
            dir.join("state").display(),
            serde_json::Value::from(command.to_vec()),
        );
        for template in 0..self.templates {
            let mut contents = String::new();
            if template < self.readers {
                let _ = writeln!(contents, "{{{{key \"{}\"}}}}", hot());
            }
            match self.by {
                By::Key => {
                    for key in self.share(template) {
                        let _ = writeln!(contents, "{{{{key \"{key}\"}}}}");
                    }
                }
                By::Prefix => {
                    let _ = write!(
                        contents,
                        "{{{{#each (tree \"{}\")}}}}{{{{key}}}} {{{{value}}}}\n{{{{/each}}}}",
                        folder(template)
                    );
                }
            }
            let _ = write!(
                text,
                "\n[[template]]\ncontents = '''\n{contents}'''\ndestination = \"{}\"\n",
                dir.join(format!("{template}.out")).display()
            );
        }
        text
    }
}

fn folder(template: usize) -> String {
    format!("{FOLDER}t/{template}/")
}

/// The key that changes; it lies in the share of the first template.
fn hot() -> String {
    format!("{}hot", folder(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_has_as_many_readers_and_keys_as_asked() {
        let shape = |by| Shape {
            templates: 3,
            readers: 2,
            keys: 7,
            by,
            value_size: 1,
        };
        for (by, reads) in [(By::Key, 7 + 2), (By::Prefix, 3 + 2)] {
            let text = shape(by).configuration(Path::new("/x"), &["a \"b\"".to_owned()]);

            let table: toml::Table = toml::from_str(&text).unwrap();
            assert_eq!(table["template"].as_array().unwrap().len(), 3);
            assert_eq!(text.matches("t/0/hot").count(), 2);
            assert_eq!(text.matches(FOLDER).count(), reads);
            assert_eq!(table["exec"]["command"][0].as_str(), Some("a \"b\""));
        }
    }
}
