//! `keyway config`: the settings of `keyway` itself, and where each is from.

use std::fs::{self, File};
use std::io::Write as _;

use clap::{Args, Subcommand};
use kvapi::Problem;
use kvapi::problem::exit;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::Layout;
use crate::settings::{Effective, user_file};

/// What `config init` writes: everything there is, and nothing that changes anything.
const EXAMPLE: &str = "\
# Settings of keyway. A flag outranks its variable, that outranks ./keyway.toml, and that this file.
# What holds, and why:   keyway config show --origin

# addr = \"http://127.0.0.1:8500\"       # several, separated by commas, are tried in turn
# token_file = \"/path/to/token\"
# context = \"name\"                     # see   keyway context
# output = \"text\"                      # json, jsonl, yaml, table, raw, name
# color = \"auto\"                       # always, never
# progress = \"auto\"                    # tty, plain, json, quiet
# utc = false
# timeout = \"10s\"
# consistency = \"default\"              # stale, consistent
# log_format = \"text\"                  # json
";

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print the settings that hold
    Show(Show),
    /// Write a file of settings to begin with
    #[command(after_help = "\
Examples:
  keyway config init                           ~/.config/keyway/config.toml, all in comments
  keyway config init --dry-run                 only print it
  XDG_CONFIG_HOME=. keyway config init         into ./keyway/config.toml")]
    Init,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway config show                           as a file would have them
  keyway config show --origin                  and where each is from
  keyway config show -o json | jq .            for a script")]
pub(crate) struct Show {
    /// Say where each is from: flag, environment, a file, a context, default
    #[arg(long)]
    origin: bool,
}

impl Config {
    pub(crate) fn run(self, mut context: Context<'_>) -> Outcome {
        match self {
            Self::Show(show) => show.run(context),
            Self::Init => init(&mut context),
        }
    }
}

impl Show {
    fn run(self, context: Context<'_>) -> Outcome {
        let (out, effective) = (context.out, &context.settings.effective);
        if out.is_json() {
            let settings = effective
                .iter()
                .map(|one| serde_json::json!({"key": one.key, "value": one.value, "origin": one.origin.to_string()}));
            out.json(&serde_json::json!({"settings": settings.collect::<Vec<_>>()}))?;
        } else if out.layout == Layout::Table {
            let row = |one: &Effective| {
                vec![
                    one.key.to_owned(),
                    one.origin.to_string(),
                    one.value.clone().unwrap_or_default(),
                ]
            };
            out.rows(
                &["KEY", "ORIGIN", "VALUE"],
                &effective.iter().map(row).collect::<Vec<_>>(),
            )?;
        } else {
            for one in effective {
                let line = line(one);
                let origin = format!("# {}", one.origin);
                if self.origin {
                    out.line(format_args!("{line:<44} {origin}"))?;
                } else {
                    out.line(line)?;
                }
            }
        }
        Ok(exit::OK)
    }
}

/// As a file would have it; what a file would not have is in a comment.
fn line(one: &Effective) -> String {
    let quoted = one.value.as_ref().map(|value| match one.key {
        "utc" => value.clone(),
        _ => toml::Value::String(value.clone()).to_string(),
    });
    match (one.key, quoted) {
        ("token", Some(quoted)) => format!("# token = {quoted}"),
        (key, Some(quoted)) => format!("{key} = {quoted}"),
        (key, None) => format!("# no {key}"),
    }
}

fn init(context: &mut Context<'_>) -> Outcome {
    let path = user_file("config.toml").ok_or_else(|| {
        Failure::new(
            exit::USAGE,
            "there is no home to write to",
            "set HOME or XDG_CONFIG_HOME",
        )
    })?;
    if context.settings.dry_run {
        context.out.say(format_args!("would write {}:", path.display()));
        context.out.line(EXAMPLE.trim_end())?;
        return Ok(exit::OK);
    }
    if path.exists() {
        return Err(Failure::new(
            exit::CONFLICT,
            format!("{} is there already", path.display()),
            "it is left as it is; see an example with   keyway config init --dry-run",
        ));
    }
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        File::create_new(&path)?.write_all(EXAMPLE.as_bytes())
    };
    write().map_err(|e: std::io::Error| Problem::new(exit::INVALID, format!("write {}: {e}", path.display())))?;
    if context.out.is_json() {
        context.out.json(&serde_json::json!({"path": path}))?;
    } else {
        context.out.line(path.display())?;
    }
    Ok(exit::OK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::file::{self, KEYS};
    use std::path::Path;

    #[test]
    fn the_example_has_every_key_and_is_good_without_its_comments() {
        let lines = EXAMPLE.lines().filter(|line| line.contains(" = "));
        let text: Vec<&str> = lines.map(|line| line.trim_start_matches("# ")).collect();

        file::File::parse(&text.join("\n"), Path::new("x"), false).unwrap();

        for key in KEYS {
            assert!(text.iter().any(|line| line.starts_with(&format!("{key} = "))), "{key}");
        }
        file::File::parse(EXAMPLE, Path::new("x"), false).unwrap();
    }
}
