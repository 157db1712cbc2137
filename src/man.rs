//! `keyway man`: manual pages, from the same source as `--help`.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man as Page;
use kvapi::Problem;
use kvapi::problem::exit;

use crate::failure::{Failure, Outcome};
use crate::output::Out;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway man kv put | man -l -                 read one
  keyway man --out /usr/local/share/man/man1   write all of them
  keyway man --out ./man && man ./man/keyway.1   look at them first")]
pub(crate) struct Man {
    /// Command to print the page of; nothing is keyway itself
    command: Vec<String>,
    /// Folder to write the pages of all commands to
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    out: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self, out: &mut Out) -> Outcome {
        let tree = crate::cli::command();
        if let Some(folder) = self.out {
            let count = write_all(&tree, &folder)
                .map_err(|e| Problem::new(exit::INVALID, format!("write to {}: {e}", folder.display())))?;
            out.say(format_args!("wrote {count} pages to {}", folder.display()));
            return Ok(exit::OK);
        }
        let mut command = &tree;
        for word in &self.command {
            command = command.find_subcommand(word).ok_or_else(|| {
                Failure::new(
                    exit::USAGE,
                    format!("no command `{word}`"),
                    "see all commands with   keyway help",
                )
            })?;
        }
        out.bytes(&page(command)?)?;
        Ok(exit::OK)
    }
}

/// A page for each command that is not hidden; how many.
fn write_all(command: &Command, folder: &Path) -> io::Result<usize> {
    fs::create_dir_all(folder)?;
    let name = Page::new(command.clone()).get_filename();
    File::create(folder.join(name))?.write_all(&page(command)?)?;
    let mut count = 1;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        count += write_all(below, folder)?;
    }
    Ok(count)
}

/// The page of a command. The examples are ours to set, so that their lines stay lines.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let version = env!("CARGO_PKG_VERSION");
    // The help leaves the variables out to be short.
    let command = &command.clone().mut_args(|arg| arg.hide_env(false));
    let page = Page::new(command.clone())
        .source(format!("keyway {version}"))
        .manual("Keyway");
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    if let Some(after) = command.get_after_help() {
        text.extend(examples(&after.to_string()).into_bytes());
    }
    Ok(text)
}

fn examples(after_help: &str) -> String {
    let lines = after_help.lines().map(|line| match line.strip_suffix(':') {
        Some(head) if !line.starts_with(' ') => format!(".fi\n.SH {}\n.nf\n", head.to_uppercase()),
        _ => format!("{}\n", escape(line)),
    });
    lines.chain([".fi\n".to_owned()]).collect()
}

/// A line as roff prints it as it is.
fn escape(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if line.starts_with('.') {
        format!("\\&{line}")
    } else {
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_flags_and_examples() {
        let folder = tempfile::tempdir().unwrap();

        let count = write_all(&crate::cli::command(), folder.path()).unwrap();

        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), count);
        let put = fs::read_to_string(folder.path().join("keyway-kv-put.1")).unwrap();
        for part in [
            ".TH",
            "if\\-rev",
            ".SH EXAMPLES",
            "keyway kv put",
            "KEYWAY_KV_PUT_IF_REV",
        ] {
            assert!(put.contains(part), "{part}:\n{put}");
        }
    }

    #[test]
    fn an_example_is_printed_as_it_is() {
        assert_eq!(
            examples("Examples:\n  a -b 'c' \\n\n.x"),
            ".fi\n.SH EXAMPLES\n.nf\n  a \\-b \\(aqc\\(aq \\en\n\\&.x\n.fi\n"
        );
    }
}
