use kvapi::Revision;
use kvapi::types::Snapshot;
use proptest::prelude::*;

use super::*;

mod bounds;
mod helpers;

fn templates(text: &str) -> Templates {
    Templates::compile(&[("t".into(), text.into())], &BTreeMap::new(), None).unwrap()
}

fn view(values: &[(&str, &str)]) -> View {
    View::fixed(
        values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())),
    )
}

fn rendered(text: &str, values: &[(&str, &str)]) -> Rendered {
    let around = Surroundings {
        env: Arc::new([("HOME".to_owned(), "/root".to_owned())].into()),
        ..Surroundings::default()
    };
    render(&templates(text), 0, &view(values), &around)
}

/// Renders, and compares the text.
fn check(text: &str, values: &[(&str, &str)], expected: &str) {
    assert_eq!(rendered(text, values).outcome.as_deref(), Ok(expected), "{text}");
}

const TREE: &[(&str, &str)] = &[
    ("app", "x"),
    ("app/", "folder"),
    ("app/a", "1"),
    ("app/b", "2"),
    ("app/sub/c", "3"),
    ("apple", "4"),
];

#[test]
fn values_go_in_as_they_are() {
    check(
        "{{key \"a\"}}",
        &[("a", "<1.10> & \"x\" = 'y'")],
        "<1.10> & \"x\" = 'y'",
    );
    check(
        "{{#if (eq (key \"a\") \"1.10\")}}yes{{else}}no{{/if}}",
        &[("a", "1.10")],
        "yes",
    );
}

#[test]
fn a_default_stands_in_for_an_absent_key_and_not_for_an_empty_one() {
    check(
        "{{key \"a\" default=\"x\"}}|{{key \"b\" default=\"x\"}}",
        &[("b", "")],
        "x|",
    );
    check("{{#if (keyExists \"a\")}}1{{else}}0{{/if}}", &[("a", "")], "1");
}

#[test]
fn folders_go_by_segments_and_raw_trees_by_bytes() {
    check("{{#each (ls \"app\")}}{{key}}={{value}} {{/each}}", TREE, "a=1 b=2 ");
    check(
        "{{#each (ls \"app/\" dirs=true)}}{{this.key}} {{/each}}",
        TREE,
        "a b sub/ ",
    );
    check(
        "{{#each (tree \"app\")}}{{this.key}}={{value}} {{/each}}",
        TREE,
        "a=1 b=2 sub/c=3 ",
    );
    check(
        "{{#each (tree \"app\" raw=true)}}{{path}} {{/each}}",
        TREE,
        "app app/a app/b app/sub/c apple ",
    );
    check("{{join (ls \"app\") \",\"}}", TREE, "1,2");
}

#[test]
fn instances_are_read_from_the_live_part() {
    let values = &[("_keyway/services/web/1", r#"{"address":"10.0.0.1","port":80}"#)];
    check(
        "{{#each (service \"web\")}}{{id}} {{address}}:{{port}}{{/each}}",
        values,
        "1 10.0.0.1:80",
    );
}

#[test]
fn all_missing_keys_are_named_with_their_place() {
    let held = rendered(
        "{{key \"a\"}}\n{{key \"b\"}}\n{{#if (key \"c\")}}x{{/if}}{{ls \"d\" min=1}}",
        &[("a", "1")],
    );
    let lack = |key: &str, line: usize| Lack {
        key: key.into(),
        place: format!("t:{line}"),
    };
    assert_eq!(
        held.outcome,
        Err(Held::Missing(vec![lack("b", 2), lack("c", 3), lack("d/*", 3)]))
    );
    assert_eq!(held.reads.absent, ["b".to_owned(), "c".to_owned()].into());
}

#[test]
fn a_missing_key_may_be_the_empty_text_by_choice() {
    let around = Surroundings {
        missing: Missing::Default,
        ..Surroundings::default()
    };
    let held = render(&templates("[{{key \"a\"}}]"), 0, &view(&[]), &around);
    assert_eq!(held.outcome.as_deref(), Ok("[]"));
}

#[test]
fn what_cannot_be_rendered_says_where_and_why() {
    for (text, part) in [
        ("\n{{name}}", "t:2: there is no variable `name`"),
        ("{{parseJson \"{\"}}", "t:1: `parseJson`: not JSON"),
        ("{{parseJson (key \"a\")}}", "`parseJson`"),
        ("{{env \"NO\"}}", "`env`: the environment has no `NO`"),
        ("{{upper}}", "`upper`: argument 1 is missing"),
    ] {
        let Err(Held::Broken(told)) = rendered(text, &[("a", "{")]).outcome else {
            panic!("{text}")
        };
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn one_pass_finds_all_that_lies_outside_of_the_view() {
    let text = "{{key \"a\"}}{{#each (tree \"b\")}}x{{/each}}{{#if (keyExists \"c\")}}{{/if}}";
    let held = render(&templates(text), 0, &View::default(), &Surroundings::default());

    assert_eq!(held.outcome, Err(Held::Outside));
    assert!(held.reads.scope.keys.iter().eq(["a", "c"]) && held.reads.scope.prefixes.iter().eq(["b/"]));

    let mut known = View::default();
    known
        .replace(
            Snapshot {
                revision: Revision(3),
                entries: vec![],
            },
            held.reads.scope,
        )
        .unwrap();
    let held = render(&templates(text), 0, &known, &Surroundings::default());
    assert!(matches!(held.outcome, Err(Held::Missing(_))));
}

proptest! {
    /// A key that a render did not record cannot change its text.
    #[test]
    fn only_what_is_recorded_matters(
        before in prop::collection::btree_map("[ab]/[a-c]", "[x-z]", 0..6),
        name in "[ab]/[a-c]",
        value in prop::option::of("[x-z]"),
    ) {
        let text = "{{key \"a/a\" default=\"-\"}}{{#if (keyExists \"a/b\")}}{{key \"a/c\" default=\"-\"}}{{/if}}{{#each (ls \"b\")}}{{value}}{{/each}}";
        let templates = templates(text);
        let fixed = |map: &BTreeMap<String, String>| View::fixed(map.iter().map(|(k, v)| (k.clone(), v.clone().into_bytes())));
        let around = Surroundings::default();
        let first = render(&templates, 0, &fixed(&before), &around);
        let mut after = before;
        match value {
            Some(value) => { after.insert(name.clone(), value); }
            None => { after.remove(&name); }
        }
        let second = render(&templates, 0, &fixed(&after), &around);
        if !first.reads.scope.covers_key(&name) {
            prop_assert_eq!(first.outcome, second.outcome);
        }
    }
}

#[test]
fn a_name_that_is_not_known_yet_asks_for_nothing() {
    let around = Surroundings::default();
    let text = "{{key (key \"first\")}}{{#each (ls (key \"folder\"))}}{{this.key}}{{/each}}";
    let read = render(&templates(text), 0, &View::default(), &around);
    assert_eq!(read.outcome, Err(Held::Outside));
    assert_eq!(read.reads.scope.keys, ["first".to_owned(), "folder".to_owned()].into());
    assert!(read.reads.scope.prefixes.is_empty(), "not the whole store");

    check("{{key (key \"first\")}}", &[("first", "a"), ("a", "1")], "1");
    let Err(Held::Missing(lacks)) = rendered("{{key (key \"first\")}}", &[]).outcome else {
        panic!("it is missing");
    };
    assert_eq!(lacks.len(), 1, "{lacks:?}");
    let Err(Held::Broken(told)) = rendered("\n{{key (key \"first\")}}", &[("first", "")]).outcome else {
        panic!("it is no key");
    };
    assert!(told.contains("t:2") && told.contains("a key cannot be empty"), "{told}");
}
