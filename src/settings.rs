//! The settings of `keyway` itself, in layers: flags over environment over `./keyway.toml` over
//! `$XDG_CONFIG_HOME/keyway/config.toml` over `/etc/keyway/config.toml` over default. Each value
//! knows the layer that it came from.
//!
//! A context ranks just below the layer that names it; one chosen with `keyway context use`, just above
//! the user's own file. Its token goes along with its address alone: a project's file that names
//! another address must not get it. `CONSUL_HTTP_ADDR` and `CONSUL_HTTP_TOKEN` are read by `--consul-env`
//! only, or when the program is called `consul`: to write into somebody's real Consul by surprise
//! is worse than to need a flag.

pub(crate) mod contexts;
pub(crate) mod file;
mod token;

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use kvapi::problem::exit;
use kvapi::{Address, Client, Consistency, Problem};

use self::contexts::Contexts;
use self::file::File;
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

/// One value that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effective {
    pub(crate) key: &'static str,
    /// As a file would say it; a token is not shown.
    pub(crate) value: Option<String>,
    pub(crate) origin: Origin,
}

/// Where a value is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Environment,
    Consul,
    /// A file, and whether it is the project's.
    File(PathBuf, bool),
    Context(String),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment => f.write_str("environment"),
            Self::Consul => f.write_str("environment of consul"),
            Self::File(path, _) => write!(f, "{}", path.display()),
            Self::Context(name) => write!(f, "context {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// What one place says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Layer {
    origin: Origin,
    file: File,
}

/// Who gave a flag its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    ByFlag,
    ByEnvironment,
    Not,
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
        let addresses = Address::parse_list(&addr).map_err(|e| Problem::new(exit::USAGE, e))?;
        let addr_from = picked.effective[0].origin.clone();
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

/// The layers, and what is picked from them.
struct Picked<'a> {
    layers: &'a [Layer],
    effective: Vec<Effective>,
}

impl Picked<'_> {
    fn pick<T>(
        &mut self,
        key: &'static str,
        of: impl Fn(&File) -> Option<T>,
        shown: impl Fn(&T) -> String,
        default: impl Fn() -> T,
    ) -> T {
        let found = self
            .layers
            .iter()
            .find_map(|layer| Some((of(&layer.file)?, layer.origin.clone())));
        let (value, origin) = found.unwrap_or_else(|| (default(), Origin::Default));
        self.effective.push(Effective {
            key,
            value: Some(shown(&value)),
            origin,
        });
        value
    }

    /// The token of the first layer that has one, but for that of a context whose address is not used. To an
    /// address that a folder names goes only a token that was typed: the folder may be somebody else's.
    fn token(&mut self, addr_from: &Origin, no_input: bool) -> Result<Option<String>, Problem> {
        let of_a_folder = matches!(addr_from, Origin::File(_, true));
        let layer = self.layers.iter().find(|layer| {
            let is_strange = match layer.origin {
                Origin::Flag => false,
                Origin::Context(_) => layer.origin != *addr_from,
                Origin::Environment | Origin::Consul | Origin::File(..) | Origin::Default => of_a_folder,
            };
            (layer.file.token.is_some() || layer.file.token_file.is_some()) && !is_strange
        });
        let origin = layer.map_or(Origin::Default, |layer| layer.origin.clone());
        let token = match layer.map(|layer| (&layer.file.token, &layer.file.token_file)) {
            Some((Some(token), _)) if token == "-" => Some(token::ask(no_input)?),
            Some((Some(token), _)) => Some(token.clone()),
            Some((None, Some(path))) => Some(token::read(path)?),
            Some((None, None)) | None => None,
        };
        self.effective.push(Effective {
            key: "token",
            value: token.as_ref().map(|_| "(not shown)".into()),
            origin,
        });
        Ok(token)
    }
}

/// Flags, environment, and Consul's environment if that is wanted.
fn asked(globals: &Globals, given: &impl Fn(&str) -> Given) -> Vec<Layer> {
    let layer = |by, origin| Layer {
        origin,
        file: File::of(globals, |id| given(id) == by),
    };
    let mut layers = vec![
        layer(Given::ByFlag, Origin::Flag),
        layer(Given::ByEnvironment, Origin::Environment),
    ];
    let called = std::env::args_os().next().map(PathBuf::from);
    let is_consul = called.is_some_and(|path| path.file_name().is_some_and(|name| name == "consul"));
    if globals.consul_env || is_consul {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        layers.push(Layer {
            origin: Origin::Consul,
            file: File {
                addr: set("CONSUL_HTTP_ADDR"),
                token: set("CONSUL_HTTP_TOKEN"),
                token_file: set("CONSUL_HTTP_TOKEN_FILE").map(PathBuf::from),
                ..File::default()
            },
        });
    }
    layers
}

/// The layers with that of the context that holds, and what is to be told of it.
fn with_context(mut layers: Vec<Layer>, contexts: &Contexts) -> Result<(Vec<Layer>, Effective), Problem> {
    let named = layers
        .iter()
        .position(|layer| layer.file.context.is_some())
        .map(|at| (at + 1, layers[at].file.context.clone(), layers[at].origin.clone()));
    let chosen = || {
        // Above the user's own file and the machine's.
        let at = layers
            .iter()
            .position(|layer| matches!(layer.origin, Origin::File(_, false)));
        let origin = user_file("contexts.toml").map_or(Origin::Default, |path| Origin::File(path, false));
        let origin = if contexts.current.is_some() {
            origin
        } else {
            Origin::Default
        };
        (at.unwrap_or(layers.len()), contexts.current.clone(), origin)
    };
    let (at, name, origin) = named.unwrap_or_else(chosen);
    // The empty name is that of no context.
    let name = name.filter(|name| !name.is_empty());
    if let Some(name) = &name {
        let layer = Layer {
            origin: Origin::Context(name.clone()),
            file: contexts.layer(name)?,
        };
        layers.insert(at, layer);
    }
    let effective = Effective {
        key: "context",
        value: name,
        origin,
    };
    Ok((layers, effective))
}

/// A file of the user's own.
pub(crate) fn user_file(name: &str) -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    home.map(|home| home.join("keyway").join(name))
}

/// The files, strongest first, and whether each is the project's.
fn places() -> Vec<(PathBuf, bool)> {
    let mut places = vec![("keyway.toml".into(), true)];
    places.extend(user_file("config.toml").map(|path| (path, false)));
    places.push(("/etc/keyway/config.toml".into(), false));
    places
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
