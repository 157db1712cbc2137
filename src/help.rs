//! `keyway help`: a command's long help, or one of the topics that belong to no command.

use agent::nearest;
use clap::Args;
use kvapi::problem::exit;

use crate::failure::{Failure, Outcome};
use crate::output::Out;

const EXIT_CODES: &str = "\
Exit codes of keyway and keyway-agent

    0  done, or nothing to do
    1  the answer is no: no such key, there are differences, unhealthy
    2  wrong usage
    3  input is invalid: a template, a configuration, a value
    4  not allowed: no token, a wrong one, a foreign origin
    5  conflict: a compare-and-swap lost
    6  unavailable, safe to try again: nobody answers or leads; a port or a data folder is taken
    7  a change failed and was rolled back
    8  a change failed and was left as it is, or its outcome is unknown
   70  a bug in keyway
  124  a timeout passed
  125  agent run: the agent failed before the process started
  126  agent run: the program cannot be executed
  127  agent run: the program was not found
    n  agent run: the process's own code; 128+n if signal n ended it";

const ENVIRONMENT: &str = "\
Environment of keyway and keyway-agent

  KEYWAY_ADDR             servers, separated by commas [default: http://127.0.0.1:8500]
  KEYWAY_TOKEN            token to show; KEYWAY_TOKEN_FILE names a file that holds it
  KEYWAY_AUTHOR           who writes, for the history [default: USER@HOST]
  KEYWAY_OUTPUT           text, json, jsonl, yaml, table, raw or name
  KEYWAY_TIMEOUT          such as 30s
  KEYWAY_<FLAG>           any other flag that every command takes
  KEYWAY_<COMMAND>_<FLAG> any flag: --if-rev of `keyway kv put` is KEYWAY_KV_PUT_IF_REV;
                          a switch is on with 1 or true, off with 0, false or nothing
                          the agent's are KEYWAY_AGENT_<FLAG>, whatever its command
  KEYWAY_LOG              which log lines, such as debug or kvstore=trace; outranks -v and -q
  NO_COLOR, CLICOLOR_FORCE, TERM=dumb
                          colour never, always, never

A flag outranks its variable, and that outranks the files, nearest first:
./keyway.toml, $XDG_CONFIG_HOME/keyway/config.toml (~/.config), /etc/keyway/config.toml.
Their keys: addr, token_file (not in ./keyway.toml), output, color, progress, utc, timeout, consistency,
log_format.

CONSUL_HTTP_ADDR and its like are not read.";

#[derive(Debug, Args)]
pub(crate) struct Help {
    /// A command such as `kv put`, or a topic: exit-codes, environment
    topic: Vec<String>,
}

impl Help {
    pub(crate) fn run(self, out: &mut Out) -> Outcome {
        let text = match self.topic.join(" ").as_str() {
            "exit-codes" => EXIT_CODES.to_owned(),
            "environment" => ENVIRONMENT.to_owned(),
            _ => self.command_help()?,
        };
        out.line(text.trim_end())?;
        Ok(exit::OK)
    }

    fn command_help(&self) -> Result<String, Failure> {
        let tree = crate::cli::command();
        let mut command = &tree;
        for word in &self.topic {
            command = command.find_subcommand(word).ok_or_else(|| unknown(command, word))?;
        }
        Ok(command.clone().render_long_help().to_string())
    }
}

fn unknown(command: &clap::Command, word: &str) -> Failure {
    let known = command.get_subcommands().map(clap::Command::get_name);
    let help = nearest::of(word, known.chain(["exit-codes", "environment"])).map_or_else(
        || "see all commands with   keyway help".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    Failure::new(exit::USAGE, format!("no command or topic `{word}`"), help)
}
