//! `keyway kv txn`: several operations, all or none. Consul's JSON, or flags.

mod steps;

use bytes::Bytes;
use clap::Args;
use kvapi::client::WriteOptions;
use kvapi::problem::exit;
use kvapi::types::{TxnError, TxnOp};
use kvapi::{Consistency, Entry, Problem, Revision};

use self::steps::{Condition, Steps, at_revision};
use super::put::author;
use super::shown::{Shown, on_one_line};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::value::Source;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway kv txn --put a=1 --put b=@f --delete c        all of it, or nothing
  keyway kv txn --if 'rev(a)=12' --if 'missing(b)' --put a=2 --put b=1 --else-get a
  keyway kv txn @ops.json                              operations as PUT /v1/txn takes them

ops.json is Consul's form, values in base64: [{\"KV\":{\"Verb\":\"set\",\"Key\":\"a\",\"Value\":\"MQ==\"}}]

Exits with 5, and has done nothing, if a condition or an operation fails.")]
pub(crate) struct Txn {
    /// Consul's JSON: @FILE, or - for standard input
    #[arg(required_unless_present_any = ["if", "put", "delete"], value_name = "@FILE|-")]
    body: Option<String>,
    #[command(flatten)]
    steps: Steps,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
}

/// What is sent: operations, and what each is called if it fails.
struct Request {
    body: Bytes,
    names: Vec<String>,
    /// How many results are those of conditions, and of no interest.
    checks: usize,
    /// The operations, if they could be looked into.
    ops: Option<Vec<TxnOp>>,
}

impl Txn {
    pub(super) async fn run(self, mut context: Context<'_>) -> Outcome {
        let options = WriteOptions {
            author: Some(author()),
            message: self.message.clone(),
            ..WriteOptions::default()
        };
        let mut request = match &self.body {
            Some(text) => from_json(text)?,
            None => match self.by_flags(&context).await? {
                Ok(request) => request,
                Err(untrue) => return self.failed(context, untrue).await,
            },
        };
        let dry_run = context.settings.dry_run;
        if dry_run {
            request = request.only_checks()?;
        }
        let names = request.names.clone();
        let sent = match context.client.txn_json(request.body, &options).await {
            Err(kvapi::Error::Ended { done: true, revision }) => return unseen(&mut context, revision, names.len()),
            sent => sent,
        };
        let sent = sent.map_err(|error| match error {
            // What the server says of the body, with the place and the remedy that it does not know.
            kvapi::Error::Refused { status, .. } if status == http::StatusCode::BAD_REQUEST => {
                Problem::from(error).help(FORM)
            }
            error => error.into(),
        });
        match sent? {
            Ok(results) => {
                let results = results.get(request.checks.min(results.len())..).unwrap_or_default();
                report(&mut context, results, &names, dry_run)
            }
            Err(errors) => {
                let told = errors.iter().map(|error| named(error, &names)).collect();
                self.failed(context, told).await
            }
        }
    }

    /// The operations of the flags, or what does not hold of the values that were expected.
    async fn by_flags(&self, context: &Context<'_>) -> Result<Result<Request, Vec<String>>, Failure> {
        let mut ops = Vec::new();
        let mut names = Vec::new();
        let mut untrue = Vec::new();
        for (text, condition) in &self.steps.conditions {
            let op = match condition {
                Condition::Value(key, source) => {
                    let wanted = source.clone().read()?;
                    let now = context.client.get(key.as_str(), Consistency::Default).await?.value;
                    match now {
                        Some(entry) if entry.value == wanted => Some(at_revision(key, entry.modify_index.0)),
                        Some(entry) => {
                            untrue.push(format!("`{text}` does not hold: it is {}", on_one_line(&entry.value)));
                            None
                        }
                        None => {
                            untrue.push(format!("`{text}` does not hold: there is no such key"));
                            None
                        }
                    }
                }
                _ => condition.op(),
            };
            ops.extend(op);
            names.push(format!("`{text}` does not hold"));
        }
        if !untrue.is_empty() {
            return Ok(Err(untrue));
        }
        // A check that the key is absent shows nothing, every other one shows the key.
        let checks = ops.iter().filter(|op| op.verb != "check-not-exists").count();
        for write in &self.steps.writes {
            let op = write.op()?;
            names.push(format!("{} {}", op.verb, op.key));
            ops.push(op);
        }
        Ok(Ok(Request {
            body: json(&ops)?,
            names,
            checks,
            ops: Some(ops),
        }))
    }

    /// Why nothing was done; before it, what --else-get asks for.
    async fn failed(&self, context: Context<'_>, reasons: Vec<String>) -> Outcome {
        if !self.steps.else_get.is_empty() {
            let gets = self.steps.else_get.iter();
            let gets: Vec<TxnOp> = gets.map(|key| TxnOp::new("get-or-empty", key.as_str())).collect();
            // One read, so of one revision. What is not there has no creation.
            let found = context
                .client
                .txn(&gets, &WriteOptions::default())
                .await?
                .unwrap_or_default();
            let found: Vec<Entry> = found.into_iter().filter(|entry| entry.create_index.0 > 0).collect();
            if context.out.is_json() {
                let shown: Vec<Shown<'_>> = found.iter().map(Shown::from).collect();
                context
                    .out
                    .json(&serde_json::json!({"succeeded": false, "errors": reasons, "results": shown}))?;
            } else {
                for entry in &found {
                    let value = String::from_utf8_lossy(&entry.value);
                    context.out.line(format_args!("{}:{value}", entry.key))?;
                }
            }
        }
        let problem = Problem::of(
            &kvapi::codes::CHANGED,
            format!("nothing was done: {}", reasons.join("; ")),
        );
        Err(problem
            .help("see a key with its revision with   keyway kv get -o json KEY   and try again")
            .into())
    }
}

impl Request {
    /// The checks alone, which change nothing and so are a read: whether it would go through now.
    fn only_checks(self) -> Result<Self, Problem> {
        let check = |op: &TxnOp| -> Option<TxnOp> {
            let verb = match op.verb.as_str() {
                "check-index" | "check-not-exists" | "get" | "check-session" => return Some(op.clone()),
                "cas" if op.index == 0 => "check-not-exists",
                "cas" | "delete-cas" => "check-index",
                _ => return None,
            };
            Some(TxnOp {
                index: op.index,
                ..TxnOp::new(verb, op.key.as_str())
            })
        };
        let ops = self.ops.ok_or_else(|| {
            Problem::new(exit::INVALID, "these operations cannot be tried without doing them")
                .help("write the JSON as in the example of `keyway kv txn --help`, names in their usual case")
        })?;
        let checked = ops
            .iter()
            .zip(&self.names)
            .filter_map(|(op, name)| Some((check(op)?, name.clone())));
        let (checks, names): (Vec<TxnOp>, Vec<String>) = checked.unzip();
        Ok(Self {
            body: json(&checks)?,
            names,
            checks: usize::MAX,
            ops: Some(ops),
        })
    }
}

const FORM: &str = "nothing was done; the form is shown by   keyway kv txn --help";

/// What an operation may be, sessions included, which the server has its own words for.
const VERBS: &[&str] = &[
    "set",
    "cas",
    "get",
    "get-or-empty",
    "get-tree",
    "delete",
    "delete-cas",
    "delete-tree",
    "check-index",
    "check-not-exists",
    "check-session",
    "lock",
    "unlock",
];

#[derive(serde::Serialize, serde::Deserialize)]
struct Op {
    #[serde(rename = "KV", alias = "kv")]
    kv: TxnOp,
}

fn json(ops: &[TxnOp]) -> Result<Bytes, Problem> {
    let ops: Vec<Op> = ops.iter().map(|kv| Op { kv: kv.clone() }).collect();
    let json = serde_json::to_vec(&ops).map(Bytes::from);
    json.map_err(|e| Problem::new(exit::BUG, format!("write JSON: {e}")))
}

/// Consul's JSON, sent as it is: the server says what is wrong with it. It is only looked into for names.
fn from_json(text: &str) -> Result<Request, Problem> {
    let body = match Source::parse(Some(text)) {
        Source::Literal(_) => {
            return Err(Problem::new(exit::USAGE, format!("`{text}` is neither @FILE nor -"))
                .help("write operations into a file, or use --put, --delete and --if"));
        }
        // Here it is no value, which could be a text that begins with @.
        Source::File(path) => std::fs::read(&path).map(Bytes::from).map_err(|e| {
            Problem::new(exit::INVALID, format!("read the operations from `{path}`: {e}"))
                .help("name a file that holds them as   @FILE   or give them on standard input as   -")
        })?,
        Source::Stdin => Source::Stdin.read()?,
    };
    let place = text.strip_prefix('@').unwrap_or("standard input");
    if let Err(e) = serde_json::from_slice::<Vec<serde::de::IgnoredAny>>(&body) {
        let problem = Problem::of(
            &kvapi::codes::BAD_DOCUMENT,
            format!("{place}: this is no list in JSON: {e}"),
        );
        return Err(problem.help(FORM));
    }
    let ops = serde_json::from_slice::<Vec<Op>>(&body).ok();
    let ops: Option<Vec<TxnOp>> = ops.map(|ops| ops.into_iter().map(|op| op.kv).collect());
    for (i, op) in ops.iter().flatten().enumerate() {
        if !VERBS.contains(&op.verb.as_str()) {
            let what = format!("{place}: operation {i} ({}): `{}` is no verb", op.key, op.verb);
            let problem = Problem::of(&kvapi::codes::BAD_DOCUMENT, what);
            return Err(problem.help(format!("nothing was done; the verbs are {}", VERBS.join(", "))));
        }
    }
    let names = ops
        .iter()
        .flatten()
        .enumerate()
        .map(|(i, op)| format!("operation {i} ({} {})", op.verb, op.key));
    Ok(Request {
        names: names.collect(),
        body,
        checks: 0,
        ops,
    })
}

fn named(error: &TxnError, names: &[String]) -> String {
    match names.get(error.op_index) {
        Some(name) => format!("{name}: {}", error.what),
        None => format!("operation {}: {}", error.op_index, error.what),
    }
}

fn report(context: &mut Context<'_>, results: &[Entry], names: &[String], dry_run: bool) -> Outcome {
    if context.out.is_json() {
        let shown: Vec<serde_json::Value> = results.iter().map(result).collect();
        context
            .out
            .json(&serde_json::json!({"succeeded": true, "dry_run": dry_run, "results": shown}))?;
    } else if dry_run {
        context.out.say("every condition holds; nothing was done");
    } else {
        let rows = results.iter().map(|entry| {
            let value = on_one_line(&entry.value);
            vec![entry.modify_index.to_string(), entry.key.clone(), value]
        });
        let rows: Vec<Vec<String>> = rows.collect();
        context.out.rows(&["REVISION", "KEY", "VALUE"], &rows)?;
        let operations = if names.len() == 1 { "operation" } else { "operations" };
        context
            .out
            .say(format_args!("done, {} {operations} as one", names.len()));
    }
    Ok(exit::OK)
}

/// It is done, and what it showed is lost.
fn unseen(context: &mut Context<'_>, revision: Option<Revision>, operations: usize) -> Outcome {
    if context.out.is_json() {
        context.out.json(&serde_json::json!({
            "succeeded": true, "dry_run": false, "results": [], "results_lost": true, "revision": revision,
        }))?;
    }
    let operations = match operations {
        1 => "1 operation".to_owned(),
        n => format!("{n} operations"),
    };
    let at = revision.map_or_else(String::new, |revision| format!(" at revision {revision}"));
    context.out.say(format_args!(
        "done{at}, {operations} as one; the connection broke off before the answer came, and it was too large to be given \
         again: read what it would have shown"
    ));
    Ok(exit::OK)
}

/// A result as JSON. A write shows no value, and neither does the store show an empty one.
fn result(entry: &Entry) -> serde_json::Value {
    let mut shown = serde_json::json!(Shown::from(entry));
    if let Some(fields) = shown.as_object_mut().filter(|_| entry.value.is_empty()) {
        fields.remove("value");
        fields.remove("encoding");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_named_by_its_operation() {
        let names = ["`rev(a)=1` does not hold".to_owned()];
        let error = |op_index| TxnError {
            op_index,
            what: "index is stale".into(),
        };

        assert_eq!(named(&error(0), &names), "`rev(a)=1` does not hold: index is stale");
        assert_eq!(named(&error(7), &names), "operation 7: index is stale");
    }

    #[test]
    fn a_dry_run_keeps_the_checks_alone() {
        let cas = TxnOp {
            index: 5,
            ..TxnOp::new("cas", "a")
        };
        let ops = vec![TxnOp::set("b", "1"), cas, TxnOp::new("check-not-exists", "c")];
        let request = Request {
            body: Bytes::new(),
            names: ["0", "1", "2"].map(str::to_owned).to_vec(),
            checks: 0,
            ops: Some(ops),
        };

        let request = request.only_checks().unwrap();

        assert_eq!(request.names, ["1", "2"]);
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(
            body[0]["KV"],
            serde_json::json!({"Verb": "check-index", "Key": "a", "Index": 5})
        );
        assert_eq!(body[1]["KV"]["Verb"], "check-not-exists");
    }
}
