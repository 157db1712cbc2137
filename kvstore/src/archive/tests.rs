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
    let command = Command {
        request: None,
        author: None,
        message: None,
        action,
    };
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
            "failed to restore snapshot: state.bin is not a snapshot",
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
