//! What a command prints: data on stdout, words for a person on stderr.
//!
//! Data is exact: a value on a pipe is the stored bytes and nothing else. Each stream decides about
//! colour by itself.

use std::io::{self, IsTerminal as _, Write};

use agent::diff::is_printable;
use clap::ValueEnum;
use kvapi::Problem;
use kvapi::problem::exit;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::output::moment::Times;
use crate::output::template::Template;
use crate::paint::{ColorChoice, Environment, Paint};

pub(crate) mod moment;
mod table;
mod template;

pub(crate) use table::table;

/// What `--output` takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OutputFormat {
    /// For a person, and for `$(...)`
    #[default]
    Text,
    /// One JSON document; a stream is one document per line
    Json,
    /// One JSON document per line
    Jsonl,
    /// The JSON form as YAML
    Yaml,
    /// Columns with a head, where there is more than one thing to show
    Table,
    /// The bytes of a value, on a terminal too
    Raw,
    /// Names alone: of keys, of contexts
    Name,
}

/// The form of the data: what a command has to decide on. YAML and `--format` are JSON to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// For a person, and for `$(...)`.
    #[default]
    Text,
    /// One document; a stream is one document per line.
    Json,
    /// One document for each thing.
    Jsonl,
    /// The bytes of a value, on a terminal too.
    Raw,
}

/// How text is laid out, where there is a choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As the command likes it best.
    #[default]
    Usual,
    /// Columns with a head.
    Table,
    /// Names alone.
    Names,
}

/// What the flags say about output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) output: OutputFormat,
    /// A template over the JSON form.
    pub(crate) template: Option<String>,
    pub(crate) color: ColorChoice,
    pub(crate) no_headers: bool,
    pub(crate) utc: bool,
    pub(crate) quiet: bool,
}

/// Both streams, and how to write to them.
pub(crate) struct Out {
    pub(crate) format: Format,
    pub(crate) layout: Layout,
    yaml: bool,
    template: Option<Template>,
    data: Box<dyn Write + Send>,
    words: Box<dyn Write + Send>,
    /// Whether the data go to a terminal.
    pub(crate) to_terminal: bool,
    pub(crate) paint: Paint,
    paint_words: Paint,
    no_headers: bool,
    times: Times,
    quiet: bool,
}

impl Out {
    /// The process's own streams.
    pub(crate) fn new(style: &Style) -> Result<Self, Problem> {
        let template = style.template.as_deref().map(Template::parse).transpose()?;
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let environment = Environment::read();
        let to_terminal = stdout.is_terminal();
        let format = match style.output {
            OutputFormat::Jsonl => Format::Jsonl,
            _ if template.is_some() => Format::Json,
            OutputFormat::Json | OutputFormat::Yaml => Format::Json,
            OutputFormat::Raw => Format::Raw,
            OutputFormat::Text | OutputFormat::Table | OutputFormat::Name => Format::Text,
        };
        let layout = match style.output {
            OutputFormat::Table => Layout::Table,
            OutputFormat::Name => Layout::Names,
            _ => Layout::Usual,
        };
        Ok(Self {
            format,
            layout,
            yaml: style.output == OutputFormat::Yaml && template.is_none(),
            template,
            to_terminal,
            paint: Paint::new(style.color, environment, to_terminal),
            paint_words: Paint::new(style.color, environment, stderr.is_terminal()),
            no_headers: style.no_headers,
            times: Times {
                utc: style.utc,
                relative: to_terminal,
            },
            quiet: style.quiet,
            data: Box::new(stdout),
            words: Box::new(stderr),
        })
    }

    /// A value alone. On a terminal it gets a newline, and what would garble the terminal is refused.
    pub(crate) fn value(&mut self, value: &[u8]) -> Result<(), Failure> {
        if self.format == Format::Raw || !self.to_terminal {
            self.data.write_all(value)?;
        } else {
            let text = std::str::from_utf8(value).ok().filter(|text| is_printable(text));
            let text = text.ok_or_else(|| {
                Failure::new(
                    exit::NO,
                    format!(
                        "the value is {} bytes of binary data, not shown on a terminal",
                        value.len()
                    ),
                    "send it to a file or a pipe, or insist with -o raw; -o json shows it as base64",
                )
            })?;
            writeln!(self.data, "{text}")?;
        }
        self.flush()
    }

    /// Bytes as they are, whatever the format.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.data.write_all(bytes)?;
        self.flush()
    }

    /// A line of data.
    pub(crate) fn line(&mut self, text: impl std::fmt::Display) -> Result<(), Failure> {
        writeln!(self.data, "{text}")?;
        self.flush()
    }

    /// A document: indented for `json`, one line for `jsonl`, through the template if there is one.
    pub(crate) fn json(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        self.document(document, self.format == Format::Json, false)
    }

    /// One document of a stream, on one line where the form is JSON.
    pub(crate) fn json_line(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        self.document(document, false, true)
    }

    fn document(&mut self, document: &impl Serialize, indented: bool, one_of_many: bool) -> Result<(), Failure> {
        let bug = |e: serde_json::Error| Problem::new(exit::BUG, format!("write JSON: {e}"));
        let text = if let Some(template) = &self.template {
            template.render(&serde_json::to_value(document).map_err(bug)?)?
        } else if self.yaml {
            let text = agent::yaml::document(&serde_json::to_value(document).map_err(bug)?);
            let mark = if one_of_many { "---\n" } else { "" };
            format!("{mark}{}", text.trim_end())
        } else if indented {
            serde_json::to_string_pretty(document).map_err(bug)?
        } else {
            serde_json::to_string(document).map_err(bug)?
        };
        self.line(text)
    }

    /// Rows under a head, as wide as the terminal at most; nothing at all without rows. Wide columns
    /// belong at the end; an empty cell is shown as `-`.
    pub(crate) fn rows(&mut self, head: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
        let filled = rows.iter().map(|row| {
            let cell = |cell: &String| if cell.is_empty() { "-".to_owned() } else { cell.clone() };
            row.iter().map(cell).collect()
        });
        let width = terminal_size::terminal_size().filter(|_| self.to_terminal);
        let width = width.map(|(width, _)| usize::from(width.0));
        let lines = table(&std::iter::once(head).chain(filled).collect::<Vec<_>>());
        for (i, line) in lines.iter().enumerate().skip(usize::from(self.no_headers)) {
            let line = table::fit(line, width);
            let line = if i == 0 { self.paint.bold(line) } else { line };
            writeln!(self.data, "{line}")?;
        }
        self.flush()
    }

    /// A point in time, milliseconds since 1970, for a person: "3m ago" on a terminal, else RFC 3339
    /// in this machine's zone, or in UTC by `--utc`. In JSON times are [`moment::utc`].
    pub(crate) fn time(&self, at_ms: u64) -> String {
        self.times.show(at_ms)
    }

    /// Whether the data are JSON of either form.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.format, Format::Json | Format::Jsonl)
    }

    /// Colour for [`Out::say`].
    pub(crate) fn paint_words(&self) -> Paint {
        self.paint_words
    }

    /// Words for a person; nothing depends on them, so that nobody reads them is no failure.
    pub(crate) fn say(&mut self, text: impl std::fmt::Display) {
        if !self.quiet {
            let _ = writeln!(self.words, "{text}");
        }
    }

    /// Words that --quiet does not silence: without them something would be lost.
    pub(crate) fn insist(&mut self, text: impl std::fmt::Display) {
        let _ = writeln!(self.words, "{text}");
    }

    /// Why the command failed: as words, or as one JSON document if the data would have been JSON.
    pub(crate) fn problem(&mut self, problem: &Problem) {
        #[derive(Serialize)]
        struct Told<'a> {
            error: &'a str,
            help: &'a [String],
            #[serde(skip_serializing_if = "Option::is_none")]
            code: Option<&'static str>,
            exit_code: u8,
        }
        if self.is_json() {
            let told = Told {
                error: &problem.what,
                help: &problem.help,
                code: problem.id,
                exit_code: problem.code,
            };
            let _ = writeln!(self.words, "{}", serde_json::json!(told));
            return;
        }
        let paint = self.paint_words;
        let head = problem
            .id
            .map_or_else(|| "error:".to_owned(), |id| format!("error[{id}]:"));
        let _ = writeln!(self.words, "{} {}", paint.red(head), problem.what);
        for help in &problem.help {
            let _ = writeln!(self.words, "  {} {help}", paint.cyan("help:"));
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.data.flush()?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// What was written to a stream.
    #[derive(Clone, Default)]
    pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Streams that remember: data, then words.
    pub(crate) fn remembering(format: Format, to_terminal: bool) -> (Out, Written, Written) {
        let (data, words) = (Written::default(), Written::default());
        let paint = Paint::new(ColorChoice::Never, Environment::default(), false);
        let out = Out {
            format,
            layout: Layout::Usual,
            yaml: false,
            template: None,
            data: Box::new(data.clone()),
            words: Box::new(words.clone()),
            to_terminal,
            paint,
            paint_words: paint,
            no_headers: false,
            times: Times::default(),
            quiet: false,
        };
        (out, data, words)
    }

    fn shown(format: Format, to_terminal: bool, value: &[u8]) -> Option<Vec<u8>> {
        let (mut out, data, _) = remembering(format, to_terminal);
        out.value(value).ok()?;
        Some(data.0.lock().unwrap().clone())
    }

    #[test]
    fn a_value_on_a_pipe_is_exact_and_on_a_terminal_is_readable() {
        assert_eq!(shown(Format::Text, false, b"a\n").unwrap(), b"a\n");
        assert_eq!(shown(Format::Text, false, b"\xff\0").unwrap(), b"\xff\0");
        assert_eq!(shown(Format::Text, true, b"a").unwrap(), b"a\n");
        assert_eq!(shown(Format::Text, true, b"\xff"), None);
        assert_eq!(shown(Format::Text, true, b"\x1b[2J"), None);
        assert_eq!(shown(Format::Raw, true, b"\xff").unwrap(), b"\xff");
    }

    #[test]
    fn a_problem_is_json_where_data_would_be() {
        let problem = Problem::new(exit::NO, "no such key `a`").help("did you mean `b`?");

        let (mut out, _, words) = remembering(Format::Json, false);
        out.problem(&problem);
        let (mut text_out, _, text_words) = remembering(Format::Text, false);
        text_out.problem(&problem);

        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&words.text()).unwrap(),
            serde_json::json!({"error": "no such key `a`", "help": ["did you mean `b`?"], "exit_code": 1})
        );
        assert_eq!(text_words.text(), "error: no such key `a`\n  help: did you mean `b`?\n");
    }

    #[test]
    fn yaml_and_templates_are_the_json_form_in_other_clothes() {
        let document = serde_json::json!({"key": "a", "value": "1"});
        let (mut out, data, _) = remembering(Format::Json, false);
        out.yaml = true;
        out.json(&document).unwrap();
        out.json_line(&document).unwrap();
        assert_eq!(data.text(), "key: a\nvalue: \"1\"\n---\nkey: a\nvalue: \"1\"\n");

        let (mut out, data, _) = remembering(Format::Json, false);
        out.template = Some(Template::parse("{{key}}!").unwrap());
        out.json(&document).unwrap();
        assert_eq!(data.text(), "a!\n");
    }

    #[test]
    fn rows_have_a_head_unless_it_is_not_wanted_and_no_empty_cells() {
        let rows = [vec!["a".to_owned(), String::new()]];
        let (mut out, data, _) = remembering(Format::Text, false);
        out.rows(&["KEY", "SIZE"], &rows).unwrap();
        out.no_headers = true;
        out.rows(&["KEY", "SIZE"], &rows).unwrap();
        out.rows(&["KEY", "SIZE"], &[]).unwrap();
        assert_eq!(data.text(), "KEY  SIZE\na    -\na    -\n");
    }
}
