//! Lists of addresses.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::str;

use ipnet::IpNet;

use super::{Entry, Fault};

/// A set of networks. A lookup is a binary search.
#[derive(Clone, Debug, Default)]
pub struct AddressList {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl AddressList {
    /// The set of all addresses in these networks.
    #[must_use]
    pub fn new(networks: &[Network]) -> Self {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for Network(network) in networks {
            match network {
                IpNet::V4(network) => v4.push((network.network().to_bits(), network.broadcast().to_bits())),
                IpNet::V6(network) => v6.push((network.network().to_bits(), network.broadcast().to_bits())),
            }
        }
        Self {
            v4: Ranges::new(v4),
            v6: Ranges::new(v6),
        }
    }

    /// Whether the address is in one of the networks; a mapped address counts as the IPv4 address in it.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => self.v4.contain(ip.to_bits()),
            IpAddr::V6(ip) => self.v6.contain(ip.to_bits()),
        }
    }

    /// Bytes of memory that the set takes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        size_of_val(&*self.v4.0) + size_of_val(&*self.v6.0)
    }

    /// Ranges of addresses in the set: networks that touch are one.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.v4.0.len() + self.v6.0.len()
    }

    /// Whether no address is in the set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.v4.0.is_empty() && self.v6.0.is_empty()
    }
}

/// A line: a network as address and prefix length, or an address. Bits below the prefix do not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub IpNet);

impl Entry for Network {
    fn parse(line: &[u8]) -> Result<Self, Fault> {
        let line = str::from_utf8(line).map_err(|_| Fault::NotNetwork)?;
        let network = line.parse::<IpNet>().ok();
        let network = network.or_else(|| line.parse::<IpAddr>().ok().map(IpNet::from));
        network.and_then(unmapped).map(Self).ok_or(Fault::NotNetwork)
    }
}

/// Unmaps a network of IPv4-mapped addresses: senders are unmapped before they are looked up.
fn unmapped(network: IpNet) -> Option<IpNet> {
    let prefix_len = network.prefix_len();
    match (network.addr(), network.addr().to_canonical()) {
        (IpAddr::V6(_), ip @ IpAddr::V4(_)) => IpNet::new(ip, prefix_len.checked_sub(96)?).ok(),
        _ => Some(network),
    }
}

/// First and last address of each range. Invariant: ascending, without overlaps.
#[derive(Clone, Debug, Default)]
struct Ranges<T>(Box<[(T, T)]>);

impl<T: Copy + Ord> Ranges<T> {
    fn new(mut ranges: Vec<(T, T)>) -> Self {
        ranges.sort_unstable();
        ranges.dedup_by(|(first, last), (_, last_before)| {
            // Two networks overlap only if one contains the other, and the larger sorts first.
            let held = first <= last_before;
            if held {
                *last_before = (*last_before).max(*last);
            }
            held
        });
        Self(ranges.into_boxed_slice())
    }

    fn contain(&self, value: T) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= value);
        let range = after.checked_sub(1).and_then(|at| self.0.get(at));
        range.is_some_and(|(_, last)| value <= *last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    fn list(lines: &[&str]) -> AddressList {
        let networks: Vec<_> = lines
            .iter()
            .map(|line| Network::parse(line.as_bytes()).expect(line))
            .collect();
        AddressList::new(&networks)
    }

    fn contains(list: &AddressList, ip: &str) -> bool {
        list.contains(ip.parse().expect(ip))
    }

    #[test]
    fn networks_end_where_they_end() {
        let list = list(&["192.0.2.64/26", "10.1.2.3", "2001:db8:1::/48", "10.0.0.9/30"]);
        let held = [
            "192.0.2.64",
            "192.0.2.127",
            "10.1.2.3",
            "10.0.0.8",
            "10.0.0.11",
            "2001:db8:1::1",
        ];
        let free = [
            "192.0.2.63",
            "192.0.2.128",
            "10.1.2.2",
            "10.0.0.7",
            "10.0.0.12",
            "2001:db8:2::",
        ];
        for ip in held {
            assert!(contains(&list, ip), "{ip}");
        }
        for ip in free {
            assert!(!contains(&list, ip), "{ip}");
        }
    }

    #[test]
    fn mapped_addresses_are_ipv4_addresses() {
        let list = list(&["::ffff:192.0.2.0/120"]);
        assert!(contains(&list, "192.0.2.9") && contains(&list, "::ffff:192.0.2.9"));
        assert!(!contains(&list, "192.0.3.9"));
        assert!(Network::parse(b"::ffff:192.0.2.0/95").is_err());
    }

    #[test]
    fn the_whole_of_a_family_can_be_denied() {
        let list = list(&["0.0.0.0/0"]);
        assert!(contains(&list, "255.255.255.255") && contains(&list, "0.0.0.0") && !contains(&list, "::1"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for line in [
            "",
            "192.0.2.0/33",
            "192.0.2",
            "example.org",
            "2001:db8::/129",
            "10.0.0.0/-1",
            "\u{e4}",
        ] {
            assert_eq!(Network::parse(line.as_bytes()), Err(Fault::NotNetwork), "{line}");
        }
    }

    quickcheck! {
        fn a_list_holds_what_its_networks_hold(networks: Vec<(u32, u8)>, asked: Vec<u32>) -> bool {
            let networks: Vec<_> = networks
                .into_iter()
                .filter_map(|(bits, len)| IpNet::new(core::net::Ipv4Addr::from_bits(bits).into(), len % 33).ok())
                .map(Network)
                .collect();
            let list = AddressList::new(&networks);
            let edges = networks.iter().flat_map(|Network(network)| [network.network(), network.broadcast()]);
            let asked = asked.into_iter().map(|bits| core::net::Ipv4Addr::from_bits(bits).into());
            edges.chain(asked).all(|ip: IpAddr| {
                list.contains(ip) == networks.iter().any(|Network(network)| network.contains(&ip))
            })
        }
    }
}
