//! A server without the command around it: `cargo run -p kvstore --example server -- DIR [ADDR]`.
//!
//! Prints the address that it listens on and serves until it is killed.

use std::io::Write as _;

use kvapi::Address;
use kvstore::config::Config;
use kvstore::server::Server;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or_else(|| anyhow::anyhow!("name a data folder"))?;
    let address = args.next().unwrap_or_else(|| "127.0.0.1:0".into());
    let config = Config {
        http_addrs: vec![address.parse::<Address>().map_err(anyhow::Error::msg)?],
        raft_addr: "127.0.0.1:0".into(),
        ..Config::new(dir)
    };
    let server = Server::start(config).await?;
    for address in server.http_addrs() {
        writeln!(std::io::stdout(), "{address}")?;
    }
    Err(server.failed().await)
}
