//! The peers that one announce is answered with.

use core::net::IpAddr;

use crate::PeerId;
use crate::announce::{Endpoint, Family};

use super::spread::{Crowds, Network, Quota, of_network_max};

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
    /// Peers at the end of the room that are taken if others do not fill it.
    spare: usize,
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
            spare: 0,
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
        if peer.family() == self.family {
            self.extend(Compact::of(peer).bytes(), &id.0);
        }
    }

    /// The same within the quota of its network; beyond it the peer is put aside.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn push_within(&mut self, peer: Endpoint, id: PeerId, quota: &mut Quota) {
        if peer.family() == self.family {
            self.extend_within(Compact::of(peer).bytes(), &id.0, quota);
        }
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

    /// The networks that have more than their share of the answer, if there are any.
    pub(super) fn crowds(&self) -> Option<Crowds> {
        let peers = self.compact.chunks_exact(self.family.compact_len());
        Crowds::among(peers.take(self.len).map(Network::of), of_network_max(self.max))
    }

    /// Begins anew.
    pub(super) const fn clear(&mut self) {
        (self.len, self.spare) = (0, 0);
    }

    /// Takes one compact peer of its family and its id, or puts it aside if its network has had its share.
    pub(super) fn extend_within(&mut self, compact: &[u8], id: &[u8], quota: &mut Quota) {
        let network = Network::of(compact);
        if quota.is_full(network) {
            self.put_aside(compact, id);
            return;
        }
        if self.wanted() == 0 {
            return;
        }
        self.extend(compact, id);
        // Where there is no room left, those that were put aside last make some.
        self.spare = self.spare.min(self.wanted());
        let taken = self.compact.get(..self.len * self.family.compact_len());
        let taken = taken.unwrap_or_default().chunks_exact(self.family.compact_len());
        quota.note(network, taken.filter(|peer| Network::of(peer) == network).count());
    }

    fn put_aside(&mut self, compact: &[u8], id: &[u8]) {
        if self.spare == self.wanted() {
            return;
        }
        self.spare += 1;
        let (at, stride) = (self.max - self.spare, self.family.compact_len());
        if let Some(place) = self.compact.get_mut(at * stride..(at + 1) * stride) {
            place.copy_from_slice(compact);
        }
        if let Some(place) = self.ids.as_deref_mut().and_then(|ids| ids.get_mut(at)) {
            *place = id.first_chunk().copied().map(PeerId).unwrap_or_default();
        }
    }

    /// Takes those that were put aside: there are no others.
    pub(super) fn take_spare(&mut self) {
        let (from, stride) = (self.max - self.spare, self.family.compact_len());
        self.compact
            .copy_within(from * stride..self.max * stride, self.len * stride);
        if let Some(ids) = self.ids.as_deref_mut() {
            ids.copy_within(from..self.max, self.len);
        }
        self.len += self.spare;
        self.spare = 0;
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

/// A compact peer.
struct Compact {
    octets: [u8; Family::V6.compact_len()],
    len: usize,
}

impl Compact {
    fn of(peer: Endpoint) -> Self {
        let mut compact = Self {
            octets: [0; Family::V6.compact_len()],
            len: peer.family().compact_len(),
        };
        match peer.ip {
            IpAddr::V4(ip) => compact.fill(&ip.octets(), peer.port),
            IpAddr::V6(ip) => compact.fill(&ip.octets(), peer.port),
        }
        compact
    }

    fn fill(&mut self, ip: &[u8], port: u16) {
        for (to, from) in self.octets.iter_mut().zip(ip.iter().chain(&port.to_be_bytes())) {
            *to = *from;
        }
    }

    fn bytes(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
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
