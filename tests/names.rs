//! Host names are looked up without the C library, whose modules end a static program.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::Context as _;
use tokio::net::UdpSocket;

use crate::harness::{Exit, Home, Options, Program, Server, binary, command, eventually, note_left_out, test};

/// Says where the store is to whoever asks for it; about any other name, that it is not there.
async fn name_server() -> anyhow::Result<Ipv4Addr> {
    let mut taken = None;
    for _ in 0..100 {
        // Name servers listen on one port, but this machine has many addresses.
        let address = Ipv4Addr::from(0x7f01_0000 + rand::random_range(0..0xff_0000));
        match UdpSocket::bind((address, 53)).await {
            Ok(socket) => {
                tokio::spawn(answers(socket));
                return Ok(address);
            }
            Err(error) => taken = Some(error),
        }
    }
    Err(taken.context("no address")?.into())
}

async fn answers(socket: UdpSocket) {
    let mut query = [0; 512];
    while let Ok((count, from)) = socket.recv_from(&mut query).await {
        let query = query.get(..count).unwrap_or_default();
        let mut told = query.to_vec();
        let known = query.get(12..).unwrap_or_default().starts_with(b"\x05store\x04test\0");
        let v4 = query.ends_with(&[0, 1, 0, 1]);
        if let Some(head) = told.get_mut(2..8) {
            // An answer, to one question; code 3 is: no such name.
            head.copy_from_slice(&[0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(known && v4)]);
        }
        if known && v4 {
            // The name of the question, its kind, a time, four bytes.
            told.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
        }
        let _ = socket.send_to(&told, from).await;
    }
}

/// A program where the C library finds no name at all: it is told of nothing but a module that is not there.
fn alone_with_files(home: &Home, name: &str, line: &[&str]) -> anyhow::Result<Program> {
    let script = "mount --bind nsswitch.conf /etc/nsswitch.conf; mount --bind hosts /etc/hosts; \
                  mount --bind resolv.conf /etc/resolv.conf; exec \"$@\"";
    let mut command = command(home, "unshare");
    command.args(["--mount", "sh", "-euc", script, "sh"]).args(line);
    Program::start(home, name, &mut command)
}

#[test]
fn names_come_from_hosts_and_name_servers_and_no_module_of_the_c_library_is_asked() {
    test(async |home| {
        if !Command::new("unshare").args(["--mount", "true"]).status()?.success() {
            note_left_out("no mount namespaces, so no host names were looked up in files of a test's own");
            return Ok(());
        }
        let hosts = ["listed", "localhost", "a.localhost", "store.test", "store"];
        let options = Options {
            flags: hosts.iter().map(|host| format!("--allowed-host={host}")).collect(),
            ..Options::default()
        };
        let server = Server::with(home, options).await?;
        server.put("a", "found").await?;
        let address = server.address.to_string();
        let port = address.rsplit(':').next().context("a port")?;
        home.write("nsswitch.conf", "hosts: nosuchmodule\n")?;
        home.write("hosts", "127.0.0.1 listed\n")?;
        home.write(
            "resolv.conf",
            format!("nameserver {}\nsearch nowhere.test test\n", name_server().await?),
        )?;
        home.write("t", "{{key \"a\"}}")?;
        let (agent, keyway) = (binary("keyway-agent")?, binary("keyway")?);
        let (agent, keyway) = (agent.display().to_string(), keyway.display().to_string());

        for host in hosts {
            let store = format!("http://{host}:{port}");
            let out = format!("{host}.out");
            let line = [agent.as_str(), "once", "--addr", &store, "--retry-for", "30s", "-t"];
            let mut once = alone_with_files(home, "agent", &[&line[..], &[&format!("t:{out}")]].concat())?;
            assert_eq!(once.exit().await?, Exit::Code(0), "{host}\n{}", once.log());
            assert_eq!(home.read(&out)?, "found", "{host}");
            let line = [
                keyway.as_str(),
                "kv",
                "watch",
                "a",
                "--initial",
                "--once",
                "--addr",
                &store,
            ];
            let mut watch = alone_with_files(home, "watch", &line)?;
            assert_eq!(watch.exit().await?, Exit::Code(0), "{host}\n{}", watch.log());
        }
        let line = [keyway.as_str(), "kv", "watch", "a", "--addr", "http://absent.test"];
        let absent = alone_with_files(home, "absent", &line)?;
        let told = "there is no host `absent.test`";
        eventually("what is wrong", async || absent.log().contains(told).then_some(())).await
    });
}
