//! The networks that one address is judged by.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// How much of an address names a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Width {
    /// One IPv4 address: a host, or the clients behind an address translator.
    V4Of32,
    /// A network of 256 IPv4 addresses, the smallest that is routed.
    V4Of24,
    /// A network of 4096 IPv4 addresses.
    V4Of20,
    /// An IPv6 /64, the addresses of a single host.
    V6Of64,
    /// An IPv6 /56, what a household is given.
    V6Of56,
    /// An IPv6 /48, what a site is given, and the smallest that is routed.
    V6Of48,
}

impl Width {
    /// Every width, those of IPv4 first, each family from the narrowest on.
    pub const ALL: [Self; 6] = [
        Self::V4Of32,
        Self::V4Of24,
        Self::V4Of20,
        Self::V6Of64,
        Self::V6Of56,
        Self::V6Of48,
    ];

    /// Bits of the prefix. They differ between the families too.
    #[must_use]
    pub const fn prefix_len(self) -> u8 {
        match self {
            Self::V4Of32 => 32,
            Self::V4Of24 => 24,
            Self::V4Of20 => 20,
            Self::V6Of64 => 64,
            Self::V6Of56 => 56,
            Self::V6Of48 => 48,
        }
    }

    /// How many times the limit of one host a network of this width may use, as it holds many.
    ///
    /// A /20 at its limit by default sends 16,000 announces a second, which is 29 million torrents at an announce in half an hour.
    /// IPv6 networks hold fewer subscribers than their size lets fear: one in a /56, 256 in a /48.
    pub(crate) const fn hosts(self) -> u32 {
        match self {
            Self::V4Of32 | Self::V6Of64 => 1,
            Self::V6Of56 => 2,
            Self::V4Of24 | Self::V6Of48 => 8,
            Self::V4Of20 => 32,
        }
    }

    /// Whether it is the width of a single source.
    pub(crate) const fn is_narrow(self) -> bool {
        self.hosts() == 1
    }
}

/// The first bits of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Prefix {
    width: Width,
    /// The address, or the upper half of an IPv6 address. Invariant: 0 behind the prefix.
    bits: u64,
}

impl Prefix {
    /// A prefix of no source.
    pub(super) const NONE: Self = Self {
        width: Width::V4Of32,
        bits: 0,
    };

    /// The prefixes of `ip`, from the narrowest on.
    pub(crate) fn all_of(ip: IpAddr) -> [Self; 3] {
        let (bits, all, widths) = match ip.to_canonical() {
            IpAddr::V4(ip) => (
                u64::from(ip.to_bits()),
                32,
                [Width::V4Of32, Width::V4Of24, Width::V4Of20],
            ),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments().map(u64::from);
                (
                    a << 48 | b << 32 | c << 16 | d,
                    64,
                    [Width::V6Of64, Width::V6Of56, Width::V6Of48],
                )
            }
        };
        widths.map(|width| {
            let behind = all - width.prefix_len();
            Self {
                width,
                bits: bits >> behind << behind,
            }
        })
    }

    pub(crate) const fn width(self) -> Width {
        self.width
    }

    /// The bytes that tell it from any other.
    pub(crate) const fn bits(self) -> u64 {
        self.bits
    }

    /// The network.
    pub(crate) fn network(self) -> IpNet {
        let ip = match self.width {
            Width::V4Of32 | Width::V4Of24 | Width::V4Of20 => {
                IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(self.bits).unwrap_or(0)))
            }
            Width::V6Of64 | Width::V6Of56 | Width::V6Of48 => {
                IpAddr::V6(Ipv6Addr::from_bits(u128::from(self.bits) << 64))
            }
        };
        IpNet::new_assert(ip, self.width.prefix_len())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;

    use quickcheck::quickcheck;

    use super::*;

    #[test]
    fn an_address_has_three_prefixes_each_in_the_next() {
        let names = |ip: &str| {
            let prefixes = Prefix::all_of(ip.parse().unwrap());
            prefixes.map(|prefix| prefix.network().to_string())
        };
        assert_eq!(
            names("198.51.109.7"),
            ["198.51.109.7/32", "198.51.109.0/24", "198.51.96.0/20"]
        );
        assert_eq!(names("::ffff:198.51.109.7"), names("198.51.109.7"));
        assert_eq!(
            names("2001:db8:1:23ff::9"),
            ["2001:db8:1:23ff::/64", "2001:db8:1:2300::/56", "2001:db8:1::/48"]
        );
    }

    quickcheck! {
        fn an_address_is_in_all_its_prefixes(ip: IpAddr) -> bool {
            let prefixes = Prefix::all_of(ip).map(Prefix::network);
            prefixes.iter().all(|network| network.contains(&ip.to_canonical()))
                && prefixes.is_sorted_by(|narrow, wide| wide.contains(narrow))
        }
    }
}
