//! The peers that one announce is answered with.

use core::net::IpAddr;

use crate::PeerId;
use crate::announce::{Endpoint, Family};

/// Takes the peers that a store hands out and writes them in compact form (BEP 23, BEP 7) into the caller's buffer.
#[derive(Debug)]
pub struct Handout<'a> {
    family: Family,
    /// Invariant: holds `max` compact peers of `family`.
    compact: &'a mut [u8],
    /// Invariant: if given, holds `max` ids.
    ids: Option<&'a mut [PeerId]>,
    len: usize,
    max: usize,
}

impl<'a> Handout<'a> {
    /// Room for at most `max` peers of `family`, and for no more than fit into `compact`.
    #[must_use]
    pub fn new(family: Family, max: usize, compact: &'a mut [u8]) -> Self {
        let max = max.min(compact.len() / family.compact_len());
        Self {
            family,
            compact,
            ids: None,
            len: 0,
            max,
        }
    }

    /// Takes the peers' ids as well, and no more peers than `ids` has room for.
    #[must_use]
    pub fn with_ids(mut self, ids: &'a mut [PeerId]) -> Self {
        self.max = self.max.min(ids.len());
        self.ids = Some(ids);
        self
    }

    /// The family that the asker belongs to.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Peers taken so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no peer was taken yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Peers that are still wanted.
    #[must_use]
    pub const fn wanted(&self) -> usize {
        self.max - self.len
    }

    /// Takes one peer. One of the other family, or one too many, is left out.
    pub fn push(&mut self, peer: Endpoint, id: PeerId) {
        match peer.ip {
            IpAddr::V4(ip) => self.push_octets(&ip.octets(), peer.port, id),
            IpAddr::V6(ip) => self.push_octets(&ip.octets(), peer.port, id),
        }
    }

    fn push_octets(&mut self, ip: &[u8], port: u16, id: PeerId) {
        if ip.len() + 2 != self.family.compact_len() {
            return;
        }
        let mut compact = [0; Family::V6.compact_len()];
        let port = port.to_be_bytes();
        for (to, from) in compact.iter_mut().zip(ip.iter().chain(&port)) {
            *to = *from;
        }
        self.extend(compact.get(..ip.len() + 2).unwrap_or_default(), &id.0);
    }

    /// Takes peers of its family that stand one after the other in compact form, and their ids: one for each, or none.
    /// Those beyond what is wanted are left out.
    pub(super) fn extend(&mut self, compact: &[u8], ids: &[u8]) {
        let stride = self.family.compact_len();
        let len = self.len + (compact.len() / stride).min(self.wanted());
        let peers = compact.get(..(len - self.len) * stride);
        let places = self.compact.get_mut(self.len * stride..len * stride);
        if let (Some(places), Some(peers)) = (places, peers) {
            places.copy_from_slice(peers);
        }
        if let Some(places) = self.ids.as_deref_mut().and_then(|all| all.get_mut(self.len..len)) {
            places.fill(PeerId::default());
            for (place, id) in places.iter_mut().zip(ids.as_chunks().0) {
                place.0 = *id;
            }
        }
        self.len = len;
    }

    /// Takes those peers of its family that a flag says yes to, as [`extend`](Self::extend) does.
    pub(super) fn extend_by(
        &mut self,
        compact: &[u8],
        ids: &[u8],
        flags: impl Iterator<Item = bool> + Clone,
    ) {
        let stride = self.family.compact_len();
        let places = self.compact.get_mut(self.len * stride..self.max * stride);
        let places = places.unwrap_or_default();
        let taken = match self.family {
            Family::V4 => gather::<6>(places, compact, flags.clone()),
            Family::V6 => gather::<18>(places, compact, flags.clone()),
        };
        let len = self.len + taken;
        if let Some(places) = self.ids.as_deref_mut().and_then(|all| all.get_mut(self.len..len)) {
            places.fill(PeerId::default());
            let ids = ids.as_chunks().0.iter().zip(flags).filter(|(_, flag)| *flag);
            for (place, (id, _)) in places.iter_mut().zip(ids) {
                place.0 = *id;
            }
        }
        self.len = len;
    }
}

/// Copies those items of `N` bytes that a flag says yes to and returns how many, without a branch for each: what is not
/// taken is written over by the next.
fn gather<const N: usize>(places: &mut [u8], items: &[u8], flags: impl Iterator<Item = bool>) -> usize {
    let (places, items) = (places.as_chunks_mut::<N>().0, items.as_chunks::<N>().0);
    let mut taken = 0;
    for (item, flag) in items.iter().zip(flags) {
        let Some(place) = places.get_mut(taken) else {
            break;
        };
        *place = *item;
        taken += usize::from(flag);
    }
    taken
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;
    use crate::announce::compact_peers;

    const ID: PeerId = PeerId(*b"-ET0100-abcdefghijkl");

    fn endpoint(text: &str) -> Endpoint {
        let address: core::net::SocketAddr = text.parse().unwrap();
        Endpoint {
            ip: address.ip(),
            port: address.port(),
        }
    }

    #[test]
    fn peers_stand_in_network_order_and_the_other_family_is_left_out() {
        let mut compact = [0; 64];
        let mut ids = [PeerId::default(); 4];
        let mut handout = Handout::new(Family::V4, 9, &mut compact).with_ids(&mut ids);
        assert!(handout.is_empty());
        handout.push(endpoint("1.2.3.4:6881"), ID);
        assert!(!handout.is_empty());
        handout.push(endpoint("[::1]:6881"), ID);
        handout.push(endpoint("5.6.7.8:1"), ID);
        assert_eq!((handout.len(), handout.wanted()), (2, 2));
        assert_eq!(compact[..12], [1, 2, 3, 4, 0x1a, 0xe1, 5, 6, 7, 8, 0, 1]);
        assert_eq!(ids[..3], [ID, ID, PeerId::default()]);
    }

    #[test]
    fn no_more_are_taken_than_wanted_or_than_fit() {
        for (max, room, taken) in [(1, 64, 1), (5, 37, 2), (0, 64, 0)] {
            let mut compact = std::vec![0; room];
            let mut handout = Handout::new(Family::V6, max, &mut compact);
            for port in 1..9 {
                handout.push(
                    Endpoint {
                        port,
                        ..endpoint("[2001:db8::1]:1")
                    },
                    ID,
                );
            }
            assert_eq!(handout.len(), taken, "{max} wanted, {room} bytes");
        }
    }

    quickcheck! {
        fn what_is_handed_out_is_what_a_client_reads(v4: bool, peers: std::vec::Vec<(IpAddr, u16)>) -> bool {
            let family = if v4 { Family::V4 } else { Family::V6 };
            let peers = peers.into_iter().map(|(ip, port)| Endpoint { ip, port });
            let mut compact = std::vec![0; peers.len() * family.compact_len()];
            let mut handout = Handout::new(family, peers.len(), &mut compact);
            peers.clone().for_each(|peer| handout.push(peer, ID));
            let len = handout.len() * family.compact_len();
            compact_peers(family, &compact[..len]).eq(peers.filter(|peer| peer.family() == family))
        }
    }
}
