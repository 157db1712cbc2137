//! How many connections may be open: in all, and from one client.
//!
//! Whoever comes when there is no place is told so and sent away: a connection that only waits to be
//! accepted looks to its client like a server that hangs.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections in all, if the process may open that many files.
pub const MAX_CONNECTIONS: usize = 65_536;

/// Connections from one address, if so many are less than seven eighths of all.
pub const MAX_PER_CLIENT: usize = 16_384;

/// The numbers of a server, shared by all its doors.
#[derive(Debug)]
pub struct Places {
    most: usize,
    most_per_client: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    refused: Refused,
    by_client: HashMap<IpAddr, usize>,
}

/// Connections that were sent away since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// Their client had too many.
    pub for_client: u64,
    /// There were too many.
    pub at_all: u64,
    /// What they began with was too long, or no HTTP.
    pub for_head: u64,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// The client has too many connections.
    ForClient,
    /// There are too many connections.
    AtAll(usize),
}

impl NoPlace {
    /// The answer, to whatever was going to be asked.
    #[must_use]
    pub fn response(self) -> String {
        let (status, text) = match self {
            // Consul's words: its clients know them.
            Self::ForClient => (
                "429 Too Many Requests",
                "Your IP is issuing too many concurrent connections, please rate limit your calls\n".to_owned(),
            ),
            Self::AtAll(most) => (
                "503 Service Unavailable",
                format!("the server has all the connections that it takes ({most}); close some, or try again\n"),
            ),
        };
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )
    }
}

impl Places {
    /// At most `most` connections, and `per_client` of each address; if that is not said, so many that
    /// one client cannot take them all.
    #[must_use]
    pub fn new(most: usize, per_client: Option<usize>) -> Arc<Self> {
        let usual = MAX_PER_CLIENT.min(most - most / 8);
        Arc::new(Self {
            most,
            most_per_client: per_client.unwrap_or(usual),
            taken: Mutex::default(),
        })
    }

    /// A place for a connection, until it is dropped. A unix socket has no address, and only the number
    /// in all binds it.
    pub fn take(self: &Arc<Self>, client: Option<IpAddr>) -> Result<Place, NoPlace> {
        let client = client.map(network);
        let mut guard = self.lock();
        let taken = &mut *guard;
        if taken.all >= self.most {
            taken.refused.at_all += 1;
            return Err(NoPlace::AtAll(self.most));
        }
        if let Some(client) = client {
            let count = taken.by_client.entry(client).or_default();
            if *count >= self.most_per_client {
                taken.refused.for_client += 1;
                return Err(NoPlace::ForClient);
            }
            *count += 1;
        }
        taken.all += 1;
        drop(guard);
        Ok(Place {
            places: Arc::clone(self),
            client,
        })
    }

    /// How many connections are open.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.lock().all
    }

    /// How many were sent away.
    #[must_use]
    pub fn refused(&self) -> Refused {
        self.lock().refused
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Places::take`].
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    client: Option<IpAddr>,
}

impl Place {
    /// What the connection began with could not be taken.
    pub(super) fn refuse_head(&self) {
        self.places.lock().refused.for_head += 1;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all -= 1;
        let Some(client) = self.client else { return };
        if let Some(count) = taken.by_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                taken.by_client.remove(&client);
            }
        }
    }
}

/// Whom an address counts for: itself, but of an IPv6 client its network, since it may choose among
/// 2^64 addresses there.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn one_client_has_so_many_places_and_leaves_the_others_to_others() {
        let places = Places::new(4, Some(2));
        let one = places.take(address("10.0.0.1")).unwrap();
        let _two = places.take(address("::ffff:10.0.0.1")).unwrap();

        assert_eq!(places.take(address("10.0.0.1")).unwrap_err(), NoPlace::ForClient);
        let _other = places.take(address("10.0.0.2")).unwrap();
        drop(one);
        let _again = places.take(address("10.0.0.1")).unwrap();
        let _unix = places.take(None).unwrap();
        assert_eq!(places.take(None).unwrap_err(), NoPlace::AtAll(4));
        assert_eq!(places.taken(), 4);
        assert_eq!(
            places.refused(),
            Refused {
                for_client: 1,
                at_all: 1,
                for_head: 0
            }
        );
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let places = Places::new(9, Some(1));
        let _first = places.take(address("2001:db8::1")).unwrap();

        assert!(places.take(address("2001:db8::2")).is_err());
        assert!(places.take(address("2001:db8:0:1::2")).is_ok());
    }

    #[test]
    fn whatever_was_taken_is_given_back() {
        let places = Places::new(2, None);

        for n in 0..10 {
            let _place = places.take(address(&format!("10.0.0.{n}"))).unwrap();
        }

        assert_eq!(places.taken(), 0);
        assert!(places.lock().by_client.is_empty());
    }

    #[test]
    fn a_refusal_is_a_whole_answer_with_a_reason() {
        for (refusal, status, reason) in [
            (NoPlace::ForClient, "429", "rate limit your calls\n"),
            (NoPlace::AtAll(7), "503", "(7); close some, or try again\n"),
        ] {
            let text = refusal.response();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status} ")) && body.ends_with(reason),
                "{text}"
            );
            assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{text}");
        }
    }
}
