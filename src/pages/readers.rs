//! Access to pages: networks, host names, and pages per second.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr as _;

use etracker_core::http::request::Request;
use etracker_core::http::request::Version;
use etracker_core::ipnet::IpNet;
use http::uri::Authority;

/// The networks that may read pages, and the host names of the tracker.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    /// Every address may read if this is empty.
    networks: Vec<IpNet>,
    /// Without a dot at the end.
    hosts: Vec<String>,
}

impl Readers {
    /// Lets these networks read, or every address if there are none. With networks a request must be for one of these hosts, an
    /// address or localhost.
    pub(crate) fn new(networks: Vec<IpNet>, hosts: impl IntoIterator<Item = String>) -> Self {
        let hosts = hosts
            .into_iter()
            .map(|host| host.trim_end_matches('.').to_owned());
        Self {
            networks,
            hosts: hosts.filter(|host| !host.is_empty()).collect(),
        }
    }

    pub(super) fn may_read(&self, reader: IpAddr) -> bool {
        self.networks.is_empty() || self.is_listed(reader)
    }

    /// The address whose budget a reader uses: its own if it is in a named network, else its IPv4 address or IPv6 /64.
    pub(super) fn budget_key(&self, reader: IpAddr) -> IpAddr {
        match reader {
            IpAddr::V6(ip) if !self.is_listed(reader) => {
                Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into()
            }
            IpAddr::V4(_) | IpAddr::V6(_) => reader,
        }
    }

    /// The host of `request`, if it is not the tracker's; empty if it is missing or doubled. Otherwise a site could resolve its
    /// name to the tracker's address (DNS rebinding) and read pages in the browser of a permitted reader.
    pub(super) fn foreign_host<'a>(&self, request: &Request<'a>) -> Option<&'a [u8]> {
        if self.networks.is_empty() {
            return None;
        }
        let mut hosts = request.fields("host");
        let host = match (hosts.next(), hosts.next()) {
            // The host of a target in absolute-form counts, whatever `Host` says (RFC 9112, section 3.2.2).
            _ if let Some(authority) = request.authority() => authority,
            (Some(host), None) => host,
            // Before HTTP/1.1 there is no such field, and no browser is as old as that.
            (None, _) if request.version == Version::Http10 => return None,
            // None, or two of them (RFC 9112, section 3.2).
            (None | Some(_), _) => return Some(b""),
        };
        (!self.is_known(host)).then_some(host)
    }

    fn is_listed(&self, reader: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&reader))
    }

    fn is_known(&self, host: &[u8]) -> bool {
        let Some(host) = name_of(host) else {
            return false;
        };
        if let Some(ip) = host.strip_prefix('[') {
            return ip
                .strip_suffix(']')
                .is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
        }
        let host = host.strip_suffix('.').unwrap_or(&host);
        let mut hosts = self.hosts.iter().map(String::as_str).chain([LOCALHOST]);
        // No DNS server can make an address stand for another host.
        host.parse::<Ipv4Addr>().is_ok() || hosts.any(|known| known.eq_ignore_ascii_case(host))
    }
}

/// The host in the value of a `Host` field or in an authority, which is a host and perhaps a port (RFC 9110, section 7.2).
pub(super) fn name_of(host: &[u8]) -> Option<String> {
    let authority = Authority::from_str(str::from_utf8(host).ok()?.trim()).ok()?;
    // The library takes `[::1]evil.example`, `localhost:evil` and `user@host` for authorities.
    let after = authority.as_str().strip_prefix(authority.host())?;
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = after.is_empty() || after.strip_prefix(':').is_some_and(is_port);
    is_whole.then(|| authority.host().to_owned())
}

const LOCALHOST: &str = "localhost";

/// Counts the pages of the current second by reader, so that none takes the time of announces and other readers. It is a count-min
/// sketch in fixed memory: each reader has one place in every row, which others may share; the least of its counts is closest to
/// the truth.
#[derive(Debug)]
pub(super) struct Budget {
    second: u64,
    hasher: RandomState,
    rows: Box<[[u8; PLACES]; ROWS]>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            second: 0,
            hasher: RandomState::new(),
            rows: Box::new([[0; PLACES]; ROWS]),
        }
    }
}

impl Budget {
    /// Takes one page from the budget of `reader` for this second; false if none is left.
    pub(super) fn take(&mut self, second: u64, reader: IpAddr) -> bool {
        if self.second != second {
            self.second = second;
            self.rows.iter_mut().for_each(|row| row.fill(0));
        }
        let places = self.places(reader);
        let taken = |rows: &[[u8; PLACES]; ROWS]| {
            let each = rows.iter().zip(places);
            each.filter_map(|(row, place)| row.get(place).copied()).min()
        };
        let least = taken(&self.rows).unwrap_or_default();
        if least >= PAGES_PER_READER_AND_SECOND {
            return false;
        }
        for (row, place) in self.rows.iter_mut().zip(places) {
            if let Some(taken) = row.get_mut(place) {
                *taken = (*taken).max(least + 1);
            }
        }
        true
    }

    fn places(&self, reader: IpAddr) -> [usize; ROWS] {
        let hash = self.hasher.hash_one(reader).to_le_bytes();
        let (pairs, _) = hash.as_chunks();
        std::array::from_fn(|row| {
            let pair = pairs.get(row).copied().unwrap_or_default();
            usize::from(u16::from_le_bytes(pair)) % PLACES
        })
    }
}

/// Pages of one reader in a second: five times as many as opening the live page takes.
const PAGES_PER_READER_AND_SECOND: u8 = 20;
/// Rows of the table, each by 16 bits of a reader's hash.
const ROWS: usize = 4;
/// Places of a row. A thousand readers that use up their budgets take that of one other in five hundred.
const PLACES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn named(networks: &[&str], hosts: &[&str]) -> Readers {
        let networks = networks.iter().map(|network| network.parse().unwrap());
        Readers::new(networks.collect(), hosts.iter().map(|&host| host.to_owned()))
    }

    fn taken(budget: &mut Budget, second: u64, reader: IpAddr) -> usize {
        (0..1000).filter(|_| budget.take(second, reader)).count()
    }

    #[test]
    fn a_hundred_readers_who_ask_for_all_they_can_take_nothing_from_another() {
        let mut budget = Budget::default();
        for host in 0..100 {
            taken(&mut budget, 7, [192, 0, 2, host].into());
        }
        assert_eq!(taken(&mut budget, 7, ip("198.51.100.1")), 20);
        assert_eq!(taken(&mut budget, 7, ip("198.51.100.1")), 0);
        assert_eq!(taken(&mut budget, 8, ip("198.51.100.1")), 20);
    }

    #[test]
    fn however_many_readers_ask_the_memory_stays_and_all_have_an_end() {
        let mut budget = Budget::default();
        let pages: usize = (0..20_000)
            .map(|host| taken(&mut budget, 7, IpAddr::V4(host.into())))
            .sum();
        assert!(pages <= ROWS * PLACES * usize::from(PAGES_PER_READER_AND_SECOND));
    }

    #[test]
    fn a_slash_64_is_one_reader_unless_its_addresses_are_named() {
        let (first, second) = (ip("2001:db8::1"), ip("2001:db8::2:3:4:5"));
        let all = named(&[], &[]);
        assert_eq!(all.budget_key(first), all.budget_key(second));
        assert_ne!(all.budget_key(first), all.budget_key(ip("2001:db8:0:1::1")));
        let some = named(&["2001:db8::1/128", "2001:db8::2:0:0:0/80"], &[]);
        assert_ne!(some.budget_key(first), some.budget_key(second));
    }

    #[test]
    fn without_networks_everyone_reads() {
        assert!(named(&[], &[]).may_read(ip("192.0.2.1")));
        let readers = named(&["192.0.2.0/24", "::1/128"], &[]);
        assert!(readers.may_read(ip("192.0.2.1")) && readers.may_read(ip("::1")));
        assert!(!readers.may_read(ip("192.0.3.1")) && !readers.may_read(ip("::2")));
    }

    #[test]
    fn a_name_that_is_not_the_trackers_is_foreign_where_readers_are_chosen() {
        let head = |host: &str| format!("GET / HTTP/1.1\r\n{host}\r\n");
        let is_foreign = |readers: &Readers, host: &str| {
            let head = if host.starts_with("GET") {
                host.to_owned()
            } else {
                head(host)
            };
            readers
                .foreign_host(&Request::parse(head.as_bytes()).unwrap())
                .is_some()
        };
        let readers = named(&["127.0.0.1/32"], &["tracker.example", "Box"]);
        for host in [
            "GET / HTTP/1.0\r\n\r\n",
            "GET http://localhost:6969/stats HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            "GET http://[::1]/ HTTP/1.0\r\n\r\n",
            "Host: localhost:\r\n",
            "Host: 192.0.2.1\r\n",
            "Host: 192.0.2.1:6969\r\n",
            "Host: [::1]:6969\r\n",
            "Host: [2001:db8::1]\r\n",
            "Host: localhost:6969\r\n",
            "Host: LocalHost.\r\n",
            "Host: tracker.example:6969\r\n",
            "Host: Tracker.Example.\r\n",
            "Host: box\r\n",
        ] {
            assert!(!is_foreign(&readers, host), "{host}");
        }
        for host in [
            "Host: evil.example\r\n",
            "Host: localhost.evil.example\r\n",
            "Host: tracker.example.evil.example\r\n",
            "Host: 127.0.0.1.evil.example:6969\r\n",
            "Host: localhost@evil.example\r\n",
            "Host: evil.example@localhost\r\n",
            "Host: /\r\n",
            "Host: \u{fc}.example\r\n",
            "Host: localhost\r\nHost: evil.example\r\n",
            "Host: localhost\r\nHost: localhost\r\n",
            "",
            "Host:\r\n",
            "Host:  \r\n",
            "Host: :6969\r\n",
            "Host: [::1]evil.example\r\n",
            "Host: [::1]:evil\r\n",
            "Host: [localhost]\r\n",
            "Host: ::1\r\n",
            "Host: localhost:evil\r\n",
            "Host: localhost:80:80\r\n",
            "Host: localhost, evil.example\r\n",
            "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET http://localhost@evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET http:///stats HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET http://evil.example/ HTTP/1.0\r\n\r\n",
        ] {
            assert!(is_foreign(&readers, host), "{host}");
            assert!(!is_foreign(&named(&[], &[]), host), "pages for everyone: {host}");
        }
    }
}
