//! What the command says of itself: its usage, and the flags that all of `consul kv` takes.

use super::go::flags::{Flag, Kind};

/// Where to ask and as whom.
pub(super) const COMMON: &[Flag] = &[
    named(
        "http-addr",
        "address",
        "address of the server: HOST:PORT, http://HOST:PORT/PREFIX or unix://PATH; also CONSUL_HTTP_ADDR",
    ),
    named("token", "value", "Token to show to the server; also CONSUL_HTTP_TOKEN"),
    named(
        "token-file",
        "value",
        "File that holds the token; also CONSUL_HTTP_TOKEN_FILE",
    ),
    named("ca-file", "value", "Refused: there is no TLS yet"),
    named("ca-path", "value", "Refused: there is no TLS yet"),
    named("client-cert", "value", "Refused: there is no TLS yet"),
    named("client-key", "value", "Refused: there is no TLS yet"),
    named("tls-server-name", "value", "Refused: there is no TLS yet"),
    named("datacenter", "value", "Datacenter to ask; there is one, dc1"),
    Flag {
        name: "stale",
        kind: Kind::OwnSwitch,
        usage: "Take whatever the server asked has, however old",
    },
    named("namespace", "value", "Sent as it is; the server refuses it"),
    named("partition", "value", "Sent as it is; the server refuses it"),
];

/// The flags that are about TLS.
pub(super) const TLS: [&str; 5] = ["ca-file", "ca-path", "client-cert", "client-key", "tls-server-name"];

const fn named(name: &'static str, word: &'static str, usage: &'static str) -> Flag {
    let kind = Kind::Named(word);
    Flag { name, kind, usage }
}

/// Of the program as a whole.
pub(super) const CONSUL: &str = "\
Usage: consul [--help] <command> [<args>]

Of Consul's commands Keyway has these:
    info                        Show what a server tells about itself
    kv                          Read and write settings
    lock                        Run a command while a lock is held
    members                     List the servers of the cluster
    operator raft list-peers    List the servers as Raft has them
    snapshot                    Save everything in a file, look into it, put it back
    watch                       Run a command whenever settings change

Everything else is in keyway itself; see   keyway --help";

/// Of `consul kv`.
pub(super) const KV: &str = "\
Usage: consul kv <subcommand> [options] [args]

Reads and writes settings, with the flags, texts and exit codes of Consul's own command.

    consul kv put app/port 8080
    consul kv get app/port
    consul kv get -detailed app/port
    consul kv delete app/port

Subcommands:
    delete    Remove a key, or all that begin with a prefix
    export    Print settings as JSON
    get       Print a value, a list of keys, or all below a prefix
    import    Store what export printed
    put       Store a value";

pub(super) const GET: &str = "\
Usage: consul kv get [options] [KEY_OR_PREFIX]

Prints the value of a key and a line break. With -recurse prints KEY:VALUE for every key that begins with
the prefix, with -keys their names up to the next separator.";

pub(super) const PUT: &str = "\
Usage: consul kv put [options] KEY [DATA]

Stores a value: DATA itself, the contents of FILE for @FILE, of the standard input for -, or nothing.";

pub(super) const DELETE: &str = "\
Usage: consul kv delete [options] KEY_OR_PREFIX

Removes a key, or with -recurse every key that begins with the prefix, byte by byte: app removes apple too.";

pub(super) const EXPORT: &str = "\
Usage: consul kv export [options] [PREFIX]

Prints every key that begins with the prefix, its flags and its value in base64, as JSON.";

pub(super) const IMPORT: &str = "\
Usage: consul kv import [options] DATA

Stores what export printed: DATA itself, the contents of FILE for @FILE, of the standard input for -. The
entries are written one by one, and what was written before a failure stays; `keyway kv import` writes them
in one transaction.";

pub(super) const LOCK: &str = "\
Usage: consul lock [options] prefix child...

Runs a command while PREFIX/.lock is held, or with -n one of several places below PREFIX. If the lock is lost
the command gets TERM, and KILL after five seconds.";

pub(super) const WATCH: &str = "\
Usage: consul watch [options] [child...]

Prints a key (-type=key -key=KEY) or what is below a prefix (-type=keyprefix -prefix=PREFIX) as JSON; with a
command, runs it with that on its standard input, now and whenever it changes, until it fails.";

pub(super) const MEMBERS: &str = "\
Usage: consul members [options]

Lists the servers of the cluster.";

pub(super) const INFO: &str = "\
Usage: consul info [options]

Shows what the server tells about itself.";

pub(super) const LIST_PEERS: &str = "\
Usage: consul operator raft list-peers [options]

Lists the servers as Raft has them: who leads, who votes, how far each one's log is.";

pub(super) const SNAPSHOT_SAVE: &str = "\
Usage: consul snapshot save [options] FILE

Saves everything that the cluster holds in a file, which gets its name when it has been checked.";

pub(super) const SNAPSHOT_RESTORE: &str = "\
Usage: consul snapshot restore [options] FILE

Puts everything back as it is in the file; what is not in it is gone. Nothing asks before.";

pub(super) const SNAPSHOT_INSPECT: &str = "\
Usage: consul snapshot inspect [options] FILE

Shows what is in a file, of Keyway or of Consul.";
