//! `/v1/acl/`: Consul's tokens and policies, answered as a Consul that has them switched off does.
//!
//! Clients ask one of these paths to learn whether tokens are on. Only paths and methods that
//! Consul takes are answered so; another path is as unknown as any. Source: Consul 1.22, as
//! recorded in tests/golden; the last group was taken by Consul before 1.11, and a client library
//! or two still asks there.

use http::StatusCode;

use super::answer::Answer;
use super::error::Error;
use super::family::Family;

const READ: &str = "OPTIONS,GET";
const WRITE: &str = "OPTIONS,PUT";
const SEND: &str = "OPTIONS,POST";
const ALL: &str = "OPTIONS,GET,PUT,DELETE";

/// All of them, and the methods of each.
pub(super) const PATHS: Family = Family {
    begin: "/v1/acl/",
    paths: &[
        ("auth-method", WRITE),
        ("auth-method/", ALL),
        ("auth-methods", READ),
        ("binding-rule", WRITE),
        ("binding-rule/", ALL),
        ("binding-rules", READ),
        ("bootstrap", WRITE),
        ("login", SEND),
        ("logout", SEND),
        ("policies", READ),
        ("policy", WRITE),
        ("policy/name/", READ),
        ("policy/", ALL),
        ("replication", READ),
        ("role", WRITE),
        ("role/name/", READ),
        ("role/", ALL),
        ("roles", READ),
        ("templated-policies", READ),
        ("templated-policy/name/", READ),
        ("templated-policy/preview/", SEND),
        ("token", WRITE),
        ("token/self", READ),
        ("token/", ALL),
        ("tokens", READ),
        ("clone/", WRITE),
        ("create", WRITE),
        ("destroy/", WRITE),
        ("info/", READ),
        ("list", READ),
        ("update", WRITE),
    ],
};

/// Whatever the method and the token.
pub(super) fn disabled() -> Answer {
    Answer::from(Error::new(StatusCode::UNAUTHORIZED, "ACL support disabled"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_consul_takes_is_told_from_what_it_does_not() {
        for (path, allowed) in [
            ("/v1/acl/token/self", Some(READ)),
            ("/v1/acl/token/0123", Some(ALL)),
            ("/v1/acl/token/", Some(ALL)),
            ("/v1/acl/token", Some(WRITE)),
            ("/v1/acl/policy/name/a/b", Some(READ)),
            ("/v1/acl/login", Some(SEND)),
            ("/v1/acl/tokens/", None),
            ("/v1/acl/", None),
            ("/v1/acl/nope", None),
            ("/v1/kv/acl/tokens", None),
        ] {
            let found = PATHS.find(path.as_bytes()).map(|asked| asked.allow);
            assert_eq!(found, allowed, "{path}");
        }
    }
}
