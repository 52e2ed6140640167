//! What the tables of a store have in common.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::num::NonZero;

use crate::InfoHash;
use crate::announce::{Endpoint, Family};
use crate::config::SwarmConfig;
use crate::seed::Key;
use crate::time::Minute;

use super::peers::Shape;
use super::stamp::{Tick, Wanted, Window};

/// The settings of a store, and the key of its tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) config: SwarmConfig,
    minutes_per_tick: NonZero<u32>,
    /// Ticks that a peer may be old.
    age_max: u32,
    key: Key,
}

impl Rules {
    pub(super) fn new(config: &SwarmConfig, key: Key) -> Self {
        Self {
            config: *config,
            minutes_per_tick: NonZero::new(config.minutes_per_step()).unwrap_or(NonZero::<u32>::MIN),
            age_max: config.age_max_steps(),
            key,
        }
    }

    /// Which page a torrent belongs to.
    pub(super) fn torrent_hash(&self, info_hash: &InfoHash) -> u64 {
        self.key.hash(&info_hash.0)
    }

    /// Which bucket of its set a peer belongs to.
    ///
    /// Where the number of peers of one address is limited, all of them are in one bucket, to be counted there, and
    /// the limit bounds the bucket. Where it is not, the port takes part, so that they are spread.
    pub(super) fn peer_hash(&self, peer: &Compact) -> u64 {
        let limited = self.config.peers_of_address_max(peer.ip()).is_some();
        self.key.hash(if limited { peer.address() } else { peer.bytes() })
    }

    pub(super) const fn shape(&self, family: Family) -> Shape {
        Shape {
            family,
            ids: self.config.peer_ids,
        }
    }

    pub(super) const fn tick(&self, minute: Minute) -> Tick {
        Tick::of(minute, self.minutes_per_tick)
    }

    /// The first minute of a tick.
    pub(super) const fn minute(&self, tick: Tick) -> Minute {
        tick.minute(self.minutes_per_tick)
    }

    pub(super) fn window(&self, now: Tick) -> Window {
        Window::set_at(now, self.age_max)
    }

    pub(super) fn wanted(&self, window: Window, now: Tick, seeders: bool) -> Wanted {
        window.wanted(now, self.age_max, seeders)
    }
}

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
