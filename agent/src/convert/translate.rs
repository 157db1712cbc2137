//! A Go template as a Handlebars template.
//!
//! What has no exact counterpart is not guessed: its text goes into a comment, and a key is read that
//! is not there, so that the file is not written before somebody has looked.

use std::collections::{BTreeMap, BTreeSet};

use self::survey::{assigned, executed, plain, recursive, taken};
use super::emit::{Piece, emit};
use super::functions::{Lack, Typed};
use super::go_parser::{Kind as NodeKind, Node, Parsed, Pipe, parse};
use super::hbs::{Frames, Hbs, call, quote};
use super::hcl::Fault;
use super::kinds::Kind;
use super::report::Finding;

mod blocks;
mod survey;
mod values;

/// Keys of this folder stand for what somebody has to look at.
pub const HOLD: &str = "LOOK";

/// An expression longer than this is not repeated for each use of a variable.
const MAX_SIZE: usize = 200;

/// Where a template was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The file, for the report.
    pub file: String,
    /// The line of the template's first character.
    pub line: usize,
    /// Whether its lines are lines of the file.
    pub lines: bool,
    /// What opens an action.
    pub left: String,
    /// What closes it.
    pub right: String,
}

/// A translated template.
#[derive(Debug, Default)]
pub struct Translated {
    /// The template.
    pub main: String,
    /// What it includes.
    pub partials: BTreeMap<String, String>,
    /// What is to be told.
    pub findings: Vec<Finding>,
}

/// Translates a template. `prefix` keeps its partials apart from those of others.
pub fn translate(text: &str, origin: &Origin, prefix: &str) -> Result<Translated, Fault> {
    let parsed = parse(text, &origin.left, &origin.right).map_err(|fault| Fault {
        line: at(origin, fault.line),
        ..fault
    })?;
    let mut translator = Translator {
        origin,
        text,
        prefix,
        frames: Frames::new(taken(text)),
        assigned: assigned(&parsed),
        recursive: recursive(&parsed),
        parsed: &parsed,
        scratch: BTreeSet::new(),
        partials: BTreeMap::new(),
        findings: Vec::new(),
    };
    let main = translator.body(&parsed.main, &mut Scope::default());
    let mut findings = translator.findings;
    findings.sort_by_key(|finding| finding.line);
    findings.dedup();
    Ok(Translated {
        main: emit(main),
        partials: translator
            .partials
            .into_iter()
            .map(|(name, (_, text))| (format!("{prefix}{}", plain(&name)), text))
            .collect(),
        findings,
    })
}

fn at(origin: &Origin, line: usize) -> usize {
    if origin.lines {
        origin.line + line - 1
    } else {
        origin.line
    }
}

/// What is known at a place of the template.
#[derive(Debug, Clone, Default)]
struct Scope {
    dot: Option<Typed>,
    root: Option<Typed>,
    /// The innermost block that moves the dot.
    inner: Option<usize>,
    vars: Vec<(String, Typed)>,
}

impl Scope {
    fn var(&self, name: &str) -> Option<&Typed> {
        self.vars
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }
}

struct Translator<'a> {
    origin: &'a Origin,
    text: &'a str,
    prefix: &'a str,
    frames: Frames,
    assigned: BTreeSet<String>,
    recursive: BTreeSet<String>,
    parsed: &'a Parsed,
    scratch: BTreeSet<String>,
    partials: BTreeMap<String, (Option<Kind>, String)>,
    findings: Vec<Finding>,
}

impl Translator<'_> {
    fn body(&mut self, nodes: &[Node], scope: &mut Scope) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for node in nodes {
            let translated = match &node.kind {
                NodeKind::Text(text) => Ok(vec![Piece::Text(text.clone())]),
                NodeKind::Comment(text) => Ok(vec![Piece::Comment(text.replace("--}}", "-- }}"))]),
                NodeKind::Action(pipe) => self.action(pipe, scope, node.line),
                NodeKind::Block(block) => self.block(block, scope, node.line),
                NodeKind::Template(name, pipe) => self.include(name, pipe.as_ref(), scope, node.line),
                NodeKind::Jump => Err(Lack::new(
                    "a loop of Handlebars goes through everything",
                    "test with {{#if}} what is to be printed",
                )),
            };
            let translated = match self.frames.trouble() {
                Some(lack) => translated.and(Err(lack)),
                None => translated,
            };
            match translated {
                Ok(translated) => pieces.extend(translated),
                Err(lack) => pieces.extend(self.hold(node, &lack)),
            }
        }
        pieces
    }

    /// What stands for something that somebody has to look at.
    fn hold(&mut self, node: &Node, lack: &Lack) -> [Piece; 2] {
        let (file, line) = (&self.origin.file, at(self.origin, node.line));
        let source = &self.text[node.start..node.end];
        let first = source.lines().next().unwrap_or_default();
        let shown = if source.contains('\n') {
            format!("{first} ...")
        } else {
            first.to_owned()
        };
        self.findings.push(Finding::look(
            file,
            line,
            format!("`{shown}`: {}", lack.why),
            format!("{}; until then `{HOLD}/{file}:{line}` holds the file back", lack.remedy),
        ));
        let comment = format!(" {file}:{line}: {} ", source.replace("--}}", "-- }}"));
        [
            Piece::Comment(comment),
            Piece::Value(format!("key {}", quote(&format!("{HOLD}/{file}:{line}")))),
        ]
    }

    fn note(&mut self, line: usize, notes: Vec<String>) {
        let (file, line) = (&self.origin.file, at(self.origin, line));
        self.findings
            .extend(notes.into_iter().map(|note| Finding::note(file, line, note)));
    }

    fn action(&mut self, pipe: &Pipe, scope: &mut Scope, line: usize) -> Result<Vec<Piece>, Lack> {
        if let Some(name) = executed(pipe) {
            let rest = pipe.commands[0][2..].to_vec();
            let given = (!rest.is_empty()).then(|| Pipe {
                commands: vec![rest],
                ..Pipe::default()
            });
            return self.include(name, given.as_ref(), scope, line);
        }
        let mut notes = Vec::new();
        let (value, kind) = self.pipe(pipe, scope, &mut notes)?;
        self.note(line, notes);
        if let Some(name) = pipe.vars.first() {
            return self.declare(name, pipe.assigns, (value, kind), scope);
        }
        match (&value, &kind) {
            (Hbs::Text(text), _) => Ok(vec![Piece::Text(text.clone())]),
            (Hbs::Number(number), _) => Ok(vec![Piece::Text(number.clone())]),
            (_, Kind::List(_) | Kind::Map(_) | Kind::Pair) => Err(Lack::new(
                "Go prints a list or a map in a form of its own",
                "print what is needed of it, with `join`, `toJson` or {{#each}}",
            )),
            _ => Ok(vec![Piece::Value(self.frames.bare(&value, scope.inner))]),
        }
    }

    /// A variable is what it was set to, written again wherever it is used; one that changes, or that
    /// was read from what may change, is kept by `set`.
    fn declare(&mut self, name: &str, assigns: bool, value: Typed, scope: &mut Scope) -> Result<Vec<Piece>, Lack> {
        let (value, kind) = value;
        if assigns {
            let Some((Hbs::Call { name: "get", args, .. }, _)) = scope.var(name) else {
                return Err(Lack::new(
                    format!("`${name}` is changed and not declared here"),
                    "write it by hand",
                ));
            };
            let kept = call("set", [args[0].clone(), value]);
            return Ok(vec![Piece::Value(self.frames.bare(&kept, scope.inner))]);
        }
        let changes = self.assigned.contains(name) || value.calls(&["get", "hasSet", "mapValues"]);
        if !changes {
            if value.size() > MAX_SIZE {
                return Err(Lack::new(
                    format!("what `${name}` is set to is too long to repeat"),
                    "write it by hand",
                ));
            }
            scope.vars.push((name.to_owned(), (value, kind)));
            return Ok(Vec::new());
        }
        let mut own = name.to_owned();
        let mut number = 2;
        while !self.scratch.insert(own.clone()) {
            own = format!("{name}{number}");
            number += 1;
        }
        let own = Hbs::Text(own);
        let kept = call("set", [own.clone(), value]);
        scope.vars.push((name.to_owned(), (call("get", [own]), kind)));
        Ok(vec![Piece::Value(self.frames.bare(&kept, scope.inner))])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::convert::report::Level;
    use crate::load::on_big_stack;
    use crate::templates::Templates;

    fn translated(text: &str) -> Result<Translated, Fault> {
        let origin = Origin {
            file: "a.ctmpl".into(),
            line: 1,
            lines: true,
            left: "{{".into(),
            right: "}}".into(),
        };
        translate(text, &origin, "")
    }

    fn main(text: &str) -> String {
        let translated = translated(text).unwrap();
        assert_eq!(translated.findings, [], "{text}");
        translated.main
    }

    fn looks(text: &str, part: &str) {
        let translated = translated(text).unwrap();
        let told: Vec<String> = translated.findings.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|line| line.contains(part)), "{text}: {told:?}");
        assert!(translated.main.contains("{{key \"LOOK/a.ctmpl:"), "{}", translated.main);
    }

    #[test]
    fn values_come_first_and_pipes_are_nested() {
        assert_eq!(
            main(r#"{{ key "a" | replaceAll "-" "_" | toUpper }}"#),
            r#"{{upper (replace (key "a") "-" "_")}}"#
        );
        assert_eq!(
            main(r#"{{ keyOrDefault "a" "x" }}"#),
            r#"{{default (key "a" default="") "x"}}"#
        );
        assert_eq!(
            main(r#"{{ join "," (split ";" (key "a")) }}"#),
            r#"{{join (split (trim (key "a")) ";") ","}}"#
        );
    }

    #[test]
    fn a_block_has_a_name_only_where_an_inner_one_needs_it() {
        assert_eq!(
            main(r#"{{ range $p := ls "a/" }}{{ $p.Key }}{{ end }}"#),
            r#"{{#each (ls "a/")}}{{this.key}}{{/each}}"#
        );
        assert_eq!(
            main(r#"{{ range $key := ls "a/" }}{{ range ls "b/" }}{{ $key.Value }}{{ .Value }}{{ end }}{{ end }}"#),
            r#"{{#each (ls "a/") as |key2|}}{{#each (ls "b/")}}{{key2.value}}{{this.value}}{{/each}}{{/each}}"#
        );
    }

    #[test]
    fn a_variable_ends_with_its_block() {
        assert_eq!(
            main(r#"{{ $x := key "a" }}{{ if $x }}{{ $x := key "b" }}{{ $x }}{{ end }}{{ $x }}"#),
            r#"{{#if (key "a")}}{{key "b"}}{{/if}}{{key "a"}}"#
        );
    }

    #[test]
    fn what_has_no_counterpart_is_told_and_holds_the_file_back() {
        looks(r#"{{ secret "a" }}"#, "a.ctmpl:1: look: `{{ secret \"a\" }}`");
        looks("\n{{ nonsense 1 }}", "a.ctmpl:2: look");
        looks(r#"{{ $x := plugin "a" }}{{ $x }}"#, "`$x` is set in a place");
        looks(r#"{{ ls "a/" }}"#, "a form of its own");
        looks(r#"{{ .Key }}"#, "the dot stands for");
        looks(r#"{{ if eq (key "a") 1 }}{{ end }}"#, "two kinds of values");
        looks(r#"{{ or (key "a") (ls "b/") }}"#, "gives one of its values");
        looks(r#"{{ printf "%05d" 3 }}"#, "`%0`");
        looks(
            r#"{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}"#,
            "includes itself",
        );
        looks(r#"{{ template "none" }}"#, "no template `none`");
        looks("{{ 0x1f }}", "plain decimal number");
    }

    #[test]
    fn what_is_no_template_is_a_fault_and_no_guess() {
        assert_eq!(translated("a\n{{ if x }}").unwrap_err().line, 2);
        assert_eq!(translated("a\n\n{{ \"x }}").unwrap_err().line, 3);
    }

    fn template() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "[a{}\\\\ \n-]{0,5}",
            prop::sample::select(vec![
                "{{ key \"a\" }}",
                "{{- . -}}",
                "{{ .Value }}",
                "{{ .Key | toUpper }}",
                "{{ $x := .Value }}",
                "{{ $x := key \"b\" -}}",
                "{{ $x }}",
                "{{/* c --}} */}}",
                "{{- /* d */ -}}",
                "{{ secret \"x\" }}",
                "{{ break }}",
                "{{ template \"p\" . }}",
                "{{ template \"p\" }}",
                "{{ $ }}",
                "{{ \"{{\" }}",
            ])
            .prop_map(str::to_owned),
        ];
        let list = prop::collection::vec(leaf, 0..4).prop_map(|all| all.concat());
        list.prop_recursive(4, 40, 4, |inner| {
            let heads = prop::sample::select(vec![
                "{{ if keyExists \"a\" }}",
                "{{- if .Value }}",
                "{{ if and $x (ls \"c/\") -}}",
                "{{ range ls \"a/\" }}",
                "{{ range $i, $x := tree \"b/\" }}",
                "{{- range $x := split \",\" .Value -}}",
                "{{ with $x := key \"d\" }}",
                "{{ with service \"e\" }}",
            ]);
            let middle = prop::sample::select(vec!["", "{{ else }}", "{{ else if .Value }}", "{{- else with $x -}}"]);
            (inner.clone(), heads, inner.clone(), middle, inner.clone(), inner).prop_map(
                |(before, head, body, middle, other, after)| {
                    let other = if middle.is_empty() { String::new() } else { other };
                    format!("{before}{head}{body}{middle}{other}{{{{ end }}}}{after}")
                },
            )
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        /// What comes out is a template that the agent takes; each place that holds it back is told.
        #[test]
        fn whatever_is_translated_can_be_compiled(text in template(), partial in template()) {
            let text = format!("{{{{ define \"p\" }}}}{partial}{{{{ end }}}}{text}");
            let Ok(translated) = translated(&text) else { return Ok(()) };
            let mains = [("main".to_owned(), translated.main.clone())];
            let compiled = on_big_stack(|| Templates::compile(&mains, &translated.partials, None)).unwrap();
            prop_assert!(compiled.is_ok(), "{:?}\n{text}\n{}", compiled.unwrap_err(), translated.main);
            let held = translated.partials.values().chain([&translated.main]).any(|text| text.contains("{{key \"LOOK/"));
            let told = translated.findings.iter().any(|finding| finding.level == Level::Look);
            prop_assert_eq!(held, told);
        }
    }
}
