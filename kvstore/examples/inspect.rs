//! Prints what the parts of a data folder say the state is, as JSON. No server may use the folder.
//!
//! `cargo run -p kvstore --example inspect -- DIR`

use std::path::Path;

fn main() -> anyhow::Result<()> {
    let dir = std::env::args_os().nth(1);
    let dir = dir.ok_or_else(|| anyhow::anyhow!("usage: inspect DIR"))?;
    let inspection = kvstore::store::inspect::inspect(Path::new(&dir))?;
    println!("{}", serde_json::to_string_pretty(&inspection)?);
    Ok(())
}
