use kvapi::Revision;
use kvapi::types::Snapshot;
use proptest::prelude::*;

use super::*;

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
        env: [("HOME".to_owned(), "/root".to_owned())].into(),
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
fn the_plain_helpers_do_as_they_are_named() {
    for (text, expected) in [
        ("{{upper \"a\"}}{{lower \"B\"}}", "Ab"),
        ("{{trim \" a \"}}|{{trim \"/a/\" chars=\"/\"}}", "a|a"),
        ("{{replace \"a-b\" \"-\" \"+\"}}", "a+b"),
        ("{{#each (split \"a,b\" \",\")}}[{{this}}]{{/each}}", "[a][b]"),
        ("{{join (split \"a,b\" \",\") \" \"}}", "a b"),
        ("{{default \"\" \"x\"}}{{default \"y\" \"x\"}}", "xy"),
        ("{{toJson (parseJson '{\"b\":[1,\"<\"]}')}}", "{\"b\":[1,\"<\"]}"),
        ("{{base64Encode \"hi?\"}} {{base64Decode \"aGk/\"}}", "aGk/ hi?"),
        (r#"{{indent "a\nb" 2}}"#, "a\n  b"),
        ("{{env \"HOME\"}}{{env \"NO\" default=\"-\"}}", "/root-"),
        ("{{concat \"a\" 1 true}}", "a1true"),
        ("{{len (split \"a,b\" \",\")}}", "2"),
        (
            "{{#if (and (contains \"abc\" \"b\") (not (contains (split \"a\" \",\") \"b\")))}}ok{{/if}}",
            "ok",
        ),
        ("{{quote \"a\\\"b\"}} {{shellQuote \"a b\"}}", "\"a\\\"b\" 'a b'"),
        ("{{trimPrefix \"v1\" \"v\"}}{{trimSuffix \"1s\" \"s\"}}", "11"),
    ] {
        check(text, &[], expected);
    }
}

#[test]
fn lists_objects_and_numbers_are_worked_on() {
    for (text, expected) in [
        (
            "{{first (list 1 2)}}{{last (list 1 2)}}{{join (rest (list 1 2 3))}}{{join (initial (list 1 2 3))}}",
            "122,31,2",
        ),
        ("{{join (slice (list 1 2 3 4) 1 3)}}{{slice \"häuser\" 1 3}}", "2,3äu"),
        ("{{join (uniq (list 1 2 1))}} {{join (reverse (list 1 2))}}", "1,2 2,1"),
        (
            "{{join (sort (list \"10\" \"9\"))}} {{join (sort (list \"10\" \"9\") numbers=true desc=true)}}",
            "10,9 10,9",
        ),
        (
            "{{#each (sort (list (dict n=\"b\") (dict n=\"a\")) by=\"n\")}}{{n}}{{/each}}",
            "ab",
        ),
        (
            "{{#each (groupBy (list (dict z=1 n=\"a\") (dict z=1 n=\"b\")) \"z\")}}{{@key}}:{{len this}}{{/each}}",
            "1:2",
        ),
        (
            "{{join (range 3)}} {{join (range 2 5)}} {{join (range 5 2)}} {{join (range 0 10 step=5)}}",
            "0,1,2 2,3,4 5,4,3 0,5",
        ),
        (
            "{{containsAll (list 1 2) (list 1)}}{{containsAny (list 1) (list 2)}}{{containsNone (list 1) (list 2)}}{{containsNotAll (list 1) (list 1 2)}}",
            "truefalsetruetrue",
        ),
        ("{{coalesce \"\" \"b\"}}{{ternary true 1 2}}{{ternary \"\" 1 2}}", "b12"),
        (
            "{{json (merge (dict a=1 b=(dict c=1)) (dict a=2 b=(dict d=2)))}}",
            r#"{"a":1,"b":{"c":1}}"#,
        ),
        (
            "{{json (mergeMapWithOverride (dict a=1 b=(dict c=1)) (dict a=2 b=(dict d=2)))}}",
            r#"{"a":2,"b":{"c":1,"d":2}}"#,
        ),
        (
            "{{json (pick (dict a=1 b=2) \"a\")}}{{json (omit (dict a=1 b=2) \"a\")}}{{hasKey (dict a=1) \"a\"}}",
            r#"{"a":1}{"b":2}true"#,
        ),
        (
            "{{join (keys (dict b=1 a=2))}} {{join (values (dict b=1 a=2))}}",
            "a,b 2,1",
        ),
        (
            "{{json (explode (dict \"a/b\" 1 \"a/c\" 2))}}",
            r#"{"a":{"b":1,"c":2}}"#,
        ),
        (
            "{{add 1 \"2\" 3}} {{sub 5 2}} {{mul 2 1.5}} {{div 7 2}} {{div 7.0 2}} {{mod -7 3}} {{min 3 1.5}} {{max 1 2}}",
            "6 3 3.0 3 3.5 -1 1.5 2",
        ),
        (
            "{{round 1.256 places=2}} {{round 2.5}} {{floor -1.5}} {{ceil 1.2}} {{floor \"3\"}}",
            "1.26 3 -2 2 3",
        ),
        (
            "{{parseInt \"ff\" base=16}} {{parseUint \"7\"}} {{parseFloat \"1.50\"}} {{parseBool \"true\"}}",
            "255 7 1.5 true",
        ),
        ("{{#let a=1 b=(concat \"x\" \"y\")}}{{a}}{{b}}{{/let}}", "1xy"),
        (
            "{{#each (list 1 2)}}{{#let i=@index t=this}}{{i}}{{t}}{{this}} {{/let}}{{/each}}",
            "011 122 ",
        ),
        (
            "{{#indented 2}}a\n\nb{{/indented}}|{{nindent \"a\" 1}}|{{indent \"a\\nb\" spaces=2}}",
            "  a\n\n  b|\n a|a\n  b",
        ),
        (
            "{{set \"n\" 1}}{{setDefault \"n\" 2}}{{get \"n\"}}{{hasSet \"m\"}}{{get \"m\" default=3}}",
            "1false3",
        ),
        (
            "{{mapSet \"m\" \"b\" 1}}{{mapSet \"m\" \"a\" 2}}{{mapSetDefault \"m\" \"a\" 3}}{{join (mapValues \"m\")}}",
            "2,1",
        ),
    ] {
        check(text, &[], expected);
    }
}

#[test]
fn texts_and_documents_are_worked_on() {
    for (text, expected) in [
        (
            "{{title \"the king's men\"}} {{trunc \"äbc\" 2}} {{repeat \"ab\" 2}}",
            "The King's Men äb abab",
        ),
        (
            "{{format \"{}:{}\" \"h\" 80}} {{basename \"/a/b/\"}} {{dirname \"/a/b/\"}}",
            "h:80 b /a",
        ),
        ("{{json (splitToMap \"a=1,b=2\")}}", r#"{"a":"1","b":"2"}"#),
        (
            "{{regexMatch \"web-12\" \"^web-[0-9]+$\"}} {{regexFind \"web-12\" \"-(.*)\" group=1}} {{regexReplace \"a1b2\" \"([0-9])\" \"<$1>\"}}",
            "true 12 a<1>b<2>",
        ),
        ("{{urlEncode \"a b/ü\"}}", "a%20b%2F%C3%BC"),
        ("{{md5 \"a\"}}", "0cc175b9c0f1b6a831c399e269772661"),
        (
            "{{hmacSha256 \"what do ya want for nothing?\" key=\"Jefe\"}}",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            "{{toYaml (dict a=\"1.10\" b=(list 1 2))}}",
            "a: \"1.10\"\nb:\n  - 1\n  - 2",
        ),
        ("{{toToml (dict a=\"x\" b=(dict c=1))}}", "a = \"x\"\n\n[b]\nc = 1"),
        (
            "{{json (parseYaml \"a: 1\\nb: [x, 1.5, yes, ~]\")}}",
            r#"{"a":1,"b":["x",1.5,"yes",null]}"#,
        ),
        (
            "{{json (parseToml \"a = 1\\n[b]\\nc = 1979-05-27\")}}",
            r#"{"a":1,"b":{"c":"1979-05-27"}}"#,
        ),
    ] {
        check(text, &[], expected);
    }
}

#[test]
fn names_of_consul_template_take_its_order() {
    for (text, expected) in [
        (
            "{{replaceAll \"-\" \"+\" \"a-b\"}} {{regexReplaceAll \"[0-9]\" \"n\" \"a1\"}}",
            "a+b an",
        ),
        (
            "{{subtract 2 5}} {{divide 2 6}} {{modulo 2 5}} {{multiply 2 3}} {{minimum 1 2}} {{maximum 1 2}}",
            "3 3 1 6 1 2",
        ),
        (
            "{{in (list \"a\") \"a\"}} {{toUpper \"a\"}}{{toTitle \"ab\"}}{{trimSpace \" a \"}}",
            "true AAba",
        ),
        (
            "{{toJSON (parseJSON \"[1]\")}} {{join (loop 2)}} {{join (loop 1 3)}}",
            "[1] 0,1 1,2",
        ),
        (
            "{{keyOrDefault \"e\" \"d\"}}{{keyOrDefault \"x\" \"d\"}}{{envOrDefault \"NO\" \"-\"}}{{mustEnv \"HOME\"}}",
            "dd-/root",
        ),
        (
            "{{hmacSHA256Hex \"what do ya want for nothing?\" \"Jefe\"}}",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            "{{base64URLEncode \"a?>\"}} {{sha256Hex \"\"}}",
            "YT8- e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            "{{#with (keyExistsGet \"e\")}}{{exists}}[{{value}}]{{/with}}{{#with (kv \"no\")}}{{exists}}{{/with}}",
            "true[]false",
        ),
    ] {
        check(text, &[("e", "")], expected);
    }
}

#[test]
fn folders_take_other_shapes() {
    let values = &[
        ("a/web/port", "80"),
        ("a/web/host", "h"),
        ("a/db/port", "1"),
        ("ab", "x"),
        ("j", "[1]"),
    ];
    for (text, expected) in [
        (
            "{{json (treeObject \"a\")}}",
            r#"{"db":{"port":"1"},"web":{"host":"h","port":"80"}}"#,
        ),
        ("{{join (keys \"a\") \" \"}}", "a/db/port a/web/host a/web/port"),
        (
            "{{#each (tree \"a\" glob=\"*/port\")}}{{key}} {{/each}}",
            "db/port web/port ",
        ),
        (
            "{{#each (byKey (tree \"a\"))}}{{@key}}:{{#each this}}{{@key}},{{/each}} {{/each}}",
            "db:port, web:host,port, ",
        ),
        ("{{#each (ls \"a\" raw=true)}}{{path}}{{/each}}", "ab"),
        (
            "{{join (keyJson \"j\")}}{{join (keyJson \"no\" default=\"[2]\")}}",
            "12",
        ),
        ("{{key \"no\" default=\"x\"}}{{len (ls \"no\")}}", "x0"),
    ] {
        check(text, values, expected);
    }
    for text in [
        "{{#each (safeLs \"no\")}}{{/each}}",
        "{{#each (safeTree \"no\")}}{{/each}}",
    ] {
        assert!(matches!(rendered(text, &[]).outcome, Err(Held::Missing(_))), "{text}");
    }
}

/// The number of the view that a fixed one has is as good as any.
#[test]
fn the_revision_is_a_number_and_a_read_of_nothing() {
    let told = rendered("{{revision}}", &[]);
    assert!(told.outcome.is_ok_and(|text| text.parse::<u64>().is_ok()) && told.reads.scope.is_empty());
}

#[test]
fn a_binary_value_stands_in_the_way_of_nobody() {
    let view = View::fixed([("a/b".to_owned(), vec![0xff, 0x00]), ("a/c".to_owned(), b"1".to_vec())]);
    let render = |text: &str| render(&templates(text), 0, &view, &Surroundings::default()).outcome;

    let shown = render(
        "{{#each (ls \"a\")}}{{this.key}}{{#if base64}}={{base64}} {{base64Encode this}} {{/if}}{{/each}}{{key \"a/b\" base64=true}}{{json (treeObject \"a\")}}",
    );
    assert_eq!(
        shown.as_deref(),
        Ok(r#"b=/wA= /wA= c/wA={"b":{"$base64":"/wA="},"c":"1"}"#)
    );
    for (text, part) in [
        (
            "{{#each (tree \"a\")}}\n{{value}}{{/each}}",
            "t:2: there is no variable `value`; a key's value that is no text",
        ),
        (
            "{{key \"a/b\"}}",
            "t:1: `key`: the value of `a/b` is not UTF-8 text; base64=true",
        ),
        ("{{join (ls \"a\")}}", "an item has no `value`"),
    ] {
        let Err(Held::Broken(told)) = render(text) else {
            panic!("{text}")
        };
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn a_field_wins_over_a_helper_of_its_name() {
    let values = &[("a", r#"[{"line":"x","title":"y"}]"#)];
    check("{{#each (keyJson \"a\")}}{{line}}{{title}}{{/each}}", values, "xy");
    check("{{#each (list \"z\") as |line|}}{{line}}{{/each}}", values, "z");
}

#[test]
fn no_failure_quotes_a_value() {
    for text in [
        "{{parseJson (key \"a\")}}",
        "{{parseYaml (key \"a\")}}",
        "{{parseToml (key \"a\")}}",
        "{{parseInt (key \"a\")}}",
        "{{parseFloat (key \"a\")}}",
        "{{parseBool (key \"a\")}}",
        "{{base64Decode (key \"a\")}}",
        "{{add (key \"a\") 1}}",
        "{{line (key \"a\")}}",
        "{{nginx (key \"a\")}}",
        "{{haproxy (key \"a\")}}",
        "{{splitToMap (key \"a\") kv=\"%\"}}",
        "{{range (key \"a\")}}",
        "{{first (key \"a\")}}",
    ] {
        let Err(Held::Broken(told)) = rendered(text, &[("a", "secret$: [\u{1}secret = \"secret")]).outcome else {
            panic!("{text}")
        };
        assert!(!told.contains("secret"), "{told}");
        assert!(told.starts_with("t:1: `"), "{told}");
    }
}

/// One with so little that a test sees its end.
fn little(text: &str, partials: &[(&str, &str)], steps: u64, bytes: u64) -> Result<String, Held> {
    let partials = partials
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let mains = [("t".to_owned(), text.to_owned())];
    let templates = Templates::compile(&mains, &partials.collect(), None).unwrap();
    let around = Surroundings {
        job: Arc::new(Budget::new("all templates together", steps, bytes)),
        ..Surroundings::default()
    };
    render(&templates, 0, &view(&[]), &around).outcome
}

#[test]
fn what_would_take_too_long_ends_with_its_place() {
    let doubled: Vec<(String, String)> = (0..16)
        .map(|n| (format!("p{n}"), format!("{{{{> p{0}}}}}{{{{> p{0}}}}}", n + 1)))
        .collect();
    let mut partials: Vec<(&str, &str)> = doubled
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    partials.push(("p16", ""));
    for (text, partials) in [
        (
            "\n{{#each (range 1000)}}{{#each (range 1000)}}{{/each}}{{/each}}",
            &[][..],
        ),
        ("\n{{> p0}}", &partials[..]),
        (
            "\n{{#each (range 1000)}}{{> p}}{{/each}}",
            &[("p", "{{#each (range 100)}}{{#if true}}{{/if}}{{/each}}")],
        ),
    ] {
        let Err(Held::Broken(told)) = crate::load::on_big_stack(|| little(text, partials, 20_000, 1000)).unwrap()
        else {
            panic!("{text}")
        };
        assert!(told.contains("all templates together: more than 20000 steps"), "{told}");
        assert!(
            told.split(": ").next().unwrap().contains(|c: char| c.is_ascii_digit()),
            "{told}"
        );
    }
    assert!(little("{{#each (range 1000)}}{{/each}}", &[], 20_000, 1000).is_ok());
}

#[test]
fn what_would_take_too_much_memory_ends_with_its_place() {
    let chain: Vec<(String, String)> = (0..30)
        .map(|n| (format!("p{n}"), format!("{{{{> p{} v=(concat v v)}}}}", n + 1)))
        .collect();
    let mut partials: Vec<(&str, &str)> = chain
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    partials.push(("p30", ""));
    for (text, part) in [
        (
            "\n{{> p0 v=\"12345678\"}}",
            "`concat`: the result is longer than 64 MiB",
        ),
        (
            "{{#each (range 100000)}}{{#each (range 40)}}{{repeat \"a\" 100000}}{{/each}}{{/each}}",
            "all templates together: more than 1000000 bytes",
        ),
        ("{{repeat \"ab\" 100000000}}", "t:1: `repeat`: the result is longer"),
        (
            "{{replace (repeat \"a\" 10000) \"a\" (repeat \"b\" 10000)}}",
            "t:1: `replace`: the result is longer",
        ),
        (
            "{{regexReplace (repeat \"a\" 10000) \"a\" (repeat \"b\" 10000)}}",
            "t:1: `regexReplace`: the result is longer",
        ),
        ("{{range 1000000}}", "t:1: `range`: at most 100000 numbers"),
        (
            "{{#each (range 600)}}{{#if (repeat \"a\" 1000000)}}{{/if}}{{/each}}",
            "this template: more than 536870912 bytes",
        ),
    ] {
        let Err(Held::Broken(told)) =
            crate::load::on_big_stack(|| little(text, &partials, 1_000_000, 1_000_000)).unwrap()
        else {
            panic!("{text}")
        };
        assert!(told.contains(part), "{told}");
    }
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
