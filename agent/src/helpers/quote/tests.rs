use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::helpers::yaml::from_yaml;

/// How nginx reads one quoted or bare parameter (`ngx_conf_read_token`): the value and what follows.
fn read_nginx(text: &str) -> Option<(String, &str)> {
    let Some(inner) = text.strip_prefix('"') else {
        let end = text.find([' ', ';', '{', '\t', '\r', '\n']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let (mut value, mut chars) = (String::new(), inner.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &inner[at + 1..])),
            '\\' => match chars.next()?.1 {
                c @ ('"' | '\'' | '\\') => value.push(c),
                't' => value.push('\t'),
                'r' => value.push('\r'),
                'n' => value.push('\n'),
                c => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
    None
}

/// How HAProxy splits a line into words, by section 2.2 of its manual.
fn read_haproxy(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut begun) = (Vec::new(), String::new(), false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            '#' => break,
            '\n' => return None,
            '\'' => loop {
                match chars.next()? {
                    '\'' => break,
                    c => word.push(c),
                }
            },
            '\\' => word.push(chars.next()?),
            '"' | '$' => return None,
            c => word.push(c),
        }
        begun = true;
    }
    if begun {
        words.push(word);
    }
    Some(words)
}

/// Texts with what ends words, lines and quotes in one format or another.
fn nasty() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\t".to_owned()),
        Just("\0".to_owned()),
        Just("\u{7f}".to_owned()),
        Just("\u{85}".to_owned()),
        Just("\u{2028}".to_owned()),
        Just("\u{feff}".to_owned()),
        Just("\u{1b}".to_owned()),
        Just("\\".to_owned()),
        Just("\\n".to_owned()),
        Just("'".to_owned()),
        Just("\"".to_owned()),
        Just("$x".to_owned()),
        Just("; }".to_owned()),
        Just(" # ".to_owned()),
        Just(": ".to_owned()),
        Just("- ".to_owned()),
        Just("`id`".to_owned()),
        Just("\u{1f600}".to_owned()),
        "[ -~]{1,4}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

/// Whether something in it could end a line.
fn breaks(text: &str) -> bool {
    text.contains(|c: char| c.is_control() || "\u{2028}\u{2029}".contains(c))
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        nasty().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        // Eighths: they are read back exactly, whatever reads them.
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(nasty(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn yaml_on_a_line_reads_back_as_the_same(value in document()) {
        let written = yaml(&value);
        prop_assert!(!breaks(&written));
        prop_assert_eq!(from_yaml(&format!("a: {written}\nb: 1")), Ok(json!({"a": value, "b": 1})));
    }

    #[test]
    fn yaml_documents_read_back_as_the_same(value in document(), width in 1usize..6) {
        prop_assert_eq!(from_yaml(&crate::yaml::indented(&value, width)), Ok(value));
    }

    #[test]
    fn toml_on_a_line_reads_back_as_the_same(value in document()) {
        let written = toml(&value).unwrap();
        prop_assert!(!written.contains(['\n', '\r']));
        let read: ::toml::Table = format!("a = {written}\nb = 1").parse().unwrap();
        prop_assert_eq!(serde_json::to_value(read).unwrap(), json!({"a": value, "b": 1}));
    }

    #[test]
    fn json_on_a_line_reads_back_as_the_same(value in document()) {
        let written = value.to_string();
        prop_assert!(!written.contains(['\n', '\r']));
        prop_assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), value);
    }

    #[test]
    fn a_shell_splits_no_word(text in nasty()) {
        match shell(&text) {
            Ok(word) => prop_assert_eq!(shlex::split(&format!("a={} b", word.as_str().unwrap())).unwrap(), [format!("a={text}"), "b".into()]),
            Err(_) => prop_assert!(text.contains('\0')),
        }
    }

    #[test]
    fn nginx_reads_one_parameter_and_the_same(text in nasty()) {
        match nginx(&text, true) {
            Ok(word) => {
                let told = format!("{word}; x");
                prop_assert_eq!(read_nginx(&told), Some((text.clone(), "; x")));
                prop_assert!(!word.contains(['\n', '\r']));
            }
            Err(_) => prop_assert!(breaks(&text)),
        }
        prop_assert!(!text.contains('$') || nginx(&text, false).is_err());
    }

    #[test]
    fn haproxy_reads_one_word_and_the_same(text in nasty()) {
        match haproxy(&text) {
            Ok(word) => prop_assert_eq!(read_haproxy(&format!("a {word} b")).unwrap(), ["a", &text, "b"]),
            Err(_) => prop_assert!(line(text).is_err()),
        }
    }

    #[test]
    fn a_line_stays_one(text in nasty()) {
        match line(text.clone()) {
            Ok(same) => prop_assert!(same == text && text.lines().count() <= 1 && !text.contains('\0')),
            Err(_) => prop_assert!(breaks(&text)),
        }
    }
}

/// The real reader, once, over everything that a shell could take for something else.
#[test]
fn sh_prints_each_word_as_it_was() {
    let texts = [
        "a b",
        "$HOME `id` $(id)",
        "it's",
        "\"",
        "\\",
        "a\nb",
        "!x",
        "*",
        "",
        "~",
        "#a",
        "-n",
        "=",
        "\u{1b}[0m",
    ];
    let words: Vec<String> = texts
        .iter()
        .map(|text| shell(text).unwrap().as_str().unwrap().to_owned())
        .collect();
    let output = std::process::Command::new("sh")
        .args(["-c", &format!("printf '%s\\0' {}", words.join(" "))])
        .output()
        .unwrap();
    let told: String = texts.iter().map(|text| format!("{text}\0")).collect();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), told);
}

#[test]
fn what_needs_no_quotes_has_none() {
    assert_eq!(nginx("127.0.0.1:80", false).as_deref(), Ok("127.0.0.1:80"));
    assert_eq!(haproxy("web-1").as_deref(), Ok("web-1"));
    assert_eq!(haproxy("it's").as_deref(), Ok(r"'it'\''s'"));
    assert_eq!(nginx("a;b", false).as_deref(), Ok("\"a;b\""));
    let long = json!({ "n".repeat(2000): 1 });
    assert_eq!(from_yaml(&yaml(&long)), Ok(long));
}
