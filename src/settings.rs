//! The settings of `keyway` itself, in layers: flags over environment over `./keyway.toml` over
//! `$XDG_CONFIG_HOME/keyway/config.toml` over `/etc/keyway/config.toml` over default. Each value
//! knows the layer that it came from.
//!
//! A context ranks just below the layer that names it; one chosen with `keyway context use`, just above
//! the user's own file. Its token goes along with its address alone: a project's file that names
//! another address must not get it. `CONSUL_HTTP_ADDR` and `CONSUL_HTTP_TOKEN` are read by `--consul-env`
//! only: to write into somebody's real Consul by surprise is worse than to need a flag. (Called `consul`,
//! the program is another: see `src/consul`.)

pub(crate) mod contexts;
pub(crate) mod file;
mod layers;
mod token;

use std::fmt;
use std::fs;
use std::io;
use std::time::Duration;

use kvapi::problem::exit;
use kvapi::{Address, Client, Consistency, Problem};

use self::contexts::Contexts;
use self::file::File;
pub(crate) use self::layers::{Effective, Given, Origin, user_file};
use self::layers::{Layer, Picked, asked, places, with_context};
use crate::globals::{Globals, LogFormat, ProgressStyle, ReadMode};
use crate::output::Style;

/// How long a request may take by default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What holds for this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) addresses: Vec<Address>,
    /// Whether anyone named the addresses, rather than the default.
    pub(crate) addresses_named: bool,
    pub(crate) token: Option<String>,
    pub(crate) style: Style,
    pub(crate) progress: ProgressStyle,
    pub(crate) timeout: Duration,
    pub(crate) consistency: Consistency,
    pub(crate) quiet: bool,
    pub(crate) verbose: u8,
    pub(crate) log_format: LogFormat,
    /// Whether what would be written is only to be printed.
    pub(crate) dry_run: bool,
    pub(crate) yes: bool,
    pub(crate) no_input: bool,
    /// What the flags alone say, for `keyway context add`.
    pub(crate) flags: File,
    /// Each value, and where it is from, for `keyway config show`.
    pub(crate) effective: Vec<Effective>,
}

impl Settings {
    /// Reads the files and decides.
    pub(crate) fn load(globals: &Globals, given: impl Fn(&str) -> Given) -> Result<Self, Problem> {
        let mut layers = asked(globals, &given);
        for (path, of_project) in places() {
            match fs::read_to_string(&path) {
                Ok(text) => layers.push(Layer {
                    file: File::parse(&text, &path, of_project)?,
                    origin: Origin::File(path, of_project),
                }),
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(e) => return Err(Problem::new(exit::INVALID, format!("read {}: {e}", path.display()))),
            }
        }
        let contexts =
            user_file("contexts.toml").map_or_else(|| Ok(Contexts::default()), |path| Contexts::load(&path))?;
        Self::decide(globals, layers, &contexts)
    }

    /// Without any file, for what must work whatever stands in them.
    pub(crate) fn without_files(globals: &Globals, given: impl Fn(&str) -> Given) -> Result<Self, Problem> {
        let mut layers = asked(globals, &given);
        layers.iter_mut().for_each(|layer| layer.file.context = None);
        Self::decide(globals, layers, &Contexts::default())
    }

    /// The first layer that says something about a key has it.
    fn decide(globals: &Globals, layers: Vec<Layer>, contexts: &Contexts) -> Result<Self, Problem> {
        let flags = layers.first().map(|layer| layer.file.clone()).unwrap_or_default();
        let (layers, context) = with_context(layers, contexts)?;
        let mut picked = Picked {
            layers: &layers,
            effective: Vec::new(),
        };
        let addr = picked.pick(
            "addr",
            |file| file.addr.clone(),
            String::clone,
            || kvapi::address::DEFAULT.into(),
        );
        let addr_from = picked.effective[0].origin.clone();
        let addresses = Address::parse_list(&addr)
            .map_err(|e| Problem::new(exit::USAGE, format!("{}: {e}", addr_from.of_addr())))?;
        let token = picked.token(&addr_from, globals.no_input)?;
        picked.effective.push(context);
        let name = |value: &dyn fmt::Debug| format!("{value:?}").to_lowercase();
        let style = Style {
            output: picked.pick("output", |file| file.output, |value| name(value), Default::default),
            template: globals.format.clone(),
            color: picked.pick("color", |file| file.color, |value| name(value), Default::default),
            no_headers: globals.no_headers,
            utc: picked.pick("utc", |file| file.utc, bool::to_string, Default::default),
            quiet: globals.quiet,
        };
        let timeout = picked.pick(
            "timeout",
            |file| file.timeout.map(|timeout| timeout.0),
            |value| kvapi::duration::format(*value),
            || TIMEOUT,
        );
        let mode = picked.pick(
            "consistency",
            |file| file.consistency,
            |value| name(value),
            || ReadMode::Default,
        );
        Ok(Self {
            addresses,
            addresses_named: addr_from != Origin::Default,
            token,
            style,
            progress: picked.pick("progress", |file| file.progress, |value| name(value), Default::default),
            timeout,
            consistency: mode.into(),
            quiet: globals.quiet,
            verbose: globals.verbose,
            log_format: picked.pick(
                "log_format",
                |file| file.log_format,
                |value| name(value),
                Default::default,
            ),
            dry_run: globals.dry_run,
            yes: globals.yes,
            no_input: globals.no_input,
            flags,
            effective: picked.effective,
        })
    }

    /// The store, as the agent wants to be told of it.
    pub(crate) fn connection(&self) -> agent::cli::Connection {
        agent::cli::Connection {
            addresses: self.addresses.clone(),
            token: self.token.clone(),
            timeout: self.timeout,
            json: false,
        }
    }

    /// A client of another context's store, with nothing of this one's but the timeout.
    pub(crate) fn client_of(&self, context: &str) -> Result<Client, Problem> {
        let path = user_file("contexts.toml");
        let contexts = path.map_or_else(|| Ok(Contexts::default()), |path| Contexts::load(&path))?;
        let named = contexts.get(context)?;
        let addresses = Address::parse_list(&named.addr).map_err(|e| Problem::new(exit::USAGE, e))?;
        let token = match (&named.token, &named.token_file) {
            (Some(token), _) if token == "-" => Some(token::ask(self.no_input)?),
            (Some(token), _) => Some(token.clone()),
            (None, Some(path)) => Some(token::read(path)?),
            (None, None) => None,
        };
        Ok(Client::new(addresses, token, self.timeout))
    }

    /// A client of the store.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.addresses.clone(), self.token.clone(), self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::OutputFormat;
    use crate::settings::contexts::Named;
    use std::path::Path;

    fn layer(origin: Origin, text: &str) -> Layer {
        let file = File::parse(text, Path::new("config.toml"), false).unwrap();
        Layer { origin, file }
    }

    fn user() -> Origin {
        Origin::File("user".into(), false)
    }

    fn project() -> Origin {
        Origin::File("keyway.toml".into(), true)
    }

    fn contexts(current: Option<&str>) -> Contexts {
        let named = Named {
            addr: "http://prod".into(),
            token: Some("secret".into()),
            token_file: None,
        };
        Contexts {
            current: current.map(str::to_owned),
            contexts: [("prod".to_owned(), named)].into(),
        }
    }

    /// Address, token and where the address is from.
    fn decided(layers: Vec<Layer>, contexts: &Contexts) -> (String, Option<String>, String) {
        let settings = Settings::decide(&Globals::default(), layers, contexts).unwrap();
        let origin = settings.effective[0].origin.to_string();
        (settings.addresses[0].to_string(), settings.token, origin)
    }

    #[test]
    fn a_flag_beats_a_file_and_a_nearer_file_beats_a_farther_one() {
        let flags = Globals {
            output: Some(OutputFormat::Raw),
            ..Globals::default()
        };
        let mut layers = asked(&flags, &|_| Given::ByFlag);
        layers.push(layer(project(), "addr = \"http://near\""));
        layers.push(layer(
            user(),
            "addr = \"http://far\"\ntimeout = \"3s\"\noutput = \"json\"",
        ));

        let settings = Settings::decide(&flags, layers, &Contexts::default()).unwrap();

        assert_eq!(settings.addresses, Address::parse_list("http://near").unwrap());
        assert_eq!(settings.timeout, Duration::from_secs(3));
        assert_eq!(settings.style.output, OutputFormat::Raw);
        let plain = Settings::decide(&Globals::default(), Vec::new(), &Contexts::default()).unwrap();
        assert_eq!(plain.addresses, Address::parse_list(kvapi::address::DEFAULT).unwrap());
        assert_eq!(plain.timeout, TIMEOUT);
    }

    #[test]
    fn a_context_ranks_just_below_what_names_it() {
        let named = |origin, addr: &str| layer(origin, &format!("context = \"prod\"\n{addr}"));
        let near = "addr = \"http://near\"";
        let prod = (
            "http://prod:8500".to_owned(),
            Some("secret".to_owned()),
            "context prod".to_owned(),
        );

        let by_flag = vec![named(Origin::Flag, ""), layer(Origin::Environment, near)];
        assert_eq!(decided(by_flag, &contexts(None)), prod);
        let by_user = vec![layer(project(), near), named(user(), "")];
        assert_eq!(decided(by_user, &contexts(None)).0, "http://near:8500");
        let chosen = vec![layer(user(), near)];
        assert_eq!(decided(chosen, &contexts(Some("prod"))), prod);
        let none = vec![layer(Origin::Flag, "context = \"\""), layer(user(), near)];
        assert_eq!(decided(none, &contexts(Some("prod"))).0, "http://near:8500");
        let unknown = vec![layer(Origin::Flag, "context = \"prd\"")];
        let problem = Settings::decide(&Globals::default(), unknown, &contexts(None)).unwrap_err();
        assert_eq!(problem.help, ["did you mean `prod`?"]);
    }

    #[test]
    fn a_folder_that_names_an_address_gets_no_token_but_one_that_was_typed() {
        let folder = || layer(project(), "addr = \"http://elsewhere\"");
        let with = |origin| {
            let mut stronger = layer(origin, "");
            stronger.file.token = Some("secret".into());
            vec![stronger, folder()]
        };

        let (addr, token, _) = decided(with(Origin::Environment), &contexts(None));
        assert_eq!((addr.as_str(), token), ("http://elsewhere:8500", None));
        let (_, token, _) = decided(with(Origin::Flag), &contexts(None));
        assert_eq!(token.as_deref(), Some("secret"));
    }

    #[test]
    fn the_token_of_a_context_goes_to_its_address_alone() {
        let elsewhere = vec![layer(project(), "addr = \"http://elsewhere\"")];

        let (addr, token, _) = decided(elsewhere, &contexts(Some("prod")));

        assert_eq!((addr.as_str(), token), ("http://elsewhere:8500", None));
    }
}
