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
    5  conflict: a compare-and-swap lost, another deployment is under way
    6  unavailable, safe to try again: nobody answers or leads; a port or a data folder is taken
    7  a change failed and was rolled back
    8  a change failed and was left as it is, or its outcome is unknown
   70  a bug in keyway
  124  a timeout passed
  125  agent run: the agent failed before the process started
  126  agent run: the program cannot be executed
  127  agent run: the program was not found
  130  INT (Ctrl-C) or TERM ended it before it was done
    n  agent run: the process's own code; 128+n if signal n ended it";

const FORMATS: &str = "\
Forms of what keyway prints (-o, --output)

  text    for a person; a value on a pipe is its exact bytes. The default
  json    one document, in snake_case, times in RFC 3339 and UTC; a stream is one per line.
          Fields are added, never removed; docs/json.md has them all. Failures are an object on stderr
  jsonl   a document per line for each key, change, ...
  yaml    the json form as YAML
  table   columns with a head where there is more than one thing; --no-headers leaves the head out
  raw     a value's bytes, on a terminal too
  name    names alone: of keys, of contexts
  --format TEMPLATE shows the json form in any other way: keyway help templates

Forms of documents (--as of kv export, kv import, kv edit)

  consul  a list of {\"key\", \"flags\", \"value\": base64}, what `consul kv export` writes
  json, yaml, toml
          a folder is an object: app/web/port is `port` in `web` in `app`. A name may have slashes
          itself; a key that is a folder too stands beside its children so.
          A value is the text as it is written: 1.10, 007 and yes in YAML and TOML stay what they are.
          What is no text, or has flags, is an object:
          {\"$base64\": \"AP8=\", \"$flags\": 7} or {\"$text\": \"a\", \"$flags\": 7}.
          A name that begins with $ is written with two
  env     lines NAME=value, as a POSIX shell reads them; for a folder of names without slashes.
          Not for binary values and flags, which are refused
  dir     a folder with a file for each key; not for flags, nor a key that is a folder too";

const TEMPLATES: &str = "\
Templates are Handlebars, strict: a field or key that is not there is an error, not nothing.
Nothing is escaped: the output is no HTML.

--format shows the JSON form of any command (look at it with -o json):

  keyway kv ls -l -o jsonl --format '{{key}} has {{size}} bytes'
  keyway kv get -o json app/port --format '{{value}}'
  keyway kv ls -l app --format '{{#each entries}}{{this.key}} {{/each}}'
  {{json x}} is a part of it as JSON

keyway agent renders files from settings. In its templates

  {{key \"app/port\"}}                    a value; a missing key waits, fails or is empty: --missing
  {{key \"app/port\" default=\"80\"}}       with something else where it is missing
  {{#if (keyExists \"app/tls\")}}...{{/if}}
  {{#each (ls \"app/hosts\")}}{{this.key}} {{this.value}}{{/each}}
  {{#each (tree \"app\")}}...{{/each}}   everything below
  {{env \"HOME\"}}                        the agent's environment
  {{m.[a/b]}}                            a name with slashes
  {{shell (key \"app/name\")}}            one word of a format, whatever the value is:
                                         json yaml toml shell haproxy nginx; line refuses line ends

What each helper does, and what it is in consul-template: docs/agent.md. --format has the helpers that read no settings. All of them: ";

const ENVIRONMENT: &str = "\
Environment of keyway and keyway-agent

  KEYWAY_ADDR             servers, separated by commas [default: http://127.0.0.1:8500]
  KEYWAY_SCHEDULER_ADDR   schedulers for `keyway deploy` [default: http://127.0.0.1:8080]
  KEYWAY_TOKEN            token to show; KEYWAY_TOKEN_FILE names a file that holds it
  KEYWAY_AUTHOR           who writes, for the history: a claim that nobody checks [default: USER@HOST]
  KEYWAY_CONTEXT          address and token by a name
  VISUAL, EDITOR          what `keyway kv edit` opens
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
Their keys: addr, token_file (not in ./keyway.toml), context, output, color, progress, utc, timeout,
consistency, log_format. A context (--context, KEYWAY_CONTEXT, keyway context use) is an address and a
token by a name; it ranks just below what names it. What holds, and why: keyway config show --origin

CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN and CONSUL_HTTP_TOKEN_FILE are read with --consul-env only.

Called as `consul`, with --compat consul in front, or for `keyway kv` with KEYWAY_COMPAT=consul, the
program is Consul's own `consul kv`: its flags, texts, codes 0 and 1, and its environment, CONSUL_HTTP_ADDR,
_TOKEN, _TOKEN_FILE, _AUTH. Nothing that begins with KEYWAY_ is read then.";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  keyway help kv put                           all there is to say of a command
  keyway help exit-codes                       what a script can rely on
  keyway help formats                          what -o and --as can be")]
pub(crate) struct Help {
    /// A command such as `kv put`, or a topic: exit-codes, environment, formats, templates
    topic: Vec<String>,
}

impl Help {
    pub(crate) fn run(self, out: &mut Out) -> Outcome {
        let text = match self.topic.join(" ").as_str() {
            "exit-codes" => EXIT_CODES.to_owned(),
            "environment" => ENVIRONMENT.to_owned(),
            "formats" => FORMATS.to_owned(),
            "templates" => {
                let names: Vec<&str> = agent::helpers::names().collect();
                format!("{TEMPLATES}{}", names.join(", "))
            }
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
    let help = nearest::of(word, known.chain(["exit-codes", "environment", "formats", "templates"])).map_or_else(
        || "see all commands with   keyway help".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    Failure::new(exit::USAGE, format!("no command or topic `{word}`"), help)
}
