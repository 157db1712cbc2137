//! What each helper does.

use super::*;

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
