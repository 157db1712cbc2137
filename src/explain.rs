//! `keyway explain`: what an error code means.

use agent::nearest;
use clap::Args;
use kvapi::codes::{ALL, Code};
use kvapi::problem::exit;
use serde_json::json;

use crate::failure::{Failure, Outcome};
use crate::output::Out;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway explain E0203                         why it happens, and what to do
  keyway explain                               all codes
  keyway explain -o json                       for a script")]
pub(crate) struct Explain {
    /// Code such as E0203; nothing lists them
    code: Option<String>,
}

impl Explain {
    pub(crate) fn run(self, out: &mut Out) -> Outcome {
        let Some(text) = self.code else {
            return list(out);
        };
        let wanted = text.trim_matches(['[', ']']).to_uppercase();
        let Some(code) = ALL.iter().find(|code| code.id == wanted) else {
            let help = nearest::of(&wanted, ALL.iter().map(|code| code.id)).map_or_else(
                || "see all with   keyway explain".to_owned(),
                |near| format!("did you mean `{near}`? All are shown by   keyway explain"),
            );
            return Err(Failure::new(exit::USAGE, format!("there is no code `{text}`"), help));
        };
        if out.is_json() {
            out.json(&document(code))?;
        } else {
            let (id, title) = (out.paint.bold(code.id), code.title);
            out.line(format_args!(
                "{id}: {title}\n\n{}\n\nExit code: {}",
                code.text, code.exit
            ))?;
        }
        Ok(exit::OK)
    }
}

fn list(out: &mut Out) -> Outcome {
    if out.is_json() {
        out.json(&json!({"codes": ALL.iter().map(|code| document(code)).collect::<Vec<_>>()}))?;
    } else {
        let row = |code: &&Code| vec![code.id.to_owned(), code.exit.to_string(), code.title.to_owned()];
        out.rows(&["CODE", "EXIT", "MEANING"], &ALL.iter().map(row).collect::<Vec<_>>())?;
    }
    Ok(exit::OK)
}

fn document(code: &Code) -> serde_json::Value {
    json!({"code": code.id, "exit_code": code.exit, "title": code.title, "text": code.text})
}
