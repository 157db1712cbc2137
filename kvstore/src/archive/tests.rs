use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use kvapi::Key;

use super::*;
use crate::command::{Action, Command};
use crate::state::State;
use crate::state::sessions::Behavior;

fn act(state: &mut State, action: Action) {
    let command = Command::from(action);
    state.apply(1_000, &command);
}

fn put(state: &mut State, key: &str, value: &'static [u8]) {
    let action = Action::Put {
        key: Key::new(key).unwrap(),
        value: value.into(),
        flags: 0,
        cas: None,
    };
    act(state, action);
}

fn state() -> State {
    let mut state = State::default();
    let terms = Terms {
        name: "n".into(),
        node: "keyway-1".into(),
        lock_delay: 15_000_000_000,
        behavior: Behavior::Release,
        ttl: "15s".into(),
        ttl_ms: 15_000,
        node_checks: Vec::new(),
    };
    act(&mut state, Action::CreateSession { id: "s1".into(), terms });
    for (name, length) in [("a", 0), ("b/long", 300_000), ("c", 7)] {
        let action = Action::Acquire {
            key: Key::new(name).unwrap(),
            value: vec![b'x'; length].into(),
            flags: length as u64,
            session: "s1".into(),
        };
        act(&mut state, action);
    }
    state
}

fn stamp() -> Stamp {
    Stamp {
        cluster_id: "the-cluster".into(),
        term: 3,
        at_ms: 1_700_000_000_123,
        servers: vec![("id".into(), "127.0.0.1:8300".into())],
    }
}

fn written() -> Vec<u8> {
    write(Vec::new(), &state(), &stamp()).unwrap()
}

fn read_all(bytes: &[u8]) -> Result<(Contents, Vec<Item>), BadArchive> {
    let mut items = Vec::new();
    let contents = read(bytes, &mut |item| {
        items.push(item);
        ControlFlow::Continue(())
    })?;
    Ok((contents, items))
}

/// The tar in a backup.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut tar).unwrap();
    tar
}

fn packed(tar: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(tar).unwrap();
    gzip.finish().unwrap()
}

/// A tar of these files, in this order.
fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    packed(&tar.into_inner().unwrap())
}

fn files(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let tar = unpacked(bytes);
    let mut archive = tar::Archive::new(&*tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().display().to_string(), content)
    });
    entries.collect()
}

#[test]
fn what_is_written_reads_back_with_every_key_and_session() {
    let (contents, items) = read_all(&written()).unwrap();

    assert_eq!(contents.revision, state().revision());
    assert_eq!((contents.count("keys"), contents.count("sessions")), (3, 1));
    assert_eq!(
        contents.format,
        Format::Keyway {
            cluster: "the-cluster".into()
        }
    );
    let keys: Vec<(&str, usize, u64)> = items
        .iter()
        .filter_map(|item| match item {
            Item::Key(kept) => Some((kept.key.as_str(), kept.value.len(), kept.flags)),
            Item::Session(..) => None,
        })
        .collect();
    assert_eq!(keys, [("a", 0, 0), ("b/long", 300_000, 300_000), ("c", 7, 7)]);
    assert!(matches!(&items[3], Item::Session(id, terms) if &**id == "s1" && &*terms.ttl == "15s"));
}

/// As `consul snapshot save` looks at it.
#[test]
fn the_envelope_is_consuls() {
    let files = files(&written());

    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["meta.json", "state.bin", "SHA256SUMS"]);
    let meta: serde_json::Value = serde_json::from_slice(&files[0].1).unwrap();
    assert_eq!(meta["Version"], 1);
    assert_eq!(meta["ID"], "3-5-1700000000123");
    assert_eq!((&meta["Index"], &meta["Term"]), (&5.into(), &3.into()));
    assert_eq!(meta["Size"], files[1].1.len());
    assert_eq!(meta["Configuration"]["Servers"][0]["Address"], "127.0.0.1:8300");
    let sums = String::from_utf8(files[2].1.clone()).unwrap();
    let of = |bytes: &[u8]| meta::hex(sha2::Digest::new_with_prefix(bytes));
    let expected = format!("{}  meta.json\n{}  state.bin\n", of(&files[0].1), of(&files[1].1));
    assert_eq!(sums, expected);
}

#[test]
fn what_is_wrong_is_refused_in_the_words_that_consul_has_for_it() {
    let good = written();
    let parts = files(&good);
    let part = |name: &str| &*parts.iter().find(|(file, _)| file == name).unwrap().1;
    let [meta, state, sums] = ["meta.json", "state.bin", "SHA256SUMS"].map(|name| (name, part(name)));
    let mut other = state.1.to_vec();
    *other.last_mut().unwrap() ^= 1;
    let longer = [sums.1, b"00  more\n"].concat();
    for (what, bytes, said) in [
        ("empty", vec![], "failed to decompress snapshot: EOF"),
        ("short", vec![b'x'; 9], "failed to decompress snapshot: unexpected EOF"),
        (
            "a text",
            b"not a snapshot at all".to_vec(),
            "failed to decompress snapshot: gzip: invalid header",
        ),
        (
            "one file more",
            tar_of(&[meta, state, ("more", b"x"), sums]),
            "failed to read snapshot file: unexpected file \"more\" in snapshot",
        ),
        (
            "a file twice",
            tar_of(&[meta, state, state, sums]),
            "failed to read snapshot file: unexpected file \"state.bin\" in snapshot",
        ),
        (
            "no sums",
            tar_of(&[meta, state]),
            "failed to read snapshot file: SHA256SUMS is missing",
        ),
        (
            "a sum of nothing",
            tar_of(&[meta, state, ("SHA256SUMS", &longer)]),
            "failed to read snapshot file: failed checking integrity of snapshot: list missing hash for \"more\"",
        ),
        (
            "another meta",
            tar_of(&[("meta.json", b"{}"), state, sums]),
            "failed to read snapshot file: failed checking integrity of snapshot: hash check failed for \"meta.json\"",
        ),
        (
            "another state",
            tar_of(&[meta, ("state.bin", &other), sums]),
            "failed to restore snapshot: the snapshot state.bin is damaged: a checksum does not match; use another one",
        ),
        (
            "another kind of state",
            tar_of(&[meta, ("state.bin", b"\xc1hello"), sums]),
            "failed to restore snapshot: state.bin is a snapshot neither of keyway nor of Consul",
        ),
        (
            "two in one",
            packed(&[unpacked(&good), unpacked(&good)].concat()),
            "failed to read snapshot file: something follows its end",
        ),
    ] {
        let error = read_all(&bytes).unwrap_err().to_string();
        assert!(error.starts_with(said), "{what}: {error}");
    }
    assert!(
        read_all(&tar_of(&[meta, state, sums])).is_ok(),
        "as another tar writes it"
    );
}

#[test]
fn a_file_that_is_cut_or_flipped_anywhere_is_never_taken_for_another() {
    let mut small = State::default();
    put(&mut small, "a", b"1");
    let good = write(Vec::new(), &small, &stamp()).unwrap();
    let content = read_all(&good).unwrap();
    for cut in 0..good.len() {
        assert!(read_all(&good[..cut]).is_err(), "cut at {cut}");
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        // Some bits of compressed data say the same either way.
        if let Ok(read) = read_all(&bad) {
            assert_eq!(read, content, "flipped at {at}");
        }
    }
}

#[test]
fn reading_ends_when_nobody_wants_more() {
    let stopped = read(&*written(), &mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(BadArchive::Stopped)));
}

/// A text as Consul writes it, whose MessagePack has no other form for bytes.
fn text(bytes: &[u8]) -> Vec<u8> {
    let mut out = match u8::try_from(bytes.len()) {
        Ok(length) if length < 32 => vec![0xa0 | length],
        _ => [&[0xdb][..], &u32::try_from(bytes.len()).unwrap().to_be_bytes()].concat(),
    };
    out.extend(bytes);
    out
}

fn number(number: u64) -> Vec<u8> {
    [&[0xcf][..], &number.to_be_bytes()].concat()
}

fn map(fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![0x80 | u8::try_from(fields.len()).unwrap()];
    for (name, value) in fields {
        out.extend(text(name.as_bytes()));
        out.extend(value);
    }
    out
}

fn consuls_key(name: &[u8], value: Option<&[u8]>, session: &[u8]) -> Vec<u8> {
    let fields = map(&[
        ("LockIndex", number(u64::from(!session.is_empty()))),
        ("Key", text(name)),
        ("Flags", number(1 << 40)),
        ("Value", value.map_or(vec![0xc0], text)),
        ("Session", text(session)),
        ("CreateIndex", number(11)),
        ("ModifyIndex", vec![12]),
    ]);
    [vec![2], fields].concat()
}

/// A snapshot as Consul has it: registrations, sessions, keys, tombstones, indexes, and a kind that is not known.
fn consuls_state() -> Vec<u8> {
    let long = vec![0xff; 70_000];
    [
        map(&[("LastIndex", number(40))]),
        vec![0],
        map(&[
            ("Node", text(b"n")),
            ("TaggedAddresses", vec![0x81, 0xa3, b'l', b'a', b'n', 0xa1, b'x']),
            ("Check", vec![0xc0]),
        ]),
        vec![3],
        map(&[
            ("ID", text(b"s")),
            ("Checks", vec![0x91, 0xa1, b'c']),
            ("LockDelay", number(15_000_000_000)),
        ]),
        consuls_key(b"app/a", Some(b"one"), b"s"),
        consuls_key(b"app/long", Some(&long), b""),
        consuls_key(b"app/none", None, b""),
        vec![5],
        map(&[("Key", text(b"gone")), ("Index", vec![9])]),
        vec![16],
        map(&[("Key", text(b"kvs")), ("Value", vec![12])]),
        vec![77],
        map(&[("What", vec![0xc3])]),
    ]
    .concat()
}

fn consuls(state: &[u8]) -> Vec<u8> {
    let meta = format!(
        r#"{{"Version":1,"ID":"2-40-1603221729747","Index":40,"Term":2,"Peers":"ka4xMjcuMC4wLjE6ODMwMA==","Configuration":{{"Servers":[{{"Suffrage":0,"ID":"i","Address":"127.0.0.1:8300"}}]}},"ConfigurationIndex":1,"Size":{}}}"#,
        state.len()
    );
    let sum = |bytes: &[u8]| meta::hex(sha2::Digest::new_with_prefix(bytes));
    let sums = format!("{}  meta.json\n{}  state.bin\n", sum(meta.as_bytes()), sum(state));
    tar_of(&[
        ("meta.json", meta.as_bytes()),
        ("state.bin", state),
        ("SHA256SUMS", sums.as_bytes()),
    ])
}

#[test]
fn of_a_snapshot_of_consul_the_keys_are_taken_and_the_rest_is_counted() {
    let (contents, items) = read_all(&consuls(&consuls_state())).unwrap();

    assert_eq!(
        (contents.format.clone(), contents.revision.0, contents.keys),
        (Format::Consul, 40, 3)
    );
    let counts: Vec<(&str, u64)> = contents
        .kinds
        .iter()
        .map(|(name, tally)| (&**name, tally.count))
        .collect();
    let expected = [
        ("Index", 1),
        ("KVS", 3),
        ("Register", 1),
        ("Session", 1),
        ("Tombstone", 1),
        ("kind 77", 1),
    ];
    assert_eq!(counts, expected);
    let bytes: u64 = contents.kinds.values().map(|tally| tally.bytes).sum();
    assert_eq!(
        bytes,
        contents.meta.size - map(&[("LastIndex", number(40))]).len() as u64
    );
    let keys: Vec<(&str, usize, u64, Option<&str>)> = items
        .iter()
        .map(|item| match item {
            Item::Key(kept) => (kept.key.as_str(), kept.value.len(), kept.flags, kept.session.as_deref()),
            Item::Session(..) => panic!("sessions are left out"),
        })
        .collect();
    let expected = [
        ("app/a", 3, 1 << 40, None),
        ("app/long", 70_000, 1 << 40, None),
        ("app/none", 0, 1 << 40, None),
    ];
    assert_eq!(keys, expected);
    let left_out = contents.left_out().unwrap();
    assert!(
        left_out.starts_with("left out: 1 sessions") && left_out.contains("4 records of 4 kinds"),
        "{left_out}"
    );
}

#[test]
fn a_snapshot_of_consul_that_is_damaged_or_does_not_fit_is_refused() {
    let state = consuls_state();
    let header = map(&[("LastIndex", number(40))]);
    for (what, state, said) in [
        (
            "cut",
            state[..state.len() - 1].to_vec(),
            "it ends in the middle of a record",
        ),
        (
            "no header",
            state[header.len()..].to_vec(),
            "a snapshot neither of keyway nor of Consul",
        ),
        (
            "a kind alone",
            [&header[..], &[2]].concat(),
            "it ends in the middle of a record",
        ),
        ("no map", [&header[..], &[2, 7]].concat(), "it is no map"),
        ("no name", [&header[..], &[2, 0x80]].concat(), "a key has no name"),
        ("nothing", vec![], "a snapshot neither of keyway nor of Consul"),
        (
            "a key that is no text",
            [header.clone(), consuls_key(b"a\xff", None, b"")].concat(),
            "has no place here: invalid utf-8",
        ),
        (
            "no key at all",
            [header.clone(), consuls_key(b"", None, b"")].concat(),
            "has no place here",
        ),
        (
            "an index that nothing comes to",
            map(&[("LastIndex", number(1 << 60))]),
            "which no store comes to",
        ),
    ] {
        let error = read_all(&consuls(&state)).unwrap_err().to_string();
        assert!(
            error.starts_with("failed to restore snapshot: ") && error.contains(said),
            "{what}: {error}"
        );
    }
}
