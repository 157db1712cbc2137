//! Where an import comes from: read once to check all of it, and once more to write it, in pieces.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};
use std::path::Path;

use kvapi::Problem;
use kvapi::codes;
use kvapi::problem::exit;

use crate::kv::files;
use agent::document::consul::{Pieces, parse};
use agent::document::{self, As, Bad, Item};

/// How much is read at a time.
const PIECE: usize = 64 << 10;

/// See the module.
pub(super) struct Source {
    name: String,
    from: From,
}

enum From {
    /// Consul's export, whose size does not matter.
    Export {
        file: File,
        pieces: Pieces,
        read: VecDeque<Item>,
    },
    /// Any other form, and how many were taken.
    Items(Vec<Item>, usize),
}

impl Source {
    /// `-` is standard input, `@FILE` and `FILE` a file; what begins with `[` is an export itself, as
    /// `consul kv import` takes it.
    pub(super) fn open(text: &str, form: As) -> Result<Self, Problem> {
        let path = text.strip_prefix('@').unwrap_or(text);
        let name = if text == "-" { "standard input" } else { path };
        let unreadable = |e: &io::Error| Problem::new(exit::INVALID, format!("read {name}: {e}"));
        if form == As::Dir {
            let items = files::read_folder(Path::new(path))?;
            return Ok(Self::of(name, From::Items(items, 0)));
        }
        let mut file = match text {
            "-" => spool(io::stdin().lock()).map_err(|e| unreadable(&e))?,
            text if text.starts_with('[') => spool(text.as_bytes()).map_err(|e| unreadable(&e))?,
            _ => File::open(path)
                .map_err(|e| unreadable(&e).help("name a file that can be read, or - for standard input"))?,
        };
        if !file.metadata().is_ok_and(|about| about.is_file()) {
            // A pipe can be read only once.
            file = spool(file).map_err(|e| unreadable(&e))?;
        }
        let name = if text.starts_with('[') { "the argument" } else { name };
        if form == As::Consul {
            let (pieces, read) = Default::default();
            return Ok(Self::of(name, From::Export { file, pieces, read }));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|e| unreadable(&e))?;
        let items = document::read(&text, form).map_err(|bad| invalid(name, &bad, form))?;
        Ok(Self::of(name, From::Items(items, 0)))
    }

    fn of(name: &str, from: From) -> Self {
        Self {
            name: name.to_owned(),
            from,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Back to the first.
    pub(super) fn rewind(&mut self) -> Result<(), Problem> {
        match &mut self.from {
            From::Items(_, taken) => *taken = 0,
            From::Export { file, pieces, read } => {
                (*pieces, *read) = Default::default();
                file.rewind()
                    .map_err(|e| Problem::new(exit::INVALID, format!("read {} again: {e}", self.name)))?;
            }
        }
        Ok(())
    }

    /// The next setting.
    pub(super) fn next(&mut self) -> Result<Option<Item>, Problem> {
        let (file, pieces, read) = match &mut self.from {
            From::Items(items, taken) => {
                *taken += 1;
                return Ok(items.get(*taken - 1).cloned());
            }
            From::Export { file, pieces, read } => (file, pieces, read),
        };
        let mut piece = vec![0; PIECE];
        while read.is_empty() {
            let length = file
                .read(&mut piece)
                .map_err(|e| Problem::new(exit::INVALID, format!("read {}: {e}", self.name)))?;
            let fed = match length {
                0 => pieces.finish(),
                length => pieces.push(&piece[..length], |line, object| {
                    read.push_back(parse(line, object)?);
                    Ok(())
                }),
            };
            fed.map_err(|bad| invalid(&self.name, &bad, As::Consul))?;
            if length == 0 {
                break;
            }
        }
        Ok(read.pop_front())
    }
}

fn invalid(name: &str, bad: &Bad, form: As) -> Problem {
    let problem = Problem::of(&codes::BAD_DOCUMENT, format!("{name}: {bad}"));
    if form == As::Consul {
        problem.help("nothing was written; another form is said with --as json, yaml, toml, env or dir")
    } else {
        problem.help("nothing was written")
    }
}

/// What can be read only once, in a file without a name.
fn spool(mut from: impl Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(&mut from, &mut file)?;
    file.flush()?;
    file.rewind()?;
    Ok(file)
}
