//! The program's environment: what it inherits, what is given to it, and what is read from keys. Pure.
//!
//! The variables that come from keys are rendered like a file that is not written: from the same view
//! as the files of the set, with a record of what was read, and put back together with them.

use std::collections::{BTreeMap, BTreeSet};

use kvapi::types::{Entry, Revision};

use crate::document::{is_name, line};
use crate::graph::{Reads, TemplateId};
use crate::helpers::glob;
use crate::policy::Missing;
use crate::render::{Held, Lack, Rendered};
use crate::trace::{Origin, Trace};
use crate::view::{Found, View};

/// Where it is chosen, as messages have it.
pub const PLACE: &str = "[exec.env]";

/// The system takes no longer `NAME=value`.
const LONGEST: usize = (128 << 10) - 1;

/// What all variables from keys may take: the system gives them room with the arguments.
const ALL: usize = 1 << 20;

/// What the program's environment is made of.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// Folders of keys; a later one wins.
    pub prefixes: Vec<String>,
    /// Variables and their keys; these win over folders.
    pub names: BTreeMap<String, String>,
    /// Names from folders in capital letters.
    pub upper: bool,
    /// Whether the program is started again when a variable changes.
    pub restarts: bool,
    /// Nothing is inherited.
    pub pristine: bool,
    /// Given as they are.
    pub custom: BTreeMap<String, String>,
    /// What may be inherited, if not everything.
    pub allow: Vec<String>,
    /// What may not.
    pub deny: Vec<String>,
}

/// What is given may be a secret.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field("prefixes", &self.prefixes)
            .field("names", &self.names)
            .field("upper", &self.upper)
            .field("restarts", &self.restarts)
            .field("pristine", &self.pristine)
            .field("custom", &self.custom.keys())
            .field("allow", &self.allow)
            .field("deny", &self.deny)
            .finish()
    }
}

impl Environment {
    /// Whether any of it is read from keys.
    #[must_use]
    pub fn reads_keys(&self) -> bool {
        !self.prefixes.is_empty() || !self.names.is_empty()
    }

    /// Whether the program inherits a variable of the agent's.
    #[must_use]
    pub fn inherits(&self, name: &str) -> bool {
        let in_list = |list: &[String]| list.iter().any(|pattern| glob::matches(pattern, name));
        !self.pristine && (self.allow.is_empty() || in_list(&self.allow)) && !in_list(&self.deny)
    }

    /// The variables that come from keys, as a text for [`variables`].
    #[must_use]
    pub fn render(&self, id: TemplateId, view: &View, missing: Missing) -> Rendered {
        let mut reads = Reads::default();
        let outcome = self.read(view, missing, &mut reads);
        Rendered { id, reads, outcome }
    }

    /// The same for people: lines that a shell can read, the key behind each, and all names. What is given by `custom`
    /// is named and not shown.
    #[must_use]
    pub fn preview(&self, id: TemplateId, view: &View, missing: Missing) -> (Rendered, Trace, Vec<String>) {
        let mut reads = Reads::default();
        let (mut lines, mut names) = (Vec::new(), Vec::new());
        let outcome = self.pairs(view, missing, &mut reads).and_then(|all| {
            joined(&all)?; // too long for the system
            let mut text = String::new();
            for (name, one) in &all {
                let told = line(name, &one.value);
                let origin = Origin::Key(one.key.clone(), one.revision);
                lines.extend(told.lines().map(|_| BTreeSet::from([origin.clone()])));
                text.push_str(&told);
                names.push(name.clone());
            }
            for name in self.custom.keys().filter(|name| !all.contains_key(*name)) {
                text.push_str(&format!("# {name}: given by custom, not shown\n"));
                names.push(name.clone());
            }
            Ok(text)
        });
        (Rendered { id, reads, outcome }, Trace::of(lines), names)
    }

    fn read(&self, view: &View, missing: Missing, reads: &mut Reads) -> Result<String, Held> {
        joined(&self.pairs(view, missing, reads)?)
    }

    fn pairs(&self, view: &View, missing: Missing, reads: &mut Reads) -> Result<BTreeMap<String, Keyed>, Held> {
        let mut all: BTreeMap<String, Keyed> = BTreeMap::new();
        let mut outside = false;
        for prefix in &self.prefixes {
            let folder = format!("{prefix}/");
            reads.scope.prefixes.insert(folder.clone());
            let Some(entries) = view.range(&folder) else {
                outside = true;
                continue;
            };
            let mut keys: BTreeMap<String, &str> = BTreeMap::new();
            for entry in entries {
                let path = &entry.key[folder.len()..];
                let named = self.names.values().any(|key| *key == entry.key);
                // A key that ends with a slash is a folder that somebody made.
                if named || path.is_empty() || path.ends_with('/') {
                    continue;
                }
                let name = self.name(&entry.key, path)?;
                if let Some(other) = keys.insert(name.clone(), &entry.key) {
                    let told = format!("`{other}` and `{}` are both the variable {name}", entry.key);
                    return Err(broken(&told, "rename one, or name its variable in `names`"));
                }
                all.insert(name, Keyed::of(entry)?);
            }
        }
        let mut lacks = Vec::new();
        for (name, key) in &self.names {
            reads.scope.keys.insert(key.clone());
            match view.get(key) {
                Found::Entry(entry) => drop(all.insert(name.clone(), Keyed::of(entry)?)),
                Found::Outside => outside = true,
                Found::Absent => {
                    reads.absent.insert(key.clone());
                    match missing {
                        Missing::Default => drop(all.insert(name.clone(), Keyed::absent(key))),
                        Missing::Wait | Missing::Fail => lacks.push(Lack {
                            key: key.clone(),
                            place: PLACE.to_owned(),
                        }),
                    }
                }
            }
        }
        match (outside, lacks.is_empty()) {
            (true, _) => Err(Held::Outside),
            (false, false) => Err(Held::Missing(lacks)),
            (false, true) => Ok(all),
        }
    }

    fn name(&self, key: &str, path: &str) -> Result<String, Held> {
        let name = path.replace('/', "_");
        let name = if self.upper { name.to_ascii_uppercase() } else { name };
        if is_name(&name) {
            return Ok(name);
        }
        let told = format!("`{key}` makes no name of a variable: `{name}` (letters, digits and _, no digit first)");
        Err(broken(&told, "rename the key, or name its variable in `names`"))
    }
}

/// A variable's value, and where it comes from.
struct Keyed {
    key: String,
    revision: Option<Revision>,
    value: String,
}

impl Keyed {
    fn of(entry: &Entry) -> Result<Self, Held> {
        Ok(Self {
            value: text(&entry.key, &entry.value)?,
            key: entry.key.clone(),
            revision: Some(entry.modify_index),
        })
    }

    fn absent(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            revision: None,
            value: String::new(),
        }
    }
}

fn text(key: &str, value: &[u8]) -> Result<String, Held> {
    let text = std::str::from_utf8(value).ok().filter(|text| !text.contains('\0'));
    let text = text.ok_or_else(|| {
        let told = format!("the value of `{key}` is not UTF-8 text, or has a NUL in it");
        broken(&told, "a variable cannot hold it; put it into a file")
    })?;
    Ok(text.to_owned())
}

fn joined(all: &BTreeMap<String, Keyed>) -> Result<String, Held> {
    let mut text = String::new();
    for (name, Keyed { value, .. }) in all {
        if name.len() + 1 + value.len() > LONGEST {
            let told = format!("the variable {name} is longer than {} KiB", (LONGEST + 1) >> 10);
            return Err(broken(&told, "the system gives none to a program; put it into a file"));
        }
        text.extend([name, "=", value, "\0"]);
    }
    if text.len() > ALL {
        let told = format!("the variables are longer than {} KiB together", ALL >> 10);
        return Err(broken(&told, "choose a smaller folder, or put them into a file"));
    }
    Ok(text)
}

fn broken(told: &str, help: &str) -> Held {
    Held::Broken(format!("{PLACE}: {told}; {help}"))
}

/// The variables of a rendered environment.
pub fn variables(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split_terminator('\0').filter_map(|pair| pair.split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(environment: &Environment, values: &[(&str, &str)]) -> Result<Vec<String>, Held> {
        let values = values
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()));
        let rendered = environment.render(7, &View::fixed(values), Missing::Wait);
        let text = rendered.outcome?;
        Ok(variables(&text)
            .map(|(name, value)| format!("{name}={value}"))
            .collect())
    }

    fn folders(prefixes: &[&str]) -> Environment {
        Environment {
            prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
            ..Environment::default()
        }
    }

    #[test]
    fn a_folder_goes_by_path_segments_and_a_later_one_and_names_win() {
        let mut environment = folders(&["app", "app/web"]);
        environment.names.insert("URL".into(), "db/url".into());
        environment.names.insert("B_B".into(), "app/b-b".into());
        let values = [
            ("app", "no"),
            ("app/", "no"),
            ("app/a", "1=2\n3"),
            ("app/b-b", "4"),
            ("app/dir/", "no"),
            ("app/empty", ""),
            ("app/web/a", "5"),
            ("apple/c", "no"),
            ("db/url", "6"),
        ];
        assert_eq!(
            of(&environment, &values).unwrap(),
            ["B_B=4", "URL=6", "a=5", "empty=", "web_a=5"]
        );
        environment.upper = true;
        environment.prefixes.truncate(1);
        assert_eq!(
            of(&environment, &values).unwrap(),
            ["A=1=2\n3", "B_B=4", "EMPTY=", "URL=6", "WEB_A=5"]
        );
    }

    #[test]
    fn what_is_no_variable_is_an_error_that_names_the_key_and_no_value() {
        let long = "v".repeat(LONGEST);
        let mut upper = folders(&["app"]);
        upper.upper = true;
        for (environment, values, part) in [
            (
                folders(&["app"]),
                vec![("app/db-url", "secret")],
                "`app/db-url` makes no name",
            ),
            (folders(&["app"]), vec![("app/1st", "secret")], "`1st`"),
            (folders(&["app"]), vec![("app/é", "secret")], "`é`"),
            (folders(&["app"]), vec![("app/a", "secret\0")], "NUL"),
            (folders(&["app"]), vec![("app/a", long.as_str())], "128 KiB"),
            (
                folders(&["app"]),
                vec![("app/a/b", "secret"), ("app/a_b", "secret")],
                "both the variable a_b",
            ),
            (
                upper,
                vec![("app/A", "secret"), ("app/a", "secret")],
                "`app/A` and `app/a`",
            ),
        ] {
            let Err(Held::Broken(told)) = of(&environment, &values) else {
                panic!("{values:?}")
            };
            assert!(told.starts_with(PLACE) && told.contains(part), "{told}");
            assert!(!told.contains("secret") && !told.contains("vvv"), "{told}");
        }
        let many: Vec<(String, String)> = (0..10)
            .map(|n| (format!("app/a{n}"), "v".repeat(LONGEST - 3)))
            .collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert!(matches!(of(&folders(&["app"]), &many), Err(Held::Broken(told)) if told.contains("together")));
    }

    #[test]
    fn what_is_not_known_or_missing_is_told_and_everything_is_recorded() {
        let mut environment = folders(&["app"]);
        environment.names.insert("URL".into(), "db/url".into());
        let rendered = environment.render(7, &View::default(), Missing::Wait);
        assert_eq!((rendered.id, rendered.outcome), (7, Err(Held::Outside)));
        assert!(rendered.reads.scope.keys.contains("db/url") && rendered.reads.scope.prefixes.contains("app/"));

        let lack = Lack {
            key: "db/url".into(),
            place: PLACE.into(),
        };
        assert_eq!(of(&environment, &[]), Err(Held::Missing(vec![lack])));
        let empty = environment.render(7, &View::fixed([]), Missing::Default);
        assert_eq!(empty.outcome.unwrap(), "URL=\0");
        assert!(empty.reads.absent.contains("db/url"));
    }

    #[test]
    fn what_is_inherited_is_chosen_by_patterns_and_a_refusal_wins() {
        let mut environment = Environment::default();
        assert!(environment.inherits("PATH"));
        environment.deny = vec!["AWS_*".into()];
        assert!(environment.inherits("PATH") && !environment.inherits("AWS_KEY"));
        environment.allow = vec!["PATH".into(), "*_KEY".into()];
        assert!(environment.inherits("SSH_KEY") && !environment.inherits("HOME") && !environment.inherits("AWS_KEY"));
        environment.pristine = true;
        assert!(!environment.inherits("PATH"));
        environment.custom.insert("A".into(), "secret".into());
        assert!(!format!("{environment:?}").contains("secret"));
    }
}
