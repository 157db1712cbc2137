//! What a command prints: data on stdout, words for a person on stderr.
//!
//! Data is exact: a value on a pipe is the stored bytes and nothing else. Each stream decides about
//! colour by itself.

use std::io::{self, IsTerminal as _, Write};

use clap::ValueEnum;
use kvapi::Problem;
use kvapi::problem::exit;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::paint::{ColorChoice, Environment, Paint};

/// The form of the data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For a person, and for `$(...)`.
    #[default]
    Text,
    /// One JSON document; a stream is one document per line.
    Json,
    /// One JSON document per line.
    Jsonl,
    /// The bytes of a value, on a terminal too.
    Raw,
}

/// Both streams, and how to write to them.
pub(crate) struct Out {
    pub(crate) format: Format,
    data: Box<dyn Write + Send>,
    words: Box<dyn Write + Send>,
    /// Whether the data go to a terminal.
    pub(crate) to_terminal: bool,
    pub(crate) paint: Paint,
    paint_words: Paint,
    quiet: bool,
}

impl Out {
    /// The process's own streams.
    pub(crate) fn new(format: Format, color: ColorChoice, quiet: bool) -> Self {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let environment = Environment::read();
        Self {
            format,
            to_terminal: stdout.is_terminal(),
            paint: Paint::new(color, environment, stdout.is_terminal()),
            paint_words: Paint::new(color, environment, stderr.is_terminal()),
            quiet,
            data: Box::new(stdout),
            words: Box::new(stderr),
        }
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

    /// A JSON document: indented for `json`, one line for `jsonl`.
    pub(crate) fn json(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        let text = match self.format {
            Format::Json => serde_json::to_string_pretty(document),
            Format::Text | Format::Jsonl | Format::Raw => serde_json::to_string(document),
        };
        let text = text.map_err(|e| Problem::new(exit::BUG, format!("write JSON: {e}")))?;
        self.line(text)
    }

    /// One document of a stream, always on one line.
    pub(crate) fn json_line(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(document).map_err(|e| Problem::new(exit::BUG, format!("write JSON: {e}")))?;
        self.line(text)
    }

    /// Whether the data are JSON of either form.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.format, Format::Json | Format::Jsonl)
    }

    /// Words for a person; nothing depends on them, so that nobody reads them is no failure.
    pub(crate) fn say(&mut self, text: impl std::fmt::Display) {
        if !self.quiet {
            let _ = writeln!(self.words, "{text}");
        }
    }

    /// Why the command failed: as words, or as one JSON document if the data would have been JSON.
    pub(crate) fn problem(&mut self, problem: &Problem) {
        #[derive(Serialize)]
        struct Told<'a> {
            error: &'a str,
            help: &'a [String],
            exit_code: u8,
        }
        if self.is_json() {
            let told = Told {
                error: &problem.what,
                help: &problem.help,
                exit_code: problem.code,
            };
            let _ = writeln!(self.words, "{}", serde_json::json!(told));
            return;
        }
        let paint = self.paint_words;
        let _ = writeln!(self.words, "{} {}", paint.red("error:"), problem.what);
        for help in &problem.help {
            let _ = writeln!(self.words, "  {} {help}", paint.cyan("help:"));
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.data.flush()?)
    }
}

/// Whether a terminal can show the text without being upset by it.
fn is_printable(text: &str) -> bool {
    text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t' | '\r'))
}

/// Rows in columns without borders: every column but the last as wide as its widest cell.
pub(crate) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|i| {
            rows.iter()
                .filter_map(|row| row.get(i))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    rows.iter()
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect()
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
            data: Box::new(data.clone()),
            words: Box::new(words.clone()),
            to_terminal,
            paint,
            paint_words: paint,
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
    fn a_table_lines_up_and_has_no_trailing_blanks() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();

        assert_eq!(
            table(&[row(["KEY", "SIZE"]), row(["a/b/c", "1"]), row(["d", ""])]),
            ["KEY    SIZE", "a/b/c  1", "d"]
        );
    }
}
