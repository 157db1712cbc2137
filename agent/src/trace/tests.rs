use kvapi::types::Entry;
use proptest::prelude::*;

use super::*;
use crate::render::{Surroundings, render, traced};
use crate::templates::{Choices, Templates, one_by_one};
use crate::view::{Revisions, Scope, View};

/// Keys whose revisions count from 11, at revision 20.
fn view(keys: &[(&str, &str)]) -> View {
    let entries = keys.iter().zip(11..).map(|((name, value), revision)| Entry {
        lock_index: 0,
        key: (*name).to_owned(),
        flags: 0,
        value: value.as_bytes().to_vec().into(),
        session: None,
        create_index: Revision(revision),
        modify_index: Revision(revision),
    });
    let mut view = View::above(String::new(), Revisions::default());
    let snapshot = kvapi::types::Snapshot {
        revision: Revision(20),
        entries: entries.collect(),
    };
    let all = Scope {
        prefixes: ["".to_owned(), "_keyway/".to_owned()].into(),
        ..Scope::default()
    };
    view.replace(snapshot, all).unwrap();
    view
}

fn compiled(text: &str, traced: bool) -> Templates {
    let partials = [
        ("p".to_owned(), "p {{x}}\nfixed\n".to_owned()),
        ("frame".to_owned(), "<\n{{> @partial-block}}>\n".to_owned()),
    ];
    let choices = Choices {
        traced,
        ..Choices::default()
    };
    Templates::compile_with(
        &[("t".into(), text.into())],
        &partials.into(),
        None,
        choices,
        one_by_one,
    )
    .unwrap()
}

/// Each line, and behind it what it comes from.
fn explained(text: &str, keys: &[(&str, &str)]) -> Vec<String> {
    let around = Surroundings::default();
    let (rendered, trace) = traced(&compiled(text, true), 0, &view(keys), &around);
    let plain = render(&compiled(text, false), 0, &view(keys), &around);
    assert_eq!(rendered, plain, "the marks change nothing");
    let told = |(number, line): (usize, &str)| {
        let origins: Vec<String> = trace.line(number).map(Origin::to_string).collect();
        format!("{line}|{}", origins.join(", "))
    };
    let text = rendered.outcome.unwrap();
    text.lines().enumerate().map(told).collect()
}

const KEYS: &[(&str, &str)] = &[("a", "1"), ("b", "2"), ("f/x", "3"), ("f/y", "4")];

#[test]
fn a_line_comes_from_the_keys_that_are_in_it() {
    assert_eq!(
        explained(
            "x\n{{key \"a\"}} {{key \"b\"}}\n{{key \"no\" default=\"d\"}}\ny\n",
            KEYS
        ),
        ["x|", "1 2|a@11, b@12", "d|no (absent)", "y|"]
    );
    assert_eq!(explained("{{revision}}\n", KEYS), ["20|revision 20"]);
}

#[test]
fn a_block_comes_from_what_it_was_given_and_each_turn_from_its_item() {
    assert_eq!(
        explained(
            "{{#if (keyExists \"a\")}}\nyes {{key \"b\"}}\n{{else}}\nno\n{{/if}}\nend\n",
            KEYS
        ),
        ["yes 2|a@11, b@12", "end|"]
    );
    assert_eq!(
        explained("{{#each (ls \"f\")}}\n{{this.key}}={{this.value}}\n{{/each}}\n", KEYS),
        ["x=3|f/x@13", "y=4|f/y@14"]
    );
    assert_eq!(
        explained("{{#each (ls \"none\")}}\n{{else}}\nempty\n{{/each}}\n", KEYS),
        ["empty|none/* (empty)"]
    );
    assert_eq!(
        explained("{{join (ls \"f\") sep=\",\" field=\"value\"}}\n", KEYS),
        ["3,4|f/*@14"]
    );
    let services = [("_keyway/services/web/i1", "{\"port\": 1}")];
    assert_eq!(
        explained("{{#each (service \"web\")}}\n{{this.port}}\n{{/each}}\n", &services),
        ["1|_keyway/services/web/i1@11"]
    );
}

#[test]
fn a_name_brings_what_is_behind_it_to_where_it_is_used() {
    assert_eq!(
        explained("{{#let v=(key \"a\")}}\nfixed\n{{v}}\n{{upper v}}{{/let}}\n", KEYS),
        ["fixed|", "1|a@11", "1|a@11"]
    );
    assert_eq!(
        explained("{{set \"v\" (key \"a\")}}\nfixed\n{{get \"v\"}}\n", KEYS),
        ["|", "fixed|", "1|a@11"]
    );
    assert_eq!(
        explained(
            "{{> p x=(key \"a\")}}\n{{#indented 2}}{{key \"b\"}}{{/indented}}\n",
            KEYS
        ),
        ["p 1|a@11", "fixed|a@11", "  2|b@12"]
    );
}

#[test]
fn a_secret_is_known_by_its_line() {
    let mut tracer = Tracer::default();
    tracer.wrote("user x\n");
    tracer.begin([], None);
    tracer.read(Origin::File {
        path: "/run/secret".into(),
        secret: true,
    });
    tracer.wrote("one\ntwo");
    tracer.end();
    tracer.wrote("\n");
    let trace = tracer.into_trace();
    let secret: Vec<bool> = (0..4).map(|number| trace.is_secret(number)).collect();
    assert_eq!(secret, [false, true, true, false]);
    assert!(trace.has_secrets());
}

proptest! {
    #[test]
    fn the_marks_change_no_text(parts in proptest::collection::vec(prop_oneof![
        Just("x\n"), Just("  {{> p x=1}}\n"), Just("{{#if (key \"a\")}}\n"), Just("{{else}}\n"), Just("{{/if}}\n"),
        Just("{{#each (ls \"f\")}} {{this.value}}\n{{~/each}} y"), Just("{{key \"b\"}}"), Just("  "), Just("\n"),
        Just("{{#indented 2}}{{key \"a\"}}\nz{{/indented}}"), Just("{{#> frame}}\n  {{key \"a\"}}\n{{/frame}}\n"),
        Just("{{#let v=(key \"a\")}}{{v}}\n{{/let}}"), Just("{{!-- c --}}\n"),
    ], 0..8)) {
        let text = parts.concat();
        let both = [false, true].map(|traced| {
            let choices = Choices { traced, ..Choices::default() };
            let partials = [("p".to_owned(), "p {{x}}\nq\n".to_owned()), ("frame".to_owned(), "<\n{{> @partial-block}}>\n".to_owned())];
            Templates::compile_with(&[("t".into(), text.clone())], &partials.into(), None, choices, one_by_one)
        });
        if let [Ok(plain), Ok(marked)] = both {
            let (view, around) = (view(KEYS), Surroundings::default());
            prop_assert_eq!(render(&plain, 0, &view, &around), traced(&marked, 0, &view, &around).0, "{}", text);
        }
    }
}
