//! Host names: what `/etc/hosts` says, which names are asked for, and what a name server's answer means.

use core::net::IpAddr;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, TYPE};

/// The two kinds of addresses, which are asked for one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    V4,
    V6,
}

/// What came back from a name server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The addresses; none if the name has none of this kind.
    Addresses(Vec<IpAddr>),
    /// It is longer than a datagram: ask over TCP.
    Cut,
    /// The server could not tell.
    Failed,
    /// No answer to this question: somebody else's, or noise.
    Foreign,
}

/// The addresses of a name in a text like hosts(5), in its order.
pub(crate) fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else {
            continue;
        };
        if words.any(|word| word.eq_ignore_ascii_case(name)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// `localhost` and what lies in it is this machine, whatever a name server says.
pub(crate) fn is_local(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let top = name.rsplit('.').next().unwrap_or(name);
    top.eq_ignore_ascii_case("localhost")
}

/// The names to ask for, in their order: as it is and in each folder of the search list. A name that ends with a dot is whole.
pub(crate) fn candidates<'a>(name: &str, dots: u32, search: impl Iterator<Item = &'a String>) -> Vec<String> {
    if let Some(whole) = name.strip_suffix('.') {
        return vec![whole.to_owned()];
    }
    let within = search.map(|domain| match domain.trim_matches('.') {
        "" => name.to_owned(),
        domain => format!("{name}.{domain}"),
    });
    let own = std::iter::once(name.to_owned());
    let mut all: Vec<String> = if name.matches('.').count() >= dots as usize {
        own.chain(within).collect()
    } else {
        within.chain(own).collect()
    };
    all.dedup();
    all
}

/// The question for a name; none if nothing can be called so.
pub(crate) fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    if name.split('.').any(str::is_empty) {
        return None;
    }
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let question = Question::new(Name::new(name).ok()?, of(kind), CLASS::IN.into(), false);
    packet.questions.push(question);
    packet.build_bytes_vec().ok()
}

/// What the bytes of a name server mean for this question.
pub(crate) fn answer(bytes: &[u8], id: u16, name: &str, kind: Kind) -> Answer {
    let (Ok(packet), Ok(name)) = (Packet::parse(bytes), Name::new(name)) else {
        return Answer::Foreign;
    };
    let ours = |question: &Question<'_>| question.qname == name && question.qtype == of(kind);
    let asked = packet.questions.is_empty() || packet.questions.iter().all(ours);
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) || !asked {
        return Answer::Foreign;
    }
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Answer::Cut;
    }
    match packet.rcode() {
        RCODE::NoError => Answer::Addresses(addresses(&packet, &name, kind)),
        RCODE::NameError => Answer::Addresses(Vec::new()),
        _ => Answer::Failed,
    }
}

/// The addresses of the name and of those that it stands for.
fn addresses(packet: &Packet<'_>, name: &Name<'_>, kind: Kind) -> Vec<IpAddr> {
    let mut names = vec![name.clone()];
    // An alias may stand behind the address that it leads to.
    while let Some(next) = packet.answers.iter().find_map(|record| match &record.rdata {
        RData::CNAME(alias) if names.contains(&record.name) && !names.contains(&alias.0) => Some(alias.0.clone()),
        _ => None,
    }) {
        names.push(next);
    }
    let told = packet.answers.iter().filter(|record| names.contains(&record.name));
    told.filter_map(|record| match (&record.rdata, kind) {
        (RData::A(a), Kind::V4) => Some(IpAddr::V4(a.address.into())),
        (RData::AAAA(a), Kind::V6) => Some(IpAddr::V6(a.address.into())),
        _ => None,
    })
    .collect()
}

fn of(kind: Kind) -> QTYPE {
    match kind {
        Kind::V4 => TYPE::A.into(),
        Kind::V6 => TYPE::AAAA.into(),
    }
}

#[cfg(test)]
mod tests {
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, CNAME};

    use super::*;

    fn texts(addresses: &[IpAddr]) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn hosts_has_names_and_aliases_of_any_case_and_several_addresses() {
        let text = "127.0.0.1 localhost\n# 10.0.0.9 store\n10.0.0.1\tStore store.example.org # of ours\nbad store\n::1 \
                    localhost ip6-localhost\n10.0.0.2 store\n10.0.0.1 store\n";
        assert_eq!(texts(&in_hosts(text, "store")), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(texts(&in_hosts(text, "STORE.example.org.")), ["10.0.0.1"]);
        assert_eq!(texts(&in_hosts(text, "localhost")), ["127.0.0.1", "::1"]);
        assert!(in_hosts(text, "of").is_empty() && in_hosts(text, "10.0.0.1").is_empty());
    }

    #[test]
    fn localhost_and_what_lies_in_it_is_this_machine() {
        assert!(["localhost", "LocalHost.", "a.localhost"].into_iter().all(is_local));
        assert!(!["localhost.example.org", "mylocalhost", ""].into_iter().any(is_local));
    }

    #[test]
    fn a_name_is_asked_for_in_the_search_list_before_or_after_itself() {
        let search = ["x.test".to_owned(), "test.".to_owned()];
        let of = |name, dots| candidates(name, dots, search.iter());
        assert_eq!(of("store", 1), ["store.x.test", "store.test", "store"]);
        assert_eq!(of("a.store", 1), ["a.store", "a.store.x.test", "a.store.test"]);
        assert_eq!(of("a.store", 5), ["a.store.x.test", "a.store.test", "a.store"]);
        assert_eq!(of("store.", 5), ["store"]);
        assert_eq!(candidates("store", 1, [".".to_owned()].iter()), ["store"]);
    }

    fn told(id: u16, name: &'static str, records: &[(&'static str, RData<'static>)]) -> Packet<'static> {
        let mut packet = Packet::new_reply(id);
        let question = Question::new(Name::new_unchecked(name), TYPE::A.into(), CLASS::IN.into(), false);
        packet.questions.push(question);
        for (name, data) in records {
            let record = ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, 60, data.clone());
            packet.answers.push(record);
        }
        packet
    }

    fn alias(name: &'static str) -> RData<'static> {
        RData::CNAME(CNAME(Name::new_unchecked(name)))
    }

    fn a(last: u8) -> RData<'static> {
        RData::A(A {
            address: u32::from_be_bytes([10, 0, 0, last]),
        })
    }

    #[test]
    fn aliases_are_followed_in_any_order_and_strangers_are_not_believed() {
        let records = [
            ("b.test", a(2)),
            ("c.test", alias("b.test")),
            ("other.test", a(9)),
            ("STORE.test", alias("c.test")),
            ("b.test", a(3)),
            ("b.test", alias("store.test")),
        ];
        let bytes = told(7, "Store.Test", &records).build_bytes_vec().unwrap();
        let Answer::Addresses(found) = answer(&bytes, 7, "store.test", Kind::V4) else {
            panic!("no addresses")
        };
        assert_eq!(texts(&found), ["10.0.0.2", "10.0.0.3"]);
        for (id, name, kind) in [
            (8, "store.test", Kind::V4),
            (7, "stores.test", Kind::V4),
            (7, "store.test", Kind::V6),
        ] {
            assert_eq!(answer(&bytes, id, name, kind), Answer::Foreign);
        }
        let query = question(7, "store.test", Kind::V4).unwrap();
        assert_eq!(
            answer(&query, 7, "store.test", Kind::V4),
            Answer::Foreign,
            "our own question"
        );
        assert_eq!(answer(b"noise", 7, "store.test", Kind::V4), Answer::Foreign);
    }

    #[test]
    fn a_name_without_addresses_is_not_a_server_that_fails() {
        for (code, flags, meaning) in [
            (RCODE::NoError, PacketFlag::RESPONSE, Answer::Addresses(Vec::new())),
            (RCODE::NameError, PacketFlag::RESPONSE, Answer::Addresses(Vec::new())),
            (RCODE::ServerFailure, PacketFlag::RESPONSE, Answer::Failed),
            (RCODE::Refused, PacketFlag::RESPONSE, Answer::Failed),
            (RCODE::NoError, PacketFlag::TRUNCATION, Answer::Cut),
        ] {
            let mut packet = told(1, "store", &[]);
            *packet.rcode_mut() = code;
            packet.set_flags(flags);
            let bytes = packet.build_bytes_vec().unwrap();
            assert_eq!(answer(&bytes, 1, "store", Kind::V4), meaning, "{code:?}");
        }
    }

    #[test]
    fn what_nothing_can_be_called_is_not_asked_for() {
        for name in ["a..b", ".", "", &"a".repeat(64), &"a.".repeat(200)] {
            assert_eq!(question(1, name, Kind::V4), None, "{name}");
        }
        assert!(question(1, "my_store-1.test", Kind::V6).is_some());
    }
}
