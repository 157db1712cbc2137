//! `agent convert`: reads consul-template's files, writes ours, and tells what to look at.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use kvapi::Problem;
use kvapi::problem::exit;

use crate::config::Raw;
use crate::convert::hcl::Fault;
use crate::convert::report::{Finding, Level};
use crate::convert::settings::{self, Settings};
use crate::convert::{Converted, convert, read};
use crate::load::Plan;

/// See [`super::AgentCommand::Convert`].
#[derive(Debug, Args)]
pub struct Convert {
    /// consul-template's configurations, HCL or JSON, in the order in which it reads them.
    #[arg(value_name = "CONFIG", required_unless_present = "templates")]
    configs: Vec<PathBuf>,
    /// Template as consul-template's -template has it (several).
    #[arg(short = 't', long = "template", value_name = "SRC:DST[:CMD]")]
    templates: Vec<String>,
    /// Folder for agent.toml and the templates; made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Convert {
    pub(super) fn run(&self) -> Result<u8, Problem> {
        let mut configs = Vec::new();
        for path in &self.configs {
            let text = fs::read_to_string(path)
                .map_err(|e| invalid(format!("cannot read the configuration {}: {e}", path.display())))?;
            configs.push((path.display().to_string(), text));
        }
        let (mut settings, findings) = read(&configs).map_err(faulty)?;
        self.flags(&mut settings)?;
        if settings.templates.is_empty() {
            return Err(invalid("there is no template to convert".into())
                .help("name the configuration that has `template` blocks, or give -t SRC:DST"));
        }
        let from = match configs.as_slice() {
            [] => "-template".to_owned(),
            configs => configs
                .iter()
                .map(|(name, _)| name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        };
        let base = self
            .configs
            .first()
            .and_then(|path| path.parent())
            .unwrap_or(Path::new(""));
        let source = |name: &str| found(base, name);
        let mut converted = convert(&settings, findings, &from, source).map_err(faulty)?;
        self.write(&converted)?;
        self.check(&mut converted);
        self.tell(&converted)
    }

    fn flags(&self, settings: &mut Settings) -> Result<(), Problem> {
        for text in &self.templates {
            let template = settings::flag(text).ok_or_else(|| {
                Problem::new(exit::USAGE, format!("`{text}` names no template and file"))
                    .help("give SRC:DST or SRC:DST:COMMAND, as to consul-template")
            })?;
            settings.templates.push(template);
        }
        Ok(())
    }

    /// Nothing that is there is written over.
    fn write(&self, converted: &Converted) -> Result<(), Problem> {
        for name in converted.files.keys() {
            let path = self.out.join(name);
            if path.symlink_metadata().is_ok() {
                return Err(
                    invalid(format!("{} is there already", path.display())).help("choose another folder with --out")
                );
            }
        }
        for (name, text) in &converted.files {
            let path = self.out.join(name);
            let written = path
                .parent()
                .map_or(Ok(()), fs::create_dir_all)
                .and_then(|()| fs::File::options().write(true).create_new(true).open(&path))
                .and_then(|mut file| file.write_all(text.as_bytes()));
            written.map_err(|e| invalid(format!("cannot write {}: {e}", path.display())))?;
        }
        Ok(())
    }

    /// What was written is read as `agent run` reads it.
    fn check(&self, converted: &mut Converted) {
        let config = self.out.join("agent.toml");
        let plan = Plan {
            files: vec![std::path::absolute(&config).unwrap_or(config)],
            flags: Raw::default(),
            once: false,
            traced: false,
        };
        if let Err(problem) = plan.load(None) {
            let shown = self.out.join("agent.toml").display().to_string();
            converted.findings.push(Finding::look(
                &shown,
                1,
                format!("`agent validate` refuses what was written: {}", problem.what),
                "mend it by hand",
            ));
        }
    }

    fn tell(&self, converted: &Converted) -> Result<u8, Problem> {
        let mut out = std::io::stdout().lock();
        let mut looks = 0;
        let mut say = |text: String| match writeln!(out, "{text}") {
            Err(e) if e.kind() != ErrorKind::BrokenPipe => {
                Err(Problem::new(exit::AGENT, format!("cannot write the output: {e}")))
            }
            _ => Ok(()),
        };
        for finding in &converted.findings {
            looks += usize::from(finding.level == Level::Look);
            say(finding.to_string())?;
        }
        let folder = self.out.display();
        let files = converted.files.len();
        if looks == 0 {
            say(format!("{folder}: {files} files, nothing left to look at"))?;
            return Ok(exit::OK);
        }
        let places = if looks == 1 {
            "1 place".to_owned()
        } else {
            format!("{looks} places")
        };
        say(format!("{folder}: {files} files, {places} to look at"))?;
        Ok(exit::NO)
    }
}

/// A template's text: consul-template takes a path from where it is started; a configuration that is
/// converted elsewhere has its templates beside it.
fn found(base: &Path, name: &str) -> Result<String, String> {
    match fs::read_to_string(name) {
        Err(e) if e.kind() == ErrorKind::NotFound && Path::new(name).is_relative() => {
            fs::read_to_string(base.join(name)).map_err(|e| e.to_string())
        }
        text => text.map_err(|e| e.to_string()),
    }
}

fn invalid(what: String) -> Problem {
    Problem::new(exit::INVALID, what)
}

fn faulty((file, fault): (String, Fault)) -> Problem {
    invalid(format!("{file}:{}: {}", fault.line, fault.reason))
}
