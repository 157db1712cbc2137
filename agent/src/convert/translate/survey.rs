//! What is to be known of a whole template before any of it is translated.

use std::collections::BTreeSet;

use crate::convert::go_parser::{Base, Kind as NodeKind, Node, Parsed, Pipe, Term};

/// Names that a block must not give: helpers, and whatever is a field somewhere.
pub(super) fn taken(text: &str) -> Vec<String> {
    let fields = text.match_indices('.').map(|(at, _)| {
        let rest = &text[at + 1..];
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        rest[..end].to_owned()
    });
    let ours = [
        "key", "value", "path", "flags", "revision", "this", "as", "true", "false", "null",
    ];
    let ours = ours.into_iter().chain(crate::helpers::names()).map(str::to_owned);
    ours.chain(fields.filter(|name| !name.is_empty())).collect()
}

/// Variables that are given another value somewhere.
pub(super) fn assigned(parsed: &Parsed) -> BTreeSet<String> {
    fn walk(nodes: &[Node], found: &mut BTreeSet<String>) {
        for node in nodes {
            match &node.kind {
                NodeKind::Action(pipe) if pipe.assigns => found.extend(pipe.vars.iter().cloned()),
                NodeKind::Block(block) => {
                    if block.pipe.assigns {
                        found.extend(block.pipe.vars.iter().cloned());
                    }
                    walk(&block.body, found);
                    walk(block.otherwise.as_deref().unwrap_or_default(), found);
                }
                _ => {}
            }
        }
    }
    let mut found = BTreeSet::new();
    for nodes in parsed.defines.values().chain([&parsed.main]) {
        walk(nodes, &mut found);
    }
    found
}

/// Templates that include themselves, by whatever way.
pub(super) fn recursive(parsed: &Parsed) -> BTreeSet<String> {
    fn includes<'a>(nodes: &'a [Node], found: &mut BTreeSet<&'a str>) {
        for node in nodes {
            match &node.kind {
                NodeKind::Template(name, _) => {
                    found.insert(name);
                }
                NodeKind::Action(pipe) => {
                    if let Some(name) = executed(pipe) {
                        found.insert(name);
                    }
                }
                NodeKind::Block(block) => {
                    includes(&block.body, found);
                    includes(block.otherwise.as_deref().unwrap_or_default(), found);
                }
                _ => {}
            }
        }
    }
    let reaches_itself = |name: &String| {
        let mut seen = BTreeSet::new();
        let mut open = vec![name.as_str()];
        while let Some(next) = open.pop() {
            let mut found = BTreeSet::new();
            includes(
                parsed.defines.get(next).map(Vec::as_slice).unwrap_or_default(),
                &mut found,
            );
            open.extend(found.into_iter().filter(|name| seen.insert(*name)));
        }
        seen.contains(name.as_str())
    };
    parsed
        .defines
        .keys()
        .filter(|name| reaches_itself(name))
        .cloned()
        .collect()
}

/// The name in `executeTemplate "name"`.
pub(super) fn executed(pipe: &Pipe) -> Option<&str> {
    match pipe.commands.as_slice() {
        [command] => match command.as_slice() {
            [
                Term {
                    base: Base::Function(function),
                    ..
                },
                Term {
                    base: Base::Text(name), ..
                },
                ..,
            ] if function == "executeTemplate" => Some(name),
            _ => None,
        },
        _ => None,
    }
}

/// A name as a file may have it.
pub(super) fn plain(name: &str) -> String {
    let keep = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') {
            c
        } else {
            '-'
        }
    };
    name.chars().map(keep).collect()
}
