//! Each command of `consul kv`: a row for every text that Consul 1.22's own prints.

use std::time::Duration;

use kvapi::client::WriteOptions;
use kvapi::lock::SessionTerms;

use crate::consul_compat::with;

#[test]
fn consul_kv_get_prints_values_names_and_trees() {
    with(async |_, server, consul| {
        for (key, value) in [("a", "1"), ("dir/x", "x y"), ("dir/y", ""), ("dir/z/deep", "\u{e9}")] {
            server.put(key, value).await?;
        }
        consul
            .all_say(&[
                (&["get", "a"], (0, "1\n", "")),
                (&["get", "/a"], (0, "1\n", "")),
                (&["get", "--base64", "a"], (0, "MQ==\n", "")),
                (
                    &["get", "-base64=false", "-stale", "-datacenter", "dc1", "a"],
                    (0, "1\n", ""),
                ),
                (&["get", "dir/y"], (0, "\n", "")),
                (&["get", "no"], (1, "", "Error! No key exists at: no\n")),
                (&["get"], (1, "", "Error! Missing KEY argument\n")),
                (&["get", "/"], (1, "", "Error! Missing KEY argument\n")),
                (&["get", "a", "b"], (1, "", "Too many arguments (expected 1, got 2)\n")),
                (
                    &["get", "a", "-recurse"],
                    (1, "", "Too many arguments (expected 1, got 2)\n"),
                ),
                (&["get", "-keys"], (0, "a\ndir/\n", "")),
                (&["get", "-keys", "dir/"], (0, "dir/x\ndir/y\ndir/z/\n", "")),
                (
                    &["get", "-keys", "-separator=", "dir"],
                    (0, "dir/x\ndir/y\ndir/z/deep\n", ""),
                ),
                (
                    &["get", "-keys", "-separator", "p", "dir"],
                    (0, "dir/x\ndir/y\ndir/z/deep\n", ""),
                ),
                (&["get", "-keys", "-recurse"], (0, "a\ndir/x\ndir/y\ndir/z/deep\n", "")),
                (&["get", "-keys", "no"], (0, "", "")),
                (
                    &["get", "-recurse", "dir"],
                    (0, "dir/x:x y\ndir/y:\ndir/z/deep:\u{e9}\n", ""),
                ),
                (&["get", "-recurse", "-base64", "dir/x"], (0, "dir/x:eCB5\n", "")),
                (&["get", "-recurse", "no"], (0, "", "")),
            ])
            .await
    });
}

#[test]
fn consul_kv_get_shows_all_there_is_to_know_in_columns() {
    with(async |_, server, consul| {
        consul
            .says(
                &["put", "-flags=7", "a", "one\ttwo"],
                (0, "Success! Data written to: a\n", ""),
            )
            .await?;
        server.put("ab", "").await?;
        let (a, b) = (server.revision("a").await?, server.revision("ab").await?);
        let first = |value: &str| {
            format!(
                "CreateIndex      {a}\nFlags            7\nKey              a\nLockIndex        0\n\
                 ModifyIndex      {a}\nSession          -\nValue            {value}\n"
            )
        };
        let second = format!(
            "CreateIndex      {b}\nFlags            0\nKey              ab\nLockIndex        0\n\
             ModifyIndex      {b}\nSession          -\nValue\n"
        );
        consul
            .all_say(&[
                (&["get", "-detailed", "ab"], (0, &second, "")),
                (&["get", "-detailed", "-base64", "a"], (0, &first("b25lCXR3bw=="), "")),
                (
                    &["get", "-detailed", "-recurse", "a"],
                    (0, &format!("{}\n{second}", first("one      two")), ""),
                ),
            ])
            .await
    });
}

#[test]
fn consul_kv_put_takes_a_text_a_file_its_input_or_nothing() {
    with(async |home, _, consul| {
        home.write("file", "from\na file\n")?;
        let written = |key: &str| format!("Success! Data written to: {key}\n");
        for (arguments, value) in [
            (vec!["put", "k", "1"], "1"),
            (vec!["put", "k", "@file"], "from\na file\n"),
            (vec!["put", "k", "-"], "from input"),
            (vec!["put", "k"], ""),
            (vec!["put", "k", ""], ""),
            (vec!["put", "k", "-5"], "-5"),
            (vec!["put", "-base64", "k", "aGk="], "hi"),
            (vec!["put", "-modify-index=99", "k", "2"], "2"),
            (vec!["put", "-flags", "0x10", "k", "3"], "3"),
        ] {
            consul.says_to("from input", &arguments, (0, &written("k"), "")).await?;
            consul.says(&["get", "k"], (0, &format!("{value}\n"), "")).await?;
        }
        consul.says(&["put", "x//y", "1"], (0, &written("x//y"), "")).await?;
        consul.says(&["get", "x/y"], (0, "1\n", "")).await?;
        consul
            .says(
                &["put", "-base64", "k", "!"],
                (
                    0,
                    &written("k"),
                    "Error! Cannot base 64 decode data: illegal base64 data at input byte 0\n",
                ),
            )
            .await?;
        consul.says(&["get", "k"], (0, "\n", "")).await
    });
}

#[test]
fn consul_kv_put_that_is_refused_says_why() {
    with(async |home, server, consul| {
        server.put("k", "1").await?;
        let at = server.revision("k").await?.to_string();
        std::fs::create_dir(home.path("folder"))?;
        let sessions = "Error! Missing -session (required with -acquire and -release)\n";
        let terms = SessionTerms {
            name: "consul".into(),
            ttl: Duration::from_secs(60),
            lock_delay: Duration::ZERO,
        };
        let id = server.client().create_session(&terms, &WriteOptions::default()).await?;
        let locked = "Success! Lock acquired on: locked\n";
        let invalid = "Error! Failed writing data: Unexpected response code: 500 (invalid session \"x\")\n";
        consul
            .all_say(&[
                (&["put"], (1, "", "Error! Missing KEY argument\n")),
                (
                    &["put", "a", "b", "c"],
                    (1, "", "Error! Too many arguments (expected 1 or 2, got 3)\n"),
                ),
                (
                    &["put", "k", "@no"],
                    (
                        1,
                        "",
                        "Error! Failed to read file: open no: no such file or directory\n",
                    ),
                ),
                (
                    &["put", "k", "@folder"],
                    (1, "", "Error! Failed to read file: read folder: is a directory\n"),
                ),
                (
                    &["put", "/k", "1"],
                    (
                        1,
                        "",
                        "Error! Failed writing data: Invalid key. Key must not begin with a '/': /k\n",
                    ),
                ),
                (
                    &["put", "", "1"],
                    (
                        1,
                        "",
                        "Error! Failed writing data: Unexpected response code: 400 (Missing key name)\n",
                    ),
                ),
                (
                    &["put", "-cas", "k", "2"],
                    (
                        1,
                        "",
                        "Error! Did not write to k: CAS performed with index=0 and key already exists.\n",
                    ),
                ),
                (
                    &["put", "-cas", "-modify-index=1", "k", "2"],
                    (1, "", "Error! Did not write to k: CAS failed\n"),
                ),
                (
                    &["put", "-cas", "-modify-index", &at, "k", "2"],
                    (0, "Success! Data written to: k\n", ""),
                ),
                (&["put", "-cas", "new", "1"], (0, "Success! Data written to: new\n", "")),
                (&["put", "-acquire", "k"], (1, "", sessions)),
                (&["put", "-release", "-session=", "k"], (1, "", sessions)),
                (&["put", "-acquire", "-session=x", "k"], (1, "", invalid)),
                (
                    &["put", "-release", "-session=x", "k"],
                    (1, "", "Error! Did not release lock\n"),
                ),
                (
                    &["put", "-acquire", "-release", "-session", &id, "locked"],
                    (0, locked, ""),
                ),
                (
                    &["put", "-acquire", "-session", &id.to_uppercase(), "locked"],
                    (1, "", "Error! Did not acquire lock\n"),
                ),
                (
                    &["put", "-release", "-session", &id, "locked"],
                    (0, "Success! Lock released on: locked\n", ""),
                ),
                (
                    &["put", "-session=x", "new", "1"],
                    (0, "Success! Data written to: new\n", ""),
                ),
                (
                    &["put", "-acquire=false", "l", "1"],
                    (0, "Success! Data written to: l\n", ""),
                ),
                (&["get", "k"], (0, "2\n", "")),
            ])
            .await
    });
}

#[test]
fn consul_kv_delete_goes_by_bytes_and_is_never_surprised() {
    with(async |_, server, consul| {
        for key in ["a", "app/x", "apple", "b"] {
            server.put(key, "1").await?;
        }
        let at = server.revision("a").await?.to_string();
        consul
            .all_say(&[
                (&["delete"], (1, "", "Error! Missing KEY argument\n")),
                (
                    &["delete", "a", "b"],
                    (1, "", "Too many arguments (expected 1, got 2)\n"),
                ),
                (
                    &["delete", "-cas", "a"],
                    (
                        1,
                        "",
                        "Cannot delete a key that does not exist. Provide a -modify-index greater than than 0.\n",
                    ),
                ),
                (
                    &["delete", "-modify-index=1", "a"],
                    (1, "", "Cannot specify -modify-index without -cas!\n"),
                ),
                (
                    &["delete", "-cas", "-modify-index=1", "-recurse", "a"],
                    (1, "", "Cannot specify both -cas and -recurse!\n"),
                ),
                (
                    &["delete", "-cas", "-modify-index=1", "a"],
                    (1, "", "Error! Did not delete key a: CAS failed\n"),
                ),
                (
                    &["delete", "-cas", "-modify-index", &at, "/a"],
                    (0, "Success! Deleted key: a\n", ""),
                ),
                (
                    &["delete", "-cas", "-modify-index=5", "a"],
                    (0, "Success! Deleted key: a\n", ""),
                ),
                (&["delete", "no"], (0, "Success! Deleted key: no\n", "")),
                (
                    &["delete", "-recurse", "app"],
                    (0, "Success! Deleted keys with prefix: app\n", ""),
                ),
                (
                    &["delete", "-recurse", "no"],
                    (0, "Success! Deleted keys with prefix: no\n", ""),
                ),
                (&["get", "-keys"], (0, "b\n", "")),
                (
                    &["delete", "-recurse"],
                    (0, "Success! Deleted keys with prefix: \n", ""),
                ),
                (&["get", "-keys"], (0, "", "")),
            ])
            .await
    });
}

#[test]
fn consul_kv_export_and_import_are_each_others_reverse() {
    with(async |_, _, consul| {
        consul
            .says(
                &["put", "-flags=7", "a/<b>&", "x"],
                (0, "Success! Data written to: a/<b>&\n", ""),
            )
            .await?;
        consul
            .says(&["put", "c"], (0, "Success! Data written to: c\n", ""))
            .await?;
        let all = "[\n\t{\n\t\t\"key\": \"a/\\u003cb\\u003e\\u0026\",\n\t\t\"flags\": 7,\n\t\t\"value\": \"eA==\"\n\t},\n\t{\n\t\t\"key\": \"c\",\n\t\t\"flags\": 0,\n\t\t\"value\": \"\"\n\t}\n]\n";
        consul
            .all_say(&[
                (&["export"], (0, all, "")),
                (&["export", "/"], (0, all, "")),
                (&["export", "no"], (0, "[]\n", "")),
                (
                    &["export", "a", "b"],
                    (1, "", "Too many arguments (expected 1, got 2)\n"),
                ),
                (
                    &["delete", "-recurse"],
                    (0, "Success! Deleted keys with prefix: \n", ""),
                ),
                (&["import", all], (0, "Imported: a/<b>&\nImported: c\n", "")),
                (&["export"], (0, all, "")),
                (&["import", "[]"], (0, "", "")),
                (
                    &["import", "-prefix=pre", "[{\"key\":\"k\"}]"],
                    (0, "Imported: pre/k\n", ""),
                ),
                (
                    &["import", "--prefix", "pre/", "[{\"key\":\"d/\"}]"],
                    (0, "Imported: pre/d/\n", ""),
                ),
                (&["get", "-keys", "pre/"], (0, "pre/d/\npre/k\n", "")),
            ])
            .await?;
        consul
            .says_to(
                "[{\"key\":\"in\",\"value\":\"eA==\"}]",
                &["import", "-"],
                (0, "Imported: in\n", ""),
            )
            .await?;
        consul.says(&["get", "in"], (0, "x\n", "")).await
    });
}

#[test]
fn consul_kv_import_stops_at_the_first_failure_and_keeps_what_it_wrote() {
    with(async |_, _, consul| {
        consul
            .all_say(&[
                (&["import"], (1, "", "Error! Missing DATA argument\n")),
                (&["import", ""], (1, "", "Error! Empty DATA argument\n")),
                (
                    &["import", "a", "b"],
                    (1, "", "Error! Too many arguments (expected 1, got 2)\n"),
                ),
                (
                    &["import", "@no"],
                    (
                        1,
                        "",
                        "Error! Failed to read file: open no: no such file or directory\n",
                    ),
                ),
                (
                    &["import", "x"],
                    (
                        1,
                        "",
                        "Cannot unmarshal data: invalid character 'x' looking for beginning of value\n",
                    ),
                ),
                (
                    &["import", "[{"],
                    (1, "", "Cannot unmarshal data: unexpected end of JSON input\n"),
                ),
                (
                    &["import", "{}"],
                    (
                        1,
                        "",
                        "Cannot unmarshal data: json: cannot unmarshal object into Go value of type []*impexp.Entry\n",
                    ),
                ),
                (
                    &[
                        "import",
                        "[{\"key\":\"one\"},{\"key\":\"two\",\"value\":\"!\"},{\"key\":\"three\"}]",
                    ],
                    (
                        1,
                        "Imported: one\n",
                        "Error base 64 decoding value for key two: illegal base64 data at input byte 0\n",
                    ),
                ),
                (
                    &["import", "[{\"key\":\"four\"},{\"key\":\"\"}]"],
                    (
                        1,
                        "Imported: four\n",
                        "Error! Failed writing data for key : Unexpected response code: 400 (Missing key name)\n",
                    ),
                ),
                (
                    &["import", "[{\"key\":\"/k\"}]"],
                    (
                        1,
                        "",
                        "Error! Failed writing data for key /k: Invalid key. Key must not begin with a '/': /k\n",
                    ),
                ),
                (&["get", "-keys"], (0, "four\none\n", "")),
            ])
            .await
    });
}
