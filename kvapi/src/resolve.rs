//! Finds the addresses of a host name without the C library.
//!
//! That one would load the modules that `nsswitch.conf` names, which ends a static program where they were made for
//! another version of it. So a name is what `/etc/hosts` says, else what the name servers of `/etc/resolv.conf` say; both
//! are read anew each time, for a connection is rare.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use resolv_conf::{Config, ScopedIp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::names::{Answer, Kind, answer, candidates, in_hosts, is_local, question};

/// How long one name server may take, before the next one is asked.
const TRY: Duration = Duration::from_secs(1);

/// How long all of it may take.
const LOOKUP: Duration = Duration::from_secs(5);

/// As the C library: so many name servers of the list are asked.
const SERVERS: usize = 3;

/// The most that comes in one datagram.
const DATAGRAM: usize = 4096;

/// The addresses of a host, at least one.
pub(crate) async fn addresses(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let read = |path| {
        std::fs::read(path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    };
    let resolver = Resolver::of(read("/etc/hosts"), &read("/etc/resolv.conf"));
    timeout(LOOKUP, resolver.addresses(host))
        .await
        .unwrap_or_else(|_| Err(resolver.silent(host)))
}

struct Resolver {
    hosts: String,
    config: Config,
    servers: Vec<SocketAddr>,
}

impl Resolver {
    fn of(hosts: String, conf: &str) -> Self {
        // Lines that cannot be read are left out, as everybody does.
        let (config, _) = Config::parse_with_errors(conf.as_bytes());
        let mut servers: Vec<SocketAddr> = config.nameservers.iter().take(SERVERS).map(socket).collect();
        if servers.is_empty() {
            servers.push((Ipv4Addr::LOCALHOST, 53).into());
        }
        Self { hosts, config, servers }
    }

    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let listed = in_hosts(&self.hosts, host);
        if !listed.is_empty() {
            return Ok(listed);
        }
        if is_local(host) {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let search = self.config.get_last_search_or_domain();
        let mut unsure = false;
        for name in candidates(host, self.config.ndots, search) {
            match self.lookup(&name).await {
                Some(found) if !found.is_empty() => return Ok(found),
                Some(_) => {}
                None => unsure = true,
            }
        }
        if unsure {
            return Err(self.silent(host));
        }
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no host `{host}`"),
        ))
    }

    /// The addresses of exactly this name; nothing if no server can tell.
    async fn lookup(&self, name: &str) -> Option<Vec<IpAddr>> {
        for _ in 0..self.config.attempts.clamp(1, 2) {
            for server in &self.servers {
                let (v4, v6) = tokio::join!(ask(*server, name, Kind::V4), ask(*server, name, Kind::V6));
                let sure = v4.is_some() && v6.is_some();
                let found: Vec<IpAddr> = [v4, v6].into_iter().flatten().flatten().collect();
                // Some servers are silent for one kind.
                if sure || !found.is_empty() {
                    return Some(found);
                }
            }
        }
        None
    }

    fn silent(&self, host: &str) -> io::Error {
        let servers: Vec<String> = self.servers.iter().map(|server| server.ip().to_string()).collect();
        let told = format!("no name server answers for `{host}` (asked {})", servers.join(", "));
        io::Error::new(io::ErrorKind::TimedOut, told)
    }
}

fn socket(server: &ScopedIp) -> SocketAddr {
    match server {
        ScopedIp::V4(address) => (*address, 53).into(),
        ScopedIp::V6(address, scope) => {
            let scope = scope.as_deref().and_then(|scope| scope.parse().ok());
            SocketAddrV6::new(*address, 53, 0, scope.unwrap_or(0)).into()
        }
    }
}

/// One server's answer for one kind of address; nothing if it has none in time.
async fn ask(server: SocketAddr, name: &str, kind: Kind) -> Option<Vec<IpAddr>> {
    let id = rand::random();
    let Some(query) = question(id, name, kind) else {
        return Some(Vec::new()); // nothing can be called so
    };
    let asked = async {
        let mut told = datagram(server, &query, |bytes| answer(bytes, id, name, kind)).await?;
        if told == Answer::Cut {
            told = answer(&stream(server, &query).await?, id, name, kind);
        }
        io::Result::Ok(told)
    };
    match timeout(TRY, asked).await {
        Ok(Ok(Answer::Addresses(found))) => Some(found),
        _ => None,
    }
}

/// Waits for what is an answer to this question.
async fn datagram(server: SocketAddr, query: &[u8], read: impl Fn(&[u8]) -> Answer) -> io::Result<Answer> {
    let own: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((own, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let count = socket.recv(&mut buffer).await?;
        match read(buffer.get(..count).unwrap_or_default()) {
            Answer::Foreign => {}
            told => return Ok(told),
        }
    }
}

async fn stream(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use simple_dns::rdata::{A, AAAA, RData};
    use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
    use tokio::net::TcpListener;

    use super::*;

    /// A name server that knows one host, which has too many addresses for a datagram.
    async fn server(knows: &'static str) -> SocketAddr {
        // A port that is free for the one may be another's for the other.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; DATAGRAM];
            loop {
                let (count, from) = udp.recv_from(&mut buffer).await.unwrap();
                // Noise comes first, as it may.
                udp.send_to(b"noise", from).await.unwrap();
                udp.send_to(&told(&buffer[..count], knows, true), from).await.unwrap();
            }
        });
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let mut query = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut query).await.unwrap();
                let told = told(&query, knows, false);
                stream.write_u16(u16::try_from(told.len()).unwrap()).await.unwrap();
                stream.write_all(&told).await.unwrap();
            }
        });
        address
    }

    fn told(query: &[u8], knows: &str, datagram: bool) -> Vec<u8> {
        let query = Packet::parse(query).unwrap();
        let mut reply = query.clone().into_reply();
        let question = query.questions.first().unwrap();
        let v4 = question.qtype == QTYPE::TYPE(TYPE::A);
        if question.qname.to_string() != knows {
            *reply.rcode_mut() = RCODE::NameError;
        } else if v4 && datagram {
            reply.set_flags(PacketFlag::TRUNCATION);
        } else if v4 {
            for last in 1..=200 {
                let address = u32::from(Ipv4Addr::new(10, 0, 0, last));
                let record = ResourceRecord::new(question.qname.clone(), CLASS::IN, 1, RData::A(A { address }));
                reply.answers.push(record);
            }
        } else {
            let address = u128::from(Ipv6Addr::LOCALHOST);
            let record = ResourceRecord::new(question.qname.clone(), CLASS::IN, 1, RData::AAAA(AAAA { address }));
            reply.answers.push(record);
        }
        reply.build_bytes_vec().unwrap()
    }

    fn asking(servers: Vec<SocketAddr>, hosts: &str, conf: &str) -> Resolver {
        let resolver = Resolver::of(hosts.to_owned(), conf);
        Resolver { servers, ..resolver }
    }

    #[tokio::test]
    async fn a_name_is_found_in_the_search_list_over_tcp_where_a_datagram_is_too_short() {
        let servers = vec![server("store.b.test").await];
        let resolver = asking(servers, "", "search a.test b.test\n");
        let found = resolver.addresses("store").await.unwrap();
        assert_eq!(found.len(), 201);
        assert!(found.contains(&Ipv4Addr::new(10, 0, 0, 200).into()));
        assert!(found.contains(&Ipv6Addr::LOCALHOST.into()));

        let absent = resolver.addresses("other.test").await.unwrap_err();
        assert_eq!(absent.to_string(), "there is no host `other.test`");
    }

    #[tokio::test]
    async fn hosts_and_localhost_come_first_and_a_silent_server_is_not_the_last() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let silent = silent.local_addr().map(|address| (silent, address)).unwrap();
        let servers = vec![silent.1, server("store").await];
        let resolver = asking(servers, "10.1.1.1 listed\n", "");
        let began = Instant::now();
        assert_eq!(
            resolver.addresses("LISTED").await.unwrap(),
            [IpAddr::V4(Ipv4Addr::new(10, 1, 1, 1))]
        );
        assert_eq!(resolver.addresses("localhost").await.unwrap().len(), 2);
        assert!(began.elapsed() < TRY, "nobody was asked");
        assert_eq!(resolver.addresses("store").await.unwrap().len(), 201);

        let resolver = asking(vec![silent.1], "", "options attempts:1\n");
        let told = resolver.addresses("store").await.unwrap_err().to_string();
        assert_eq!(told, "no name server answers for `store` (asked 127.0.0.1)");
    }

    #[test]
    fn three_name_servers_are_taken_else_this_machine() {
        let conf = "nameserver 10.0.0.1\nnameserver fe80::1%2\nnonsense\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n";
        let servers = |conf| Resolver::of(String::new(), conf).servers;
        let texts: Vec<String> = servers(conf).iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["10.0.0.1:53", "[fe80::1%2]:53", "10.0.0.3:53"]);
        assert_eq!(servers(""), [SocketAddr::from(([127, 0, 0, 1], 53))]);
    }
}
