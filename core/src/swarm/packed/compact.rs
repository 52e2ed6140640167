//! Endpoints of either family, as they are stored.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::announce::{Endpoint, Family};

/// An endpoint as it goes over the wire (BEP 23, BEP 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compact {
    pub(super) family: Family,
    /// Invariant: what is beyond the family's length is 0.
    octets: [u8; 18],
}

impl Compact {
    pub(super) fn from_bytes(family: Family, bytes: &[u8]) -> Self {
        let mut octets = [0; 18];
        // A shorter or longer slice is a fault elsewhere, and no reason to panic.
        for (to, from) in octets.iter_mut().zip(bytes) {
            *to = *from;
        }
        Self { family, octets }
    }

    pub(super) const fn octets(&self) -> &[u8; 18] {
        &self.octets
    }

    /// Address and port.
    pub(super) fn bytes(&self) -> &[u8] {
        self.octets.get(..self.family.compact_len()).unwrap_or_default()
    }

    /// What counts as one address: an IPv4 address, or an IPv6 /64.
    pub(super) fn address(&self) -> &[u8] {
        // A site has a /64 at least, and changes the rest of the address at will.
        let len = match self.family {
            Family::V4 => 4,
            Family::V6 => 8,
        };
        self.octets.get(..len).unwrap_or_default()
    }

    pub(super) fn ip(&self) -> IpAddr {
        match (self.family, &self.octets) {
            (Family::V4, [a, b, c, d, ..]) => Ipv4Addr::new(*a, *b, *c, *d).into(),
            (Family::V6, [ip @ .., _, _]) => Ipv6Addr::from_octets(*ip).into(),
        }
    }
}

impl From<Endpoint> for Compact {
    fn from(endpoint: Endpoint) -> Self {
        let [high, low] = endpoint.port.to_be_bytes();
        let mut octets = [0; 18];
        match (endpoint.ip, &mut octets) {
            (
                IpAddr::V4(ip),
                [
                    ip_octets @ ..,
                    port_high,
                    port_low,
                    _,
                    _,
                    _,
                    _,
                    _,
                    _,
                    _,
                    _,
                    _,
                    _,
                    _,
                    _,
                ],
            ) => {
                *ip_octets = ip.octets();
                (*port_high, *port_low) = (high, low);
            }
            (IpAddr::V6(ip), [ip_octets @ .., port_high, port_low]) => {
                *ip_octets = ip.octets();
                (*port_high, *port_low) = (high, low);
            }
        }
        Self {
            family: endpoint.family(),
            octets,
        }
    }
}

impl From<Compact> for Endpoint {
    fn from(compact: Compact) -> Self {
        let port = match compact.bytes() {
            [.., high, low] => u16::from_be_bytes([*high, *low]),
            _ => 0,
        };
        Self {
            ip: compact.ip(),
            port,
        }
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    quickcheck! {
        fn compact_and_endpoint_are_the_same(ip: IpAddr, port: u16) -> bool {
            let endpoint = Endpoint { ip, port };
            let compact = Compact::from(endpoint);
            Endpoint::from(compact) == endpoint
                && Compact::from_bytes(endpoint.family(), compact.bytes()) == compact
                && compact.bytes().len() == endpoint.family().compact_len()
        }
    }
}
