//! The codes of failures: `error[E0203]: ...`, and what `keyway explain E0203` says of it. Pure.
//!
//! A code is for failures that a person meets again and has to think about; most mistakes explain
//! themselves. A code never gets another meaning, and a number that is no longer used is not used again.

use crate::problem::exit;

/// A kind of failure.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// `E` and four digits; the first two say what it is about.
    pub id: &'static str,
    /// The exit code.
    pub exit: u8,
    /// What happened, in one line.
    pub title: &'static str,
    /// Why it happens and what to do.
    pub text: &'static str,
}

macro_rules! codes {
    ($($name:ident = $id:literal, $exit:ident, $title:literal, $text:literal;)*) => {
        $(
            #[doc = $title]
            pub const $name: Code = Code { id: $id, exit: exit::$exit, title: $title, text: $text };
        )*
        /// All of them, in order.
        pub const ALL: &[&Code] = &[$(&$name),*];
    };
}

codes! {
    BAD_SETTINGS = "E0101", INVALID, "a file of settings is wrong", "\
keyway reads ./keyway.toml, $XDG_CONFIG_HOME/keyway/config.toml and /etc/keyway/config.toml. Each key has to be
known and each value good: a typing error would otherwise be passed over in silence. The message names the
file and the line. An example with every key:   keyway config init --dry-run";
    NO_CONTEXT = "E0102", USAGE, "there is no context of this name", "\
--context, KEYWAY_CONTEXT or `context` in a file of settings names an address and a token that were stored with
`keyway context add`. Those that there are:   keyway context ls";
    NOBODY_TO_ASK = "E0103", USAGE, "a question has nobody to answer it", "\
What cannot be taken back is asked about first. In a script, or with --no-input, nobody can answer, and then
nothing is done. If it is meant, answer beforehand with --yes (KEYWAY_YES=1).";

    NO_SUCH_KEY = "E0201", NO, "the key is not there", "\
The store has answered; it has no such key. Keys are compared byte by byte: a/b, a//b and /a/b are three keys,
and so are those that differ in case. What there is:   keyway kv ls
In a script, `--default VALUE` prints something else instead.";
    EXISTS = "E0202", CONFLICT, "the key is there already", "\
The write was to create the key (--create, --if-rev 0, --on-conflict fail), and somebody has it already. Nothing
was written. Look at it with   keyway kv get -o json KEY   and decide: leave it, or write with --if-rev and its revision.";
    CHANGED = "E0203", CONFLICT, "somebody else has changed the key", "\
The write held only for the revision that you had seen. In between somebody else was faster, so nothing was
written: going over their change unseen is what the condition is there to prevent. Read the key again,
put both changes together, and write with the new revision. `keyway kv edit` keeps what was typed.";
    TOO_LARGE = "E0204", INVALID, "it is more than the server takes at once", "\
A value has at most 512 KiB, a transaction 128 operations and 512 KiB of JSON, unless the server was started with
other limits. It is all or nothing, so a part of it is never written. `keyway kv import` goes in
several transactions where one is too small, and says so.";
    BAD_DOCUMENT = "E0205", INVALID, "the document is not what it is taken for", "\
The document of an import or an edit could not be read in the form that was said with --as; the line is
named. Nothing was written: all of it is checked first. What a document can say:   keyway help formats";
    NOT_IN_THIS_FORM = "E0206", INVALID, "a value has no place in this form", "\
An environment file has names without slashes and texts, a folder of files has neither flags nor a key that is a folder
too. Rather than lose something, the export is refused and names the key. Consul's form, json, yaml and
toml hold everything.";
    STOPPED_MIDWAY = "E0207", LEFT, "an import stopped in the middle", "\
The document was more than one transaction, some are written and stay, the rest is not. The message says how many.
The same command again goes on: a value that is equal by then is not written a second time and gets no new
revision.";

    LOCKED = "E0208", CONFLICT, "the key is locked by somebody else", "\
Another session holds the key, or one that held it has ended and its lock-delay, 15 seconds if nothing else was asked
for, is not over: who held it may not have noticed yet. Nothing was written. Who holds it: the member `session` of
keyway kv get -o json KEY";
    LOCK_LOST = "E0209", LEFT, "the lock was lost while the command ran", "\
The session could not be renewed for as long as its TTL, or somebody ended it or took the key away. The command was told
to end, since somebody else may hold the lock by now. What it had done by then is done: what it writes to should
refuse writes with a lower KEYWAY_LOCK_REVISION than it has seen.";

    NO_VALUE_FOR_TEMPLATE = "E0301", INVALID, "a template needs a key that is not there", "\
The message names the key, the template and the place. Put the key, give the template a default=, or let the agent
wait for it (--missing wait, which is what `agent run` does by itself) or read it as empty (--missing default).";
    BAD_TEMPLATE = "E0302", INVALID, "a template is wrong", "\
The message names the line. The old files stay. What helpers there are:   keyway help templates";
    CHECK_REFUSED = "E0303", INVALID, "a check refused the rendered files", "\
The command given with --check, or in the configuration, ended with another code than 0 for the new files, so the old
ones stay. What it said is in the message. Render the same files without touching anything with   keyway agent render";
    ROLLED_BACK = "E0304", ROLLED_BACK, "the change was taken back", "\
The new files were in place, but the program would not take them: the old files are back, and the
program was told. What it said is in the message. The next change of a setting is tried again.";

    UNAVAILABLE = "E0401", UNAVAILABLE, "no server answers", "\
No address that was tried takes connections, or the cluster has no leader right now. Certainly nothing was written;
trying again is safe. The address is that of --addr, KEYWAY_ADDR, a context or a file:   keyway config show --origin";
    UNKNOWN_OUTCOME = "E0402", LEFT, "the write may or may not have happened", "\
The request was sent and the answer was lost. Read before you write again:   keyway kv get -o json KEY
shows whether it is there. Within a command, keyway repeats a write under the same id, so that it happens once.";
    TIMED_OUT = "E0403", TIMEOUT, "the answer took too long", "\
Nothing was changed. The server may be overloaded or far away, or a firewall may drop what is sent. Give it longer with
--timeout 30s.";
    DENIED = "E0404", DENIED, "the server does not allow it", "\
The token lacks the right, or the door does: the socket for agents lets settings be read and not written, and a request
from a foreign web page is refused.";
    REFUSED = "E0405", INVALID, "the server refused the request", "\
The server's words are in the message. Repeating it will not help before the request, or what the server has, is
another one.";
    BAD_ANSWER = "E0406", UNAVAILABLE, "what answers is no server of the store", "\
Something listens at the address, and its answer is not what the API says. Is it another program, a proxy that shows a
page of its own, or an address of the wrong port?";
    COMPACTED = "E0407", NO, "a revision is no longer kept", "\
The store keeps the last 10,000 revisions, 256 MiB of history and 10 versions of each key at most, unless it was told
otherwise; what is older is dropped. The message names the oldest revision that can be read. The limits:
curl $KEYWAY_ADDR/v1/history";

    BAD_SERVER_SETTINGS = "E0501", USAGE, "the server cannot be started this way", "\
Flags do not go together, one is missing, or nobody can listen on the address: it is not this machine's, or the folder
of a socket is not there. What there is:   keyway server --help";
    TAKEN = "E0502", UNAVAILABLE, "a port or the data folder is taken", "\
Another process listens on the address, or has the data folder open: two servers on one folder would destroy it. Is a
server running already? Look with   ss -ltnp   or   fuser -v FOLDER/lock";
    BAD_DATA = "E0503", INVALID, "the data folder cannot be used", "\
It is damaged, of another server, or of a newer version. It is left as it is: what cannot be read for certain is not
guessed. The message names the file and the remedy.";
    CANNOT_GO_ON = "E0504", LEFT, "the server had to end", "\
A write or fsync of the log failed, or the disk did. What was acknowledged is on the disk; whether something that was
not acknowledged is there as well is open. Repair the cause, and start it again.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_whole_and_in_order() {
        for pair in ALL.windows(2) {
            assert!(pair[0].id < pair[1].id, "{}", pair[1].id);
        }
        for code in ALL {
            assert!(code.id.len() == 5 && code.id.starts_with('E') && code.id[1..].parse::<u16>().is_ok());
            assert!(
                code.exit != exit::OK && !code.title.is_empty() && code.text.len() > 50,
                "{}",
                code.id
            );
            assert!(code.text.lines().all(|line| line.len() <= 125), "{}", code.id);
        }
    }
}
