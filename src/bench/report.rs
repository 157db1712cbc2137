//! The figures of a run: a table for a person, one document for a program.

use hdrhistogram::Histogram;
use kvapi::problem::exit;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::load::Measured;
use crate::failure::Failure;
use crate::output::{Format, Out, table};

/// One line of figures, by name; the same names are the heads of the table and the fields of the JSON.
#[derive(Debug, Clone, Default)]
pub(super) struct Line(Vec<(String, Value)>);

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, figure)| (name, figure)))
    }
}

impl Line {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self::default().with("what", what.into())
    }

    /// Adds a figure.
    pub(super) fn with(mut self, name: &str, figure: impl Into<Value>) -> Self {
        self.0.push((name.to_owned(), figure.into()));
        self
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, figure)| figure)
    }

    /// Adds rate and latencies of a load.
    pub(super) fn measured(self, clients: usize, measured: &Measured) -> Self {
        self.with("clients", clients)
            .with("per_second", measured.rate.round())
            .latency("", &measured.latency)
    }

    /// Adds p50, p99 and the worst, in milliseconds.
    pub(super) fn latency(self, prefix: &str, latency: &Histogram<u64>) -> Self {
        let ms = |us: u64| us as f64 / 1000.0;
        self.with(&format!("{prefix}p50_ms"), ms(latency.value_at_quantile(0.5)))
            .with(&format!("{prefix}p99_ms"), ms(latency.value_at_quantile(0.99)))
            .with(&format!("{prefix}max_ms"), ms(latency.max()))
    }
}

/// What a run printed.
#[derive(Default)]
pub(super) struct Report {
    lines: Vec<Line>,
}

impl Report {
    pub(super) fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// Prints it; `about` says what was measured and how.
    pub(super) fn print(&self, out: &mut Out, about: &Value) -> Result<u8, Failure> {
        match out.format {
            Format::Json => out.json(&json!({"about": about, "lines": self.lines}))?,
            Format::Jsonl => self.lines.iter().try_for_each(|line| out.json(line))?,
            Format::Text | Format::Raw => {
                let rows = table(&self.rows());
                for (i, row) in rows.iter().enumerate() {
                    let row = if i == 0 { out.paint.bold(row) } else { row.clone() };
                    out.line(row)?;
                }
            }
        }
        Ok(exit::OK)
    }

    /// A head of every name in order of its first use, and a row for each line.
    fn rows(&self) -> Vec<Vec<String>> {
        let mut names: Vec<&str> = Vec::new();
        for name in self.lines.iter().flat_map(|line| &line.0).map(|(name, _)| name) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let head = names.iter().map(|name| name.to_uppercase().replace('_', " ")).collect();
        let row = |line: &Line| names.iter().map(|name| cell(line.get(name))).collect();
        std::iter::once(head).chain(self.lines.iter().map(row)).collect()
    }
}

fn cell(figure: Option<&Value>) -> String {
    match figure {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(number) if number >= 100.0 => format!("{number:.0}"),
            Some(number) => format!("{number:.3}"),
            None => number.to_string(),
        },
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_other_figures_share_one_table() {
        let report = Report {
            lines: vec![
                Line::new("put").with("per_second", 1234.0),
                Line::new("fdatasync").with("p50_ms", 0.5),
            ],
        };

        assert_eq!(
            report.rows(),
            [
                ["WHAT", "PER SECOND", "P50 MS"],
                ["put", "1234", "-"],
                ["fdatasync", "-", "0.500"]
            ]
        );
    }
}
