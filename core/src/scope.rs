//! The scope of an address.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The scope of an address by the special-purpose registries of IANA (RFC 6890) for IPv4 and IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// No host has it: it is unspecified, multicast, broadcast, reserved or discarded.
    Invalid,
    /// It is valid in some networks only: loopback, link-local, private, shared by a provider's clients, documentation.
    Local,
    /// It is valid on the whole Internet.
    Global,
}

impl Scope {
    /// The scope of `ip`. An IPv6 address that embeds the IPv4 address it is routed to
    /// (mapped, NAT64, 6to4, Teredo) has the scope of the IPv4 address.
    #[must_use]
    pub const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    const fn of_v4(ip: Ipv4Addr) -> Self {
        match ip.octets() {
            // This host on this network.
            [0, ..] => Self::Invalid,
            // Private (RFC 1918), shared by the clients of a provider (RFC 6598), loopback, link-local.
            [10, ..] | [100, 64..=127, ..] | [127, ..] | [169, 254, ..] => Self::Local,
            [172, 16..=31, ..] | [192, 168, ..] => Self::Local,
            // Protocol assignments: ends of DS-Lite tunnels (RFC 7335); anycast servers of PCP and TURN; the others appear in
            // no packet.
            [192, 0, 0, 0..=7] => Self::Local,
            [192, 0, 0, 9 | 10] => Self::Global,
            [192, 0, 0, _] => Self::Invalid,
            // Documentation and benchmarks, which laboratories use.
            [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [198, 18 | 19, ..] => Self::Local,
            // Relays of 6to4, deprecated (RFC 7526): no longer routed on the Internet.
            [192, 88, 99, _] => Self::Local,
            // Multicast; reserved, which some proxies invent for IPv6 clients; broadcast.
            [224..=255, ..] => Self::Invalid,
            _ => Self::Global,
        }
    }

    const fn of_v6(ip: Ipv6Addr) -> Self {
        match ip.segments() {
            // Loopback. The rest of ::/96 is the deprecated range of IPv4-compatible addresses (RFC 4291).
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Local,
            [0, 0, 0, 0, 0, 0, _, _] => Self::Invalid,
            // Mapped, and translated by a NAT64 (RFC 6052).
            [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                Self::of_v4(joined(high, low))
            }
            // Discarded, and the dummy prefix (RFC 9780).
            [0x100, 0, 0, 0 | 1, ..] => Self::Invalid,
            // Teredo: the client's address is inverted (RFC 4380).
            [0x2001, 0, .., high, low] => Self::of_v4(joined(!high, !low)),
            // Protocol assignments: anycast servers of PCP (RFC 7723), TURN (RFC 8155) and DNS-SD (RFC 9665),
            [0x2001, 1, 0, 0, 0, 0, 0, 1..=3] => Self::Global,
            // multicast relays (AMT, RFC 7450) and empty reverse zones (AS112, RFC 7535),
            [0x2001, 3, ..] | [0x2001, 4, 0x112, ..] => Self::Global,
            // identifiers of hosts (ORCHIDv2, RFC 7343) and of drones (DRIP, RFC 9374);
            [0x2001, 0x20..=0x3f, ..] => Self::Global,
            // the others are not global.
            [0x2001, 1..=0x1ff, ..] => Self::Local,
            // Documentation.
            [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Self::Local,
            // 6to4: the router's address (RFC 3056).
            [0x2002, high, low, ..] => Self::of_v4(joined(high, low)),
            [0x2000..=0x3fff, ..] => Self::Global,
            [0xff00..=0xffff, ..] => Self::Invalid,
            // Unique local, link-local, site-local, segment routing, and ranges that are not assigned yet.
            _ => Self::Local,
        }
    }
}

const fn joined(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits((high as u32) << 16 | low as u32)
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use ipnet::IpNet;

    use super::Scope::{Global, Invalid, Local};
    use super::*;

    fn scope(ip: &str) -> Scope {
        Scope::of(ip.parse().unwrap())
    }

    #[test]
    fn every_entry_of_the_registries_has_its_scope_and_ends_where_it_says() {
        for &(network, expected) in REGISTRIES {
            let network: IpNet = network.parse().unwrap();
            for ip in [network.addr(), network.broadcast()] {
                // An address at the edge may belong to a more specific entry too: the longest prefix decides.
                let longest = REGISTRIES
                    .iter()
                    .map(|(other, scope)| (other.parse::<IpNet>().unwrap(), *scope))
                    .filter(|(other, _)| other.contains(&ip))
                    .max_by_key(|(other, _)| other.prefix_len());
                assert_eq!(Scope::of(ip), longest.unwrap().1, "{ip} of {network}");
            }
            let outside = [before(network.addr()), after(network.broadcast())];
            for ip in outside.into_iter().flatten() {
                let inside: String = REGISTRIES
                    .iter()
                    .filter(|(other, _)| other.parse::<IpNet>().unwrap().contains(&ip))
                    .map(|(other, _)| format!("{other} "))
                    .collect();
                if inside.is_empty() {
                    // Outside of 2000::/3, the only range assigned so far.
                    let unassigned = matches!(ip, IpAddr::V6(ip) if ip.segments()[0] >> 13 != 1);
                    let expected = if unassigned { Local } else { Global };
                    assert_eq!(Scope::of(ip), expected, "{ip} is outside of {network}");
                }
            }
            assert_eq!(Scope::of(network.addr()), expected, "{network}");
        }
    }

    #[test]
    fn an_ipv6_address_with_an_embedded_ipv4_address_has_its_scope() {
        for (inside, expected) in [
            ("8.8.8.8", Global),
            ("192.168.1.1", Local),
            ("100.64.1.1", Local),
            ("127.0.0.1", Local),
            ("0.1.2.3", Invalid),
            ("224.0.0.1", Invalid),
            ("255.255.255.255", Invalid),
        ] {
            let inside: Ipv4Addr = inside.parse().unwrap();
            let [high, low] = [inside.to_bits() >> 16, inside.to_bits() & 0xffff];
            let (inverted_high, inverted_low) = (high ^ 0xffff, low ^ 0xffff);
            for carrier in [
                format!("::ffff:{inside}"),
                format!("64:ff9b::{inside}"),
                format!("2002:{high:x}:{low:x}::1"),
                format!("2002:{high:x}:{low:x}:ffff:ffff:ffff:ffff:ffff"),
                format!("2001:0:4136:e378:8000:63bf:{inverted_high:x}:{inverted_low:x}"),
            ] {
                assert_eq!(scope(&carrier), expected, "{carrier}");
            }
        }
    }

    #[test]
    fn unlisted_addresses_are_global_in_ipv4_and_in_2000_3_and_local_elsewhere() {
        for ip in [
            "1.1.1.1",
            "9.9.9.9",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.0.3.1",
            "192.88.98.1",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2001:db7::1",
            "2001:db9::1",
            "2003::1",
            "2a01:4f8::1",
            "2620:fe::fe",
            "3ffe::1",
            "3fff:1000::1",
        ] {
            assert_eq!(scope(ip), Global, "{ip}");
        }
        for ip in [
            "4000::1",
            "64:ff9a::1",
            "64:ff9b:0:1::1",
            "100:0:0:2::1",
            "fe00::1",
            "::1:0:0:1",
        ] {
            assert_eq!(scope(ip), Local, "{ip}");
        }
    }

    fn before(ip: IpAddr) -> Option<IpAddr> {
        match ip {
            IpAddr::V4(ip) => ip
                .to_bits()
                .checked_sub(1)
                .map(|bits| Ipv4Addr::from_bits(bits).into()),
            IpAddr::V6(ip) => ip
                .to_bits()
                .checked_sub(1)
                .map(|bits| Ipv6Addr::from_bits(bits).into()),
        }
    }

    fn after(ip: IpAddr) -> Option<IpAddr> {
        match ip {
            IpAddr::V4(ip) => ip
                .to_bits()
                .checked_add(1)
                .map(|bits| Ipv4Addr::from_bits(bits).into()),
            IpAddr::V6(ip) => ip
                .to_bits()
                .checked_add(1)
                .map(|bits| Ipv6Addr::from_bits(bits).into()),
        }
    }

    /// All entries of both registries, and what RFC 4291, RFC 5771 and RFC 3879 set apart besides. The scope is that of
    /// the first address. A network that embeds IPv4 addresses begins with 0.0.0.0, or with 255.255.255.255 for Teredo, which
    /// inverts them, and is listed as never valid.
    const REGISTRIES: &[(&str, Scope)] = &[
        ("0.0.0.0/8", Invalid),
        ("0.0.0.0/32", Invalid),
        ("10.0.0.0/8", Local),
        ("100.64.0.0/10", Local),
        ("127.0.0.0/8", Local),
        ("169.254.0.0/16", Local),
        ("172.16.0.0/12", Local),
        ("192.0.0.0/24", Local),
        ("192.0.0.0/29", Local),
        ("192.0.0.8/32", Invalid),
        ("192.0.0.9/32", Global),
        ("192.0.0.10/32", Global),
        ("192.0.0.11/32", Invalid),
        ("192.0.0.170/32", Invalid),
        ("192.0.0.171/32", Invalid),
        ("192.0.0.255/32", Invalid),
        ("192.0.2.0/24", Local),
        ("192.31.196.0/24", Global),
        ("192.52.193.0/24", Global),
        ("192.88.99.0/24", Local),
        ("192.88.99.2/32", Local),
        ("192.168.0.0/16", Local),
        ("192.175.48.0/24", Global),
        ("198.18.0.0/15", Local),
        ("198.51.100.0/24", Local),
        ("203.0.113.0/24", Local),
        ("224.0.0.0/4", Invalid),
        ("240.0.0.0/4", Invalid),
        ("255.255.255.255/32", Invalid),
        ("::1/128", Local),
        ("::/128", Invalid),
        ("::/96", Invalid),
        ("::8.8.8.8/128", Invalid),
        ("::ffff:0.0.0.0/96", Invalid),
        ("::ffff:10.0.0.0/104", Local),
        ("::ffff:224.0.0.0/99", Invalid),
        ("64:ff9b::/96", Invalid),
        ("64:ff9b::10.0.0.0/104", Local),
        ("64:ff9b::192.168.0.0/112", Local),
        ("64:ff9b::224.0.0.0/99", Invalid),
        ("64:ff9b:1::/48", Local),
        ("100::/64", Invalid),
        ("100:0:0:1::/64", Invalid),
        ("2001::/23", Invalid),
        ("2001::/32", Invalid),
        ("2001:0:ffff:ffff:ffff:ffff:ffff:ffff/128", Invalid),
        ("2001:1::/32", Local),
        ("2001:1::1/128", Global),
        ("2001:1::2/128", Global),
        ("2001:1::3/128", Global),
        ("2001:1::4/128", Local),
        ("2001:2::/48", Local),
        ("2001:2:1::/48", Local),
        ("2001:3::/32", Global),
        ("2001:4::/48", Local),
        ("2001:4:111::/48", Local),
        ("2001:4:112::/48", Global),
        ("2001:4:113::/48", Local),
        ("2001:5::/32", Local),
        ("2001:10::/28", Local),
        ("2001:20::/28", Global),
        ("2001:30::/28", Global),
        ("2001:40::/32", Local),
        ("2001:1ff::/32", Local),
        ("2001:db8::/32", Local),
        ("2002::/24", Invalid),
        ("2002:a00::/24", Local),
        ("2002:c0a8::/32", Local),
        ("2002:e000::/19", Invalid),
        ("2620:4f:8000::/48", Global),
        ("3fff::/20", Local),
        ("5f00::/16", Local),
        ("fc00::/7", Local),
        ("fe80::/10", Local),
        ("fec0::/10", Local),
        ("ff00::/8", Invalid),
    ];
}
