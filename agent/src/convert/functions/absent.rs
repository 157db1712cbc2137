//! Functions of consul-template that have no counterpart, each with its reason.

use super::Lack;

/// Why a function of consul-template is not here.
pub(super) fn unknown(name: &str) -> Option<Lack> {
    let lack = |why: String, remedy: &str| Some(Lack::new(why, remedy));
    match name {
        "secret" | "secrets" | "pkiCert" | "caRoots" | "caLeaf" | "connect" => lack(
            format!("`{name}` asks Vault or Connect, and Keyway keeps no secrets"),
            "have the secret mounted as a file, and show it with (secretFile \"/path\")",
        ),
        "service" | "services" | "node" | "nodes" | "datacenters" | "peerings" | "partitions" | "byTag" | "byMeta"
        | "byPort" => lack(
            format!("`{name}` asks Consul's catalogue, which is not here"),
            "register instances under a folder and read it with `service` or `ls`",
        ),
        name if name.starts_with("nomad") => lack(format!("`{name}` asks Nomad"), "put what it gives into a key"),
        "plugin" => lack(
            "`plugin` runs a program, and a template runs none".into(),
            "put the program's answer into a key",
        ),
        "timestamp" => lack(
            "`timestamp` changes with every render, and so would reload for nothing".into(),
            "leave it out",
        ),
        "writeToFile" => lack(
            "`writeToFile` writes a file as a side effect".into(),
            "make it a [[template]] of its own",
        ),
        "sockaddr" => lack(
            "`sockaddr` reads the machine's addresses".into(),
            "give the address as a variable, and read it with `env`",
        ),
        "spew_dump" | "spew_printf" | "spew_sdump" | "spew_sprintf" => {
            lack(format!("`{name}` is for finding mistakes"), "leave it out")
        }
        "keyExistsGet" => lack(
            "`keyExistsGet` gives a key and whether it is there".into(),
            "use `keyExists` and `key`; they agree here",
        ),
        _ => None,
    }
}
