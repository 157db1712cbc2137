//! `keyway kv edit`: a value or a whole subtree in an editor, and one transaction.
//!
//! Every operation holds only if its key is still as it was looked at. Whatever goes wrong after somebody
//! has typed, what they typed is kept, with what it began from, and the command that goes on is said.

mod desk;
mod plan;
mod sheet;

use std::path::PathBuf;

use clap::Args;
use kvapi::client::WriteOptions;
use kvapi::codes;
use kvapi::problem::exit;
use kvapi::types::TxnOp;
use kvapi::{Consistency, Entry, Error, Problem};

use self::desk::Desk;
use self::plan::{Change, Tree, operations, plan};
use self::sheet::Sheet;
use super::at_once::at_once;
use super::put::author;
use crate::context::Context;
use crate::diff::{Side, painted, unified};
use crate::failure::{Failure, Outcome};
use crate::signals::Stop;
use agent::document::{As, Item};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway kv edit app/motd                      one value, as it is
  keyway kv edit app/                          everything below app/, as YAML
  keyway kv edit app/ --as toml -m 'new port'  as TOML, with a reason for the history

The editor is $VISUAL, else $EDITOR, else vi.
Exits with 5 if somebody else was faster, with 130 if TERM ended it; what was typed is kept.")]
pub(crate) struct Edit {
    /// Key, or with a / behind a prefix; / alone is everything
    #[arg(value_name = "KEY|PREFIX/")]
    target: String,
    /// Form of a subtree (yaml if nothing is said), or the language in which a value is checked
    #[arg(long = "as", value_name = "FORM")]
    form: Option<Form>,
    /// Go on with a file that was kept, or begin with one of your own
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
}

/// The forms that can be edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    Json,
    Yaml,
    Toml,
    Env,
}

impl From<Form> for As {
    fn from(form: Form) -> Self {
        match form {
            Form::Json => Self::Json,
            Form::Yaml => Self::Yaml,
            Form::Toml => Self::Toml,
            Form::Env => Self::Env,
        }
    }
}

impl Edit {
    pub(super) async fn run(self, mut context: Context<'_>) -> Outcome {
        // From here on Ctrl-C is the editor's, and TERM ours.
        let mut stop = Stop::listen()?;
        let now = self.read(&context).await?;
        let mut desk = match &self.from {
            Some(path) => Desk::take_up(path)?,
            None => {
                let sheet = self.sheet(&now);
                let text = sheet.write(&self.cut(&now), &self.title()).map_err(|bad| {
                    Problem::of(&codes::NOT_IN_THIS_FORM, bad.to_string()).help("use another form with --as")
                })?;
                Desk::lay(&self.file_name(sheet), &text)?
            }
        };
        let base = desk.base()?.unwrap_or(now);
        match self.edit(&mut context, &desk, &base, &mut stop).await {
            Ok(Ended::Unchanged) => {
                desk.clear();
                context.out.say("nothing changed, nothing was written");
                Ok(exit::OK)
            }
            Ok(Ended::Written(changes)) => {
                // Before anything is printed: from here on it is in the store, whoever reads of it.
                desk.clear();
                report(&mut context, &changes)?;
                Ok(exit::OK)
            }
            Ok(Ended::Shown) => {
                self.say_kept(&mut context, &mut desk, &base);
                Ok(exit::OK)
            }
            Err(Failure::Told(problem)) => Err(self.kept(&mut desk, &base, problem).into()),
            Err(Failure::NobodyReads) => {
                self.say_kept(&mut context, &mut desk, &base);
                Err(Failure::NobodyReads)
            }
        }
    }

    /// Keeps what was typed and says where. Without these words it would be as good as lost, so --quiet
    /// does not silence them.
    fn say_kept(&self, context: &mut Context<'_>, desk: &mut Desk, base: &[Entry]) {
        if let Some(path) = desk.keep(base) {
            let how = self.how_to_go_on(path);
            let place = path.display();
            context.out.insist(format_args!(
                "nothing was written; what you typed is kept in {place}\nto write it:   {how}"
            ));
        }
    }

    /// From the editor to the store. TERM ends it until the write begins.
    async fn edit(
        &self,
        context: &mut Context<'_>,
        desk: &Desk,
        base: &[Entry],
        stop: &mut Stop,
    ) -> Result<Ended, Failure> {
        let editor = ["VISUAL", "EDITOR"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|v| !v.trim().is_empty()));
        let typed = desk.edit(editor.as_deref().unwrap_or("vi"), stop).await?;
        tokio::select! {
            biased;
            () = stop.terminated() => Err(desk::terminated().into()),
            wanted = self.wanted(context, desk, base, typed) => match wanted? {
                Wanted::Write(changes) => {
                    self.write(context, &changes).await?;
                    Ok(Ended::Written(changes))
                }
                Wanted::Nothing(ended) => Ok(ended),
            }
        }
    }

    /// What is to be written of what was typed, shown and confirmed.
    async fn wanted(
        &self,
        context: &mut Context<'_>,
        desk: &Desk,
        base: &[Entry],
        typed: Vec<u8>,
    ) -> Result<Wanted, Failure> {
        // Of a key that is not there too: the empty document that was laid down for it is no wish.
        if desk.is_as_laid(&typed) {
            return Ok(Wanted::Nothing(Ended::Unchanged));
        }
        let flags = base.first().map_or(0, |entry| entry.flags);
        let items = self
            .sheet(base)
            .read(&typed, flags)
            .map_err(|bad| Problem::of(&codes::BAD_DOCUMENT, bad.to_string()))?;
        let items = self.whole(items)?;
        // With a base of an earlier run, others may have written since.
        let now = match self.from {
            Some(_) => self.read(context).await?,
            None => base.to_vec(),
        };
        let changes = plan(&plan::tree(base), &items, &plan::tree(&now));
        if changes.is_empty() {
            return Ok(Wanted::Nothing(Ended::Unchanged));
        }
        self.show(context, &changes, &plan::tree(base))?;
        if context.settings.dry_run {
            return Ok(Wanted::Nothing(Ended::Shown));
        }
        let count = changes.len();
        let question = format!("Write {count} {} in one transaction?", keys(count));
        context.confirm_or_stop(&question).await?;
        Ok(Wanted::Write(changes))
    }

    /// Whether it is a prefix; `/` is that of everything.
    fn prefix(&self) -> Option<&str> {
        match self.target.as_str() {
            "/" | "" => Some(""),
            target => target.ends_with('/').then_some(target),
        }
    }

    /// The entries, of one revision.
    async fn read(&self, context: &Context<'_>) -> Result<Vec<Entry>, Failure> {
        if let Some(prefix) = self.prefix() {
            super::in_path(prefix)?;
            return Ok(context.client.list(prefix, Consistency::Default).await?.value);
        }
        let key = super::key_in_path(&self.target)?;
        let found = context.client.get(key.as_str(), Consistency::Default).await?.value;
        if found.is_none() {
            let below = context
                .client
                .keys(&format!("{key}/"), Some("/"), Consistency::Default)
                .await?;
            if !below.value.is_empty() {
                let problem = Problem::new(exit::NO, format!("`{key}` is not a key but a folder"));
                return Err(problem
                    .help(format!("to edit what is in it   keyway kv edit {key}/"))
                    .into());
            }
        }
        Ok(found.into_iter().collect())
    }

    fn sheet(&self, entries: &[Entry]) -> Sheet {
        let form = self.form.map(As::from);
        match self.prefix() {
            Some(_) => Sheet::Tree(form.unwrap_or(As::Yaml)),
            None => Sheet::of_value(entries.first().map_or(b"", |entry| &entry.value), form),
        }
    }

    /// The settings as the sheet has them.
    fn cut(&self, entries: &[Entry]) -> Vec<Item> {
        let cut = entries.iter().map(|entry| Item {
            key: self.prefix().map_or("", |prefix| &entry.key[prefix.len()..]).to_owned(),
            value: entry.value.clone(),
            flags: entry.flags,
        });
        cut.collect()
    }

    /// The settings of a sheet under their whole keys.
    fn whole(&self, mut items: Vec<Item>) -> Result<Vec<Item>, Problem> {
        for item in &mut items {
            item.key = match self.prefix() {
                Some(prefix) => format!("{prefix}{}", item.key),
                None => self.target.clone(),
            };
            super::key(&item.key)?;
        }
        Ok(items)
    }

    /// What will change, as a diff from what is there now.
    fn show(&self, context: &mut Context<'_>, changes: &[Change], base: &Tree) -> Result<(), Failure> {
        for change in changes {
            let side = |value| Side {
                name: &change.key,
                value,
            };
            let old = side(change.now.as_ref().map(|held| &*held.value));
            let new = side(change.to.as_ref().map(|(value, _)| &**value));
            let mut diff = unified(old, new);
            let flags = [
                change.now.as_ref().map(|held| held.flags),
                change.to.as_ref().map(|(_, flags)| *flags),
            ];
            if let [Some(old), Some(new)] = flags
                && old != new
            {
                diff.push_str(&format!("{}: flags {old} become {new}\n", change.key));
            }
            if change.is_overruled {
                let since = change
                    .now
                    .as_ref()
                    .map_or("it is gone".to_owned(), |held| format!("revision {}", held.since));
                let began = base
                    .get(&change.key)
                    .map_or("absent".to_owned(), |held| format!("at revision {}", held.since));
                diff.push_str(&format!(
                    "{}: somebody else changed it ({since}); you began with it {began}\n",
                    change.key
                ));
            }
            let diff = diff.trim_end();
            if context.settings.dry_run {
                let shown = painted(context.out.paint, diff);
                context.out.line(shown)?;
            } else {
                let shown = painted(context.out.paint_words(), diff);
                context.out.say(shown);
            }
        }
        Ok(())
    }

    async fn write(&self, context: &Context<'_>, changes: &[Change]) -> Result<(), Failure> {
        let options = WriteOptions {
            author: Some(author()),
            message: self.message.clone(),
            ..WriteOptions::default()
        };
        let ops: Vec<TxnOp> = operations(changes);
        match at_once(&context.client, &ops, &options).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reasons)) => {
                let keys = reasons.iter().filter_map(|reason| ops.get(reason.op_index));
                let keys: Vec<&str> = keys.map(|op| op.key.as_str()).collect();
                Err(faster(&keys).into())
            }
            Err(Error::Refused { status, text }) if status == http::StatusCode::PAYLOAD_TOO_LARGE => {
                Err(too_large(&ops, &text).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The problem, and where what was typed is.
    fn kept(&self, desk: &mut Desk, base: &[Entry], problem: Problem) -> Problem {
        let Some(path) = desk.keep(base) else { return problem };
        let how = self.how_to_go_on(path);
        problem
            .help(format!("what you typed is kept in {}", path.display()))
            .help(format!("go on with it:   {how}"))
    }

    fn how_to_go_on(&self, path: &std::path::Path) -> String {
        let quote = |text: &str| shlex::try_quote(text).map_or_else(|_| text.to_owned(), |quoted| quoted.into_owned());
        let form = self.form.and_then(|form| clap::ValueEnum::to_possible_value(&form));
        let form = form
            .map(|form| format!(" --as {}", form.get_name()))
            .unwrap_or_default();
        format!(
            "keyway kv edit {}{form} --from {}",
            quote(&self.target),
            quote(&path.display().to_string())
        )
    }

    fn title(&self) -> String {
        format!("keyway kv edit {}", self.target.escape_debug())
    }

    /// A name that tells a person and an editor what it is.
    fn file_name(&self, sheet: Sheet) -> String {
        let last = self.target.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let plain: String = last
            .chars()
            .filter(|&c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
            .take(60)
            .collect();
        let name = match plain.trim_start_matches(['.', '-']) {
            "" => "settings",
            name => name,
        };
        let ending = sheet.ending();
        if name.ends_with(ending) {
            name.to_owned()
        } else {
            format!("{name}{ending}")
        }
    }
}

/// What came of what was typed, before anything is written.
enum Wanted {
    Write(Vec<Change>),
    /// It ends here.
    Nothing(Ended),
}

/// How an edit ended that did not fail.
enum Ended {
    /// There is nothing in it that is not in the store already.
    Unchanged,
    /// These are in the store.
    Written(Vec<Change>),
    /// It was only to be shown.
    Shown,
}

fn report(context: &mut Context<'_>, changes: &[Change]) -> Result<(), Failure> {
    let deleted = changes.iter().filter(|change| change.to.is_none()).count();
    let written = changes.len() - deleted;
    if context.out.is_json() {
        let document = serde_json::json!({"written": written, "deleted": deleted});
        return context.out.json(&document);
    }
    context
        .out
        .say(format_args!("wrote {written} {}, deleted {deleted}", keys(written)));
    Ok(())
}

fn keys(count: usize) -> &'static str {
    if count == 1 { "key" } else { "keys" }
}

/// What the server does not take at once.
fn too_large(ops: &[TxnOp], reason: &str) -> Problem {
    match ops {
        [op] => Problem::of(&codes::TOO_LARGE, format!("`{}`: {reason}", op.key)),
        _ => Problem::of(
            &codes::TOO_LARGE,
            format!("this is too much for one transaction: {reason}"),
        )
        .help("change less at a time, or take   keyway kv import   which goes in several"),
    }
}

fn faster(keys: &[&str]) -> Problem {
    let keys: Vec<String> = keys.iter().take(5).map(|key| format!("`{key}`")).collect();
    Problem::of(
        &codes::CHANGED,
        format!("somebody else was faster, nothing was written: {}", keys.join(", ")),
    )
}
