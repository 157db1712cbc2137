//! Values from a document: JSON, YAML, TOML, an environment file, or Consul's export.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use clap::ValueEnum;
use kvapi::problem::exit;
use kvapi::{Problem, codes};

use crate::document::{self, As, Bad, Item};

/// The forms of a document of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// An object, its folders objects
    Json,
    /// The same as YAML
    Yaml,
    /// The same as TOML
    Toml,
    /// Lines NAME=value
    Env,
    /// What `keyway kv export` prints: a list of full keys
    Consul,
}

impl Form {
    /// By the name's ending; what has none that is known is JSON.
    fn of(path: &Path) -> Self {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match ending.as_str() {
            "yaml" | "yml" => Self::Yaml,
            "toml" => Self::Toml,
            "env" => Self::Env,
            _ => Self::Json,
        }
    }

    fn document(self, text: &str) -> As {
        match self {
            Self::Json if text.trim_start().starts_with('[') => As::Consul,
            Self::Json => As::Json,
            Self::Yaml => As::Yaml,
            Self::Toml => As::Toml,
            Self::Env => As::Env,
            Self::Consul => As::Consul,
        }
    }
}

/// Reads the settings of a file, or of standard input if it is `-`.
pub fn read(path: &Path, form: Option<Form>) -> Result<Vec<Item>, Problem> {
    let (name, text) = if path == Path::new("-") {
        let mut text = String::new();
        let read = io::stdin().lock().read_to_string(&mut text).map(|_| text);
        ("standard input".to_owned(), read)
    } else {
        (path.display().to_string(), fs::read_to_string(path))
    };
    let text = text.map_err(|e| {
        Problem::new(exit::INVALID, format!("cannot read the values {name}: {e}"))
            .help("give a file of text in JSON, YAML, TOML or lines NAME=value, or - for standard input")
    })?;
    parse(&name, &text, form.unwrap_or_else(|| Form::of(path)))
}

fn parse(name: &str, text: &str, form: Form) -> Result<Vec<Item>, Problem> {
    document::read(text, form.document(text)).map_err(|Bad { line, what }| {
        let place = line.map(|line| format!(":{line}")).unwrap_or_default();
        let language = match form {
            Form::Json => "JSON",
            Form::Yaml => "YAML",
            Form::Toml => "TOML",
            Form::Env => "lines NAME=value",
            Form::Consul => "Consul's export",
        };
        Problem::of(&codes::BAD_DOCUMENT, format!("values {name}{place}: {what}")).help(format!(
            "it was read as {language}, which --values-format changes; what a document can say:   keyway help formats"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_says_the_same() {
        for (name, text) in [
            ("v.json", r#"{"app": {"port": 80, "tls": true}, "app/host": "1.10"}"#),
            ("v", r#"{"app/port": "80", "app/tls": "true", "app/host": "1.10"}"#),
            ("v.yml", "app:\n  port: 80\n  tls: true\napp/host: 1.10\n"),
            ("v.toml", "[app]\nport = 80\ntls = true\nhost = \"1.10\"\n"),
            (
                "export.json",
                r#"[{"key":"app/port","flags":0,"value":"ODA="},{"key":"app/tls","value":"dHJ1ZQ=="},{"key":"app/host","value":"MS4xMA=="}]"#,
            ),
        ] {
            let items = parse(name, text, Form::of(Path::new(name))).unwrap();
            let told: Vec<(&str, &[u8])> = items.iter().map(|item| (item.key.as_str(), &item.value[..])).collect();
            let expected: [(&str, &[u8]); 3] = [("app/host", b"1.10"), ("app/port", b"80"), ("app/tls", b"true")];
            assert_eq!(told, expected, "{name}");
        }
        let env = parse("v.env", "A='1 2'\n", Form::of(Path::new("v.env"))).unwrap();
        assert_eq!((env[0].key.as_str(), &env[0].value[..]), ("A", &b"1 2"[..]));
        let binary = parse("v", r#"{"k": {"$base64": "AP8="}}"#, Form::Json).unwrap();
        assert_eq!(&binary[0].value[..], b"\0\xff");
    }

    #[test]
    fn what_is_no_document_is_refused_with_file_line_and_remedy() {
        for (form, text, part) in [
            (Form::Yaml, "a: 1\nb: [1]\n", "values v:2: `b` is a list"),
            (Form::Json, "{\n\"a\": }", "values v:2: "),
            (Form::Toml, "a = 1\nb =\n", "values v:2: "),
            (Form::Env, "\nnot this\n", "values v:2: "),
        ] {
            let problem = parse("v", text, form).unwrap_err();
            assert!(problem.what.starts_with(part), "{}", problem.what);
            assert_eq!((problem.code, problem.help.len()), (exit::INVALID, 1));
        }
    }
}
