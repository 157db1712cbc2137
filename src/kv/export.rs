//! `keyway kv export`: settings as a document, all of one revision.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use kvapi::codes;
use kvapi::problem::exit;
use kvapi::{Entry, Problem};

use super::files;
use super::folder::Folder;
use super::stream;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::OutputFormat;
use crate::progress::Progress;
use agent::document::{self, As, Item, consul};

/// How much is gathered before it is written.
const PIECE: usize = 64 << 10;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway kv export > all.json                  everything, as `consul kv export` writes it
  keyway kv export app --as yaml               app and what is below it, to read
  keyway kv export app --rev 844 --out app.json  as it was at a revision

Keys are whole in every form but env and dir, so `keyway kv import` puts them where they were.")]
pub(crate) struct Export {
    /// Folder to export; nothing is everything
    #[arg(value_name = "PREFIX", default_value = "")]
    folder: String,
    /// Form of the document
    #[arg(long = "as", value_name = "FORM", default_value = "consul")]
    form: As,
    /// The settings as they were at this revision
    #[arg(long, value_name = "REVISION")]
    rev: Option<u64>,
    /// File to write instead of the output; for `--as dir` a new folder
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

impl Export {
    pub(super) async fn run(self, context: Context<'_>) -> Outcome {
        if self.form == As::Dir && self.out.is_none() {
            return Err(Failure::new(
                exit::USAGE,
                "a folder of files needs a place",
                "name a new folder with   --out DIR",
            ));
        }
        self.refuse_output(&context)?;
        let mut progress = Progress::new(context.settings, "export", None);
        let count = match (self.form, &self.out) {
            (As::Consul, None) => self.stream(context, &mut progress, None).await?,
            (As::Consul, Some(path)) => {
                let mut file = files::Whole::begin(path)?;
                let count = self.stream(context, &mut progress, Some(&mut file)).await?;
                file.finish()?;
                count
            }
            _ => self.document(context, &mut progress).await?,
        };
        progress.end(count);
        Ok(exit::OK)
    }

    /// What is printed is a document, whose form is --as: another form by --output or --format is not to be
    /// passed over. `json` is no other where the document is JSON.
    fn refuse_output(&self, context: &Context<'_>) -> Result<(), Failure> {
        let is_json = matches!(self.form, As::Consul | As::Json);
        let said = match context.settings.flags.output {
            _ if context.settings.style.template.is_some() => "--format",
            None | Some(OutputFormat::Text | OutputFormat::Raw) => return Ok(()),
            Some(OutputFormat::Json) if is_json => return Ok(()),
            Some(OutputFormat::Yaml) if self.form == As::Yaml => return Ok(()),
            Some(_) => "--output",
        };
        Err(Failure::new(
            exit::USAGE,
            format!("{said} says nothing about an export, which is a document"),
            "choose its form with   --as consul, json, yaml, toml, env or dir",
        ))
    }

    /// Consul's form, written as it comes.
    async fn stream(
        &self,
        context: Context<'_>,
        progress: &mut Progress,
        mut file: Option<&mut files::Whole>,
    ) -> Result<u64, Failure> {
        let mut count = 0;
        let mut text = consul::BEGIN.to_owned();
        let Context { settings, client, out } = context;
        let mut write = |text: &str| match &mut file {
            Some(file) => file.write_all(text.as_bytes()).map_err(Failure::from),
            None => out.bytes(text.as_bytes()),
        };
        stream::entries(settings, &client, &Folder::new(&self.folder), self.rev, |entry| {
            text.push_str(&consul::object(&item(entry), count == 0));
            count += 1;
            if text.len() >= PIECE {
                write(&text)?;
                text.clear();
            }
            progress.at(count);
            Ok(())
        })
        .await?;
        text.push_str(consul::end(count == 0));
        write(&text)?;
        Ok(count)
    }

    /// The other forms, which are made as a whole.
    async fn document(&self, context: Context<'_>, progress: &mut Progress) -> Result<u64, Failure> {
        let folder = Folder::new(&self.folder);
        let mut items: Vec<Item> = Vec::new();
        let Context { settings, client, out } = context;
        stream::entries(settings, &client, &folder, self.rev, |entry| {
            items.push(item(entry));
            progress.at(items.len() as u64);
            Ok(())
        })
        .await?;
        if matches!(self.form, As::Env | As::Dir) {
            // A variable or a file has no room for the folders above.
            let mut of: HashMap<String, String> = HashMap::new();
            for item in &mut items {
                let name = folder.relative(&item.key).to_owned();
                let key = std::mem::replace(&mut item.key, name.clone());
                if let Some(other) = of.insert(name.clone(), key.clone()) {
                    let what = format!("`{other}` and `{key}` would both be `{name}`, so nothing was written");
                    return Err(Problem::of(&codes::NOT_IN_THIS_FORM, what)
                        .help("--as consul holds both; so do json, yaml and toml")
                        .into());
                }
            }
        }
        let count = items.len() as u64;
        if let (As::Dir, Some(path)) = (self.form, &self.out) {
            files::write_folder(path, &items)?;
            return Ok(count);
        }
        let text = document::write(&items, self.form).map_err(|bad| {
            Problem::of(&codes::NOT_IN_THIS_FORM, bad.to_string())
                .help("--as consul holds every value; so do json, yaml and toml")
        })?;
        match &self.out {
            Some(path) => whole_file(path, &text)?,
            None => out.bytes(text.as_bytes())?,
        }
        Ok(count)
    }
}

fn whole_file(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = files::Whole::begin(path)?;
    file.write_all(text.as_bytes())?;
    Ok(file.finish()?)
}

fn item(entry: Entry) -> Item {
    Item {
        key: entry.key,
        value: entry.value,
        flags: entry.flags,
    }
}
