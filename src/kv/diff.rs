//! `keyway kv diff`: what differs between two keys, two folders, two moments, or the store and a folder of files.

use std::fs;
use std::path::Path;

use clap::Args;
use kvapi::problem::exit;
use kvapi::{Problem, Revision};

use super::files::{failed, read_folder};
use super::past;
use super::side::{Difference, Side, Version, differences};
use super::target::Target;
use super::when::{Number, Span, Time, When};
use crate::context::Context;
use crate::diff;
use crate::failure::{Failure, Outcome};
use crate::output::{Format, Layout};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway kv diff app/port --rev 844..851       a key at two revisions; without the second, now
  keyway kv diff app/ --at 1h..10m             what changed below app/ in those 50 minutes
  keyway kv diff staging/ production/          two folders, key by key
  keyway kv diff app/ @conf.d                  the store against the files in conf.d
  keyway kv diff app/ @conf.d --exit-code      exit with 1 if they differ, for scripts
  keyway kv diff app/ --against production     the same prefix in another context's store")]
pub(crate) struct Diff {
    /// Key; what ends in / is a prefix, and / alone is everything
    a: String,
    /// What to compare it with: a key, a prefix, or @FILE or @DIR
    #[arg(required_unless_present_any = ["rev", "at", "against"], conflicts_with_all = ["rev", "at", "against"])]
    b: Option<String>,
    /// Compare with the same key or prefix in the store of another context
    #[arg(long, value_name = "CONTEXT", conflicts_with_all = ["rev", "at"])]
    against: Option<String>,
    /// Compare two revisions: N..M; N.. or N alone is up to now
    #[arg(long, value_name = "N..M", conflicts_with = "at")]
    rev: Option<Span<Number>>,
    /// Compare two times: T1..T2, each a time (2026-11-24T08:30:00Z) or how long ago (10m)
    #[arg(long, value_name = "T1..T2")]
    at: Option<Span<Time>>,
    /// Exit with 1 if there are differences
    #[arg(long)]
    exit_code: bool,
}

impl Diff {
    pub(super) async fn run(self, context: Context<'_>) -> Outcome {
        let (before, after) = self.sides(&context).await?;
        let found = differences(&before, &after);
        let is_empty = before.versions.is_empty() && after.versions.is_empty();
        let out = context.out;
        match (out.format, out.layout) {
            (Format::Json, _) => {
                let shown: Vec<_> = found.iter().map(Difference::shown).collect();
                let name = |side: &Side| serde_json::json!({"root": side.root, "at": side.note});
                out.json(&serde_json::json!({
                    "before": name(&before), "after": name(&after), "same": found.is_empty(), "differences": shown,
                }))?;
            }
            (Format::Jsonl, _) => found.iter().try_for_each(|one| out.json_line(&one.shown()))?,
            (_, Layout::Names) => found.iter().try_for_each(|one| out.line(one.name()))?,
            _ => {
                for one in &found {
                    let text = diff::painted(out.paint, &one.text());
                    out.bytes(text.as_bytes())?;
                }
            }
        }
        if is_empty {
            out.say("there is nothing on either side");
        }
        Ok(if self.exit_code && !found.is_empty() {
            exit::NO
        } else {
            exit::OK
        })
    }

    async fn sides(&self, context: &Context<'_>) -> Result<(Side, Side), Failure> {
        let client = &context.client;
        let a = Target::parse(&self.a)?;
        let span = match (self.rev, self.at) {
            (Some(span), _) => {
                let when = |number: Number| When::Revision(Revision(number.0));
                Some((when(span.from), span.to.map(when)))
            }
            (_, Some(span)) => Some((When::At(span.from), span.to.map(When::At))),
            (None, None) => None,
        };
        if let Some((from, to)) = span {
            let from = past::revision(client, &a, from).await?;
            let to = match to {
                Some(to) => Some(past::revision(client, &a, to).await?),
                None => None,
            };
            return Ok((
                past::side(client, &a, Some(from)).await?,
                past::side(client, &a, to).await?,
            ));
        }
        let b = self.b.as_deref().unwrap_or_default();
        let before = past::side(client, &a, None).await?.below(a.as_str());
        if let Some(name) = &self.against {
            let other = context.settings.client_of(name)?;
            let mut after = past::side(&other, &a, None).await?.below(a.as_str());
            after.root = format!("{name}:{a}");
            return Ok((before, after));
        }
        if let Some(path) = b.strip_prefix('@') {
            return Ok((before, files(Path::new(path), a.is_prefix())?));
        }
        let b = Target::parse(b)?;
        if a.is_prefix() != b.is_prefix() {
            return Err(Failure::new(
                exit::USAGE,
                format!("`{a}` and `{b}` are not of one kind"),
                "compare two keys, or two prefixes that end in /",
            ));
        }
        let after = past::side(client, &b, None).await?.below(b.as_str());
        if !a.is_prefix() {
            for (target, side) in [(&a, &before), (&b, &after)] {
                if side.versions.is_empty() {
                    return Err(Problem::new(exit::NO, format!("no such key `{target}`"))
                        .help(format!("for all that is below it, write   {target}/"))
                        .into());
                }
            }
        }
        Ok((before, after))
    }
}

/// The files below a folder by their paths, or one file.
fn files(path: &Path, is_prefix: bool) -> Result<Side, Problem> {
    let version = |value| Version {
        value,
        flags: None,
        revision: None,
    };
    let (root, versions) = if is_prefix {
        let files = read_folder(path)?.into_iter();
        let root = format!("{}/", path.display().to_string().trim_end_matches('/'));
        (root, files.map(|item| (item.key, version(item.value))).collect())
    } else if path.is_dir() {
        let what = format!("{} is a folder", path.display());
        return Err(Problem::new(exit::USAGE, what).help("compare it with a prefix, which ends in /"));
    } else {
        let value = fs::read(path).map_err(|e| failed("read", path, &e))?;
        let one = (String::new(), version(value.into()));
        (path.display().to_string(), [one].into())
    };
    Ok(Side {
        root,
        note: String::new(),
        versions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_files_is_a_tree_of_keys() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("web/a")).unwrap();
        for name in ["port", "web/a/b"] {
            crate::scratch::write(&home.path().join(name), name).unwrap();
        }

        let side = files(home.path(), true).unwrap();

        let names: Vec<&String> = side.versions.keys().collect();
        assert_eq!(names, ["port", "web/a/b"]);
        assert_eq!(side.versions["web/a/b"].value, "web/a/b");
        assert!(
            files(&home.path().join("port"), false)
                .unwrap()
                .versions
                .contains_key("")
        );
        assert!(files(home.path(), false).is_err());
        assert!(files(&home.path().join("nowhere"), true).is_err());
    }
}
