//! `keyway context`: addresses and tokens by a name.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kvapi::problem::exit;
use kvapi::{Address, Problem};

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::Layout;
use crate::settings::contexts::{Contexts, Named};
use crate::settings::user_file;

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// List the contexts
    #[command(after_help = "\
Examples:
  keyway context ls                            the one that holds has a *
  keyway context ls -o name                    the names alone
  keyway context ls -o json                    for a script; tokens are not shown")]
    Ls,
    /// Use a context from now on
    #[command(after_help = "\
Examples:
  keyway context use prod                      from now on
  keyway --context prod kv ls                  only this time
  keyway context use ''                        none any more")]
    Use(Name),
    /// Add one: what --addr, --token and --token-file say, under a name
    #[command(after_help = "\
Examples:
  keyway context add prod --addr http://10.0.0.1:8500 --token-file ~/.keyway-token
  keyway context add prod --addr http://10.0.0.1:8500 --token -   asks for the token
  keyway context add box --addr unix:///run/keyway.sock")]
    Add(Name),
    /// Remove one
    #[command(after_help = "\
Examples:
  keyway context rm prod                       forget its address and its token
  keyway context rm prod --dry-run             only look whether there is such a one
  keyway context ls                            what is left")]
    Rm(Name),
}

#[derive(Debug, Args)]
pub(crate) struct Name {
    /// Name of the context
    name: String,
}

impl ContextCommand {
    pub(crate) fn run(self, context: Context<'_>) -> Outcome {
        let path = user_file("contexts.toml").ok_or_else(|| {
            Failure::new(
                exit::USAGE,
                "there is no home to write to",
                "set HOME or XDG_CONFIG_HOME",
            )
        })?;
        let mut contexts = Contexts::load(&path)?;
        let said = match &self {
            Self::Ls => return list(context, &contexts),
            Self::Use(Name { name }) if name.is_empty() => {
                contexts.current = None;
                "no context is used any more".to_owned()
            }
            Self::Use(Name { name }) => {
                let addr = contexts.get(name)?.addr.clone();
                contexts.current = Some(name.clone());
                format!("using {name} ({addr}) from now on")
            }
            Self::Add(Name { name }) => add(&context, &mut contexts, name)?,
            Self::Rm(Name { name }) => {
                contexts.get(name)?;
                contexts.contexts.remove(name);
                contexts.current = contexts.current.filter(|current| current != name);
                format!("removed {name}")
            }
        };
        if context.settings.dry_run {
            context.out.say(format_args!("would be done: {said}"));
        } else {
            contexts.save(&path)?;
            context.out.say(said);
        }
        Ok(exit::OK)
    }
}

fn list(context: Context<'_>, contexts: &Contexts) -> Outcome {
    let out = context.out;
    let is_current = |name: &String| contexts.current.as_ref() == Some(name);
    if out.is_json() {
        let named = contexts.contexts.iter().map(|(name, named)| {
            serde_json::json!({
                "name": name,
                "addr": named.addr,
                "has_token": named.token.is_some() || named.token_file.is_some(),
                "is_current": is_current(name),
            })
        });
        out.json(&serde_json::json!({"contexts": named.collect::<Vec<_>>()}))?;
    } else if out.layout == Layout::Names {
        contexts.contexts.keys().try_for_each(|name| out.line(name))?;
    } else {
        let row = |(name, named): (&String, &Named)| {
            let token = match (&named.token, &named.token_file) {
                (Some(_), _) => "kept".to_owned(),
                (None, Some(path)) => path.display().to_string(),
                (None, None) => String::new(),
            };
            let mark = if is_current(name) { "*" } else { " " };
            vec![mark.to_owned(), name.clone(), token, named.addr.clone()]
        };
        let rows: Vec<Vec<String>> = contexts.contexts.iter().map(row).collect();
        out.rows(&["", "NAME", "TOKEN", "ADDR"], &rows)?;
        if rows.is_empty() {
            out.say("there are none; add one with   keyway context add NAME --addr URL");
        }
    }
    Ok(exit::OK)
}

/// Only what the flags say: what happens to be in the environment is not meant.
fn add(context: &Context<'_>, contexts: &mut Contexts, name: &str) -> Result<String, Problem> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || !name.chars().all(is_plain) {
        let problem = Problem::new(exit::USAGE, format!("`{name}` is no name of a context"));
        return Err(problem.help("use letters, digits, -, _ and ."));
    }
    if contexts.contexts.contains_key(name) {
        let problem = Problem::new(exit::CONFLICT, format!("there is a context `{name}` already"));
        return Err(problem.help(format!("remove it first with   keyway context rm {name}")));
    }
    let flags = &context.settings.flags;
    let addr = flags
        .addr
        .clone()
        .ok_or_else(|| Problem::new(exit::USAGE, "a context needs an address").help("give it with --addr"))?;
    Address::parse_list(&addr).map_err(|e| Problem::new(exit::USAGE, e))?;
    let token_file = flags.token_file.as_ref().map(|path| {
        // From whatever folder it is used later.
        std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path))
    });
    // One that was asked for is in the settings.
    let token = flags.token.as_ref().and(context.settings.token.clone());
    let said = format!("added {name} ({addr}); use it with   keyway context use {name}");
    let named = Named {
        addr,
        token,
        token_file,
    };
    contexts.contexts.insert(name.to_owned(), named);
    Ok(said)
}
