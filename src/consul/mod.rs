//! `consul` as Consul's own command is, as far as there is something to ask: its flags, its texts, its exit codes, to
//! the byte.
//!
//! For scripts that call it. It is this program under the name `consul` (a symlink), with
//! `--compat consul` in front, or, for `kv` alone, with `KEYWAY_COMPAT=consul`. Nothing of Keyway's own
//! command line holds here, its settings and environment neither (docs/decisions/0053).
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`go`] | Go's ways: flags, spellings, JSON, columns |
//! | [`words`] | usage, and the flags that all take |
//! | [`mod@place`], [`ask`] | which server, and asking it once |
//! | [`data`] | `@FILE`, `-` and the text itself |
//! | [`get`], [`put`], [`delete`], [`export`], [`import`] | `consul kv`: one file for each command |
//! | [`lock`], [`watch`] | a command under a lock, and one for every change |
//! | [`snapshot`] | everything in a file, and back |
//! | [`servers`] | `members`, `info`, `operator raft list-peers` |

mod ask;
mod data;
mod delete;
mod export;
mod get;
mod go;
mod import;
mod lock;
mod place;
mod put;
mod servers;
mod snapshot;
mod watch;
mod words;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::ExitCode;

use bytes::Bytes;
use http::{Method, StatusCode};

use self::ask::Server;
use self::go::flags::{Flag, Parsed};
use self::place::Place;

/// The arguments behind the word `consul`, if that is how the program is to behave. `arguments` are all,
/// `variable` is `KEYWAY_COMPAT`.
pub(crate) fn asked(arguments: &[OsString], variable: Option<&str>) -> Option<Vec<OsString>> {
    let (program, rest) = arguments.split_first()?;
    if Path::new(program).file_name().is_some_and(|name| name == "consul") {
        return Some(rest.to_vec());
    }
    let text = |at: usize| rest.get(at).and_then(|argument| argument.to_str());
    match (text(0), text(1)) {
        (Some("--compat=consul" | "-compat=consul"), _) => Some(rest[1..].to_vec()),
        (Some("--compat" | "-compat"), Some("consul")) => Some(rest[2..].to_vec()),
        (Some("kv"), _) if variable == Some("consul") => Some(rest.to_vec()),
        _ => None,
    }
}

/// Why a command ends with 1.
#[derive(Debug)]
enum Stop {
    /// A line for the standard error.
    Said(String),
    /// Flags that are wrong: what Go says, and what the command takes.
    Usage(String),
    /// Nobody reads what is printed.
    NobodyReads,
    /// Another code than 1, and everything is said.
    Code(u8),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::Said(format!("Error writing output: {}", go::errno(&error))),
        }
    }
}

type Done = Result<(), Stop>;

/// A line for the standard error, and the end.
fn stop<T>(text: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Said(text.into()))
}

/// Prints bytes and a line break.
fn print(bytes: &[u8]) -> Done {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// A key or a text that was typed, for messages.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs the command to its end.
pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    let arguments: Vec<Vec<u8>> = arguments.into_iter().map(OsString::into_vec).collect();
    let complaint = match dispatch(&arguments) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Stop::Said(line)) => format!("{line}\n"),
        Err(Stop::Usage(text)) => text,
        Err(Stop::NobodyReads) => return ExitCode::FAILURE,
        Err(Stop::Code(code)) => return ExitCode::from(code),
    };
    // Where nobody reads the reason either, the code is all there is.
    let _ = io::stderr().write_all(complaint.as_bytes());
    ExitCode::FAILURE
}

fn dispatch(arguments: &[Vec<u8>]) -> Done {
    // Wherever it stands, as in Consul.
    let wants_help = arguments
        .iter()
        .take_while(|argument| *argument != b"--")
        .any(|argument| matches!(argument.as_slice(), b"-h" | b"-help" | b"--help"));
    let words = arguments.iter().filter(|argument| !argument.starts_with(b"-"));
    let words: Vec<String> = words.take(3).map(|word| shown(word)).collect();
    let Some((command, name)) = Command::named(&words) else {
        let usage = match words.first().map(String::as_str) {
            Some("kv") => words::KV,
            _ => words::CONSUL,
        };
        return match words.first().map(String::as_str) {
            None | Some("kv") if wants_help => print(usage.as_bytes()),
            None => stop(usage),
            Some("kv") => match words.get(1) {
                None => stop(usage),
                Some(second) => stop(format!("Error! There is no command `consul kv {second}`\n\n{usage}")),
            },
            Some(first) => stop(format!("Error! There is no command `consul {first}` here\n\n{usage}")),
        };
    };
    let flags = command.flags();
    if wants_help {
        let text = format!("{}\n\nOptions:\n{}", command.usage(), go::flags::defaults(&flags));
        return print(text.trim_end().as_bytes());
    }
    if !arguments
        .iter()
        .map(|word| shown(word))
        .take(name.len())
        .eq(name.iter().copied())
    {
        return stop(format!(
            "Invalid flags before the subcommand. If these flags are for\nthe subcommand, please put them after the subcommand.\n\n{}",
            command.usage()
        ));
    }
    let arguments = &arguments[name.len()..];
    let parsed = go::flags::parse(&flags, arguments)
        .map_err(|said| Stop::Usage(format!("{said}\nUsage:\n{}", go::flags::defaults(&flags))))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(command.run(parsed))
}

/// The commands that there are.
#[derive(Debug, Clone, Copy)]
enum Command {
    Get,
    Put,
    Delete,
    Export,
    Import,
    Lock,
    Watch,
    Members,
    Info,
    ListPeers,
    SnapshotSave,
    SnapshotRestore,
    SnapshotInspect,
}

impl Command {
    const NAMES: &[(&'static [&'static str], Self)] = &[
        (&["kv", "get"], Self::Get),
        (&["kv", "put"], Self::Put),
        (&["kv", "delete"], Self::Delete),
        (&["kv", "export"], Self::Export),
        (&["kv", "import"], Self::Import),
        (&["lock"], Self::Lock),
        (&["watch"], Self::Watch),
        (&["members"], Self::Members),
        (&["info"], Self::Info),
        (&["operator", "raft", "list-peers"], Self::ListPeers),
        (&["snapshot", "save"], Self::SnapshotSave),
        (&["snapshot", "restore"], Self::SnapshotRestore),
        (&["snapshot", "inspect"], Self::SnapshotInspect),
    ];

    /// The command that the first words name, and its own words.
    fn named(words: &[String]) -> Option<(Self, &'static [&'static str])> {
        let found = Self::NAMES.iter().find(|(name, _)| {
            let words = words.iter().map(String::as_str);
            words.take(name.len()).eq(name.iter().copied())
        });
        found.map(|(name, command)| (*command, *name))
    }

    fn flags(self) -> Vec<Flag> {
        let own = match self {
            Self::Get => get::FLAGS,
            Self::Put => put::FLAGS,
            Self::Delete => delete::FLAGS,
            Self::Export | Self::Info | Self::ListPeers => &[],
            Self::SnapshotSave | Self::SnapshotRestore => &[],
            Self::SnapshotInspect => snapshot::INSPECT,
            Self::Import => import::FLAGS,
            Self::Lock => lock::FLAGS,
            Self::Watch => watch::FLAGS,
            Self::Members => servers::MEMBERS,
        };
        [own, words::COMMON].concat()
    }

    fn usage(self) -> &'static str {
        match self {
            Self::Get => words::GET,
            Self::Put => words::PUT,
            Self::Delete => words::DELETE,
            Self::Export => words::EXPORT,
            Self::Import => words::IMPORT,
            Self::Lock => words::LOCK,
            Self::Watch => words::WATCH,
            Self::Members => words::MEMBERS,
            Self::Info => words::INFO,
            Self::ListPeers => words::LIST_PEERS,
            Self::SnapshotSave => words::SNAPSHOT_SAVE,
            Self::SnapshotRestore => words::SNAPSHOT_RESTORE,
            Self::SnapshotInspect => words::SNAPSHOT_INSPECT,
        }
    }

    async fn run(self, parsed: Parsed) -> Done {
        match self {
            Self::Get => get::run(&parsed).await,
            Self::Put => put::run(&parsed).await,
            Self::Delete => delete::run(&parsed).await,
            Self::Export => export::run(&parsed).await,
            Self::Import => import::run(&parsed).await,
            Self::Lock => lock::run(&parsed).await,
            Self::Watch => watch::run(&parsed).await,
            Self::Members => servers::members(&parsed).await,
            Self::Info => servers::info(&parsed).await,
            Self::ListPeers => servers::list_peers(&parsed).await,
            Self::SnapshotSave => snapshot::save(&parsed).await,
            Self::SnapshotRestore => snapshot::restore(&parsed).await,
            Self::SnapshotInspect => snapshot::inspect(&parsed),
        }
    }
}

/// Where to ask, as flags and environment have it.
fn place(parsed: &Parsed) -> Result<Place, Stop> {
    let place = Place::of(parsed, |name| std::env::var(name).ok());
    place.or_else(|why| stop(format!("Error connecting to Consul agent: {why}")))
}

/// The server there.
fn server(parsed: &Parsed) -> Result<Server, Stop> {
    place(parsed).map(Server::new)
}

/// Asks the server who it is, as those commands of Consul's do that go on for long: a wrong address is told at once.
async fn about(server: &mut Server) -> Done {
    let answer = server.call(&Method::GET, "/v1/agent/self", &[], Bytes::new()).await;
    let answer = answer.and_then(|answer| ask::expect(answer, &[StatusCode::OK]));
    answer
        .map(drop)
        .or_else(|why| stop(format!("Error querying Consul agent: {why}")))
}

/// The one word that get, delete and export take, or the empty one. One slash in front is left out: people
/// type it, and no key of Consul's begins with it.
fn key_or_prefix(parsed: &Parsed) -> Result<&[u8], Stop> {
    match parsed.words.as_slice() {
        [] => Ok(&[]),
        [word] => Ok(word.strip_prefix(b"/").unwrap_or(word)),
        several => stop(format!("Too many arguments (expected 1, got {})", several.len())),
    }
}

/// A key as it stands in a path: Consul's client leaves out one slash more.
fn in_path(key: &[u8]) -> &[u8] {
    key.strip_prefix(b"/").unwrap_or(key)
}

/// The part of a query that `-stale` is.
fn stale(parsed: &Parsed) -> Option<(&'static str, String)> {
    parsed.is_on("stale").then(|| ("stale", String::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(arguments: &[&str], variable: Option<&str>) -> Option<Vec<OsString>> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        asked(&arguments, variable)
    }

    #[test]
    fn it_is_asked_for_by_name_by_flag_and_for_kv_by_variable() {
        let kv = || Some(vec!["kv".into(), "get".into()]);
        assert_eq!(behind(&["/usr/bin/consul", "kv", "get"], None), kv());
        assert_eq!(behind(&["keyway", "--compat", "consul", "kv", "get"], None), kv());
        assert_eq!(behind(&["keyway", "--compat=consul", "kv", "get"], None), kv());
        assert_eq!(behind(&["keyway", "kv", "get"], Some("consul")), kv());
        assert_eq!(behind(&["keyway", "kv", "get"], Some("")), None);
        assert_eq!(behind(&["keyway", "server"], Some("consul")), None);
        assert_eq!(behind(&["keyway", "kv", "get", "--compat", "consul"], None), None);
        assert_eq!(behind(&["keyway", "--compat", "etcd"], None), None);
        assert_eq!(behind(&["consul"], None), Some(vec![]));
    }
}
