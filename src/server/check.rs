//! `keyway server check`: a data folder, checked while no server uses it.

use std::path::PathBuf;

use clap::Args;
use kvapi::Problem;
use kvapi::problem::exit;
use kvstore::folder::FolderError;
use kvstore::store::check::{Checked, Grade, check};

use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// The folder would be mended by the next start.
const MENDED: u8 = exit::NO;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway server check --data-dir /var/lib/keyway
  keyway server check --data-dir d -o json

Reads everything and changes nothing; the state on disk is copied to a temporary folder ($TMPDIR) for it.
Exits with 0 if all is good, 1 if the next start mends what is not, 3 if a start is refused, 6 if a
server uses the folder.")]
pub(crate) struct Check {
    /// Folder to check
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Check {
    /// `other` is the folder that was given to `keyway server` itself.
    pub(crate) async fn run(self, other: Option<PathBuf>, context: Context<'_>) -> Outcome {
        let dir = self.data_dir.or(other).ok_or_else(|| {
            Failure::new(
                exit::USAGE,
                "no folder is named",
                "name one: keyway server check --data-dir DIR",
            )
        })?;
        let scratch = crate::dev::temporary("keyway-check-")?;
        let below = scratch.path().to_owned();
        let checked = tokio::task::spawn_blocking(move || check(&dir, &below))
            .await
            .map_err(|e| Problem::new(exit::BUG, format!("check the folder: {e}")))?
            .map_err(|e| refused(&e))?;
        show(context, &checked)?;
        Ok(match checked.grade {
            Grade::Good => exit::OK,
            Grade::Mended => MENDED,
            Grade::Refused => exit::INVALID,
        })
    }
}

fn show(context: Context<'_>, checked: &Checked) -> Result<(), Failure> {
    let out = context.out;
    if out.is_json() {
        return out.json(checked);
    }
    let rows: Vec<Vec<String>> = checked
        .parts
        .iter()
        .map(|part| vec![part.part.clone(), word(part.grade).to_owned(), part.says.clone()])
        .collect();
    out.rows(&["PART", "IS", "FOUND"], &rows)?;
    for part in &checked.parts {
        if let Some(remedy) = &part.remedy {
            out.say(format_args!("{}: {remedy}", part.part));
        }
    }
    out.say(match checked.grade {
        Grade::Good => "all is good",
        Grade::Mended => "the next start mends what is not good",
        Grade::Refused => "a server must not be started on this folder as it is",
    });
    Ok(())
}

const fn word(grade: Grade) -> &'static str {
    match grade {
        Grade::Good => "good",
        Grade::Mended => "mended",
        Grade::Refused => "refused",
    }
}

fn refused(error: &FolderError) -> Problem {
    let code = match error {
        FolderError::InUse(_) => exit::UNAVAILABLE,
        _ => exit::INVALID,
    };
    Problem::new(code, error.to_string())
}
