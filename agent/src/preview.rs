//! `agent render`: what would be written, without writing it.
//!
//! Reads the store until every template has all it asks for, or takes the values from a JSON file.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use kvapi::Client;
use kvapi::codes;
use kvapi::problem::{Problem, exit};
use kvapi::types::WatchEvent;
use kvapi::watch::News;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::load::{Program, on_big_stack};
use crate::render::{Held, Lack, Rendered, Surroundings, render};
use crate::run::hint;
use crate::view::{Scope, View};

/// Renders every template from the store, and prints the texts.
pub async fn from_store(
    program: &Program,
    around: &Surroundings,
    client: &Client,
    limit: Duration,
    out: &mut impl Write,
) -> Result<(), Problem> {
    let mut view = View::default();
    loop {
        let rendered = all(program, &view, around)?;
        let mut scope = view.scope().clone();
        let mut outside = false;
        for one in &rendered {
            scope.extend(&one.reads.scope);
            outside |= one.outcome == Err(Held::Outside);
        }
        if !outside {
            return match print(program, rendered, out) {
                Ok(()) => Ok(()),
                Err(Failed::Problem(problem)) => Err(problem),
                Err(Failed::Lacks(lacks)) => {
                    let near = match lacks.first() {
                        Some(lack) => hint(client, &lack.key).await,
                        None => None,
                    };
                    Err(lacking(&lacks, near))
                }
            };
        }
        view = snapshot(client, scope, limit).await?;
    }
}

/// Renders every template from a file of values, and prints the texts.
pub fn from_values(
    program: &Program,
    around: &Surroundings,
    values: &Path,
    out: &mut impl Write,
) -> Result<(), Problem> {
    let invalid =
        |e: &dyn std::fmt::Display| Problem::new(exit::INVALID, format!("cannot read {}: {e}", values.display()));
    let text = std::fs::read_to_string(values).map_err(|e| invalid(&e))?;
    let json: Value = serde_json::from_str(&text).map_err(|e| invalid(&e))?;
    let mut flat = Vec::new();
    flatten("", &json, &mut flat).map_err(|told| invalid(&told))?;
    let rendered = all(program, &View::fixed(flat), around)?;
    print(program, rendered, out).map_err(|failed| match failed {
        Failed::Lacks(lacks) => lacking(&lacks, None),
        Failed::Problem(problem) => problem,
    })
}

/// Why nothing was printed.
enum Failed {
    Lacks(Vec<Lack>),
    Problem(Problem),
}

fn lacking(lacks: &[Lack], near: Option<String>) -> Problem {
    let told: Vec<String> = lacks
        .iter()
        .map(|lack| format!("`{}` ({})", lack.key, lack.place))
        .collect();
    let problem = Problem::of(
        &codes::NO_VALUE_FOR_TEMPLATE,
        format!("no such key: {}", told.join(", ")),
    );
    match near {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem.help("put the key, or give the template a default=, or use --missing default"),
    }
}

fn all(program: &Program, view: &View, around: &Surroundings) -> Result<Vec<Rendered>, Problem> {
    let ids = 0..program.templates.names().len();
    on_big_stack(|| ids.map(|id| render(&program.templates, id, view, around)).collect())
}

/// Prints one text as it is, several each under its name.
fn print(program: &Program, rendered: Vec<Rendered>, out: &mut impl Write) -> Result<(), Failed> {
    let mut lacks = BTreeSet::new();
    let mut texts = Vec::new();
    for one in rendered {
        match one.outcome {
            Ok(text) => texts.push((one.id, text)),
            Err(Held::Missing(more)) => lacks.extend(more),
            Err(Held::Broken(told)) => {
                return Err(Failed::Problem(Problem::of(
                    &codes::BAD_TEMPLATE,
                    format!("template {told}"),
                )));
            }
            Err(Held::Outside) => {}
        }
    }
    if !lacks.is_empty() {
        return Err(Failed::Lacks(lacks.into_iter().collect()));
    }
    let several = texts.len() > 1;
    let mut write = || {
        for (id, text) in &texts {
            if several {
                writeln!(out, "==> {} <==", program.config.shown(*id))?;
            }
            out.write_all(text.as_bytes())?;
        }
        out.flush()
    };
    write().map_err(|e| Failed::Problem(Problem::new(exit::AGENT, format!("cannot write the output: {e}"))))
}

/// All of a scope, at one revision.
async fn snapshot(client: &Client, scope: Scope, limit: Duration) -> Result<View, Problem> {
    let until = Instant::now() + limit;
    let mut watch = client.watch(scope.request());
    let mut reason = "no answer".to_owned();
    while let Ok(news) = timeout_at(until, watch.next()).await {
        match news {
            News::Event(WatchEvent::Snapshot(snapshot)) => {
                let mut view = View::default();
                view.replace(snapshot, scope)
                    .map_err(|refusal| Problem::new(exit::UNAVAILABLE, refusal.to_string()))?;
                return Ok(view);
            }
            News::Refused { status, text } => {
                return Err(Problem::from(kvapi::Error::Refused { status, text }));
            }
            News::Lost { reason: told } => reason = told,
            News::Connected { .. } | News::Event(_) => {}
        }
    }
    Err(Problem::new(exit::UNAVAILABLE, reason).help("is the server running? Name it with --addr or KEYWAY_ADDR"))
}

/// `{"app": {"port": 80}}` and `{"app/port": "80"}` both name `app/port`.
fn flatten(path: &str, value: &Value, flat: &mut Vec<(String, Vec<u8>)>) -> Result<(), String> {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}/{name}")
                };
                flatten(&path, member, flat)?;
            }
        }
        _ if path.is_empty() => return Err("the values are not a JSON object".to_owned()),
        Value::String(text) => flat.push((path.to_owned(), text.clone().into_bytes())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            flat.push((path.to_owned(), value.to_string().into_bytes()));
        }
    }
    Ok(())
}
