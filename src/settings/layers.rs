//! The layers of the settings: who says something, in which order, and what is picked from them.

use std::fmt;
use std::path::PathBuf;

use kvapi::Problem;

use super::contexts::Contexts;
use super::file::File;
use super::token;
use crate::globals::Globals;

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

impl Origin {
    /// The problem with the variable in it that it came from, if it did.
    fn blame(&self, key: &str, problem: Problem) -> Problem {
        let prefix = match self {
            Self::Environment => "KEYWAY",
            Self::Consul => "CONSUL_HTTP",
            Self::Flag | Self::File(..) | Self::Context(_) | Self::Default => return problem,
        };
        Problem {
            what: format!("{prefix}_{key}: {}", problem.what),
            ..problem
        }
    }

    /// The name under which an address was given there.
    pub(super) fn of_addr(&self) -> String {
        match self {
            Self::Flag => "--addr".into(),
            Self::Environment => "KEYWAY_ADDR".into(),
            Self::Consul => "CONSUL_HTTP_ADDR".into(),
            Self::File(path, _) => format!("{}: addr", path.display()),
            Self::Context(name) => format!("the address of the context `{name}`"),
            Self::Default => "the default address".into(),
        }
    }
}

/// What one place says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) origin: Origin,
    pub(super) file: File,
}

/// Who gave a flag its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    ByFlag,
    ByEnvironment,
    Not,
}

/// The layers, and what is picked from them.
pub(super) struct Picked<'a> {
    pub(super) layers: &'a [Layer],
    pub(super) effective: Vec<Effective>,
}

impl Picked<'_> {
    pub(super) fn pick<T>(
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
    pub(super) fn token(&mut self, addr_from: &Origin, no_input: bool) -> Result<Option<String>, Problem> {
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
            Some((Some(token), _)) if token == "-" => {
                Some(token::ask(no_input).map_err(|problem| origin.blame("TOKEN", problem))?)
            }
            Some((Some(token), _)) => Some(token.clone()),
            Some((None, Some(path))) => Some(token::read(path).map_err(|problem| origin.blame("TOKEN_FILE", problem))?),
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
pub(super) fn asked(globals: &Globals, given: &impl Fn(&str) -> Given) -> Vec<Layer> {
    let layer = |by, origin| Layer {
        origin,
        file: File::of(globals, |id| given(id) == by),
    };
    let mut layers = vec![
        layer(Given::ByFlag, Origin::Flag),
        layer(Given::ByEnvironment, Origin::Environment),
    ];
    if globals.consul_env {
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
pub(super) fn with_context(mut layers: Vec<Layer>, contexts: &Contexts) -> Result<(Vec<Layer>, Effective), Problem> {
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
            file: contexts
                .layer(name)
                .map_err(|problem| origin.blame("CONTEXT", problem))?,
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
pub(super) fn places() -> Vec<(PathBuf, bool)> {
    let mut places = vec![("keyway.toml".into(), true)];
    places.extend(user_file("config.toml").map(|path| (path, false)));
    places.push(("/etc/keyway/config.toml".into(), false));
    places
}
