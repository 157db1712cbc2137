//! `state.bin` as Consul writes it: a header, and records of one byte that tells the kind and a value in MessagePack.
//! Keys are taken over. Everything else is counted: Keyway has none of it, and a session is its client's to begin.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::ControlFlow;

use kvapi::Key;

use super::envelope::StateBin;
use super::pack::{BadPack, Pack, Value};
use super::{BadArchive, Format, Item, Tally, Visit};
use crate::state::staged::Kept;

/// Kinds of records by their numbers, named as `consul snapshot inspect` does.
const KINDS: [&str; 44] = [
    "Register",
    "Deregister",
    "KVS",
    "Session",
    "ACL (Deprecated)",
    "Tombstone",
    "CoordinateBatchUpdate",
    "PreparedQuery",
    "Txn",
    "Autopilot",
    "Area",
    "ACLBootstrap",
    "Intention",
    "ConnectCA",
    "ConnectCAProviderState",
    "ConnectCAConfig",
    "Index",
    "ACLToken",
    "ACLTokenDelete",
    "ACLPolicy",
    "ACLPolicyDelete",
    "ConnectCALeaf",
    "ConfigEntry",
    "ACLRole",
    "ACLRoleDelete",
    "ACLBindingRule",
    "ACLBindingRuleDelete",
    "ACLAuthMethod",
    "ACLAuthMethodDelete",
    "ChunkingState",
    "FederationState",
    "SystemMetadata",
    "ServiceVirtualIP",
    "FreeVirtualIP",
    "KindServiceNames",
    "PeeringWrite",
    "PeeringDelete",
    "PeeringTerminateByID",
    "PeeringTrustBundleWrite",
    "PeeringTrustBundleDelete",
    "PeeringSecretsWrite",
    "RaftLogVerifierCheckpoint",
    "ResourceOperation",
    "UpdateVirtualIP",
];

const KVS: u8 = 2;

/// Reads it to its end.
pub(super) fn read(file: impl Read, visit: Visit<'_>) -> Result<StateBin, BadArchive> {
    let mut pack = Pack::new(file);
    let mut last = None;
    let header = pack.map(|name, value| {
        if let (b"LastIndex", Value::Number(index)) = (name, value) {
            last = Some(index);
        }
    });
    let mut revision = match (header, last) {
        (Ok(()), Some(last)) => last,
        _ => {
            return Err(BadArchive::State(
                "state.bin is a snapshot neither of keyway nor of Consul; use one that `keyway cluster snapshot save` or \
                 `consul snapshot save` has written"
                    .into(),
            ));
        }
    };
    let mut kinds: BTreeMap<String, Tally> = BTreeMap::new();
    loop {
        let begin = pack.at;
        let Some(kind) = pack.byte().map_err(|e| damaged(&e))? else {
            break;
        };
        if kind == KVS {
            let (kept, modify) = key(&mut pack)?;
            revision = revision.max(modify);
            if let ControlFlow::Break(()) = visit(Item::Key(kept)) {
                return Err(BadArchive::Stopped);
            }
        } else {
            pack.skip().map_err(|e| damaged(&e))?;
        }
        let name = KINDS.get(usize::from(kind));
        let name = name.map_or_else(|| format!("kind {kind}"), |name| (*name).to_owned());
        let tally = kinds.entry(name).or_default();
        tally.count += 1;
        tally.bytes += pack.at - begin;
    }
    Ok(StateBin {
        format: Format::Consul,
        revision,
        kinds,
        keys: 0,
    })
}

/// A key, and its ModifyIndex. Who holds it is left out, as sessions are.
fn key(pack: &mut Pack<impl Read>) -> Result<(Kept, u64), BadArchive> {
    let (mut name, mut value) = (None, Vec::new());
    let (mut flags, mut lock_index, mut modify) = (0, 0, 0);
    let read = pack.map(|field, found| match (field, found) {
        (b"Key", Value::Bytes(found)) => name = Some(found),
        (b"Value", Value::Bytes(found)) => value = found,
        (b"Flags", Value::Number(found)) => flags = found,
        (b"LockIndex", Value::Number(found)) => lock_index = found,
        (b"ModifyIndex", Value::Number(found)) => modify = found,
        _ => {}
    });
    read.map_err(|e| damaged(&e))?;
    let name = name.ok_or_else(|| damaged(&BadPack::Form("a key has no name")))?;
    let unfit = |why: &dyn std::fmt::Display| {
        let name = String::from_utf8_lossy(&name);
        let name: String = name.chars().take(200).collect();
        BadArchive::State(format!(
            "the key {name:?} has no place here: {why}; delete or rename it in Consul"
        ))
    };
    let text = std::str::from_utf8(&name).map_err(|e| unfit(&e))?;
    let kept = Kept {
        key: Key::new(text).map_err(|e| unfit(&e))?,
        value: value.into(),
        flags,
        lock_index,
        session: None,
    };
    Ok((kept, modify))
}

fn damaged(why: &BadPack) -> BadArchive {
    BadArchive::State(format!("state.bin is damaged: {why}; use another snapshot"))
}
