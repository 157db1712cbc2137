//! DATA as put and import take it: the text itself, `@FILE`, or `-` for the standard input.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;

use super::go::errno;
use super::shown;

/// The bytes; the error is that of Consul's command.
pub(super) fn read(data: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    match data {
        [b'@', path @ ..] => {
            let failed =
                |what: &str, e: io::Error| format!("Failed to read file: {what} {}: {}", shown(path), errno(&e));
            let mut file = File::open(std::ffi::OsStr::from_bytes(path)).map_err(|e| failed("open", e))?;
            file.read_to_end(&mut bytes).map_err(|e| failed("read", e))?;
        }
        b"-" => {
            let read = io::stdin().lock().read_to_end(&mut bytes);
            read.map_err(|e| format!("Failed to read stdin: read /dev/stdin: {}", errno(&e)))?;
        }
        text => bytes.extend_from_slice(text),
    }
    Ok(bytes)
}
