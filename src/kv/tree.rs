//! `keyway kv tree`: folders and keys as a tree.

use std::collections::BTreeMap;

use clap::Args;
use kvapi::Entry;
use kvapi::problem::exit;
use serde::Serialize;

use super::folder::Folder;
use super::shown::{Value, on_one_line, plain};
use crate::context::Context;
use crate::failure::Outcome;
use crate::paint::Paint;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway kv tree                               everything, folder by folder
  keyway kv tree -L 2 app                      two levels below app/
  keyway kv tree --values app                  with the values

Exits with 1 if nothing is there.")]
pub(crate) struct Tree {
    /// Folder to begin at; nothing is the top
    #[arg(default_value = "")]
    folder: String,
    /// Show so many levels; below them only how many keys there are
    #[arg(short = 'L', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    level: Option<u16>,
    /// Show the values too
    #[arg(long)]
    values: bool,
}

impl Tree {
    pub(super) async fn run(self, context: Context<'_>) -> Outcome {
        let folder = Folder::new(&self.folder);
        let consistency = context.settings.consistency;
        let (revision, entries, keys) = if self.values {
            let found = folder.entries(&context.client, consistency).await?;
            (found.revision, found.value, Vec::new())
        } else {
            let found = folder.keys(&context.client, consistency).await?;
            (found.revision, Vec::new(), found.value)
        };
        let entries = entries.iter().map(|entry| (entry.key.as_str(), Some(entry)));
        let keys = keys.iter().map(|key| (key.as_str(), None));
        let root = Branch::grow(&folder, entries.chain(keys));
        let levels = self.level.map_or(usize::MAX, usize::from);
        let name = folder.to_string();
        if context.out.is_json() {
            let shown = root.shown(&name, levels);
            context
                .out
                .json(&serde_json::json!({"revision": revision, "tree": shown}))?;
        } else if root.keys > 0 {
            let mut lines = vec![context.out.paint.bold(&name)];
            root.draw("", levels, context.out.paint, &mut lines);
            lines.iter().try_for_each(|line| context.out.line(line))?;
        }
        if root.keys == 0 {
            context.out.say(format_args!("nothing is under `{folder}`"));
        }
        // As a test in a script, like `keyway kv ls`.
        let absent = root.keys == 0 && !folder.is_everything();
        Ok(if absent { exit::NO } else { exit::OK })
    }
}

/// A folder: what is in it, by name; a folder's name ends in `/`.
#[derive(Debug, Default)]
struct Branch<'a> {
    folders: BTreeMap<&'a str, Self>,
    leaves: BTreeMap<&'a str, Leaf<'a>>,
    /// Keys in it and below.
    keys: usize,
}

#[derive(Debug)]
struct Leaf<'a> {
    key: &'a str,
    entry: Option<&'a Entry>,
}

/// A node as JSON: a folder has `children`, unless --level cut them off.
#[derive(Debug, Serialize)]
struct Node<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(flatten)]
    value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    children: Option<Vec<Self>>,
}

impl<'a> Branch<'a> {
    fn grow(folder: &Folder, entries: impl Iterator<Item = (&'a str, Option<&'a Entry>)>) -> Self {
        let mut root = Self::default();
        for (key, entry) in entries {
            let mut branch = &mut root;
            branch.keys += 1;
            let mut rest = folder.inside(key);
            while let Some(slash) = rest.find('/').filter(|slash| slash + 1 < rest.len()) {
                branch = branch.folders.entry(&rest[..=slash]).or_default();
                branch.keys += 1;
                rest = &rest[slash + 1..];
            }
            branch.leaves.insert(rest, Leaf { key, entry });
        }
        root
    }

    fn draw(&self, indent: &str, levels: usize, paint: Paint, lines: &mut Vec<String>) {
        let children = self.children();
        let (turns, lasts) = (("├── ", "│   "), ("└── ", "    "));
        for (i, (name, child)) in children.iter().enumerate() {
            let name = plain(name);
            let (turn, below) = if i + 1 == children.len() { lasts } else { turns };
            match child {
                Child::Leaf(leaf) => {
                    let value = leaf.entry.map(|entry| on_one_line(&entry.value));
                    let value = value.map_or_else(String::new, |value| format!(" = {value}"));
                    lines.push(format!("{indent}{turn}{name}{value}"));
                }
                Child::Folder(folder) if levels <= 1 => {
                    let keys = if folder.keys == 1 { "key" } else { "keys" };
                    let count = paint.dim(format_args!("({} {keys})", folder.keys));
                    lines.push(format!("{indent}{turn}{} {count}", paint.bold(name)));
                }
                Child::Folder(folder) => {
                    lines.push(format!("{indent}{turn}{}", paint.bold(name)));
                    folder.draw(&format!("{indent}{below}"), levels - 1, paint, lines);
                }
            }
        }
    }

    fn shown<'b>(&'b self, name: &'b str, levels: usize) -> Node<'b> {
        let children = self.children().into_iter().map(|(name, child)| match child {
            Child::Leaf(leaf) => Node {
                name,
                key: Some(leaf.key),
                value: leaf.entry.map(|entry| Value::from(&entry.value)),
                keys: None,
                children: None,
            },
            Child::Folder(folder) => folder.shown(name, levels - 1),
        });
        Node {
            name,
            key: None,
            value: None,
            keys: Some(self.keys),
            children: (levels > 0).then(|| children.collect()),
        }
    }

    /// What is in it, in the order of the names. A key may have the name of a folder: `a/` beside `a/b`.
    fn children(&self) -> Vec<(&'a str, Child<'_, 'a>)> {
        let leaves = self.leaves.iter().map(|(name, leaf)| (*name, Child::Leaf(leaf)));
        let folders = self.folders.iter().map(|(name, folder)| (*name, Child::Folder(folder)));
        let mut children: Vec<_> = leaves.chain(folders).collect();
        children.sort_by_key(|(name, _)| *name);
        children
    }
}

enum Child<'b, 'a> {
    Leaf(&'b Leaf<'a>),
    Folder(&'b Branch<'a>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::{ColorChoice, Environment};

    fn drawn(folder: &str, levels: usize, keys: &[&'static str]) -> Vec<String> {
        let root = Branch::grow(&Folder::new(folder), keys.iter().map(|&key| (key, None)));
        let mut lines = Vec::new();
        let paint = Paint::new(ColorChoice::Never, Environment::default(), false);
        root.draw("", levels, paint, &mut lines);
        lines
    }

    #[test]
    fn keys_stand_in_their_folders() {
        assert_eq!(
            drawn("", usize::MAX, &["a", "a/b", "a/c/d", "e"]),
            ["├── a", "├── a/", "│   ├── b", "│   └── c/", "│       └── d", "└── e"]
        );
        assert_eq!(drawn("a", usize::MAX, &["a", "a/b"]), ["├── a", "└── b"]);
    }

    #[test]
    fn below_the_last_level_keys_are_counted() {
        assert_eq!(drawn("", 1, &["a/b", "a/c/d", "e"]), ["├── a/ (2 keys)", "└── e"]);
    }

    #[test]
    fn a_key_that_ends_in_a_slash_is_a_leaf() {
        assert_eq!(drawn("", usize::MAX, &["a/"]), ["└── a/"]);
        assert_eq!(drawn("", usize::MAX, &["a/", "a/b"]), ["├── a/", "└── a/", "    └── b"]);
    }

    #[test]
    fn json_is_the_same_tree() {
        let root = Branch::grow(&Folder::new(""), ["a/b", "c"].into_iter().map(|key| (key, None)));

        assert_eq!(
            serde_json::to_value(root.shown("/", usize::MAX)).unwrap(),
            serde_json::json!({"name": "/", "keys": 2, "children": [
                {"name": "a/", "keys": 1, "children": [{"name": "b", "key": "a/b"}]},
                {"name": "c", "key": "c"},
            ]})
        );
    }
}
